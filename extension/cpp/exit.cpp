//! What happens when the process exits.
//!
//! The statically linked copy of DuckDB has function-local statics. Their destructors run at exit while threads of the
//! host may still be inside DuckDB code of this copy, which crashed in most of the trials. The linker therefore
//! redirects this library's `__cxa_atexit` here (`--wrap`), where registrations are dropped: the process is about to
//! give all memory back anyway. Only the function that stops the servers is registered, with the real one.

#include "bridge.h"

extern "C" {

int __real___cxa_atexit(void (*function)(void *), void *argument, void *dso);

int __wrap___cxa_atexit(void (*)(void *), void *, void *) {
	return 0;
}

extern void *__dso_handle;

void quack_cpp_stop_at_exit() {
	__real___cxa_atexit([](void *) { quack_rs_process_exit(); }, nullptr, &__dso_handle);
}
}
