//! Memory beyond the host's limit, for entries on which all members have agreed.
#pragma once

#include "duckdb.hpp"

#include <chrono>

namespace quack {

//! An entry of the log is applied although the host's `memory_limit` does not allow it: a node that refused it would
//! differ from the others, and one that waited for memory would wait for a host that may never give more. So the limit is
//! exceeded for that entry. The setting keeps the host's value, and the limit goes back to it as soon as what is held
//! allows it.
//!
//! One for each DuckDB instance, whose nodes share its memory.
class MemoryRoom {
public:
	//! Makes so many bytes free: evicts blocks that can be read again, or raises the limit to the machine's memory.
	void Ensure(duckdb::DatabaseInstance &db, duckdb::idx_t bytes);
	//! Doubles the limit, up to the machine's memory. Returns whether there is more than before.
	bool Raise(duckdb::DatabaseInstance &db);
	//! Rows that the store takes or loses hold so many bytes of text, see `TextBytes`.
	void NoteRows(duckdb::idx_t rows, duckdb::idx_t text_bytes);
	//! After a commit: gives back what is not needed any more. To find out costs a walk over all blocks, so that it looks
	//! now and then.
	void GiveBackSometimes(duckdb::DatabaseInstance &db);
	//! Gives back what is not needed any more.
	void GiveBack(duckdb::DatabaseInstance &db);

	//! Room for a checkpoint, for as long as this is there. A checkpoint reads whole vectors of rows again on each thread,
	//! and ends the store for want of memory.
	class ForCheckpoint {
	public:
		//! `columns` of the widest table: each has a block that is being filled.
		ForCheckpoint(MemoryRoom &room, duckdb::DatabaseInstance &db, duckdb::idx_t columns);
		~ForCheckpoint();

	private:
		MemoryRoom &room;
	};

private:
	bool RaiseTo(duckdb::BufferManager &buffers, duckdb::idx_t wanted);

	duckdb::mutex lock;
	//! What a vector holds that is full of the largest rows that were noted.
	duckdb::atomic<duckdb::idx_t> vector_bytes {0};
	//! While there are some, nothing is given back.
	duckdb::atomic<duckdb::idx_t> checkpoints {0};
	//! The host's limit, while the limit in force is `raised`.
	duckdb::atomic<duckdb::idx_t> host_limit {0};
	duckdb::idx_t raised = 0;
	std::chrono::steady_clock::time_point next_look;
};

} // namespace quack
