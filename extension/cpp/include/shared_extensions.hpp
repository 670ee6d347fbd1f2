//! DuckDB's extensions in what every node evaluates for itself.
#pragma once

#include "catalog.hpp"
#include "duckdb.hpp"
#include "duckdb/function/function.hpp"
#include "duckdb/planner/expression.hpp"

#include <set>

namespace quack {

//! Names of extensions.
using Extensions = std::set<duckdb::string>;

//! Whether every node has the extension: it is linked into every DuckDB, `quackd` included, or is this one. What has none is
//! of the core.
bool IsPartOfDuckDB(const duckdb::Identifier &extension);

//! What the process has loaded besides, each with its version if it says one, in order: as nodes declare it to each other.
duckdb::vector<duckdb::string> DeclaredExtensions(duckdb::DatabaseInstance &db);

//! Whether a function takes or gives values with a time zone, so that it may depend on the settings TimeZone and Calendar.
bool HasTimeZone(const duckdb::FunctionSignature &signature);

//! What an expression needs to mean the same everywhere. The extension icu gives core functions, casts and collations other
//! implementations for values with a time zone and for text: whether a process has it must not decide.
Extensions NeededBy(duckdb::ClientContext &context, const duckdb::Expression &expression);
//! What a column's type needs: its collations.
Extensions NeededBy(const duckdb::LogicalType &type);

//! For the origin: throws unless all members have declared these extensions. `clause` is what errors call the definition.
void RequireEverywhere(const QuackCatalog &catalog, const Extensions &extensions, const duckdb::string &clause);
//! For the applier: throws unless this process has them. Such an error is the node's own and decides nothing.
void RequireHere(duckdb::ClientContext &context, const Extensions &extensions, const duckdb::string &clause);

} // namespace quack
