//! The extension's hook on every statement that DuckDB has bound.
#pragma once

#include "duckdb.hpp"

namespace quack {

//! Makes DuckDB's planner pass statements on after binding them.
void RegisterAfterBinding(duckdb::DatabaseInstance &instance);

} // namespace quack
