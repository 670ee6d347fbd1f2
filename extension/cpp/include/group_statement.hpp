//! ALTER TABLE ... SET GROUPS n, SET GROUP 'name' and SET GROUP DEFAULT.
#pragma once

#include "duckdb.hpp"
#include "duckdb/planner/bound_statement.hpp"
#include "duckdb/planner/planner_extension.hpp"

namespace quack {

//! Lets DuckDB's parser take the statements.
void RegisterGroupStatements(duckdb::DatabaseInstance &instance);

//! Puts the plan of the ALTER TABLE that such a statement stands for in place of its own.
void LeadGroupStatement(duckdb::PlannerExtensionInput &input, duckdb::BoundStatement &statement);

} // namespace quack
