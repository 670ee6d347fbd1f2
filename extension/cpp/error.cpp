//! Memory of the texts that cross the border.

#include "error.hpp"

#include <cstdlib>
#include <cstring>

extern "C" void *quack_cpp_copy_text(QuackBytes text) {
	auto copy = static_cast<char *>(malloc(text.length + 1));
	if (!copy) {
		return nullptr;
	}
	memcpy(copy, text.data, text.length);
	copy[text.length] = '\0';
	return copy;
}

extern "C" void quack_cpp_free(void *pointer) {
	free(pointer);
}
