//! The check of values that come from the network or from the log.
#pragma once

#include "duckdb.hpp"

namespace quack {

// DuckDB's deserializer sees to it that lists end within their elements and that dictionaries have what is selected of
// them. Types and values it takes as they come. What follows looks at nothing else, so that all nodes refuse alike.

//! Refuses a type that no column has, or whose parts do not belong together.
void CheckType(const duckdb::LogicalType &type);
//! Refuses a vector that cannot be made flat by what it says alone.
void CheckVector(const duckdb::Vector &vector);

enum class Checked {
	//! What is to be stored.
	ALL,
	//! Values that are only compared, by their bytes: of these, only those that lead to other bytes. The applier must find a
	//! stored row as it is, even if it holds wrong values, or no client could delete it.
	WHAT_IS_FOLLOWED
};

//! Refuses values that their type does not have, in the columns from `first_column` on that those of `table` are meant for.
//! These become flat. Beneath a NULL everything becomes NULL, and so do elements that no list refers to: what is there is
//! not a value, and may be taken for one later.
void CheckValues(const duckdb::DuckTableEntry &table, duckdb::DataChunk &rows, duckdb::idx_t first_column, Checked checked);
//! The same for values of one physical column.
void CheckColumn(const duckdb::DuckTableEntry &table, duckdb::idx_t column, duckdb::Vector &values, duckdb::idx_t count,
                 Checked checked);

} // namespace quack
