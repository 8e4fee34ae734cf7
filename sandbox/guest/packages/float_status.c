/* The flags of floating-point arithmetic, which WebAssembly has not. Those that numpy raises itself are kept here: it
 * reports singular matrices and divisions of integers by zero by them. link.sh puts these in the place of numpy's own. */

enum { DIVISION_BY_ZERO = 1, OVERFLOW = 2, UNDERFLOW = 4, INVALID = 8 };

static int raised;

int __wrap_npy_get_floatstatus_barrier(char *unused) { return raised; }

int __wrap_npy_clear_floatstatus_barrier(char *unused) {
    int before = raised;
    raised = 0;
    return before;
}

void __wrap_npy_set_floatstatus_divbyzero(void) { raised |= DIVISION_BY_ZERO; }
void __wrap_npy_set_floatstatus_overflow(void) { raised |= OVERFLOW; }
void __wrap_npy_set_floatstatus_underflow(void) { raised |= UNDERFLOW; }
void __wrap_npy_set_floatstatus_invalid(void) { raised |= INVALID; }
