//! Entries whose text another catalog can read.
#pragma once

#include "closed_names.hpp"
#include "duckdb/catalog/catalog_entry/duck_index_entry.hpp"
#include "duckdb/catalog/catalog_entry/scalar_macro_catalog_entry.hpp"
#include "duckdb/catalog/catalog_entry/table_macro_catalog_entry.hpp"
#include "duckdb/parser/parsed_data/create_index_info.hpp"
#include "duckdb/parser/parsed_data/create_macro_info.hpp"

namespace quack {

//! A definition whose text has no catalog's name in it where it does not say in which one it is, as that of EXPORT.
template <class INFO>
struct ExportedInfo : public INFO {
	template <class... ARGS>
	explicit ExportedInfo(duckdb::Identifier catalog, ARGS &&...args)
	    : INFO(std::forward<ARGS>(args)...), catalog(std::move(catalog)) {
	}
	duckdb::string ToString() const override {
		if (!this->GetQualifiedName().Catalog().empty()) {
			return INFO::ToString();
		}
		auto open = INFO::Copy();
		OpenNames(*open, catalog);
		return open->ToString();
	}

	//! The name under which definitions know the catalog.
	duckdb::Identifier catalog;
};

//! Makes the entry of a macro. The text of EXPORT says nowhere in which catalog something is; nor does that of the entry,
//! though names in it were closed.
duckdb::unique_ptr<duckdb::StandardEntry> MakeMacroEntry(duckdb::Catalog &catalog, duckdb::SchemaCatalogEntry &schema,
                                                         duckdb::CreateMacroInfo &info);
//! Makes the entry of an index, likewise.
duckdb::unique_ptr<duckdb::DuckIndexEntry> MakeIndexEntry(duckdb::Catalog &catalog, duckdb::SchemaCatalogEntry &schema,
                                                          duckdb::CreateIndexInfo &info, duckdb::TableCatalogEntry &table);

} // namespace quack
