//! Statements that go on after they have written.
#pragma once

#include "duckdb.hpp"
#include "duckdb/planner/bound_statement.hpp"

namespace quack {

//! Lets a statement that goes on after a write run again when it meets a conflict, on whatever way. Such a statement is
//! a transaction of several steps, and a conflict may show at each of them, and at the end, when its rows may have gone to
//! the client. So it runs in a session beside the client's own, again if need be, and the client gets what it emits when
//! it is committed. In a transaction that the client has begun it runs as it is.
void LeadWholeStatement(duckdb::BoundStatement &statement);

} // namespace quack
