//! Rows of a table by their ids: what capturing, open transactions and the applier share.
#pragma once

#include "row_identity.hpp"
#include "row_reader.hpp"
#include "duckdb.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/planner/bound_constraint.hpp"
#include "duckdb/transaction/duck_transaction.hpp"

#include <functional>

namespace duckdb {
class ART;
class DataTable;
class IndexEntry;
}

namespace quack {

using BoundConstraints = duckdb::vector<duckdb::unique_ptr<duckdb::BoundConstraint>>;

//! A schema as entries of the log name it: its path from the catalog down, joined by a character that no name holds. A
//! schema that is not nested is its own name.
duckdb::string PathOf(const duckdb::SchemaCatalogEntry &schema);
//! The qualified name of something in the schema with that path.
duckdb::QualifiedName NameIn(const duckdb::string &catalog, const duckdb::string &schema_path, const duckdb::string &name);

//! Columns of the store, without those that are computed from others.
duckdb::vector<duckdb::StorageIndex> AllColumns(duckdb::DuckTableEntry &table);
//! These columns of all rows of a table, as the connection's transaction sees them.
void ScanRows(duckdb::ClientContext &context, duckdb::DuckTableEntry &table,
              const duckdb::vector<duckdb::StorageIndex> &columns,
              const std::function<void(duckdb::DataChunk &rows)> &callback);
//! The rows of a table without their order.
struct RowBag {
	uint64_t count = 0;
	//! Sums of the rows' hashes. Columns that are computed from the others follow from them.
	RowHash sum {{0, 0}};
};
RowBag BagOf(duckdb::ClientContext &context, duckdb::DuckTableEntry &table);
//! What `RowReader::Read` gives, in flat vectors. Throws a conflict when the transaction does not see one of the rows.
void FetchRows(RowReader &reader, const duckdb::DuckTableEntry &table, const duckdb::Vector &row_ids, idx_t count,
               duckdb::DataChunk &result);

//! Columns of a chunk as a chunk that may be changed without harm to the first one: DuckDB slices what it appends to a
//! table, for one, where a row group ends.
void ReferenceColumns(const duckdb::DataChunk &rows, idx_t first_column, idx_t column_count, duckdb::DataChunk &result);

//! Calls `callback` with each index of a table, bound, until it returns false. None of them is dropped meanwhile: that
//! waits, as does everything else that needs the table's indexes.
void ForEachIndex(duckdb::ClientContext &context, duckdb::DataTable &storage,
                  const std::function<bool(const duckdb::ART &index)> &callback);

//! Frees the keys of rows for insertions of the same transaction. `rows` begins with the physical columns.
void FreeKeys(duckdb::ClientContext &context, duckdb::DuckTableEntry &table, const BoundConstraints &constraints,
              duckdb::Vector &row_ids, duckdb::DataChunk &rows);

//! Deletes rows in the store, and frees their keys. `rows` begins with the physical columns.
void DeleteRows(duckdb::ClientContext &context, duckdb::DuckTableEntry &table, const BoundConstraints &constraints,
                duckdb::Vector &row_ids, duckdb::DataChunk &rows);

//! The same for rows whose keys no insertion of the transaction needs; returns how many there were. `rows` need hold only
//! the indexed columns.
idx_t DeleteStored(duckdb::ClientContext &context, duckdb::DuckTableEntry &table, const BoundConstraints &constraints,
                   duckdb::Vector &row_ids, duckdb::DataChunk &rows);

//! Evaluates the keys of rows in all indexes, and throws what that throws. DuckDB evaluates those of an index that is not
//! unique when the transaction is committed, and a commit that breaks off there leaves a store that is good for nothing.
void TryKeys(duckdb::ClientContext &context, duckdb::DuckTableEntry &table, duckdb::DataChunk &rows);

//! Whether a table has a primary key.
bool HasKey(duckdb::ClientContext &context, duckdb::DataTable &storage);

//! The rows that DuckDB changes where they are, and the others: those of which an indexed column changes, or one of a type
//! that DuckDB does not change in place.
void SplitInPlace(duckdb::DuckTableEntry &table, duckdb::DataChunk &old_rows, duckdb::DataChunk &new_rows,
                  duckdb::SelectionVector &in_place, idx_t &in_place_count, duckdb::SelectionVector &others,
                  idx_t &others_count);

//! Whether DuckDB changes values of this type by deleting and appending their rows.
bool IsMovedByUpdates(const duckdb::LogicalType &type);

//! Whether DuckDB may take values of this type for others: 0.0 for -0.0, a month for 30 days.
bool MayDropUpdates(const duckdb::LogicalType &type);

//! Where a vector has had no update since the last checkpoint, which is another one on each node, DuckDB drops updates to a
//! value that is equal to the stored one: to the one that is replaced, or to one that was there before a NULL. This makes
//! sure that the next update of a column drops none that changes anything.
void KeepFromDropping(duckdb::ClientContext &context, duckdb::DuckTableEntry &table, duckdb::Vector &row_ids,
                      duckdb::PhysicalIndex column, duckdb::Vector &old_values, duckdb::Vector &new_values, idx_t count);

//! Adds columns to those that change, until a CHECK has all of its columns or none. DuckDB evaluates a CHECK where it is
//! given one of its columns, and asks for all of them then.
void AddCheckedColumns(const BoundConstraints &constraints, duckdb::physical_index_set_t &updated);

//! Some rows of a chunk, which stays as it is.
void SelectRows(const duckdb::DataChunk &rows, const duckdb::SelectionVector &sel, idx_t count, duckdb::DataChunk &result);

//! Changes rows in the store where they are, in those columns in which the bytes of `new_rows` differ from those of
//! `old_rows`. Both begin with the physical columns.
void UpdateRows(duckdb::ClientContext &context, duckdb::DuckTableEntry &table, const BoundConstraints &constraints,
                duckdb::Vector &row_ids, duckdb::DataChunk &old_rows, duckdb::DataChunk &new_rows);

} // namespace quack
