//! Transactions of the replicated catalog: what differs from DuckDB's own.

#include "transaction_manager.hpp"

#include "admission.hpp"
#include "catalog.hpp"
#include "compat.hpp"
#include "error.hpp"
#include "statement.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/main/valid_checker.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/single_file_block_manager.hpp"
#include "duckdb/storage/storage_manager.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/local_storage.hpp"
#include "duckdb/transaction/meta_transaction.hpp"

using namespace duckdb;

namespace quack {

//! How long a transaction may keep checkpoints away, and with them the release of the log.
constexpr std::chrono::seconds CHECKPOINT_PATIENCE(60);
//! How long a transaction waits, before it changes the store, for an applier that has met others.
constexpr std::chrono::seconds APPLIER_PATIENCE(1);
//! How long a statement is interrupted again and again before whoever waits for it says so.
constexpr std::chrono::seconds INTERRUPTION_PATIENCE(2);
constexpr idx_t CHECKPOINT_ATTEMPTS = 100;

QuackTransactionManager::QuackTransactionManager(AttachedDatabase &db, StatementGate &gate)
    : DuckTransactionManager(db), gate(gate), automatic_checkpoints_off(SharedCheckpointLock()) {
}

QuackTransactionManager &QuackTransactionManager::Get(QuackCatalog &catalog) {
	return static_cast<QuackTransactionManager &>(catalog.GetAttached().GetTransactionManager());
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
		auto doomed = state.open && state.open->doomed;
		if (!doomed) {
			state.EnterGate(context, gate);
		}
		state.read = db.shared_from_this();
		if (!state.internal && !doomed) {
			Admit(context, db.GetCatalog().Cast<QuackCatalog>());
		}
	}
	return DuckTransactionManager::StartTransaction(context);
}

ErrorData QuackTransactionManager::CommitTransaction(ClientContext &context, Transaction &transaction_p) {
	auto &transaction = transaction_p.Cast<DuckTransaction>();
	if (ApplierMark::IsSet(context)) {
		{
			lock_guard<mutex> guard(comments_lock);
			comments.erase(&transaction_p);
		}
		return DuckTransactionManager::CommitTransaction(context, transaction_p);
	}
	// What the transaction has changed may be in another catalog that this process serves, and this one only read.
	auto &open = StatementState::Get(context).open;
	if (open && open->IsOf(db)) {
		return Propose(context, transaction);
	}
	if (!transaction.ChangesMade()) {
		return DuckTransactionManager::CommitTransaction(context, transaction_p);
	}
	RollbackTransaction(transaction_p);
	return ErrorData(ExceptionType::NOT_IMPLEMENTED,
	                 "this statement would change the replicated catalog without going through its log; it was "
	                 "rolled back and nothing has changed");
}

ErrorData QuackTransactionManager::Propose(ClientContext &context, DuckTransaction &transaction) {
	auto open = std::move(StatementState::Get(context).open);
	ErrorData error;
	shared_ptr<Writer> writer;
	try {
		writer = open->Finish(transaction);
	} catch (std::exception &ex) {
		error = ErrorData(ex);
	}
	// What it did in the store was for its own eyes. The applier brings the changes, after those that came first.
	RollbackTransaction(transaction);
	// Not sooner: until now the applier may have met them. And from now on it waits for this transaction no more, which
	// is about to wait for the applier.
	if (!RemoveNative(*open)) {
		error = ErrorData(LostConflict());
	}
	if (error.HasError()) {
		return error;
	}
	try {
		writer->Commit(context);
	} catch (std::exception &ex) {
		return ErrorData(ex);
	}
	return ErrorData();
}

void QuackTransactionManager::RollbackTransaction(Transaction &transaction) {
	// Before DuckDB takes the lock that every other transaction needs to begin and to commit.
	transaction.Cast<DuckTransaction>().GetLocalStorage().Rollback();
	KeepIndexes(transaction);
	DuckTransactionManager::RollbackTransaction(transaction);
}

void QuackTransactionManager::NoteComment(DuckTransaction &transaction, DuckIndexEntry &index) {
	lock_guard<mutex> guard(comments_lock);
	// Apart from what the version before refers to: only this one is to be taken away.
	index.info = make_shared_ptr<IndexDataTableInfo>(index.info->info);
	comments[&transaction].push_back(index);
}

void QuackTransactionManager::KeepIndexes(Transaction &transaction) {
	lock_guard<mutex> guard(comments_lock);
	auto found = comments.find(&transaction);
	if (found == comments.end()) {
		return;
	}
	for (auto &index : found->second) {
		index.get().info = nullptr;
	}
	comments.erase(found);
}

void QuackTransactionManager::AddNative(ClientContext &context, shared_ptr<OpenTransaction> transaction) {
	std::unique_lock<mutex> guard(natives_lock);
	may_begin.wait_for(guard, APPLIER_PATIENCE, [&]() { return !tries_again; });
	natives.push_back(Native {context.shared_from_this(), std::move(transaction), std::chrono::steady_clock::now(), {}});
}

bool QuackTransactionManager::RemoveNative(OpenTransaction &transaction) {
	lock_guard<mutex> guard(natives_lock);
	for (idx_t i = 0; i < natives.size(); i++) {
		if (natives[i].transaction.get() == &transaction) {
			ended.Add(transaction.ChangesInStore());
			natives.erase_at(i);
			break;
		}
	}
	return !transaction.doomed;
}

