//! The forms that values have in DuckDB's vectors.
#pragma once

#include "duckdb.hpp"

namespace quack {

//! What is wrong with a value that has been read from bytes; null when its type has such a value. DuckDB's functions take
//! the forms for granted, down to the addresses that follow from them.
const char *WrongBoolean(uint8_t value);
const char *WrongDate(int32_t days);
const char *WrongTime(int64_t micros);
const char *WrongTimeNanos(int64_t nanos);
const char *WrongTimeTz(uint64_t bits);
const char *WrongTimestampSeconds(int64_t seconds);
const char *WrongTimestampMillis(int64_t millis);
const char *WrongTimestampMicros(int64_t micros);
const char *WrongText(const duckdb::string_t &value);
const char *WrongBit(const duckdb::string_t &value);
const char *WrongBignum(const duckdb::string_t &value);
const char *WrongGeometry(const duckdb::string_t &value);

} // namespace quack
