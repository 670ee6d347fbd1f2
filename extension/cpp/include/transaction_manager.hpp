//! Transactions of the replicated catalog.
#pragma once

#include "duckdb/transaction/duck_transaction_manager.hpp"
#include "gate.hpp"

#include <atomic>
#include <thread>

namespace quack {

//! DuckDB's own transaction manager, with checkpoints made on our terms and client transactions that change nothing.
class QuackTransactionManager : public duckdb::DuckTransactionManager {
public:
	QuackTransactionManager(duckdb::AttachedDatabase &db, StatementGate &gate);

	duckdb::Transaction &StartTransaction(duckdb::ClientContext &context) override;
	duckdb::ErrorData CommitTransaction(duckdb::ClientContext &context, duckdb::Transaction &transaction) override;
	void Checkpoint(duckdb::ClientContext &context, bool force = false) override;

private:
	StatementGate &gate;
	//! Held except during our own checkpoint: DuckDB's automatic checkpoints find the lock taken and do nothing.
	duckdb::mutex checkpoint_mutex;
	duckdb::unique_ptr<duckdb::StorageLockKey> automatic_checkpoints_off;
	//! The thread that writes a checkpoint: DuckDB begins a transaction of its own there, on a connection of its own.
	std::atomic<std::thread::id> checkpointing {std::thread::id()};
};

} // namespace quack
