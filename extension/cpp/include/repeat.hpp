//! Running a statement again that has met a conflict.
#pragma once

#include "duckdb.hpp"
#include "duckdb/execution/physical_operator.hpp"

namespace quack {

class StatementState;

//! Whether the running statement, which has met a conflict and so has changed nothing, may run again: it is a
//! transaction of its own, and everything that it reads is still there to be read. An open file or a stream of a
//! program may not be.
bool MayRepeat(duckdb::ClientContext &context, const duckdb::PhysicalOperator &plan);
//! The same of one that has several steps, whose `plan` is all of it, before it runs.
bool MayRunApart(duckdb::ClientContext &context, const duckdb::PhysicalOperator &plan);

//! The columns of all tables that a plan reads, or returns rows of, in one number.
uint64_t ShapeOfPlan(const duckdb::PhysicalOperator &plan);
//! Throws a conflict where a statement that runs again emits other columns than the plan expects that it runs for.
void RequireSameShape(const StatementState &state, uint64_t shape);

//! Runs the running statement of `context` again, in a session like its own and a transaction that begins now, until it
//! meets no conflict. Replaces `emitted` by what it emits; throws what it throws. `shape` is that of what it is to emit.
//!
//! It is planned anew: the plan that met the conflict relies on statistics of the rows that it has read.
void Repeat(duckdb::ClientContext &context, duckdb::ColumnDataCollection &emitted, uint64_t shape);
//! The same from the start, for a statement that has not run yet.
void RunApart(duckdb::ClientContext &context, duckdb::ColumnDataCollection &emitted, uint64_t shape);

//! Hands over what a statement emits, if it is one that another session has run.
void HandOver(StatementState &state, duckdb::ColumnDataCollection &emitted);

} // namespace quack
