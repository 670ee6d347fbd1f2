//! Joins of which DuckDB 2.0.0 breaks the process or loses rows. DuckDB 2.0.1 has mended them.
#pragma once

#include "duckdb.hpp"

namespace duckdb {
class LogicalOperator;
}

namespace quack {

//! Changes plans, after DuckDB has optimized them, so that they avoid three faults of DuckDB 2.0.0:
//!
//! - It writes behind a buffer where a join filters the row ids of a table with deleted rows by a Bloom filter:
//!   `RowIdColumnData::Filter` says that there are as many rows as have not been deleted, and the filter uses their places.
//!   DuckDB joins on row ids by itself, to read what a LIMIT leaves. Such filters are not pushed into scans of our tables;
//!   smallest and largest values and lists still are.
//! - A hash join gives out its build side as one dictionary. Where an operator above forwards the dictionary for some chunks
//!   only (CASE, a cross product, a probe side that spills), the next join or cache stops the whole instance: "unexpected
//!   dictionary", "changed identity". A join below such an operator gives out plain vectors.
//! - A join by several keys loses rows when a LIST or an ARRAY comes after a key that is constant in a chunk
//!   (`ListLoopHash` combines hashes that it has not written). A LIST or an ARRAY comes first.
void RegisterJoinFaults(duckdb::DatabaseInstance &instance);

//! Refuses a plan that reads replicated tables while the host has switched off what changes plans (`disabled_optimizers`).
void RequireJoinFaultsAvoided(duckdb::ClientContext &context, duckdb::LogicalOperator &plan);

} // namespace quack
