//! Definitions as bytes, and the catalog as they name it.
#pragma once

#include "catalog.hpp"
#include "settings.hpp"
#include "duckdb.hpp"
#include "duckdb/parser/parsed_data/create_info.hpp"
#include "duckdb/parser/parsed_data/parse_info.hpp"

namespace quack {

//! What the bytes of a definition hold. Exactly one of the first two is there.
struct DefinitionContent {
	duckdb::unique_ptr<duckdb::CreateInfo> create;
	//! An ALTER or a DROP.
	duckdb::unique_ptr<duckdb::ParseInfo> other;
	//! Settings under which rows are converted that are there, where they are not the pinned ones.
	SettingValues settings;
	//! What the transaction saw of that which is dropped or replaced (`FingerprintOf`); 0 where that is not compared.
	uint64_t seen = 0;
	//! What a statement saw of the rows that it replaces, in short (`RowsSeen`); 0 where that is not compared.
	uint64_t rows_seen = 0;
};

duckdb::string Write(const DefinitionContent &content);
//! Names in it lead into this process's catalog, apart from those within expressions.
DefinitionContent Read(duckdb::ClientContext &context, QuackCatalog &catalog, QuackBytes bytes);

//! The schema with the path [catalog, schemas from the outermost inwards, ...]: `name` may end in an empty name, as that of
//! a CREATE SCHEMA does.
duckdb::optional_ptr<duckdb::SchemaCatalogEntry> FindSchema(duckdb::CatalogTransaction transaction, QuackCatalog &catalog,
                                                            const duckdb::QualifiedName &name);

//! The type, the schemas and the name of an entry.
duckdb::string PlaceOf(duckdb::CatalogEntry &entry);
//! Of an entry and of everything that depends on it, as the connection's transaction sees them: names and definitions.
//! The same on all nodes; never 0.
uint64_t FingerprintOf(duckdb::ClientContext &context, QuackCatalog &catalog, duckdb::CatalogEntry &entry);
//! Of the rows of a table, as the connection's transaction sees them. The same on all nodes; never 0.
uint64_t RowsSeen(duckdb::ClientContext &context, duckdb::DuckTableEntry &table);

} // namespace quack
