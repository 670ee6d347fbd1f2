//! Transactions of the replicated catalog: what differs from DuckDB's own.

#include "transaction_manager.hpp"

#include "admission.hpp"
#include "catalog.hpp"
#include "compat.hpp"
#include "error.hpp"
#include "host.hpp"
#include "statement.hpp"
#include "store.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/main/database_manager.hpp"
#include "duckdb/main/valid_checker.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/storage_manager.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/local_storage.hpp"
#include "duckdb/transaction/meta_transaction.hpp"

using namespace duckdb;

namespace quack {

constexpr idx_t CHECKPOINT_ATTEMPTS = 100;
//! How long a transaction may keep checkpoints away, and with them the release of the log; and for FORCE CHECKPOINT.
constexpr std::chrono::seconds CHECKPOINT_PATIENCE(60);
constexpr std::chrono::seconds NO_PATIENCE(0);
//! A statement that began so many revisions ago is not one of many rows.
constexpr idx_t REVISIONS_MAX = 64;

QuackTransactionManager::QuackTransactionManager(AttachedDatabase &db, StatementGate &gate)
    : DuckTransactionManager(db), gate(gate), automatic_checkpoints_off(SharedCheckpointLock()) {
}

QuackTransactionManager &QuackTransactionManager::Get(QuackCatalog &catalog) {
	return static_cast<QuackTransactionManager &>(catalog.GetAttached().GetTransactionManager());
}

void QuackTransactionManager::NameShared(ClientContext &context) {
	auto &name = db.GetCatalog().Cast<QuackCatalog>().SharedName();
	if (name == db.GetName()) {
		return;
	}
	auto of_client = !ApplierMark::IsSet(context) && !StatementState::Get(context).internal;
	if (of_client && DatabaseManager::Get(context).GetDatabase(name)) {
		// What definitions call so would lead there.
		throw BinderException("this process has a database \"%s\" of its own, and definitions in the replicated catalog \"%s\" "
		                      "call the catalog so: DETACH that database, or attach it under another name",
		                      name.GetIdentifierName(), db.GetName());
	}
	KnowAs(MetaTransaction::Get(context), name, db);
}

Transaction &QuackTransactionManager::StartTransaction(ClientContext &context) {
	NameShared(context);
	if (checkpointing == std::this_thread::get_id()) {
		StatementState::Get(context).internal = true;
		// What the checkpoint holds of sequences is of the same commit as what it holds of rows.
		auto &catalog = db.GetCatalog().Cast<QuackCatalog>();
		lock_guard<mutex> guard(catalog.sequences.commit_lock);
		// Again: the checkpoint has waited for a commit since.
		catalog.RequireSound();
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
		return CommitApplied(context, transaction_p);
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

ErrorData QuackTransactionManager::CommitApplied(ClientContext &context, Transaction &transaction) {
	vector<reference<DuckIndexEntry>> commented;
	{
		lock_guard<mutex> guard(comments_lock);
		auto found = comments.find(&transaction);
		if (found != comments.end()) {
			commented = std::move(found->second);
			comments.erase(found);
		}
	}
	// DuckDB rolls a failed commit back by itself, and takes an index from its table by its number. A version that
	// another one follows in the same transaction may be gone afterwards.
	vector<std::pair<reference<DuckIndexEntry>, idx_t>> numbers;
	for (auto &index : commented) {
		if (!index.get().HasParent()) {
			numbers.emplace_back(index, index.get().oid);
			index.get().oid = DConstants::INVALID_INDEX;
		}
	}
	auto error = DuckTransactionManager::CommitTransaction(context, transaction);
	if (!error.HasError()) {
		for (auto &number : numbers) {
			number.first.get().oid = number.second;
		}
	}
	ApplierMark::Get(context)->commit_error = error;
	return error;
}

ErrorData QuackTransactionManager::Propose(ClientContext &context, DuckTransaction &transaction) {
	auto open = std::move(StatementState::Get(context).open);
	ErrorData error;
	shared_ptr<Writer> writer;
	try {
		// Of one that is lost, the transaction is gone that kept what it knows of tables.
		if (!open->doomed) {
			writer = open->Finish(transaction);
		}
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
	} catch (CatalogException &ex) {
		// Here it was all right, so that another transaction has changed it.
		return ErrorData(TransactionException("Conflict: another transaction has changed the catalog since this one started: %s",
		                                      ErrorData(ex).RawMessage()));
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

void QuackTransactionManager::Checkpoint(ClientContext &context, bool force) {
	auto &open = StatementState::Get(context).open;
	if (open && open->IsOf(db) && open->ChangesInStore().Any()) {
		// It would wait for itself.
		throw TransactionException("Cannot CHECKPOINT: the current transaction has transaction local changes");
	}
	for (idx_t attempt = 1;; attempt++) {
		try {
			WriteCheckpoint(context);
			return;
		} catch (TransactionException &) {
			// The applier's transactions end in a moment; one that a client has open may not. DuckDB's own FORCE would end
			// the applier's as well.
			if (attempt == CHECKPOINT_ATTEMPTS || (HasNatives() && !DoomOlder(force ? NO_PATIENCE : CHECKPOINT_PATIENCE))) {
				throw;
			}
		}
		context.InterruptCheck();
		std::this_thread::sleep_for(std::chrono::milliseconds(10));
	}
}

//! Columns of the table that has most.
static idx_t WidestTable(QuackCatalog &catalog) {
	idx_t columns = 0;
	catalog.DuckCatalog::ScanSchemas([&](SchemaCatalogEntry &schema) {
		schema.Scan(CatalogType::TABLE_ENTRY, [&](CatalogEntry &entry) {
			if (entry.type == CatalogType::TABLE_ENTRY) {
				columns = MaxValue(columns, entry.Cast<TableCatalogEntry>().GetColumns().PhysicalColumnCount());
			}
		});
	});
	return columns;
}

void QuackTransactionManager::WriteCheckpoint(ClientContext &context) {
	lock_guard<mutex> guard(checkpoint_mutex);
	auto &storage = db.GetStorageManager();
	// DuckDB skips a checkpoint when it knows of no changes, and forgets those that were committed while the last one
	// was being written. The log is released behind a checkpoint, so it must be there.
	storage.AddWALSize(1);
	auto before = CheckpointCount(db);
	auto &sequences = db.GetCatalog().Cast<QuackCatalog>().sequences;
	MemoryRoom::ForCheckpoint room(Host::Get(context).memory_room, *context.db, WidestTable(db.GetCatalog().Cast<QuackCatalog>()));
	// DuckDB's own way takes this lock from nothing. While no thread held it, a commit of the applier would begin an automatic
	// checkpoint, which waits for locks that the applier holds.
	auto writers_wait = TryUpgradeCheckpointLock(*automatic_checkpoints_off);
	if (!writers_wait) {
		throw TransactionException("Cannot CHECKPOINT: there are other write transactions active");
	}
	if (ValidChecker::IsInvalidated(db)) {
		throw IOException("%s", ValidChecker::InvalidatedMessage(db));
	}
	checkpointing = std::this_thread::get_id();
	try {
		CheckpointOptions options;
		if (GetLastCommit() >= LowestVisibilityBound()) {
			// A transaction may still read versions from before the last commit.
			options.type = CheckpointType::CONCURRENT_CHECKPOINT;
		}
		storage.CreateCheckpoint(context, options);
	} catch (std::exception &ex) {
		checkpointing = std::thread::id();
		sequences.Thaw();
		if (ValidChecker::IsInvalidated(db)) {
			// DuckDB answers no further statement from this store, regardless of the thread that asked for the checkpoint.
			auto reason = "checkpoint failed: " + ErrorData(ex).RawMessage();
			db.GetCatalog().Cast<QuackCatalog>().Fail(reason);
			// DuckDB's own advice is to detach the database, which is the server's.
			ValidChecker::Invalidate(db, "this node is degraded and answers no statement: " + reason +
			                                 ". Stop the server and start it again with the same arguments");
		}
		throw;
	}
	checkpointing = std::thread::id();
	sequences.Thaw();
	if (CheckpointCount(db) == before) {
		throw IOException("DuckDB has skipped a checkpoint of \"%s\"", db.GetName().GetIdentifierName());
	}
}

void QuackTransactionManager::NoteRevisions(const QuackRevisions &reached) {
	lock_guard<mutex> guard(revisions_lock);
	unordered.clear();
	unordered.insert(reached.unordered, reached.unordered + reached.unordered_count);
	unordered_below = reached.unordered_below;
	if (!revisions.empty() && revisions.back().second == reached.last) {
		return;
	}
	revisions.emplace_back(GetLastCommit(), reached.last);
	if (revisions.size() > REVISIONS_MAX) {
		revisions.pop_front();
	}
}

optional_idx QuackTransactionManager::RevisionIn(DuckTransaction &transaction) {
	auto view = transaction.GetSnapshotView();
	lock_guard<mutex> guard(revisions_lock);
	for (auto known = revisions.rbegin(); known != revisions.rend(); ++known) {
		if (view.Sees(known->first)) {
			return known->second;
		}
	}
	return optional_idx();
}

bool QuackTransactionManager::IsOrdered(uint64_t table_number) {
	lock_guard<mutex> guard(revisions_lock);
	return table_number >= unordered_below && unordered.count(table_number) == 0;
}

} // namespace quack
