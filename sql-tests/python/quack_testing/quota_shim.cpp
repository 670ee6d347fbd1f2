// A file without room, of which the system says nothing beforehand, as a user's quota does: loaded before a process's
// libraries (LD_PRELOAD), it fails writes with EDQUOT.
//
// The file that QUACK_FILE_WITHOUT_ROOM names holds how a path ends whose writes fail; it is empty where all have room.
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool EndsWith(const char *text, const char *end) {
	size_t length = strlen(text), of_end = strlen(end);
	return of_end > 0 && length >= of_end && strcmp(text + length - of_end, end) == 0;
}

static bool HasRoom(int descriptor) {
	const char *control = getenv("QUACK_FILE_WITHOUT_ROOM");
	int file = control ? static_cast<int>(syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC)) : -1;
	if (file < 0) {
		return true;
	}
	char end[PATH_MAX] = {}, path[PATH_MAX] = {}, link[64];
	ssize_t length = syscall(SYS_read, file, end, sizeof(end) - 1);
	syscall(SYS_close, file);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
	return length <= 0 || readlink(link, path, sizeof(path) - 1) <= 0 || !EndsWith(path, end);
}

extern "C" ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
	if (!HasRoom(descriptor)) {
		errno = EDQUOT;
		return -1;
	}
	return syscall(SYS_pwrite64, descriptor, bytes, count, offset);
}

extern "C" ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) {
	return pwrite(descriptor, bytes, count, offset);
}
