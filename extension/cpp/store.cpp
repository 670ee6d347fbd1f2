//! Opening, closing and checkpointing a store.

#include "store.hpp"

#include "error.hpp"
#include "statement.hpp"
#include "duckdb/catalog/catalog_search_path.hpp"
#include "duckdb/common/types/uuid.hpp"
#include "duckdb/main/client_data.hpp"
#include "duckdb/main/config.hpp"
#include "duckdb/main/database_manager.hpp"
#include "duckdb/parser/parsed_data/attach_info.hpp"
#include "duckdb/storage/single_file_block_manager.hpp"
#include "duckdb/storage/storage_manager.hpp"
#include "duckdb/transaction/transaction_manager.hpp"

#include <thread>

using namespace duckdb;

namespace quack {

Store::Store(Host &host, shared_ptr<AttachedDatabase> db_p)
    : host(host), instance(host.Instance()), db(std::move(db_p)) {
	host.held++;
}

uint64_t CheckpointCount(AttachedDatabase &db) {
	auto &blocks = db.GetStorageManager().Cast<SingleFileStorageManager>().GetBlockManager();
	return blocks.Cast<SingleFileBlockManager>().GetCheckpointIteration();
}

HeldConnection Store::Connect(bool internal) {
	auto connection = host.Connect();
	StatementState::Get(*connection->context).internal = internal;
	UseStore(*connection->context, CatalogName());
	return connection;
}

void UseStore(ClientContext &context, const string &catalog) {
	context.RunFunctionInTransaction([&]() {
		CatalogSearchEntry entry(Identifier(catalog), Identifier::DefaultSchema());
		ClientData::Get(context).catalog_search_path->Set(std::move(entry), CatalogSetPathType::SET_SCHEMA);
	});
}

//! Release whose files the store is: every later DuckDB reads them.
constexpr const char *STORE_VERSION = "v2.0.0";

//! Notes the file as open: in this process DuckDB then opens it no second time, neither in this instance nor in another. It
//! does so by itself for databases of its own type alone. A second opening would write beside the log, and its end would
//! give up the lock that keeps other processes away.
static unique_ptr<StoredDatabasePath> NoteFile(ClientContext &context, const AttachInfo &info) {
	AttachInfo file;
	file.name = info.name;
	file.path = FileSystem::GetFileSystem(context).CanonicalizePath(info.path);
	AttachOptions noted(info.options, AccessMode::READ_WRITE);
	try {
		DatabaseManager::Get(context).InsertDatabasePath(file, noted);
	} catch (const ResourceInUseException &ex) {
		throw InvalidInputException("this process has opened the node's store '%s' as a database: detach or close that, "
		                            "and serve again (%s)",
		                            info.path, ErrorData(ex).RawMessage());
	}
	return std::move(noted.stored_database_path);
}

//! Attaches the file, regardless of the settings of the process: no statement runs for it, and DuckDB may open this file
//! even where it may open no others.
static shared_ptr<AttachedDatabase> AttachFile(ClientContext &context, const string &path, const string &catalog,
                                               const string &key) {
	DBConfig::GetConfig(context).AddAllowedDatabasePath(path);
	shared_ptr<AttachedDatabase> db;
	context.RunFunctionInTransaction([&]() {
		AttachInfo info;
		info.name = Identifier(catalog);
		info.path = path;
		info.options["type"] = Value(HOST_EXTENSION);
		// Otherwise a setting of the process would decide what the file can hold.
		info.options["storage_version"] = Value(STORE_VERSION);
		info.options["recovery_mode"] = Value("no_wal_writes");
		info.options[STORE_KEY_OPTION] = Value(key);
		auto file = NoteFile(context, info);
		AttachOptions options(info.options, AccessMode::READ_WRITE);
		db = DatabaseManager::Get(context).AttachDatabase(context, info, options);
		db->GetCatalog().Cast<QuackCatalog>().HoldFile(std::move(file));
	});
	return db;
}

static unique_ptr<Store> OpenStore(Host &host, const string &path, const string &catalog, const void *node) {
	auto key = UUID::ToString(UUID::GenerateRandomUUID());
	{
		lock_guard<mutex> guard(host.opening_lock);
		host.opening[key] = node;
	}
	auto connection = host.Connect();
	shared_ptr<AttachedDatabase> db;
	ErrorData error;
	try {
		db = AttachFile(*connection->context, path, catalog, key);
	} catch (std::exception &ex) {
		error = ErrorData(ex);
	}
	connection.reset();
	{
		lock_guard<mutex> guard(host.opening_lock);
		host.opening.erase(key);
	}
	if (error.HasError()) {
		error.Throw();
	}
	return make_uniq<Store>(host, std::move(db));
}

static bool CloseStore(unique_ptr<Store> store) {
	auto &host = store->host;
	auto instance = store->instance;
	store->Catalog().Seal("the server that owned it has been stopped");
	store->Catalog().AllowDetach();
	bool closed;
	{
		// The connection goes before the last reference to the instance does.
		Connection connection(*instance);
		auto &context = *connection.context;
		auto db = std::move(store->db);
		context.RunFunctionInTransaction([&]() {
			DatabaseManager::Get(context).DetachDatabase(context, db->GetName(), OnEntryNotFound::RETURN_NULL, true);
		});
		// Statements that end now let go of it in a moment; one that goes on keeps the file open until it has ended.
		for (idx_t i = 0; i < 100 && db.use_count() > 1; i++) {
			std::this_thread::sleep_for(std::chrono::milliseconds(10));
		}
		closed = db.use_count() == 1;
		AttachedDatabase::InvokeCloseIfLastReference(db, context);
	}
	store.reset();
	host.held--;
	// Ends the instance here when no other owner holds it.
	instance.reset();
	return closed;
}

} // namespace quack

