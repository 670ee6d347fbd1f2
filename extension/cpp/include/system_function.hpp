//! Functions of DuckDB's system catalog, for code that puts a check of ours before them.
#pragma once

#include "duckdb.hpp"
#include "duckdb/common/enums/catalog_type.hpp"
#include "duckdb/function/scalar_function.hpp"
#include "duckdb/parser/parsed_data/create_info.hpp"

namespace duckdb {
class CatalogEntry;
class ExtensionLoader;
}

namespace quack {

//! The entry of a function; null when the process does not have it: JSON's are not in every one.
duckdb::optional_ptr<duckdb::CatalogEntry> SystemFunction(duckdb::ExtensionLoader &loader, duckdb::CatalogType type,
                                                          const char *name);

//! What registers an entry's functions again, in its place.
template <class INFO, class ENTRY>
INFO InfoOf(const ENTRY &entry) {
	INFO info(entry.functions);
	info.alias_of = entry.alias_of;
	info.descriptions = entry.descriptions;
	info.on_conflict = duckdb::OnCreateConflict::REPLACE_ON_CONFLICT;
	return info;
}

//! Changes a scalar function, if the process has it.
void ChangeScalar(duckdb::ExtensionLoader &loader, const char *name,
                  const std::function<void(duckdb::ScalarFunction &function)> &change);

//! Has a scalar function bound by `check`, which throws or returns what `BindNatively` makes.
void CheckBefore(duckdb::ExtensionLoader &loader, const char *name, duckdb::bind_scalar_function_t check);
duckdb::unique_ptr<duckdb::FunctionData> BindNatively(duckdb::BindScalarFunctionInput &input);

} // namespace quack
