//! Orders the statements of this process that write what they have read.
#pragma once

#include "statement_text.hpp"

#include "duckdb.hpp"

#include <chrono>
#include <condition_variable>
#include <list>

namespace quack {

class Passage;

//! A statement that computes its changes from what it has read passes before it takes its snapshot, and leaves when it
//! has ended. At a table UPSERT excludes every other write, CHANGE excludes both kinds of change; INSERTs pass together,
//! and so do optimistic changes. Statements that exclude each other pass in the order of their arrival.
//!
//! Two such statements at the same time would conflict in the log, although each is a transaction of its own and could
//! simply have run after the other. The gate is an optimization: the log alone guarantees correctness, statements of other
//! nodes do not pass the gate, and it takes the names of tables from a text. So exclusion may end early: a statement that
//! takes long excludes others for a part of its time only, and a statement waits for a bounded time.
class StatementGate {
public:
	using Clock = std::chrono::steady_clock;
	//! The end of the patience of a statement that begins now.
	static Clock::time_point PatienceEnds();
	//! Waits until the statement may pass, or its patience ends; throws when it is interrupted. `losses` tells how often it has
	//! run in vain: it excludes others for longer each time, so that a long statement comes to its end beside short ones.
	duckdb::unique_ptr<Passage> Enter(duckdb::ClientContext &context, StatementWrites writes, duckdb::idx_t losses,
	                                  Clock::time_point patience_ends);

private:
	friend class Passage;

	//! Whether an earlier statement that waits, or any that is inside, excludes this one.
	bool IsExcluded(const Passage &passage) const;
	//! Lets in what need not wait any more.
	void AdmitWaiting();

	duckdb::mutex lock;
	//! In the order of arrival.
	std::list<Passage *> passages;
	duckdb::idx_t waiting = 0;
};

//! The place of a statement at the gate, which it leaves at the end of the object.
class Passage {
public:
	Passage(StatementGate &gate, StatementWrites writes, duckdb::idx_t losses);
	~Passage();

	const StatementWrites writes;

private:
	friend class StatementGate;
	using Clock = StatementGate::Clock;

	bool Excludes(const Passage &other) const;
	void LetIn();

	StatementGate &gate;
	std::list<Passage *>::iterator place;
	bool is_inside = false;
	//! How long it excludes others, from the moment at which it is let in.
	const Clock::duration tenure;
	Clock::time_point excludes_until;
	std::condition_variable let_in;
};

} // namespace quack
