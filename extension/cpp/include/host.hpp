//! What the extension knows about one DuckDB instance.
#pragma once

#include "bridge.h"
#include "gate.hpp"
#include "memory_room.hpp"
#include "duckdb.hpp"
#include "duckdb/storage/storage_extension.hpp"

namespace quack {

class Host;

//! Closes a connection of a host, which counts it no longer.
struct CloseHeld {
	void operator()(duckdb::Connection *connection) const;

	Host *host = nullptr;
};

using HeldConnection = std::unique_ptr<duckdb::Connection, CloseHeld>;

//! One per DuckDB instance, owned by its storage extension.
//!
//! Invariant: a host never keeps its instance alive by itself; only open stores, appliers and sessions do, and each
//! of them is counted in `held`, so that the server can notice when no other owner holds the instance.
class Host : public duckdb::StorageExtensionInfo {
public:
	explicit Host(duckdb::DatabaseInstance &db);
	~Host() override;

	//! The instance; throws when it is being closed.
	duckdb::shared_ptr<duckdb::DatabaseInstance> Instance() const;
	//! A new connection, counted in `held` for as long as it is there.
	HeldConnection Connect();

	static Host &Get(duckdb::optional_ptr<duckdb::StorageExtensionInfo> info);
	//! The host of a connection's instance.
	static Host &Get(duckdb::ClientContext &context);

public:
	duckdb::weak_ptr<duckdb::DatabaseInstance> instance;
	//! References to the instance that belong to this extension.
	duckdb::atomic<int64_t> held {0};
	//! One gate for all replicated catalogs of the instance, so that a statement over two of them cannot deadlock.
	StatementGate gate;
	MemoryRoom memory_room;
	//! The Rust side of this host.
	void *rust = nullptr;
	//! One ATTACH of a client at a time: the first one names the catalog.
	duckdb::mutex naming_lock;
	//! The node whose store is being attached, by the one-time key in the ATTACH options.
	duckdb::mutex opening_lock;
	duckdb::unordered_map<duckdb::string, const void *> opening;
};

//! Registers the storage extension; returns the host of the instance.
duckdb::shared_ptr<Host> RegisterStorage(duckdb::DatabaseInstance &db);
//! Registers the table functions and the secret type.
void RegisterFunctions(duckdb::ExtensionLoader &loader, duckdb::shared_ptr<Host> host);
void RegisterSecret(duckdb::ExtensionLoader &loader);

//! Under this name the storage extension is registered.
constexpr const char *HOST_EXTENSION = "quack";
//! The ATTACH option by which the extension attaches its own store.
constexpr const char *STORE_KEY_OPTION = "quack_store_key";

} // namespace quack
