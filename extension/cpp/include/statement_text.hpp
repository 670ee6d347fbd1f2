//! What a statement writes, as far as its text tells.
#pragma once

#include "duckdb.hpp"

namespace quack {

//! How a statement depends on what others write while it runs.
enum class StatementKind : uint8_t {
	//! Reads only, or changes the catalog.
	OTHER,
	//! Plain INSERT, COPY ... FROM: writes rows that do not depend on the rows of the table.
	INSERT,
	//! UPDATE, DELETE: its rows must still be there when it is applied.
	CHANGE,
	//! A CHANGE that reads nothing but its own table: it may run beside others, since it can run again (repeat.hpp).
	OPTIMISTIC_CHANGE,
	//! MERGE, INSERT ... ON CONFLICT: moreover, what it has not found must still be missing.
	UPSERT
};

struct StatementWrites {
	StatementKind kind = StatementKind::OTHER;
	//! The names of the tables that it writes, in upper case, without their schemas.
	duckdb::set<duckdb::string> tables;

	//! Adds what is known of the same statement from elsewhere. An UPSERT remains one.
	void Add(const StatementWrites &other);
	bool MeetAtTable(const StatementWrites &other) const;
};

//! What the running statement of a connection writes. A text may hide it (a macro, a trigger) and may mean tables of
//! another catalog.
StatementWrites WritesOf(duckdb::ClientContext &context);

//! A table's name as `StatementWrites` has it.
duckdb::string NameAtGate(const duckdb::string &table);

} // namespace quack
