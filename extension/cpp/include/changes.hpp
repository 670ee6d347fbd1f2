//! Where the row changes of a statement go.
#pragma once

#include "duckdb.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"

namespace quack {

//! Takes the row changes of a statement: for the log at once, or for a transaction that stays open.
//! Thread-safe: the pipelines of one statement may write at the same time.
class Changes {
public:
	virtual ~Changes() = default;

	//! Rows that are to go: all physical columns, then the row id.
	virtual void Deleted(duckdb::DuckTableEntry &table, duckdb::DataChunk &rows) = 0;
	//! New rows: all physical columns.
	virtual void Inserted(duckdb::DuckTableEntry &table, duckdb::DataChunk &rows) = 0;
	//! Rows that change where they are: as for `Deleted`, then the new values of all physical columns.
	virtual void Updated(duckdb::DuckTableEntry &table, duckdb::DataChunk &rows) = 0;
};

} // namespace quack
