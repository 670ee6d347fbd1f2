//! Access to private members by explicit instantiation, which the standard exempts from access checks
//! (C++17, [temp.explicit] 13.9.2/6).

#include "compat.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/catalog/catalog_entry/sequence_catalog_entry.hpp"
#include "duckdb/execution/index/art/art.hpp"
#include "duckdb/execution/index/art/art_key.hpp"
#include "duckdb/execution/index/index_lock.hpp"
#include "duckdb/function/cast/cast_function_set.hpp"
#include "duckdb/main/active_query_context.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/main/config.hpp"
#include "duckdb/main/database_manager.hpp"
#include "duckdb/planner/operator/logical_update.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/storage_lock.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "duckdb/transaction/duck_transaction_manager.hpp"
#include "duckdb/transaction/local_storage.hpp"
#include "duckdb/transaction/meta_transaction.hpp"

using namespace duckdb;

namespace {

template <class TAG, typename TAG::type MEMBER>
struct Reveal {
	friend typename TAG::type Member(TAG) {
		return MEMBER;
	}
};

struct CheckpointLockMember {
	using type = unique_ptr<StorageLockKey> DuckTransaction::*;
	friend type Member(CheckpointLockMember);
};
template struct Reveal<CheckpointLockMember, &DuckTransaction::checkpoint_lock>;

struct VacuumLockMember {
	using type = unique_ptr<StorageLockKey> DuckTransaction::*;
	friend type Member(VacuumLockMember);
};
template struct Reveal<VacuumLockMember, &DuckTransaction::vacuum_lock>;

struct TransactionLock {
	using type = mutex DuckTransactionManager::*;
	friend type Member(TransactionLock);
};
template struct Reveal<TransactionLock, &DuckTransactionManager::transaction_lock>;

struct ActiveTransactions {
	using type = vector<unique_ptr<DuckTransaction>> DuckTransactionManager::*;
	friend type Member(ActiveTransactions);
};
template struct Reveal<ActiveTransactions, &DuckTransactionManager::active_transactions>;

struct UpdateLowest {
	using type = idx_t (DuckTransactionManager::*)(optional_ptr<DuckTransaction>) noexcept;
	friend type Member(UpdateLowest);
};
template struct Reveal<UpdateLowest, &DuckTransactionManager::UpdateLowestVisibilityBound>;

struct CreateCleanup {
	using type = unique_ptr<DuckCleanupInfo> (DuckTransactionManager::*)();
	friend type Member(CreateCleanup);
};
template struct Reveal<CreateCleanup, &DuckTransactionManager::CreateCleanupInfo>;

struct SweepCommitted {
	using type = void (DuckTransactionManager::*)(DuckCleanupInfo &) noexcept;
	friend type Member(SweepCommitted);
};
template struct Reveal<SweepCommitted, &DuckTransactionManager::SweepCommittedTransactions>;

struct QueueForCleanup {
	using type = void (DuckTransactionManager::*)(unique_ptr<DuckCleanupInfo>);
	friend type Member(QueueForCleanup);
};
template struct Reveal<QueueForCleanup, &DuckTransactionManager::QueueCleanup>;

struct CleanupTransactions {
	using type = void (DuckTransactionManager::*)();
	friend type Member(CleanupTransactions);
};
template struct Reveal<CleanupTransactions, &DuckTransactionManager::CleanupTransactions>;

struct LocalTables {
	using type = LocalTableManager LocalStorage::*;
	friend type Member(LocalTables);
};
template struct Reveal<LocalTables, &LocalStorage::table_manager>;

struct ContextLock {
	using type = mutex ClientContext::*;
	friend type Member(ContextLock);
};
template struct Reveal<ContextLock, &ClientContext::context_lock>;

struct ActiveQuery {
	using type = unique_ptr<ActiveQueryContext> ClientContext::*;
	friend type Member(ActiveQuery);
};
template struct Reveal<ActiveQuery, &ClientContext::active_query>;

struct Databases {
	using type = identifier_map_t<shared_ptr<AttachedDatabase>> DatabaseManager::*;
	friend type Member(Databases);
};
template struct Reveal<Databases, &DatabaseManager::databases>;

struct DatabasesLock {
	using type = mutex DatabaseManager::*;
	friend type Member(DatabasesLock);
};
template struct Reveal<DatabasesLock, &DatabaseManager::databases_lock>;

struct SearchEqual {
	using type = bool (ART::*)(const ARTKey &, idx_t, set<row_t> &) const;
	friend type Member(SearchEqual);
};
template struct Reveal<SearchEqual, &ART::SearchEqual>;

struct InitializeScanWithOffset {
	using type = void (DataTable::*)(DuckTransaction &, TableScanState &, const vector<StorageIndex> &, idx_t, idx_t);
	friend type Member(InitializeScanWithOffset);
};
template struct Reveal<InitializeScanWithOffset, &DataTable::InitializeScanWithOffset>;

#if QUACK_DUCKDB_PATCH >= 1
struct SequenceStateMember {
	using type = shared_ptr<SequenceState> SequenceCatalogEntry::*;
	friend type Member(SequenceStateMember);
};
template struct Reveal<SequenceStateMember, &SequenceCatalogEntry::state>;
#else
struct SequenceLock {
	using type = mutex SequenceCatalogEntry::*;
	friend type Member(SequenceLock);
};
template struct Reveal<SequenceLock, &SequenceCatalogEntry::lock>;

struct SequenceDataMember {
	using type = SequenceData SequenceCatalogEntry::*;
	friend type Member(SequenceDataMember);
};
template struct Reveal<SequenceDataMember, &SequenceCatalogEntry::data>;
#endif

struct CastProviders {
	using type = vector<BindCastFunction> CastFunctionSet::*;
	friend type Member(CastProviders);
};
template struct Reveal<CastProviders, &CastFunctionSet::registered_bind_functions>;

struct CastConfig {
	using type = optional_ptr<DBConfig> CastFunctionSet::*;
	friend type Member(CastConfig);
};
template struct Reveal<CastConfig, &CastFunctionSet::config>;

struct CastCosts {
	using type = optional_ptr<MapCastInfo> CastFunctionSet::*;
	friend type Member(CastCosts);
};
template struct Reveal<CastCosts, &CastFunctionSet::map_info>;

struct TableTriggers {
	using type = shared_ptr<CatalogSet> DuckTableEntry::*;
	friend type Member(TableTriggers);
};
template struct Reveal<TableTriggers, &DuckTableEntry::triggers>;

struct ExtensionProvider {
	using type = shared_ptr<ExternalExtensionProvider> DBConfig::*;
	friend type Member(ExtensionProvider);
};
template struct Reveal<ExtensionProvider, &DBConfig::external_extension_provider>;

struct UsedDatabases {
	using type = identifier_map_t<reference<AttachedDatabase>> MetaTransaction::*;
	friend type Member(UsedDatabases);
};
template struct Reveal<UsedDatabases, &MetaTransaction::used_databases>;

struct ReferencedDatabases {
	using type = reference_map_t<AttachedDatabase, shared_ptr<AttachedDatabase>> MetaTransaction::*;
	friend type Member(ReferencedDatabases);
};
template struct Reveal<ReferencedDatabases, &MetaTransaction::referenced_databases>;

struct ReferencedDatabaseLock {
	using type = mutex MetaTransaction::*;
	friend type Member(ReferencedDatabaseLock);
};
template struct Reveal<ReferencedDatabaseLock, &MetaTransaction::referenced_database_lock>;

} // namespace

