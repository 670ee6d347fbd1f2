//! What the extension does to every statement once it is bound.
#pragma once

#include "duckdb.hpp"

namespace quack {

//! Makes DuckDB's planner pass statements on after binding them.
void RegisterAfterBinding(duckdb::DatabaseInstance &instance);

} // namespace quack
