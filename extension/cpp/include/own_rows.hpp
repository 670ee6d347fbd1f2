//! The rows that a transaction has added to a table, which lie apart until its commit.
#pragma once

#include "duckdb.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/transaction/local_storage.hpp"

#include <functional>

namespace quack {

//! Calls back for the rows, in their order. With `row_ids` the id of each stands behind the physical columns.
void ScanOwnRows(duckdb::LocalStorage &local, duckdb::DataTable &table, bool row_ids,
                 const std::function<void(duckdb::DataChunk &rows)> &callback);
//! Puts the rows into the unique indexes that the transaction has made after it had some: DuckDB looks into those alone that
//! were there before, so that the key of a row that is replaced stays taken, and own rows with equal keys are found by the
//! commit, or by none. Throws a ConstraintException when two rows have the same key.
void FollowNewIndexes(duckdb::LocalStorage &local, duckdb::DataTable &table);

} // namespace quack