namespace quack {

void RequireBuiltFor(const char *version) {
	if (string(DuckDB::LibraryVersion()) != version) {
		throw InvalidInputException("this file was built as one for DuckDB %s and links DuckDB %s: build it again with the "
		                            "DUCKDB_VERSION of the DuckDB in DUCKDB_LIB_DIR",
		                            version, DuckDB::LibraryVersion());
	}
}

void KnowAs(MetaTransaction &transaction, const Identifier &name, AttachedDatabase &db) {
	lock_guard<mutex> guard(transaction.*Member(ReferencedDatabaseLock()));
	(transaction.*Member(ReferencedDatabases())).emplace(reference<AttachedDatabase>(db), db.shared_from_this());
	(transaction.*Member(UsedDatabases())).emplace(name, db);
}

vector<shared_ptr<AttachedDatabase>> DatabasesOf(MetaTransaction &transaction) {
	lock_guard<mutex> guard(transaction.*Member(ReferencedDatabaseLock()));
	vector<shared_ptr<AttachedDatabase>> result;
	for (auto &referenced : transaction.*Member(ReferencedDatabases())) {
		result.push_back(referenced.second);
	}
	return result;
}

void Forget(MetaTransaction &transaction, AttachedDatabase &db) {
	lock_guard<mutex> guard(transaction.*Member(ReferencedDatabaseLock()));
	(transaction.*Member(ReferencedDatabases())).erase(db);
	auto &used = transaction.*Member(UsedDatabases());
	for (auto entry = used.begin(); entry != used.end();) {
		entry = RefersToSameObject(entry->second.get(), db) ? used.erase(entry) : std::next(entry);
	}
}

void ReleaseCheckpointLock(DuckTransaction &transaction) {
	(transaction.*Member(CheckpointLockMember())).reset();
}

void ReleaseVacuumLock(DuckTransaction &transaction) {
	(transaction.*Member(VacuumLockMember())).reset();
}

void StopReading(DuckTransaction &transaction) {
	lock_guard<mutex> guard(transaction.GetTransactionManager().*Member(TransactionLock()));
	transaction.view.visibility_bound = VisibilityBound::AllCommitted();
}

void ForEachActive(DuckTransactionManager &manager, const std::function<void(DuckTransaction &transaction)> &callback) {
	lock_guard<mutex> guard(manager.*Member(TransactionLock()));
	for (auto &transaction : manager.*Member(ActiveTransactions())) {
		callback(*transaction);
	}
}

void CleanUp(DuckTransactionManager &manager) {
	{
		lock_guard<mutex> guard(manager.*Member(TransactionLock()));
		(manager.*Member(UpdateLowest()))(nullptr);
		auto cleanup = (manager.*Member(CreateCleanup()))();
		cleanup->lowest_visibility_bound = manager.LowestVisibilityBound();
		(manager.*Member(SweepCommitted()))(*cleanup);
		(manager.*Member(QueueForCleanup()))(std::move(cleanup));
	}
	(manager.*Member(CleanupTransactions()))();
}

vector<shared_ptr<LocalTableStorage>> EntriesOf(LocalStorage &storage) {
	return (storage.*Member(LocalTables())).GetEntries();
}

mutex &LockOf(ClientContext &context) {
	return context.*Member(ContextLock());
}

bool HasActiveQuery(ClientContext &context) {
	return context.*Member(ActiveQuery()) != nullptr;
}

string CurrentQuery(ClientContext &context) {
	auto &active = context.*Member(ActiveQuery());
	return active ? active->query : string();
}

bool ExpandsIntoSeveral(ClientContext &context) {
	auto &active = context.*Member(ActiveQuery());
	return active && active->ExpandsIntoSeveral();
}

row_t FindKey(const ART &index, const ARTKey &key) {
	set<row_t> row_ids;
	IndexLock lock(index);
	auto all = (index.*Member(SearchEqual()))(key, 1, row_ids);
	return all && row_ids.size() == 1 ? *row_ids.begin() : -1;
}

void BeginScan(DataTable &table, DuckTransaction &transaction, TableScanState &state,
               const vector<StorageIndex> &column_ids, row_t row_id) {
	(table.*Member(InitializeScanWithOffset()))(transaction, state, column_ids, NumericCast<idx_t>(row_id),
	                                            NumericLimits<idx_t>::Maximum());
}

void Reattach(ClientContext &context, AttachedDatabase &db) {
	auto &manager = DatabaseManager::Get(context);
	lock_guard<mutex> guard(manager.*Member(DatabasesLock()));
	(manager.*Member(Databases()))[db.GetName()] = db.shared_from_this();
}

vector<BindCastFunction> &CastProvidersOf(CastFunctionSet &casts) {
	return casts.*Member(CastProviders());
}

optional_ptr<DBConfig> &ConfigOf(CastFunctionSet &casts) {
	return casts.*Member(CastConfig());
}

shared_ptr<ExternalExtensionProvider> &ProviderOf(DBConfig &config) {
	return config.*Member(ExtensionProvider());
}

void ShareCosts(const CastFunctionSet &from, CastFunctionSet &to) {
	to.*Member(CastCosts()) = from.*Member(CastCosts());
}

shared_ptr<CatalogSet> TriggersOf(const DuckTableEntry &table) {
	return table.*Member(TableTriggers());
}

void MoveSequence(SequenceCatalogEntry &sequence, const SequenceData &data) {
#if QUACK_DUCKDB_PATCH >= 1
	auto &state = *(sequence.*Member(SequenceStateMember()));
	lock_guard<mutex> guard(state.lock);
	state.data = data;
#else
	lock_guard<mutex> guard(sequence.*Member(SequenceLock()));
	sequence.*Member(SequenceDataMember()) = data;
#endif
}

RepeatedRows RepeatedRowsOf(const LogicalUpdate &update) {
#if QUACK_DUCKDB_PATCH >= 1
	// The plan does not say whether there is a FROM.
	return RepeatedRows::KEEP_FIRST_COUNT_ALL;
#else
	switch (update.row_id_handling) {
	case RowIdHandling::ASSUME_UNIQUE:
		return RepeatedRows::CANNOT_BE;
	case RowIdHandling::KEEP_FIRST:
		return RepeatedRows::KEEP_FIRST;
	default:
		return RepeatedRows::ERROR;
	}
#endif
}

} // namespace quack
