// A wall clock that a test sets: loaded before a process's libraries (LD_PRELOAD), it adds an offset to CLOCK_REALTIME.
//
// The offset, 64-bit nanoseconds, is in the file that QUACK_CLOCK_OFFSET names, which is mapped, so that a change is a
// jump at once. Every other clock is the kernel's. Waiting until a moment of the wall clock is translated back, because
// the kernel knows nothing of the jump.
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static constexpr int64_t SECOND = 1000000000;
// A monotonic clock is younger than this, a wall clock older.
static constexpr time_t WALL_CLOCK_MIN = 1000000000;

static const volatile int64_t *Mapped() {
	const char *path = getenv("QUACK_CLOCK_OFFSET");
	int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (file < 0) {
		return nullptr;
	}
	void *mapped = mmap(nullptr, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
	close(file);
	return mapped == MAP_FAILED ? nullptr : static_cast<const volatile int64_t *>(mapped);
}

static int64_t Offset() {
	static const volatile int64_t *const offset = Mapped();
	return offset ? *offset : 0;
}

static bool IsWallClock(clockid_t clock) {
	return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
}

static void Add(timespec &time, int64_t nanoseconds) {
	int64_t sum = int64_t(time.tv_sec) * SECOND + time.tv_nsec + nanoseconds;
	time.tv_sec = sum / SECOND;
	time.tv_nsec = sum % SECOND;
}

// The kernel's moment for one of this process's clocks.
static timespec Kernels(const timespec *moment) {
	timespec result = *moment;
	if (result.tv_sec >= WALL_CLOCK_MIN) {
		Add(result, -Offset());
	}
	return result;
}

extern "C" {

int clock_gettime(clockid_t clock, timespec *time) {
	// Unlike the library's own, this one must set errno by itself.
	if (syscall(SYS_clock_gettime, clock, time) != 0) {
		return -1;
	}
	if (IsWallClock(clock)) {
		Add(*time, Offset());
	}
	return 0;
}

int gettimeofday(timeval *__restrict time, void *__restrict) {
	timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	time->tv_sec = now.tv_sec;
	time->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *result) {
	timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (result) {
		*result = now.tv_sec;
	}
	return now.tv_sec;
}

int timespec_get(timespec *time, int base) {
	return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, time) == 0 ? base : 0;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const timespec *moment) {
	timespec kernels = Kernels(moment);
	clockid_t clock = moment->tv_sec >= WALL_CLOCK_MIN ? CLOCK_REALTIME : CLOCK_MONOTONIC;
	return pthread_cond_clockwait(condition, mutex, clock, &kernels);
}

int sem_timedwait(sem_t *semaphore, const timespec *moment) {
	timespec kernels = Kernels(moment);
	return sem_clockwait(semaphore, CLOCK_REALTIME, &kernels);
}
}