using quack::Guard;

extern "C" void *quack_cpp_store_open(void *host, QuackBytes path, QuackBytes catalog, const void *node,
                                      QuackError *error) {
	void *result = nullptr;
	Guard(error, [&]() {
		auto &owner = *static_cast<quack::Host *>(host);
		result = quack::OpenStore(owner, quack::Text(path), quack::Text(catalog), node).release();
	});
	return result;
}

extern "C" void quack_cpp_store_seal(void *store, QuackBytes reason) {
	static_cast<quack::Store *>(store)->Catalog().Seal(quack::Text(reason));
}

extern "C" bool quack_cpp_store_close(void *store) {
	bool closed = false;
	QuackError error = quack::NoError();
	Guard(&error, [&]() { closed = quack::CloseStore(unique_ptr<quack::Store>(static_cast<quack::Store *>(store))); });
	if (error.kind != quack::NO_ERROR) {
		quack_cpp_free(error.message);
	}
	return closed;
}

extern "C" void quack_cpp_store_catalog(void *store, QuackSink name) {
	auto catalog = static_cast<quack::Store *>(store)->CatalogName();
	name.take(name.context, quack::Bytes(catalog));
}

extern "C" void quack_cpp_store_checkpoint(void *store_p, QuackError *error) {
	Guard(error, [&]() {
		auto &store = *static_cast<quack::Store *>(store_p);
		auto connection = store.Connect(true);
		ErrorData failure;
		try {
			// Not a statement: what the process has set for statements, such as the longest time of one, is not meant.
			auto &context = *connection->context;
			context.RunFunctionInTransaction([&]() { TransactionManager::Get(*store.db).Checkpoint(context, false); });
		} catch (std::exception &ex) {
			failure = ErrorData(ex);
		}
		connection.reset();
		if (failure.HasError()) {
			failure.Throw();
		}
	});
}

extern "C" uint64_t quack_cpp_store_checkpoints(void *store_p) {
	return quack::CheckpointCount(*static_cast<quack::Store *>(store_p)->db);
}
