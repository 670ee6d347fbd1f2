//! Raises DuckDB's memory limit above the host's for entries that every node must apply, and for checkpoints. It lowers
//! the limit again when the memory in use allows it.

#include "memory_room.hpp"

#include "duckdb/common/file_system.hpp"
#include "duckdb/main/database.hpp"
#include "duckdb/parallel/task_scheduler.hpp"
#include "duckdb/storage/buffer_manager.hpp"

using namespace duckdb;

namespace quack {

constexpr std::chrono::seconds BETWEEN_LOOKS(5);
//! For what a checkpoint holds at a time besides: the catalog, and blocks of it.
constexpr idx_t MEMORY_FOR_CHECKPOINT = idx_t(64) << 20;

void MemoryRoom::Ensure(DatabaseInstance &db, idx_t bytes) {
	auto &buffers = BufferManager::GetBufferManager(db);
	if (buffers.GetUsedMemory() + bytes <= buffers.GetMaxMemory()) {
		return;
	}
	// What is reserved is missing elsewhere for a moment: not the better part of all.
	if (bytes <= buffers.GetMaxMemory() / 4 * 3) {
		try {
			buffers.ReserveMemory(bytes);
			buffers.FreeReservedMemory(bytes);
			return;
		} catch (std::exception &) {
			// There is no memory, or no folder to make some.
		}
	}
	// How much it will be in the end is not known.
	lock_guard<mutex> guard(lock);
	RaiseTo(buffers, NumericLimits<idx_t>::Maximum());
}

void MemoryRoom::NoteRows(idx_t rows, idx_t text_bytes) {
	if (rows == 0) {
		return;
	}
	auto bytes = text_bytes / rows * STANDARD_VECTOR_SIZE;
	lock_guard<mutex> guard(lock);
	vector_bytes = MaxValue<idx_t>(vector_bytes, bytes);
}

MemoryRoom::ForCheckpoint::ForCheckpoint(MemoryRoom &room, DatabaseInstance &db, idx_t columns) : room(room) {
	room.checkpoints++;
	auto threads = NumericCast<idx_t>(TaskScheduler::GetScheduler(db).NumberOfThreads());
	// Twice: what is read, and what is written of it.
	room.Ensure(db, MEMORY_FOR_CHECKPOINT + 2 * (threads * room.vector_bytes + columns * DEFAULT_BLOCK_ALLOC_SIZE));
}

MemoryRoom::ForCheckpoint::~ForCheckpoint() {
	room.checkpoints--;
}

bool MemoryRoom::Raise(DatabaseInstance &db) {
	auto &buffers = BufferManager::GetBufferManager(db);
	lock_guard<mutex> guard(lock);
	return RaiseTo(buffers, buffers.GetMaxMemory() * 2);
}

bool MemoryRoom::RaiseTo(BufferManager &buffers, idx_t wanted) {
	auto limit = buffers.GetMaxMemory();
	auto machine = FileSystem::GetAvailableMemory();
	wanted = MinValue(wanted, machine.IsValid() ? machine.GetIndex() : limit * 2);
	if (wanted <= limit) {
		return false;
	}
	// The host may have set another one meanwhile.
	if (host_limit == 0 || limit != raised) {
		host_limit = limit;
	}
	buffers.SetMemoryLimit(wanted);
	raised = wanted;
	next_look = std::chrono::steady_clock::now() + BETWEEN_LOOKS;
	return true;
}

void MemoryRoom::GiveBackSometimes(DatabaseInstance &db) {
	if (host_limit == 0) {
		return;
	}
	{
		lock_guard<mutex> guard(lock);
		if (std::chrono::steady_clock::now() < next_look) {
			return;
		}
		next_look = std::chrono::steady_clock::now() + BETWEEN_LOOKS;
	}
	GiveBack(db);
}

void MemoryRoom::GiveBack(DatabaseInstance &db) {
	auto &buffers = BufferManager::GetBufferManager(db);
	lock_guard<mutex> guard(lock);
	if (host_limit == 0 || checkpoints > 0) {
		return;
	}
	if (buffers.GetMaxMemory() == raised) {
		try {
			buffers.SetMemoryLimit(host_limit);
		} catch (OutOfMemoryException &) {
			// Indexes, for instance, stay in memory.
			return;
		}
	}
	host_limit = 0;
}

} // namespace quack
