//! Statements that still do something after they have written, and so can fail or meet a conflict later.
#pragma once

#include "duckdb.hpp"
#include "duckdb/planner/bound_statement.hpp"

namespace quack {

//! Lets a statement that goes on after a write run again when it meets a conflict at any of its steps. Such a statement is
//! a transaction of several steps. A conflict may show at each step, and at the end, when the client may already have its
//! rows. So the statement runs in a session beside the client's own, again if need be, and the client gets the rows when
//! the statement is committed. In a transaction that the client has begun it runs in the client's session.
void LeadWholeStatement(duckdb::BoundStatement &statement);

} // namespace quack
