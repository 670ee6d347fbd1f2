//! Transactions of the replicated catalog: what differs from DuckDB's own.

#include "transaction_manager.hpp"

#include "admission.hpp"
#include "catalog.hpp"
#include "error.hpp"
#include "statement.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/main/valid_checker.hpp"
#include "duckdb/storage/single_file_block_manager.hpp"
#include "duckdb/storage/storage_manager.hpp"
#include "duckdb/transaction/duck_transaction.hpp"

using namespace duckdb;

namespace quack {

QuackTransactionManager::QuackTransactionManager(AttachedDatabase &db, StatementGate &gate)
    : DuckTransactionManager(db), gate(gate), automatic_checkpoints_off(SharedCheckpointLock()) {
}

Transaction &QuackTransactionManager::StartTransaction(ClientContext &context) {
	if (checkpointing == std::this_thread::get_id()) {
		// What the checkpoint holds of sequences is of the same commit as what it holds of rows.
		auto &catalog = db.GetCatalog().Cast<QuackCatalog>();
		lock_guard<mutex> guard(catalog.sequences.commit_lock);
		auto &transaction = DuckTransactionManager::StartTransaction(context);
		catalog.sequences.Freeze(catalog);
		return transaction;
	}
	if (!ApplierMark::IsSet(context)) {
		auto &state = StatementState::Get(context);
		state.EnterGate(context, gate);
		state.read = db.shared_from_this();
		if (!state.internal) {
			Admit(context, db.GetCatalog().Cast<QuackCatalog>());
		}
	}
	return DuckTransactionManager::StartTransaction(context);
}

ErrorData QuackTransactionManager::CommitTransaction(ClientContext &context, Transaction &transaction_p) {
	auto &transaction = transaction_p.Cast<DuckTransaction>();
	if (ApplierMark::IsSet(context) || !transaction.ChangesMade()) {
		return DuckTransactionManager::CommitTransaction(context, transaction_p);
	}
	RollbackTransaction(transaction_p);
	return ErrorData(ExceptionType::NOT_IMPLEMENTED,
	                 "this statement would change the replicated catalog without going through its log; it was "
	                 "rolled back and nothing has changed");
}

void QuackTransactionManager::Checkpoint(ClientContext &context, bool force) {
	lock_guard<mutex> guard(checkpoint_mutex);
	auto &storage = db.GetStorageManager();
	// DuckDB skips a checkpoint when it knows of no changes, and forgets those that were committed while the last one
	// was being written. The log is released behind a checkpoint, so it must be there.
	storage.AddWALSize(1);
	auto &blocks = storage.Cast<SingleFileStorageManager>().GetBlockManager().Cast<SingleFileBlockManager>();
	auto before = blocks.GetCheckpointIteration();
	auto &sequences = db.GetCatalog().Cast<QuackCatalog>().sequences;
	automatic_checkpoints_off.reset();
	checkpointing = std::this_thread::get_id();
	try {
		DuckTransactionManager::Checkpoint(context, force);
	} catch (std::exception &ex) {
		checkpointing = std::thread::id();
		sequences.Thaw();
		automatic_checkpoints_off = SharedCheckpointLock();
		if (ValidChecker::IsInvalidated(db)) {
			// DuckDB answers nothing more from this store, whoever has asked for the checkpoint.
			auto reason = "checkpoint failed: " + ErrorData(ex).RawMessage();
			db.GetCatalog().Cast<QuackCatalog>().Fail(reason);
		}
		throw;
	}
	checkpointing = std::thread::id();
	sequences.Thaw();
	automatic_checkpoints_off = SharedCheckpointLock();
	if (blocks.GetCheckpointIteration() == before) {
		throw IOException("DuckDB has skipped a checkpoint of \"%s\"", db.GetName().GetIdentifierName());
	}
}

} // namespace quack
