//! ATTACH of a catalog that this process serves.
#pragma once

#include "duckdb.hpp"
#include "duckdb/planner/bound_statement.hpp"

namespace quack {

//! Takes an ATTACH of a quack catalog out of DuckDB's hands. DuckDB would make a database of its own for each, would not
//! ask us where IF NOT EXISTS finds the name, and knows of no connection that attaches.
void LeadAttach(duckdb::ClientContext &context, duckdb::BoundStatement &statement);

} // namespace quack
