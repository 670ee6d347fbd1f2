//! The storage extension: how the store of a server becomes a database of DuckDB.

#include "host.hpp"

#include "catalog.hpp"
#include "store.hpp"
#include "transaction_manager.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/main/connection.hpp"
#include "duckdb/parser/parsed_data/attach_info.hpp"
#include "duckdb/storage/storage_manager.hpp"

using namespace duckdb;

namespace quack {

//! Called for the server's own store alone: a client's ATTACH does not get here (attach.cpp).
static unique_ptr<Catalog> Attach(optional_ptr<StorageExtensionInfo> storage_info, ClientContext &,
                                  AttachedDatabase &db, const string &, AttachInfo &info, AttachOptions &options) {
	auto &host = Host::Get(storage_info);
	auto key = options.options.find(STORE_KEY_OPTION);
	if (key == options.options.end()) {
		throw NotImplementedException("%s: attach a quack catalog with the statement ATTACH", info.path);
	}
	lock_guard<mutex> guard(host.opening_lock);
	auto entry = host.opening.find(key->second.ToString());
	if (entry == host.opening.end()) {
		throw BinderException("the option %s is reserved", STORE_KEY_OPTION);
	}
	auto node = entry->second;
	host.opening.erase(entry);
	options.options.erase(key);
	return make_uniq<QuackCatalog>(db, node);
}

static unique_ptr<TransactionManager> CreateTransactionManager(optional_ptr<StorageExtensionInfo> storage_info,
                                                               AttachedDatabase &db, Catalog &) {
	return make_uniq<QuackTransactionManager>(db, Host::Get(storage_info).gate);
}

namespace {

class QuackStorageExtension : public StorageExtension {
public:
	//! Comes before every checkpoint, also before the one that DuckDB writes when a database is closed.
	void OnCheckpointStart(AttachedDatabase &db, CheckpointOptions) override {
		auto &catalog = db.GetCatalog().Cast<QuackCatalog>();
		if (catalog.IsSealed() && (!catalog.IsSound() || !catalog.HasRoom())) {
			// The store is being closed by the last statement that has used it, which is not to be told. Without changes DuckDB
			// writes nothing, and what is on the disk is good.
			db.GetStorageManager().SetWALSize(0);
			return;
		}
		catalog.RequireSound();
		catalog.RequireRoom();
		catalog.BeginCheckpoint(CheckpointCount(db));
	}

	void OnCheckpointEnd(AttachedDatabase &db, CheckpointOptions) override {
		db.GetCatalog().Cast<QuackCatalog>().EndCheckpoint(CheckpointCount(db));
	}
};

} // namespace

//! Begins a transaction of DuckDB's own catalog that never ends. Where a process adds a function to a name that DuckDB has,
//! DuckDB forgets what was there before as soon as nothing sees it any more; the applier needs it (`ClosedScope`).
static void KeepFunctions(DatabaseInstance &db) {
	Connection connection(db);
	auto &context = *connection.context;
	context.RunFunctionInTransaction(
	    [&]() { Catalog::GetSystemCatalog(context).GetAttached().GetTransactionManager().StartTransaction(context); });
}

shared_ptr<Host> RegisterStorage(DatabaseInstance &db) {
	KeepFunctions(db);
	auto host = make_shared_ptr<Host>(db);
	auto extension = make_shared_ptr<QuackStorageExtension>();
	extension->attach = Attach;
	extension->create_transaction_manager = CreateTransactionManager;
	extension->storage_info = host;
	StorageExtension::Register(DBConfig::GetConfig(db), HOST_EXTENSION, std::move(extension));
	return host;
}

} // namespace quack
