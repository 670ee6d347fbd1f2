//! Functions that DuckDB brings, for what puts something of ours before them.
#pragma once

#include "duckdb.hpp"
#include "duckdb/common/enums/catalog_type.hpp"

namespace duckdb {
class CatalogEntry;
class ExtensionLoader;
}

namespace quack {

//! The entry of a function; null when the process does not have it: JSON's are not in every one.
duckdb::optional_ptr<duckdb::CatalogEntry> SystemFunction(duckdb::ExtensionLoader &loader, duckdb::CatalogType type,
                                                          const char *name);

} // namespace quack
