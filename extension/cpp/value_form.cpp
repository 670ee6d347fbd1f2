//! Implementation of the forms that values have.

#include "value_form.hpp"

#include "duckdb/common/types/date.hpp"
#include "duckdb/common/types/datetime.hpp"
#include "duckdb/common/types/geometry.hpp"
#include "duckdb/common/types/interval.hpp"
#include "duckdb/common/types/string_heap.hpp"
#include "duckdb/common/types/timestamp.hpp"

#include <cstring>

using namespace duckdb;

namespace quack {

//! The first timestamp that is not -infinity, 290309-12-22 (BC) 00:00:00, in seconds: the days before it would overflow.
constexpr int64_t FIRST_TIMESTAMP_SECONDS = -9223372022400;

const char *WrongBoolean(uint8_t value) {
	return value > 1 ? "it is neither true nor false" : nullptr;
}

const char *WrongDate(int32_t days) {
	// -infinity is the negative of infinity, which leaves one number over.
	return days < date_t::ninfinity().days ? "it is out of range" : nullptr;
}

const char *WrongTime(int64_t micros) {
	return micros < 0 || micros > Interval::MICROS_PER_DAY ? "it is not within a day" : nullptr;
}

const char *WrongTimeNanos(int64_t nanos) {
	return nanos < 0 || nanos > Interval::NANOS_PER_DAY ? "it is not within a day" : nullptr;
}

const char *WrongTimeTz(uint64_t bits) {
	dtime_tz_t value(bits);
	if (WrongTime(value.time().value)) {
		return "it is not within a day";
	}
	auto offset = value.offset();
	return offset < dtime_tz_t::MIN_OFFSET || offset > dtime_tz_t::MAX_OFFSET ? "its offset is out of range" : nullptr;
}

//! A timestamp in units of which a second has so many.
static const char *WrongTimestamp(int64_t value, int64_t per_second) {
	if (value == timestamp_t::infinity().value || value == timestamp_t::ninfinity().value) {
		return nullptr;
	}
	auto per_unit = Interval::MICROS_PER_SEC / per_second;
	auto last = (timestamp_t::infinity().value - 1) / per_unit;
	return value < FIRST_TIMESTAMP_SECONDS * per_second || value > last ? "it is out of range" : nullptr;
}

const char *WrongTimestampSeconds(int64_t seconds) {
	return WrongTimestamp(seconds, 1);
}

const char *WrongTimestampMillis(int64_t millis) {
	return WrongTimestamp(millis, Interval::MSECS_PER_SEC);
}

const char *WrongTimestampMicros(int64_t micros) {
	return WrongTimestamp(micros, Interval::MICROS_PER_SEC);
}

const char *WrongText(const string_t &value) {
	return Value::StringIsValid(value.GetData(), value.GetSize()) ? nullptr : "it is not UTF-8";
}

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
