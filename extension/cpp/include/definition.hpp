//! Changes of the catalog in the form in which they travel.
#pragma once

#include "catalog.hpp"
#include "settings.hpp"
#include "duckdb.hpp"
#include "duckdb/parser/parsed_data/alter_info.hpp"
#include "duckdb/parser/parsed_data/alter_table_info.hpp"
#include "duckdb/parser/parsed_data/create_index_info.hpp"
#include "duckdb/parser/parsed_data/create_table_info.hpp"
#include "duckdb/parser/parsed_data/drop_info.hpp"
#include "duckdb/planner/parsed_data/bound_create_table_info.hpp"

namespace quack {

//! A change of the catalog as its origin has bound it: every name is settled (closed_names.hpp), and nothing in it depends
//! on a setting of the session or of a node. `bytes` is DuckDB's own serialization of it.
struct Definition {
	//! For people.
	duckdb::string text;
	//! What the applier reads.
	duckdb::string bytes;
};

//! What is to be known of the transaction that a change of the catalog belongs to.
struct DefinitionScope {
	duckdb::ClientContext &context;
	QuackCatalog &catalog;
	//! Whether what it drops or replaces must be what it has seen: where other statements came before it in its transaction,
	//! or its own query takes its time.
	bool compares_seen;
	//! What the statement reads of the rows that it replaces (`RowsSeen`); 0 when it reads none of them.
	uint64_t rows_seen = 0;
};

//! The definitions of statements. They throw what a client is told of a definition that not every node would understand
//! alike, among it everything that the applier would meet when it binds the definition: it is bound here from the same bytes,
//! by the same code, in the same closed scope. `schema` is where the entry is, or is to be.
Definition DefineCreate(const DefinitionScope &scope, const duckdb::SchemaCatalogEntry &schema,
                        const duckdb::CreateInfo &info);
//! Refuses a view or a macro over variables of the process, such as a DataFrame. Python looks for them in the thread of the
//! client's code, so that this comes while the statement is bound, and finds nothing later.
void RequireNoVariables(const DefinitionScope &scope, const duckdb::CreateInfo &info);
Definition DefineCreateSchema(const DefinitionScope &scope, const duckdb::CreateSchemaInfo &info);
Definition DefineCreateIndex(const DefinitionScope &scope, duckdb::TableCatalogEntry &table,
                             const duckdb::CreateIndexInfo &info);
Definition DefineAlter(const DefinitionScope &scope, const duckdb::SchemaCatalogEntry &schema,
                       const duckdb::AlterInfo &info);
Definition DefineDrop(const DefinitionScope &scope, const duckdb::SchemaCatalogEntry &schema, const duckdb::DropInfo &info);
Definition DefineDropSchema(const DefinitionScope &scope, const duckdb::DropInfo &info);

//! The table that a definition makes, bound by this connection in the closed scope.
duckdb::unique_ptr<duckdb::BoundCreateTableInfo> BindTable(duckdb::ClientContext &context, QuackCatalog &catalog,
                                                           const duckdb::string &bytes);

//! A table's constraints, bound in the closed scope: CHECK means the same on every node.
duckdb::vector<duckdb::unique_ptr<duckdb::BoundConstraint>> BindConstraints(duckdb::ClientContext &context,
                                                                            duckdb::TableCatalogEntry &table);
//! Evaluates the keys of an index for the rows that are there, as the applier would, and throws what it would meet.
void RehearseIndex(duckdb::ClientContext &context, QuackCatalog &catalog, const duckdb::string &bytes);

//! A change of a column's type that means the same for the rows that are there, and does not fail for others: DuckDB 2.0.0
//! evaluates its expression also for deleted rows, which each node keeps until a checkpoint of its own. Throws what a row
//! that is there does not allow.
duckdb::unique_ptr<duckdb::ChangeColumnTypeInfo> ForLiveRows(duckdb::ClientContext &context, duckdb::DuckTableEntry &table,
                                                             const duckdb::ChangeColumnTypeInfo &change);
//! Throws when the DEFAULT of a new column cannot be evaluated, also where the table has no rows: for deleted ones DuckDB
//! would.
void RequireDefault(duckdb::ClientContext &context, const duckdb::ColumnDefinition &column);

//! Binds the indexes of a table whose file has just been read. Later, a connection with other settings would.
void BindIndexes(duckdb::ClientContext &context, duckdb::DuckTableEntry &table);

//! For the applier: makes the change, in its running transaction.
void Apply(duckdb::Connection &connection, QuackCatalog &catalog, QuackBytes definition);

} // namespace quack
