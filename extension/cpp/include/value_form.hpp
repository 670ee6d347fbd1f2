//! The forms that values have in DuckDB's vectors.
#pragma once

#include "duckdb.hpp"
#include "duckdb/common/types/date.hpp"
#include "duckdb/common/types/datetime.hpp"
#include "duckdb/common/types/interval.hpp"
#include "duckdb/common/types/timestamp.hpp"

#include <cstring>

namespace quack {

//! What is wrong with a value that has been read from bytes; null when its type has such a value. DuckDB's functions take
//! the forms for granted, down to the addresses that follow from them. Those that every row of a load comes by are here, to
//! become part of the loop over them.

inline const char *WrongBoolean(uint8_t value) {
	return value > 1 ? "it is neither true nor false" : nullptr;
}

inline const char *WrongDate(int32_t days) {
	// -infinity is the negative of infinity, which leaves one number over.
	return days < duckdb::date_t::ninfinity().days ? "it is out of range" : nullptr;
}

inline const char *WrongTime(int64_t micros) {
	return micros < 0 || micros > duckdb::Interval::MICROS_PER_DAY ? "it is not within a day" : nullptr;
}

inline const char *WrongTimeNanos(int64_t nanos) {
	return nanos < 0 || nanos > duckdb::Interval::NANOS_PER_DAY ? "it is not within a day" : nullptr;
}

inline const char *WrongTimeTz(uint64_t bits) {
	duckdb::dtime_tz_t value(bits);
	auto offset = value.offset();
	if (offset < duckdb::dtime_tz_t::MIN_OFFSET || offset > duckdb::dtime_tz_t::MAX_OFFSET) {
		return "its offset is out of range";
	}
	return WrongTime(value.time().value);
}

//! A timestamp in units of which a second has so many.
template <int64_t PER_SECOND>
const char *WrongTimestamp(int64_t value) {
	// The first one that is not -infinity is 290309-12-22 (BC) 00:00:00: the days before it would overflow.
	constexpr int64_t FIRST = -9223372022400 * PER_SECOND;
	constexpr int64_t INFINITE = duckdb::timestamp_t::infinity().value;
	constexpr int64_t LAST = (INFINITE - 1) / (duckdb::Interval::MICROS_PER_SEC / PER_SECOND);
	auto is_finite = value >= FIRST && value <= LAST;
	return is_finite || value == INFINITE || value == -INFINITE ? nullptr : "it is out of range";
}

inline const char *WrongTimestampSeconds(int64_t seconds) {
	return WrongTimestamp<1>(seconds);
}

inline const char *WrongTimestampMillis(int64_t millis) {
	return WrongTimestamp<duckdb::Interval::MSECS_PER_SEC>(millis);
}

inline const char *WrongTimestampMicros(int64_t micros) {
	return WrongTimestamp<duckdb::Interval::MICROS_PER_SEC>(micros);
}

inline bool IsAscii(const char *data, duckdb::idx_t size) {
	uint64_t all = 0, word;
	if (size < sizeof(word)) {
		for (duckdb::idx_t i = 0; i < size; i++) {
			all |= static_cast<uint8_t>(data[i]);
		}
	} else {
		for (duckdb::idx_t i = 0; i < size - sizeof(word); i += sizeof(word)) {
			std::memcpy(&word, data + i, sizeof(word));
			all |= word;
		}
		std::memcpy(&word, data + size - sizeof(word), sizeof(word));
		all |= word;
	}
	return (all & 0x8080808080808080ULL) == 0;
}

inline const char *WrongText(const duckdb::string_t &value) {
	auto data = value.GetData();
	auto size = value.GetSize();
	return IsAscii(data, size) || duckdb::Value::StringIsValid(data, size) ? nullptr : "it is not UTF-8";
}

const char *WrongBit(const duckdb::string_t &value);
const char *WrongBignum(const duckdb::string_t &value);
const char *WrongGeometry(const duckdb::string_t &value);

} // namespace quack
