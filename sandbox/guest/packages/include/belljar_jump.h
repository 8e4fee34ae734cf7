/* In place of setjmp and longjmp, which WebAssembly has not: an error deep in a library ends the call that tries.
 *
 * The host makes the call, and where the guest throws, what it is in the middle of is left as by any trap: up to this call.
 */
#ifndef BELLJAR_JUMP_H
#define BELLJAR_JUMP_H

/* Calls `body(data)`: 0 if it has returned, 1 if it has thrown. The one that was tried last is left. */
int belljar_try(void (*body)(void *data), void *data);

_Noreturn void belljar_throw(void);

#endif
