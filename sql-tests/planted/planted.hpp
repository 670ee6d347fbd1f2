//! Which fault is active, of those that are planted in this build: the environment's QUACK_PLANTED names it.
#pragma once

#include <cstdlib>
#include <cstring>

namespace quack {

inline bool Planted(const char *fault) {
	static const char *active = std::getenv("QUACK_PLANTED");
	return active && std::strcmp(active, fault) == 0;
}

} // namespace quack
