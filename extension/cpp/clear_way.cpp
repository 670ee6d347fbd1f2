//! The way of the applier: who has changes in the store that are in it, or sees what was before those it has brought, and
//! how they end.

#include "transaction_manager.hpp"

#include "catalog.hpp"
#include "compat.hpp"
#include "error.hpp"
#include "statement.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/meta_transaction.hpp"

using namespace duckdb;

namespace quack {

//! How long a transaction may keep checkpoints away, and with them the release of the log.
constexpr std::chrono::seconds CHECKPOINT_PATIENCE(60);
//! How long a transaction waits, before it changes the store, for an applier that has met others.
constexpr std::chrono::seconds APPLIER_PATIENCE(1);
//! How long a statement is interrupted again and again before whoever waits for it says so.
constexpr std::chrono::seconds INTERRUPTION_PATIENCE(2);
//! So many tables are known by their last change before those are forgotten that everybody sees.
constexpr idx_t LAST_CHANGES_MAX = 1024;
//! How long a statement may go on that reads what was there before: most end by then, or wait for their own outcome.
constexpr std::chrono::milliseconds READING_PATIENCE(100);

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

bool QuackTransactionManager::HasNatives() {
	lock_guard<mutex> guard(natives_lock);
	return !natives.empty();
}

void QuackTransactionManager::BeginAttempt() {
	lock_guard<mutex> guard(natives_lock);
	ended = NativeChanges();
}

void QuackTransactionManager::EndAttempt() {
	lock_guard<mutex> guard(natives_lock);
	tries_again = false;
	written.clear();
	may_begin.notify_all();
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

void QuackTransactionManager::ReplaceTransaction(ClientContext &context) {
	auto &meta = MetaTransaction::Get(context);
	auto transaction = meta.TryGetTransaction(db);
	if (transaction) {
		RollbackTransaction(*transaction);
		meta.RemoveTransaction(db);
		meta.GetTransaction(db);
	}
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
			StatementState::Get(*context).Interrupt(*context);
			std::this_thread::sleep_for(std::chrono::milliseconds(1));
			continue;
		}
		if (HasActiveQuery(*context)) {
			guard.unlock();
			StatementState::Get(*context).Interrupt(*context);
			context->CancelTransaction();
			continue;
		}
		if (!IsNative(*native.transaction)) {
			return true;
		}
		ReplaceTransaction(*context);
		RemoveNative(*native.transaction);
	}
	return true;
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

static bool SeesChange(const DuckTransaction &transaction, transaction_t change) {
	return change < transaction.view.visibility_bound;
}

void QuackTransactionManager::NoteChanged(const unordered_set<DataTableInfo *> &tables) {
	for (auto table : tables) {
		last_changes[table] = GetLastCommit();
	}
	if (last_changes.size() <= LAST_CHANGES_MAX) {
		return;
	}
	auto seen_by_all = LowestVisibilityBound();
	for (auto it = last_changes.begin(); it != last_changes.end();) {
		it = it->second < seen_by_all ? last_changes.erase(it) : std::next(it);
	}
}

void QuackTransactionManager::RequireSettled(DuckTableEntry &table) {
	auto found = last_changes.find(table.GetStorage().GetDataTableInfo().get());
	if (found == last_changes.end()) {
		return;
	}
	auto change = found->second;
	auto is_seen = true;
	ForEachActive(*this, [&](DuckTransaction &transaction) { is_seen = is_seen && SeesChange(transaction, change); });
	if (!is_seen) {
		unseen_change = change;
		throw TransactionException("the table \"%s\" is still seen as it was before its last change", table.name);
	}
	// What was kept for the last one that did not see it.
	FinishCleanup(*this);
}

bool QuackTransactionManager::EndOlder(bool interrupts) {
	vector<shared_ptr<ClientContext>> contexts;
	auto are_gone = true;
	ForEachActive(*this, [&](DuckTransaction &transaction) {
		if (SeesChange(transaction, unseen_change)) {
			return;
		}
		are_gone = false;
		// Otherwise the connection is being closed, and rolls back by itself.
		auto context = transaction.context.lock();
		if (!context) {
			return;
		}
		auto &state = StatementState::Get(*context);
		// What is the node's own ends in a moment.
		if (interrupts && !state.internal) {
			state.Interrupt(*context);
		}
		// Not to be closed in here, with the lock held that this would need.
		contexts.push_back(std::move(context));
	});
	for (auto &context : contexts) {
		EndOlder(*context, interrupts);
	}
	return are_gone;
}

void QuackTransactionManager::EndOlder(ClientContext &context, bool interrupts) {
	auto &state = StatementState::Get(context);
	std::unique_lock<mutex> guard(LockOf(context), std::try_to_lock);
	if (state.internal || !guard.owns_lock() || !context.transaction.HasActiveTransaction()) {
		return;
	}
	auto transaction = MetaTransaction::Get(context).TryGetTransaction(db);
	if (!transaction || SeesChange(transaction->Cast<DuckTransaction>(), unseen_change)) {
		return;
	}
	if (HasActiveQuery(context)) {
		guard.unlock();
		if (interrupts) {
			context.CancelTransaction();
		}
		return;
	}
	if (!state.open) {
		state.open = make_shared_ptr<OpenTransaction>(context, db.GetCatalog().Cast<QuackCatalog>());
	}
	state.open->doomed = true;
	ReplaceTransaction(context);
	RemoveNative(*state.open);
}

ClearedWay QuackTransactionManager::EndOlder() {
	auto begin = std::chrono::steady_clock::now();
	while (true) {
		auto waited = std::chrono::steady_clock::now() - begin;
		if (EndOlder(waited > READING_PATIENCE)) {
			unseen_change = 0;
			return ClearedWay::CLEARED;
		}
		if (waited > INTERRUPTION_PATIENCE) {
			return ClearedWay::HELD;
		}
		std::this_thread::sleep_for(std::chrono::milliseconds(1));
	}
}

} // namespace quack
