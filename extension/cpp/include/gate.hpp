//! Orders the statements of this process that write what they have read.
#pragma once

#include "duckdb.hpp"

#include <condition_variable>

namespace quack {

//! How a statement depends on what others write while it runs.
enum class StatementKind : uint8_t {
	//! Reads only, or changes the catalog.
	OTHER,
	//! Plain INSERT, COPY: writes rows that do not depend on the rows of the table.
	INSERT,
	//! UPDATE, DELETE: its rows must still be there when it is applied.
	CHANGE,
	//! A CHANGE that reads nothing but its own table: it may run beside others, since it can run again (repeat.hpp).
	OPTIMISTIC_CHANGE,
	//! MERGE, INSERT ... ON CONFLICT: moreover, what it has not found must still be missing.
	UPSERT
};

//! Whether a statement is one that writes what it has read, told from its text.
StatementKind KindOf(duckdb::ClientContext &context);

//! A statement that computes its changes from what it has read passes before it takes its snapshot, and leaves when it
//! has ended. UPSERT excludes every other write, CHANGE excludes both kinds of change; INSERTs pass together, and so do
//! optimistic changes.
//!
//! Two such statements at the same time would meet as a conflict in the log, although each is a transaction of its own
//! and could simply have run after the other. The gate decides nothing about correctness, which is the log's:
//! statements of other nodes do not pass it.
class StatementGate {
public:
	//! Waits until the statement may pass; throws when it is interrupted.
	void Enter(duckdb::ClientContext &context, StatementKind kind);
	void Leave(StatementKind kind);

private:
	bool MayPass(StatementKind kind) const;

	duckdb::mutex lock;
	std::condition_variable left;
	//! Statements inside, by kind.
	idx_t inside[5] = {0, 0, 0, 0, 0};
	//! Statements that wait, by kind: those that pass together queue behind the ones that exclude them.
	idx_t waiting[5] = {0, 0, 0, 0, 0};
};

} // namespace quack
