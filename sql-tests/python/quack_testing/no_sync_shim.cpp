// A system whose fsync does nothing: loaded before a process's libraries (LD_PRELOAD), to know that a test of lost power
// would notice a sync that is missing.

extern "C" int fsync(int) {
	return 0;
}

extern "C" int fdatasync(int) {
	return 0;
}
