/* See belljar_jump.h. Linked only with what uses it. */
#include "belljar_jump.h"

#define HOST(name) __attribute__((import_module("belljar"), import_name(name)))

HOST("try") int host_try(void (*body)(void *), void *data);
HOST("throw") void host_throw(void);

/* What the host calls. */
__attribute__((export_name("belljar_enter"))) void belljar_enter(void (*body)(void *), void *data) { body(data); }

int belljar_try(void (*body)(void *), void *data) { return host_try(body, data); }

void belljar_throw(void) {
    host_throw();
    __builtin_trap();
}
