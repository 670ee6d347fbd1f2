//! Transactions of the replicated catalog.
#pragma once

#include "duckdb/catalog/catalog_entry/duck_index_entry.hpp"
#include "duckdb/transaction/duck_transaction_manager.hpp"
#include "bridge.h"
#include "gate.hpp"
#include "open_transaction.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <thread>

namespace quack {

//! What the applier finds when it looks for what is in its way.
enum class ClearedWay : int32_t { NOTHING_WAS_THERE = 0, CLEARED = 1, HELD = 2 };

//! DuckDB's own transaction manager, with checkpoints made on our terms, client transactions that are never committed
//! but proposed, and an applier that always wins.
class QuackTransactionManager : public duckdb::DuckTransactionManager {
public:
	QuackTransactionManager(duckdb::AttachedDatabase &db, StatementGate &gate);

	duckdb::Transaction &StartTransaction(duckdb::ClientContext &context) override;
	duckdb::ErrorData CommitTransaction(duckdb::ClientContext &context, duckdb::Transaction &transaction) override;
	void RollbackTransaction(duckdb::Transaction &transaction) override;
	void Checkpoint(duckdb::ClientContext &context, bool force = false) override;

	static QuackTransactionManager &Get(QuackCatalog &catalog);

	//! A client's transaction has begun to change the store itself.
	void AddNative(duckdb::ClientContext &context, duckdb::shared_ptr<OpenTransaction> transaction);
	//! It does so no more. Returns false when it has been doomed before.
	bool RemoveNative(OpenTransaction &transaction);
	//! A transaction has commented on an index. Were it rolled back, DuckDB would take the index from its table, as that of
	//! an index that was made: it does not tell the two apart.
	void NoteComment(duckdb::DuckTransaction &transaction, duckdb::DuckIndexEntry &index);
	//! A client's transaction is about to make another version of a table; not while the applier writes to it, whose commit
	//! would fail half-way.
	void BeginAlter(duckdb::ClientContext &context, OpenTransaction &transaction, duckdb::DataTableInfo &table);
	//! For the applier, before it writes to a table: from here to the end of the attempt no client's transaction makes
	//! another version of the table. Throws when one has made such a version already.
	void BeginWriting(duckdb::DuckTableEntry &table);
	//! For the applier: reopens a table for writing after an ALTER has closed it and then met a conflict (DuckDB 2.0.0 leaves
	//! the table closed, for ever). Returns whether it was such a table, and no open transaction has altered it.
	bool Reopen(duckdb::DuckTableEntry &table);
	//! For the applier: its next attempt begins.
	void BeginAttempt();
	//! For the applier: the attempt has ended, and it makes no other one at once.
	void EndAttempt();
	//! For the applier, which has met an error: rolls back the clients' transactions whose uncommitted changes in the
	//! store may be its cause. They have lost: the log committed the applier's entry first. Waits a while for their
	//! statements to heed the interruption. Also reports transactions that ended after the attempt began: they may have
	//! caused the error.
	ClearedWay Doom(const FailedAttempt &attempt);

	//! For the applier: it has committed changes of these tables' rows.
	void NoteChanged(const duckdb::unordered_set<duckdb::DataTableInfo *> &tables);
	//! For the applier, before a statement that reads a table's rows other than through a snapshot: throws while an open
	//! transaction may see them as they were before their last change. DuckDB 2.0.0 indexes also deleted rows that an open
	//! transaction still sees: they keep their keys, and are never removed from the index. And it makes no index while a
	//! transaction sees values from before an update.
	void RequireSettled(duckdb::DuckTableEntry &table);
	//! For the applier: whether `RequireSettled` has failed its attempt.
	bool HasOlder() const {
		return unseen_change > 0;
	}
	//! For the applier, which has rolled its attempt back: ends the transactions that do not see that change, as `Doom` ends
	//! those that are in its way. Statements that wait for their own outcome see everything by then.
	ClearedWay EndOlder();

