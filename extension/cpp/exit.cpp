//! What happens when the process exits, or forks.
//!
//! The statically linked copy of DuckDB has function-local statics. Their destructors run at exit while threads of the
//! host may still be inside DuckDB code of this copy, which crashed in most of the trials. The linker therefore
//! redirects this library's `__cxa_atexit` here (`--wrap`), where registrations are dropped: the process is about to
//! give all memory back anyway. Only the function that stops the servers is registered, with the real one.
//!
//! That alone is too late. The host's DuckDB has function-local statics too, and those that came into being after this
//! registration are destroyed before it runs, under the feet of the sessions' queries. `exit` calls the destructors of
//! the exiting thread's thread-local objects before anything else (glibc, stdlib/exit.c), so the main thread, which is
//! the one that exits, gets one that stops the servers. It is met when `quack_serve` is bound.
//!
//! A forked child has none of the threads, so that no node runs in it. It keeps what the parent had open, though: see
//! crates/types/src/unshared.rs.

#include "bridge.h"

#include <atomic>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

//! In the child. Nothing is closed: numbers that the child believes to be taken stay taken.
static void LeaveParentAlone() {
	auto nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (nothing >= 0) {
		quack_rs_each_unshared(
		    [](void *of_child, int descriptor) { dup3(*static_cast<int *>(of_child), descriptor, O_CLOEXEC); }, &nothing);
		close(nothing);
	}
}

extern "C" {

int __real___cxa_atexit(void (*function)(void *), void *argument, void *dso);

int __wrap___cxa_atexit(void (*)(void *), void *, void *) {
	return 0;
}

int __cxa_thread_atexit_impl(void (*function)(void *), void *argument, void *dso);

// Under another name, as the compiler declares `__dso_handle` itself where a header has a static object.
extern void *this_library __asm__("__dso_handle");

void quack_cpp_stop_at_exit() {
	static std::atomic<bool> at_exit {false};
	static std::atomic<bool> at_main_thread_end {false};
	auto stop = [](void *) {
		quack_rs_process_exit();
	};
	if (!at_exit.exchange(true)) {
		pthread_atfork(nullptr, nullptr, LeaveParentAlone);
		__real___cxa_atexit(stop, nullptr, &this_library);
	}
	if (getpid() == gettid() && !at_main_thread_end.exchange(true)) {
		__cxa_thread_atexit_impl(stop, nullptr, &this_library);
	}
}
}
