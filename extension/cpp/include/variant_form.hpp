//! How DuckDB holds a VARIANT inside.
#pragma once

#include "duckdb.hpp"
#include "duckdb/common/types/variant.hpp"

namespace quack {

//! Most levels of arrays and objects. What reads them calls itself for each, and a thread's stack has an end.
constexpr duckdb::idx_t LEVELS_MAX = 1000;

//! Bytes of a value inside a VARIANT; throws for a type whose values have different sizes.
duckdb::idx_t FixedSizeOf(duckdb::VariantLogicalType type);

//! What is wrong with the values `first` to `count` of a flat vector of VARIANTs, as in value_form.hpp. Its texts are checked
//! already, and so are the ends of its lists.
const char *WrongVariant(duckdb::Vector &variants, duckdb::idx_t count, duckdb::idx_t first = 0);

} // namespace quack
