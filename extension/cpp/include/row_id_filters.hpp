//! Joins on row ids.
#pragma once

#include "duckdb.hpp"

namespace quack {

//! DuckDB 2.0.0 writes behind a buffer where a join filters the row ids of a table with deleted rows by a Bloom filter:
//! `RowIdColumnData::Filter` says that there are as many rows as have not been deleted, and the filter uses their places.
//! DuckDB joins on row ids by itself, to read what a LIMIT leaves. Such filters are not pushed into scans of our tables,
//! smallest and largest values and lists still are. DuckDB 2.0.1 has mended it.
void RegisterRowIdFilters(duckdb::DatabaseInstance &instance);

} // namespace quack
