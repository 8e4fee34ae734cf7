/* What C++ code compiled with exceptions asks for. LLVM 14 compiles `catch` away for this target: whatever is thrown
 * ends the call. numpy throws where memory runs out in an FFT or in `unique`. */
#include <stdio.h>
#include <stdlib.h>

void *__cxa_allocate_exception(size_t size) { return malloc(size); }
void __cxa_free_exception(void *exception) { free(exception); }
_Noreturn void __cxa_throw(void *exception, void *type, void *destructor) {
    fputs("a C++ exception ends this call, most likely for want of memory\n", stderr);
    abort();
}
void *__cxa_begin_catch(void *exception) { return exception; }
void __cxa_end_catch(void) {}
_Noreturn void __cxa_rethrow(void) { abort(); }
_Noreturn void _Unwind_Resume(void *exception) { abort(); }
int __gxx_personality_v0(void) { return 0; }
void *__cxa_get_exception_ptr(void *exception) { return exception; }