	//! For the applier: what it has committed has led to these revisions (crates/apply/src/revisions.rs).
	void NoteRevisions(const QuackRevisions &reached);
	//! A revision of which a transaction sees everything; none when it began too long ago.
	duckdb::optional_idx RevisionIn(duckdb::DuckTransaction &transaction);
	//! Whether all nodes have the rows of the table with this number in the same order, as far as this node knows.
	bool IsOrdered(uint64_t table_number);

private:
	struct Native {
		duckdb::weak_ptr<duckdb::ClientContext> context;
		duckdb::shared_ptr<OpenTransaction> transaction;
		std::chrono::steady_clock::time_point since;
		//! Tables of which it has made another version.
		duckdb::unordered_set<duckdb::DataTableInfo *> altered;
	};

	//! With `natives_lock`.
	bool IsNative(const OpenTransaction &transaction) const;
	//! With `natives_lock`: whether an open transaction has made, or is making, another version of the table.
	bool IsAltered(duckdb::DataTableInfo &table) const;
	bool HasNatives();
	//! Returns false when its statement goes on, heeding no interruption: one that reads from a pipe, say.
	bool RollBackDoomed(Native &native);
	//! Interrupts its statement; returns whether it is still there.
	bool Interrupt(Native &native);
	//! Ends the connection's transaction where it is to end: its client is told when it goes on. One with a statement under
	//! way stays as it is; if it `cancels`, the statement is ended first, and its client is told that it was cancelled.
	void End(duckdb::ClientContext &context, bool cancels, const std::function<bool()> &is_to_end);
	//! Ends the transactions that do not see the change, as `End` does; `interrupts` their statements. Returns whether there
	//! was none.
	bool EndOlder(bool interrupts, bool cancels);
	//! Dooms those that have been open for so long. Returns whether there were any and all are gone.
	bool DoomOlder(std::chrono::seconds patience);
	//! Lets a transaction that begins find the catalog under the name that definitions have for it.
	void NameShared(duckdb::ClientContext &context);
	duckdb::ErrorData CommitApplied(duckdb::ClientContext &context, duckdb::Transaction &transaction);
	duckdb::ErrorData Propose(duckdb::ClientContext &context, duckdb::DuckTransaction &transaction);
	void WriteCheckpoint(duckdb::ClientContext &context);

	//! Lets the indexes be that a transaction has commented on, which is about to be rolled back.
	void KeepIndexes(duckdb::Transaction &transaction);

	duckdb::mutex comments_lock;
	duckdb::unordered_map<const duckdb::Transaction *, duckdb::vector<duckdb::reference<duckdb::DuckIndexEntry>>> comments;

	duckdb::mutex natives_lock;
	duckdb::vector<Native> natives;
	//! The changes of transactions that have ended since the applier's attempt began.
	NativeChanges ended;
	//! Set while the applier tries again: no further transaction begins to change the store, where it would be in the way.
	bool tries_again = false;
	//! Tables to which the applier's attempt writes.
	duckdb::unordered_set<duckdb::DataTableInfo *> written;
	std::condition_variable may_begin;

	//! By table the commit that has changed its rows last, until all transactions see it. For the applier alone.
	duckdb::unordered_map<duckdb::DataTableInfo *, duckdb::transaction_t> last_changes;
	//! The change that the applier needs all transactions to see; 0 for none.
	duckdb::transaction_t unseen_change = 0;

	duckdb::mutex revisions_lock;
	//! The last revisions, each with a commit that a transaction must see to see them.
	std::deque<std::pair<duckdb::transaction_t, uint64_t>> revisions;
	duckdb::unordered_set<uint64_t> unordered;
	uint64_t unordered_below = 0;

	StatementGate &gate;
	duckdb::mutex checkpoint_mutex;
	//! Held as long as the store is there: DuckDB's automatic checkpoints find the lock taken and do nothing.
	duckdb::unique_ptr<duckdb::StorageLockKey> automatic_checkpoints_off;
	//! The thread that writes a checkpoint: DuckDB begins a transaction of its own there, on a connection of its own.
	std::atomic<std::thread::id> checkpointing {std::thread::id()};
};

} // namespace quack