bool QuackTransactionManager::IsNative(OpenTransaction &transaction) {
	lock_guard<mutex> guard(natives_lock);
	for (auto &native : natives) {
		if (native.transaction.get() == &transaction) {
			return true;
		}
	}
	return false;
}

bool QuackTransactionManager::RollBackDoomed(Native &native) {
	auto deadline = std::chrono::steady_clock::now() + INTERRUPTION_PATIENCE;
	while (IsNative(*native.transaction)) {
		if (std::chrono::steady_clock::now() > deadline) {
			return false;
		}
		auto context = native.context.lock();
		if (!context) {
			// The connection is being closed, and rolls back by itself.
			std::this_thread::yield();
			continue;
		}
		std::unique_lock<mutex> guard(LockOf(*context), std::try_to_lock);
		if (!guard.owns_lock()) {
			// Again and again: a statement that begins forgets an interruption from before.
			native.transaction->Interrupt(*context);
			std::this_thread::sleep_for(std::chrono::milliseconds(1));
			continue;
		}
		if (HasActiveQuery(*context)) {
			guard.unlock();
			context->Interrupt();
			context->CancelTransaction();
			continue;
		}
		if (!IsNative(*native.transaction)) {
			return true;
		}
		// An empty transaction takes its place, and refuses to commit.
		auto &meta = MetaTransaction::Get(*context);
		auto transaction = meta.TryGetTransaction(db);
		if (transaction) {
			RollbackTransaction(*transaction);
			meta.RemoveTransaction(db);
			meta.GetTransaction(db);
		}
		RemoveNative(*native.transaction);
	}
	return true;
}

void QuackTransactionManager::BeginAttempt() {
	lock_guard<mutex> guard(natives_lock);
	ended = NativeChanges();
}

void QuackTransactionManager::BeginAlter(ClientContext &context, OpenTransaction &transaction, DataTableInfo &table) {
	std::unique_lock<mutex> guard(natives_lock);
	while (written.count(&table) > 0) {
		may_begin.wait_for(guard, std::chrono::milliseconds(10));
		context.InterruptCheck();
	}
	for (auto &native : natives) {
		if (native.transaction.get() == &transaction) {
			native.altered.insert(&table);
		}
	}
}

void QuackTransactionManager::BeginWriting(DuckTableEntry &table) {
	auto &storage = table.GetStorage();
	auto &info = *storage.GetDataTableInfo();
	{
		lock_guard<mutex> guard(natives_lock);
		if (IsAltered(info)) {
			throw TransactionException("the table \"%s\" is altered by an open transaction", table.name);
		}
		written.insert(&info);
	}
	Reopen(table);
}

bool QuackTransactionManager::IsAltered(DataTableInfo &table) const {
	for (auto &native : natives) {
		if (native.altered.count(&table) > 0) {
			return true;
		}
	}
	return false;
}

bool QuackTransactionManager::Reopen(DuckTableEntry &table) {
	auto &storage = table.GetStorage();
	lock_guard<mutex> guard(natives_lock);
	if (storage.IsMainTable() || IsAltered(*storage.GetDataTableInfo())) {
		return false;
	}
	storage.SetAsMainTable();
	return true;
}

void QuackTransactionManager::EndAttempt() {
	lock_guard<mutex> guard(natives_lock);
	tries_again = false;
	written.clear();
	may_begin.notify_all();
}

ClearedWay QuackTransactionManager::Doom(const FailedAttempt &attempt) {
	vector<Native> doomed;
	auto result = ClearedWay::NOTHING_WAS_THERE;
	{
		lock_guard<mutex> guard(natives_lock);
		for (auto &native : natives) {
			if (native.transaction->ChangesInStore().MayCause(attempt)) {
				native.transaction->doomed = true;
				doomed.push_back(native);
			}
		}
		if (!doomed.empty() || ended.MayCause(attempt)) {
			result = ClearedWay::CLEARED;
			tries_again = true;
		}
	}
	for (auto &native : doomed) {
		if (!RollBackDoomed(native)) {
			result = ClearedWay::HELD;
		}
	}
	return result;
}

bool QuackTransactionManager::DoomOverdue() {
	auto limit = std::chrono::steady_clock::now() - CHECKPOINT_PATIENCE;
	vector<Native> doomed;
	{
		lock_guard<mutex> guard(natives_lock);
		for (auto &native : natives) {
			if (native.since < limit) {
				native.transaction->doomed = true;
				doomed.push_back(native);
			}
		}
	}
	auto cleared = !doomed.empty();
	for (auto &native : doomed) {
		cleared = RollBackDoomed(native) && cleared;
	}
	return cleared;
}

void QuackTransactionManager::Checkpoint(ClientContext &context, bool force) {
	for (idx_t attempt = 1;; attempt++) {
		try {
			WriteCheckpoint(context, force);
			return;
		} catch (TransactionException &) {
			// The applier's transactions end in a moment; one that a client has open may not.
			if (attempt == CHECKPOINT_ATTEMPTS || (HasNatives() && !DoomOverdue())) {
				throw;
			}
		}
		context.InterruptCheck();
		std::this_thread::sleep_for(std::chrono::milliseconds(10));
	}
}

bool QuackTransactionManager::HasNatives() {
	lock_guard<mutex> guard(natives_lock);
	return !natives.empty();
}

void QuackTransactionManager::WriteCheckpoint(ClientContext &context, bool force) {
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
