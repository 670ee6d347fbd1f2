//! Stands in for the copy of {fmt} inside DuckDB, which its published headers include but do not carry: the one name
//! that they mention, in functions that this extension never calls.
#pragma once

namespace duckdb_fmt {
namespace internal {
struct data {
	static const char digits[];
};
} // namespace internal
} // namespace duckdb_fmt
