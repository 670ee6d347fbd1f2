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

QuackSchemaEntry::QuackSchemaEntry(Catalog &catalog, CreateSchemaInfo &info, optional_ptr<SchemaCatalogEntry> parent)
    : DuckSchemaEntry(catalog, info, parent) {
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateNested(CatalogTransaction transaction, CreateSchemaInfo &info) {
	LogicalDependencyList dependencies;
	dependencies.AddDependency(*this);
	auto entry = make_uniq<QuackSchemaEntry>(catalog, info, *this);
	auto result = entry.get();
	auto &schemas = GetCatalogSet(CatalogType::SCHEMA_ENTRY);
	if (!schemas.CreateEntry(transaction, info.SchemaName(), std::move(entry), dependencies)) {
		return nullptr;
	}
	return result;
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateTable(CatalogTransaction transaction, BoundCreateTableInfo &info) {
	return ChangeCatalog(
	    transaction, catalog, [&]() { return TextOfCreate(transaction.GetContext(), info.Base()); },
	    [&]() { return DuckSchemaEntry::CreateTable(transaction, info); });
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateFunction(CatalogTransaction transaction, CreateFunctionInfo &info) {
	return ChangeCatalog(
	    transaction, catalog, [&]() { return TextOfCreate(transaction.GetContext(), info); },
	    [&]() { return DuckSchemaEntry::CreateFunction(transaction, info); });
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateIndex(CatalogTransaction transaction, CreateIndexInfo &info,
                                                         TableCatalogEntry &table) {
	return ChangeCatalog(
	    transaction, catalog, [&]() { return TextOfCreate(transaction.GetContext(), info); },
	    [&]() { return DuckSchemaEntry::CreateIndex(transaction, info, table); });
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateView(CatalogTransaction transaction, CreateViewInfo &info) {
	return ChangeCatalog(
	    transaction, catalog, [&]() { return TextOfCreate(transaction.GetContext(), info); },
	    [&]() { return DuckSchemaEntry::CreateView(transaction, info); });
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateSequence(CatalogTransaction transaction, CreateSequenceInfo &info) {
	return ChangeCatalog(
	    transaction, catalog, [&]() { return TextOfCreate(transaction.GetContext(), info); },
	    [&]() { return AddEntry(transaction, make_uniq<QuackSequenceEntry>(catalog, *this, info), info.on_conflict); });
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateType(CatalogTransaction transaction, CreateTypeInfo &info) {
	return ChangeCatalog(
	    transaction, catalog, [&]() { return TextOfCreate(transaction.GetContext(), info); },
	    [&]() { return DuckSchemaEntry::CreateType(transaction, info); });
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateTableFunction(CatalogTransaction transaction,
                                                                 CreateTableFunctionInfo &info) {
	return ChangeCatalog(
	    transaction, catalog, [&]() { return TextOfCreate(transaction.GetContext(), info); },
	    [&]() { return DuckSchemaEntry::CreateTableFunction(transaction, info); });
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
	ChangeCatalog(
	    transaction, catalog, [&]() { return TextOfAlter(transaction.GetContext(), info); },
	    [&]() {
		    DuckSchemaEntry::Alter(transaction, info);
		    return true;
	    });
}

void QuackSchemaEntry::DropEntry(ClientContext &context, DropInfo &info) {
	ChangeCatalog(
	    GetCatalogTransaction(context), catalog, [&]() { return TextOfDrop(info); },
	    [&]() {
		    DuckSchemaEntry::DropEntry(context, info);
		    return true;
	    });
}

unique_ptr<CatalogEntry> QuackSchemaEntry::Copy(ClientContext &context) const {
	auto info_copy = GetInfo();
	auto &info = info_copy->Cast<CreateSchemaInfo>();
	return make_uniq<QuackSchemaEntry>(catalog, info, parent_schema);
}

} // namespace quack
