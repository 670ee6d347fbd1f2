//! Implementation of the search for functions that DuckDB brings.

#include "system_function.hpp"

#include "duckdb/catalog/catalog.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/main/extension/extension_loader.hpp"

using namespace duckdb;

namespace quack {

optional_ptr<CatalogEntry> SystemFunction(ExtensionLoader &loader, CatalogType type, const char *name) {
	auto &instance = loader.GetDatabaseInstance();
	auto transaction = CatalogTransaction::GetSystemTransaction(instance);
	auto &schema = Catalog::GetSystemCatalog(instance).GetSchema(transaction, Identifier::DefaultSchema());
	return schema.GetEntry(transaction, type, Identifier(name));
}

} // namespace quack
