//! How deeply values may be nested.
#pragma once

#include "duckdb.hpp"

namespace duckdb {
class ExtensionLoader;
}

namespace quack {

//! Bounds what DuckDB reads by calling itself for each level, without a bound of its own: a thread's stack has an end, and with
//! it the process. No VARIANT comes into being that has more levels than one that can be stored, and no JSON with more is
//! converted. SQL itself is bounded by DuckDB (`max_expression_depth`).
void LimitNesting(duckdb::ExtensionLoader &loader);

} // namespace quack
