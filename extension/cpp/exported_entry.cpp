//! Makes the entries of macros and indexes. Their text for EXPORT and listings leaves out the catalog's name, so that
//! another catalog can read it.

#include "exported_entry.hpp"

#include "catalog.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/catalog/catalog_entry/table_catalog_entry.hpp"

using namespace duckdb;

namespace quack {

namespace {

const Identifier &SharedNameOf(const Catalog &catalog) {
	return reinterpret_cast<const QuackCatalog &>(catalog).SharedName();
}

template <class ENTRY>
class ExportedMacro : public ENTRY {
public:
	using ENTRY::ENTRY;

	unique_ptr<CreateInfo> GetInfo() const override {
		auto native = ENTRY::GetInfo();
		auto &macro = native->template Cast<CreateMacroInfo>();
		auto info = make_uniq<ExportedInfo<CreateMacroInfo>>(SharedNameOf(this->catalog), macro.type);
		macro.CopyProperties(*info);
		info->SetQualifiedName(macro.GetQualifiedName());
		info->macros = std::move(macro.macros);
		return std::move(info);
	}
	unique_ptr<CatalogEntry> Copy(ClientContext &) const override {
		auto info = GetInfo();
		return make_uniq<ExportedMacro>(this->catalog, this->schema, info->template Cast<CreateMacroInfo>());
	}
};

class ExportedIndex : public DuckIndexEntry {
public:
	using DuckIndexEntry::DuckIndexEntry;

	unique_ptr<CreateInfo> GetInfo() const override {
		auto native = DuckIndexEntry::GetInfo();
		auto &index = native->Cast<CreateIndexInfo>();
		auto result = make_uniq<ExportedInfo<CreateIndexInfo>>(SharedNameOf(catalog), index);
		index.CopyProperties(*result);
		result->expressions = std::move(index.expressions);
		result->parsed_expressions = std::move(index.parsed_expressions);
		return std::move(result);
	}
	unique_ptr<CatalogEntry> Copy(ClientContext &) const override {
		auto copied = GetInfo();
		auto result = make_uniq<ExportedIndex>(catalog, schema, copied->Cast<CreateIndexInfo>(), info);
		result->initial_index_size = initial_index_size;
		return std::move(result);
	}
};

} // namespace

unique_ptr<StandardEntry> MakeMacroEntry(Catalog &catalog, SchemaCatalogEntry &schema, CreateMacroInfo &info) {
	unique_ptr<StandardEntry> entry;
	if (info.type == CatalogType::MACRO_ENTRY) {
		entry = make_uniq<ExportedMacro<ScalarMacroCatalogEntry>>(catalog, schema, info);
	} else {
		entry = make_uniq<ExportedMacro<TableMacroCatalogEntry>>(catalog, schema, info);
	}
	entry->internal = info.internal;
	return entry;
}

unique_ptr<DuckIndexEntry> MakeIndexEntry(Catalog &catalog, SchemaCatalogEntry &schema, CreateIndexInfo &info,
                                          TableCatalogEntry &table) {
	return make_uniq<ExportedIndex>(catalog, schema, info, table);
}

} // namespace quack
