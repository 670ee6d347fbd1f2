//! What a client is told when its statement is interrupted while the outcome of its write is unknown.
#pragma once

#include "duckdb.hpp"

#include <chrono>

namespace quack {

//! After its hand-over to the log, and until its outcome is known, a write may take effect, even if the client interrupts the
//! statement. DuckDB's own threads notice an interruption, or the end of `max_execution_time`, before the waiting thread does,
//! and would report only "Interrupted!", after which a client runs its statement again. So the statement heeds neither for a
//! moment, nor once the write has been committed; when the write takes longer, the error says what is known.
//!
//! An error after the commit, such as want of memory for the rows of RETURNING, says what has been committed.
//!
//! Belongs to one connection. `HandedOver`, `IsInterrupted` and `Known` come from the thread that waits; `Correct` comes
//! when no thread of the statement runs any more.
class Outcome {
public:
	//! The log has the write of this statement.
	void HandedOver(duckdb::ClientContext &context);
	//! Whether the statement is to wait no longer.
	bool IsInterrupted(duckdb::ClientContext &context);
	//! The wait has ended: `taken` when the write has taken effect, not when it is certain that it has not.
	void Known(duckdb::ClientContext &context, bool taken);
	//! The statement ends: replaces an error that says less than is known about the write.
	void Correct(duckdb::optional_ptr<duckdb::ErrorData> error);

	//! Whether the log has the write, and its outcome is not known: the statement waits for the applier.
	bool IsAwaited() const {
		return state == State::ON_ITS_WAY;
	}

private:
	enum class State { NOTHING, ON_ITS_WAY, COMMITTED };

	duckdb::atomic<State> state {State::NOTHING};
	//! Interruptions are heeded from then on.
	std::chrono::steady_clock::time_point heeded;
	bool heeds = true;
	duckdb::optional_idx deadline;
};

} // namespace quack
