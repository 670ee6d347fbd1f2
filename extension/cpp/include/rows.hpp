//! Rows of a table by their ids: what capturing, open transactions and the applier share.
#pragma once

#include "duckdb.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/planner/bound_constraint.hpp"
#include "duckdb/transaction/duck_transaction.hpp"

namespace quack {

using BoundConstraints = duckdb::vector<duckdb::unique_ptr<duckdb::BoundConstraint>>;

//! A schema as entries of the log name it: its path from the catalog down, joined by a character that no name holds. A
//! schema that is not nested is its own name.
duckdb::string PathOf(const duckdb::SchemaCatalogEntry &schema);
//! The qualified name of something in the schema with that path.
duckdb::QualifiedName NameIn(const duckdb::string &catalog, const duckdb::string &schema_path, const duckdb::string &name);

//! All physical columns of the rows with these ids, then the ids, in the table's order of columns. Throws a conflict
//! when the transaction does not see one of them.
void FetchRows(duckdb::DuckTransaction &transaction, duckdb::DuckTableEntry &table, duckdb::Vector &row_ids, idx_t count,
               duckdb::DataChunk &result);

//! Frees the keys of rows for insertions of the same transaction. `rows` begins with the physical columns.
void FreeKeys(duckdb::ClientContext &context, duckdb::DuckTableEntry &table, const BoundConstraints &constraints,
              duckdb::Vector &row_ids, duckdb::DataChunk &rows);

//! Deletes rows in the store, and frees their keys. `rows` begins with the physical columns.
void DeleteRows(duckdb::ClientContext &context, duckdb::DuckTableEntry &table, const BoundConstraints &constraints,
                duckdb::Vector &row_ids, duckdb::DataChunk &rows);

//! Changes rows in the store where they are, in those columns in which `new_rows` differs from `old_rows`. Both begin
//! with the physical columns.
void UpdateRows(duckdb::ClientContext &context, duckdb::DuckTableEntry &table, const BoundConstraints &constraints,
                duckdb::Vector &row_ids, duckdb::DataChunk &old_rows, duckdb::DataChunk &new_rows);

} // namespace quack
