//! Checks the form of BIT, BIGNUM and GEOMETRY values. The checks of shorter values are inline in the header.

#include "value_form.hpp"

#include "duckdb/common/types/geometry.hpp"
#include "duckdb/common/types/string_heap.hpp"

#include <cstring>

using namespace duckdb;

namespace quack {

const char *WrongBit(const string_t &value) {
	// A byte that counts the bits of padding, which are ones, and at least one byte of bits.
	auto data = const_data_ptr_cast(value.GetData());
	if (value.GetSize() < 2) {
		return "it has no bits";
	}
	if (data[0] > 7) {
		return "its padding is longer than a byte";
	}
	auto padding = static_cast<uint8_t>(0xff << (8 - data[0]));
	return (data[1] & padding) != padding ? "its padding is not of ones" : nullptr;
}

const char *WrongBignum(const string_t &value) {
	// Three bytes with the sign and the number of bytes that follow, most significant first; all of it is inverted in a
	// negative number.
	constexpr idx_t HEADER_BYTES = 3;
	auto size = value.GetSize();
	if (size <= HEADER_BYTES) {
		return "it has no digits";
	}
	auto data = const_data_ptr_cast(value.GetData());
	auto is_negative = (data[0] & 0x80) == 0;
	auto byte = [&](idx_t i) { return static_cast<uint8_t>(is_negative ? ~data[i] : data[i]); };
	auto length = static_cast<idx_t>(byte(0) & 0x7f) << 16 | static_cast<idx_t>(byte(1)) << 8 | byte(2);
	if (length != size - HEADER_BYTES) {
		return "its length is not the one that it says";
	}
	if (byte(HEADER_BYTES) == 0 && (is_negative || length > 1)) {
		return is_negative && length == 1 ? "it is minus zero" : "it begins with zeroes";
	}
	return nullptr;
}

const char *WrongGeometry(const string_t &value) {
	StringHeap heap;
	string_t little_endian;
	try {
		if (!Geometry::FromBinary(value, little_endian, heap, false)) {
			return "it is not well-formed WKB";
		}
	} catch (InvalidInputException &) {
		return "it is not well-formed WKB";
	}
	// What DuckDB has had to convert is in a form that it does not store.
	auto is_stored = little_endian.GetSize() == value.GetSize() &&
	                 std::memcmp(little_endian.GetData(), value.GetData(), value.GetSize()) == 0;
	return is_stored ? nullptr : "it is not little-endian ISO WKB";
}

} // namespace quack
