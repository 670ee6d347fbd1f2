//! Catalog changes inside a schema: to the log, or, for the applier and while the file is loaded, to DuckDB.

#include "schema_entry.hpp"

#include "catalog.hpp"
#include "ddl.hpp"
#include "sequence.hpp"
#include "duckdb/parser/parsed_data/create_collation_info.hpp"
#include "duckdb/parser/parsed_data/create_coordinate_system_info.hpp"
#include "duckdb/parser/parsed_data/create_function_info.hpp"
#include "duckdb/parser/parsed_data/create_index_info.hpp"
#include "duckdb/parser/parsed_data/create_schema_info.hpp"
#include "duckdb/parser/parsed_data/create_sequence_info.hpp"
#include "duckdb/parser/parsed_data/create_table_function_info.hpp"
#include "duckdb/parser/parsed_data/create_table_info.hpp"
#include "duckdb/parser/parsed_data/create_type_info.hpp"
#include "duckdb/parser/parsed_data/create_view_info.hpp"
#include "duckdb/parser/parsed_data/drop_info.hpp"
#include "duckdb/planner/parsed_data/bound_create_table_info.hpp"

using namespace duckdb;

namespace quack {

QuackSchemaEntry::QuackSchemaEntry(Catalog &catalog, CreateSchemaInfo &info) : DuckSchemaEntry(catalog, info) {
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateTable(CatalogTransaction transaction, BoundCreateTableInfo &info) {
	if (PassesThrough(transaction)) {
		return DuckSchemaEntry::CreateTable(transaction, info);
	}
	ProposeCreate(transaction, catalog, info.Base());
	return nullptr;
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateFunction(CatalogTransaction transaction, CreateFunctionInfo &info) {
	if (PassesThrough(transaction)) {
		return DuckSchemaEntry::CreateFunction(transaction, info);
	}
	ProposeCreate(transaction, catalog, info);
	return nullptr;
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateIndex(CatalogTransaction transaction, CreateIndexInfo &info,
                                                         TableCatalogEntry &table) {
	if (PassesThrough(transaction)) {
		return DuckSchemaEntry::CreateIndex(transaction, info, table);
	}
	ProposeCreate(transaction, catalog, info);
	return nullptr;
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateView(CatalogTransaction transaction, CreateViewInfo &info) {
	if (PassesThrough(transaction)) {
		return DuckSchemaEntry::CreateView(transaction, info);
	}
	ProposeCreate(transaction, catalog, info);
	return nullptr;
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateSequence(CatalogTransaction transaction, CreateSequenceInfo &info) {
	if (PassesThrough(transaction)) {
		return AddEntry(transaction, make_uniq<QuackSequenceEntry>(catalog, *this, info), info.on_conflict);
	}
	ProposeCreate(transaction, catalog, info);
	return nullptr;
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateType(CatalogTransaction transaction, CreateTypeInfo &info) {
	if (PassesThrough(transaction)) {
		return DuckSchemaEntry::CreateType(transaction, info);
	}
	ProposeCreate(transaction, catalog, info);
	return nullptr;
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateTableFunction(CatalogTransaction transaction,
                                                                 CreateTableFunctionInfo &info) {
	if (PassesThrough(transaction)) {
		return DuckSchemaEntry::CreateTableFunction(transaction, info);
	}
	ProposeCreate(transaction, catalog, info);
	return nullptr;
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateCollation(CatalogTransaction transaction,
                                                             CreateCollationInfo &info) {
	if (PassesThrough(transaction)) {
		return DuckSchemaEntry::CreateCollation(transaction, info);
	}
	throw NotImplementedException("CREATE COLLATION is not supported in the replicated catalog %s",
	                              catalog.GetName().GetIdentifierName());
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateCoordinateSystem(CatalogTransaction transaction,
                                                                    CreateCoordinateSystemInfo &info) {
	if (PassesThrough(transaction)) {
		return DuckSchemaEntry::CreateCoordinateSystem(transaction, info);
	}
	throw NotImplementedException("CREATE COORDINATE SYSTEM is not supported in the replicated catalog %s",
	                              catalog.GetName().GetIdentifierName());
}

void QuackSchemaEntry::Alter(CatalogTransaction transaction, AlterInfo &info) {
	if (PassesThrough(transaction)) {
		DuckSchemaEntry::Alter(transaction, info);
		return;
	}
	ProposeAlter(transaction, catalog, info);
}

void QuackSchemaEntry::DropEntry(ClientContext &context, DropInfo &info) {
	auto transaction = GetCatalogTransaction(context);
	if (PassesThrough(transaction)) {
		DuckSchemaEntry::DropEntry(context, info);
		return;
	}
	ProposeDrop(context, catalog, info);
}

unique_ptr<CatalogEntry> QuackSchemaEntry::Copy(ClientContext &context) const {
	auto info_copy = GetInfo();
	auto &info = info_copy->Cast<CreateSchemaInfo>();
	return make_uniq<QuackSchemaEntry>(catalog, info);
}

} // namespace quack
