//! Clears the way of the applier: ends transactions whose uncommitted changes in the store are in its way, and those that
//! still see rows as they were before a change that the applier has committed.

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

//! How long a transaction, before it changes the store, waits for an applier that has met other transactions and tries again.
constexpr std::chrono::seconds APPLIER_PATIENCE(1);
//! How long the applier interrupts a statement again and again before it reports that the statement still runs.
constexpr std::chrono::seconds INTERRUPTION_PATIENCE(2);
//! How long the statement may take to heed its interruption. After that the applier takes it for one whose client has
//! stopped reading the result.
constexpr std::chrono::milliseconds HEEDING_PATIENCE(20);
//! Once the last changes of more tables are known, the applier forgets those that all transactions see.
constexpr idx_t LAST_CHANGES_MAX = 1024;
//! How long a statement that reads rows from before a change may go on: most end by then, or wait for their own outcome.
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

bool QuackTransactionManager::IsNative(const OpenTransaction &transaction) const {
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
			throw TransactionException("the table %s is altered by an open transaction", table.name);
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

void QuackTransactionManager::End(ClientContext &context, bool cancels, const std::function<bool()> &is_to_end) {
	std::unique_lock<mutex> guard(LockOf(context), std::try_to_lock);
	if (!guard.owns_lock() || !is_to_end()) {
		return;
	}
	if (HasActiveQuery(context)) {
		guard.unlock();
		// A statement that waits for the applier is not cancelled: it will get its outcome.
		if (cancels && !StatementState::Get(context).outcome.IsAwaited()) {
			context.CancelTransaction();
		}
		return;
	}
	auto &open = StatementState::Get(context).open;
	if (!open) {
		open = make_shared_ptr<OpenTransaction>(context, db.GetCatalog().Cast<QuackCatalog>());
	}
	open->doomed = true;
	// An empty transaction takes its place, and refuses to commit.
	auto &meta = MetaTransaction::Get(context);
	auto transaction = meta.TryGetTransaction(db);
	if (transaction) {
		RollbackTransaction(*transaction);
		meta.RemoveTransaction(db);
		meta.GetTransaction(db);
	}
	RemoveNative(*open);
}

bool QuackTransactionManager::Interrupt(Native &native) {
	// Null when the connection is being closed: it rolls back by itself. The reference goes after the lock below, because
	// closing a connection needs that lock.
	auto context = native.context.lock();
	lock_guard<mutex> guard(natives_lock);
	if (!IsNative(*native.transaction)) {
		return false;
	}
	if (context) {
		StatementState::Get(*context).Interrupt(*context);
	}
	return true;
}

bool QuackTransactionManager::RollBackDoomed(Native &native) {
	auto begin = std::chrono::steady_clock::now();
	while (true) {
		auto waited = std::chrono::steady_clock::now() - begin;
		auto context = native.context.lock();
		if (context) {
			End(*context, waited > HEEDING_PATIENCE, [&]() {
				lock_guard<mutex> guard(natives_lock);
				return IsNative(*native.transaction);
			});
		}
		// Again and again: a statement that begins forgets an interruption from before.
		if (!Interrupt(native)) {
			return true;
		}
		if (waited > INTERRUPTION_PATIENCE) {
			return false;
		}
		std::this_thread::sleep_for(std::chrono::milliseconds(1));
	}
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

bool QuackTransactionManager::DoomOlder(std::chrono::seconds patience) {
	auto limit = std::chrono::steady_clock::now() - patience;
	vector<Native> doomed;
	{
		lock_guard<mutex> guard(natives_lock);
		for (auto &native : natives) {
			if (native.since <= limit) {
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
		throw TransactionException("the table %s is still seen as it was before its last change", table.name);
	}
	// Removes the versions that were kept for transactions that did not see the change.
	CleanUp(*this);
}

bool QuackTransactionManager::EndOlder(bool interrupts, bool cancels) {
	vector<shared_ptr<ClientContext>> contexts;
	auto are_gone = true;
	ForEachActive(*this, [&](DuckTransaction &transaction) {
		if (SeesChange(transaction, unseen_change)) {
			return;
		}
		are_gone = false;
		auto context = transaction.context.lock();
		if (!context) {
			return;
		}
		auto &state = StatementState::Get(*context);
		// The node's own transactions end in a moment.
		if (interrupts && !state.internal) {
			state.Interrupt(*context);
		}
		// Kept, so that no connection is closed in this callback: closing one needs the lock that is held here.
		contexts.push_back(std::move(context));
	});
	for (auto &context : contexts) {
		End(*context, cancels, [&]() {
			if (StatementState::Get(*context).internal || !context->transaction.HasActiveTransaction()) {
				return false;
			}
			auto transaction = MetaTransaction::Get(*context).TryGetTransaction(db);
			return transaction && !SeesChange(transaction->Cast<DuckTransaction>(), unseen_change);
		});
	}
	return are_gone;
}

ClearedWay QuackTransactionManager::EndOlder() {
	auto begin = std::chrono::steady_clock::now();
	while (true) {
		auto waited = std::chrono::steady_clock::now() - begin;
		if (EndOlder(waited > READING_PATIENCE, waited > READING_PATIENCE + HEEDING_PATIENCE)) {
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
