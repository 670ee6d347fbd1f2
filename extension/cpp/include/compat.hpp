//! What depends on the version of DuckDB, and the few members of its classes that it keeps private.
#pragma once

#include "duckdb.hpp"
#include "duckdb/execution/index/art/art_key.hpp"
#include "duckdb/function/cast/cast_function_set.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/transaction/duck_transaction.hpp"

namespace duckdb {
class ART;
class CatalogSet;
class DataTable;
class DuckTransactionManager;
class DuckTableEntry;
class LocalStorage;
class LocalTableStorage;
class LogicalUpdate;
class MetaTransaction;
class SequenceCatalogEntry;
class TableScanState;
struct SequenceData;
struct StorageIndex;
}

namespace quack {

//! The DuckDB that is linked must be the one that the file says it is for. DuckDB compares the latter with its own version.
void RequireBuiltFor(const char *version);

//! Gives up the lock by which a writing transaction keeps checkpoints away. For a transaction that changes nothing in
//! the store itself: without this, a client that waits for its outcome would starve checkpoints.
void ReleaseCheckpointLock(duckdb::DuckTransaction &transaction);
//! Gives up the lock by which a writing transaction keeps row ids as they are. For one that needs no row id any more.
void ReleaseVacuumLock(duckdb::DuckTransaction &transaction);

//! From here on the transaction reads nothing: no version of a row is kept for it.
void StopReading(duckdb::DuckTransaction &transaction);
//! Calls back for each open transaction; none begins or ends meanwhile.
void ForEachActive(duckdb::DuckTransactionManager &manager,
                   const std::function<void(duckdb::DuckTransaction &transaction)> &callback);
//! Cleans up after all committed transactions whose old versions no open transaction sees any more. DuckDB itself does so
//! after a transaction has ended, perhaps only in a moment, and does not know of those that have stopped reading.
void CleanUp(duckdb::DuckTransactionManager &manager);

//! What a transaction has added to tables, by table.
duckdb::vector<duckdb::shared_ptr<duckdb::LocalTableStorage>> EntriesOf(duckdb::LocalStorage &storage);

//! The lock under which a connection does everything that it does.
duckdb::mutex &LockOf(duckdb::ClientContext &context);
//! Whether a connection has a statement under way, or a result that is still being read. Needs that lock.
bool HasActiveQuery(duckdb::ClientContext &context);

//! The text of the statement that a connection runs; empty when it runs none.
duckdb::string CurrentQuery(duckdb::ClientContext &context);

//! Where a unique index says that a key is; -1 when it is not there, or there more than once.
duckdb::row_t FindKey(const duckdb::ART &index, const duckdb::ARTKey &key);

//! Begins a scan of a table's committed rows at the vector of a row, which must be in the table.
void BeginScan(duckdb::DataTable &table, duckdb::DuckTransaction &transaction, duckdb::TableScanState &state,
               const duckdb::vector<duckdb::StorageIndex> &column_ids, duckdb::row_t row_id);

//! Whether DuckDB runs what the user wrote as several statements, in one transaction.
bool ExpandsIntoSeveral(duckdb::ClientContext &context);

//! Puts a sequence into a state. DuckDB's own way there leads through a transaction, or takes no lock.
void MoveSequence(duckdb::SequenceCatalogEntry &sequence, const duckdb::SequenceData &data);

//! What an UPDATE does with a row that several rows of its source match.
enum class RepeatedRows : uint8_t {
	CANNOT_BE,
	KEEP_FIRST,
	//! Every match counts, and the first one is written.
	KEEP_FIRST_COUNT_ALL,
	ERROR
};
RepeatedRows RepeatedRowsOf(const duckdb::LogicalUpdate &update);

//! What is asked for a cast, the last one first, before DuckDB's own. Its own way to register casts decides which of them are
//! implicit, too.
duckdb::vector<duckdb::BindCastFunction> &CastProvidersOf(duckdb::CastFunctionSet &casts);
//! The settings that decide about casts of the set.
duckdb::optional_ptr<duckdb::DBConfig> &ConfigOf(duckdb::CastFunctionSet &casts);
//! Gives a set the costs of the casts that are registered with another one, which must outlive it.
void ShareCosts(const duckdb::CastFunctionSet &from, duckdb::CastFunctionSet &to);

//! What installs extensions and loads their libraries. DuckDB's own way replaces it, and the one before is gone.
duckdb::shared_ptr<duckdb::ExternalExtensionProvider> &ProviderOf(duckdb::DBConfig &config);

//! The triggers of a table, which its next version takes over.
duckdb::shared_ptr<duckdb::CatalogSet> TriggersOf(const duckdb::DuckTableEntry &table);

//! From here on the transaction finds the database under this name, too. It is listed under its own alone.
void KnowAs(duckdb::MetaTransaction &transaction, const duckdb::Identifier &name, duckdb::AttachedDatabase &db);

//! The databases that a transaction has used, or looked up by name.
duckdb::vector<duckdb::shared_ptr<duckdb::AttachedDatabase>> DatabasesOf(duckdb::MetaTransaction &transaction);
//! The transaction does not count the database among those any more. What it has begun there goes on: keep the database until
//! it ends.
void Forget(duckdb::MetaTransaction &transaction, duckdb::AttachedDatabase &db);

//! Puts a database back under its name, after DuckDB has taken it out for a DETACH that is to be refused.
void Reattach(duckdb::ClientContext &context, duckdb::AttachedDatabase &db);

} // namespace quack
