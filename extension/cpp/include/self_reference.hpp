//! Rows that refer, by a foreign key, to others of the same table.
#pragma once

#include "row_bytes.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"

namespace quack {

//! Cuts rows that are added to a table into ranges in which no row refers to one before it. DuckDB looks for what a row refers
//! to in what was there before the chunk that it adds.
duckdb::vector<RowRange> CutAtReferences(const duckdb::DuckTableEntry &table, duckdb::DataChunk &rows);

} // namespace quack
