//! Settings that decide what a statement means.
#pragma once

#include "duckdb.hpp"
#include "duckdb/catalog/catalog_search_path.hpp"
#include "duckdb/main/client_config.hpp"

namespace duckdb {
class DuckTransaction;
}

namespace quack {

//! Names and values of settings, as text.
using SettingValues = duckdb::vector<std::pair<duckdb::string, duckdb::string>>;

//! What a setting of DuckDB is to replicated data.
enum class SettingClass {
	//! It has its default value wherever a node binds or evaluates a definition, regardless of the process's own value.
	PINNED,
	//! The same; where a statement converts rows that are there, it is evaluated under its session's value instead, which
	//! travels in the entry.
	TRAVELS,
	//! The process's own: memory, threads, files, the network, what it logs. It decides nothing about rows.
	HOST,
	//! A connection's own, and at its default in each new one.
	CONNECTION,
	//! One of an extension, or of a DuckDB that this release does not know. It is pinned.
	UNKNOWN
};

SettingClass ClassOf(const duckdb::string &setting);
const char *NameOf(SettingClass setting_class);

//! Gives a connection of the node's own the pinned values. They are written where DuckDB looks them up, not with SET,
//! which the process may have forbidden (`lock_configuration`).
void PinSettings(duckdb::ClientContext &context);

//! The settings of the class `TRAVELS` whose values in this session are not the pinned ones.
SettingValues TravellingSettings(duckdb::ClientContext &context);

//! Registers `quack_setting_class(name)`.
void RegisterSettings(duckdb::ExtensionLoader &loader);

//! While it lives, names and settings mean in this connection what they mean to the applier: settings are pinned, apart
//! from `travelling` ones, and names without a qualification are DuckDB's own. What is in the replicated catalog has its
//! full name. Functions that the process has added to DuckDB's, or to a name of theirs, are not there. For the thread that
//! runs the connection's statement.
class ClosedScope {
public:
	explicit ClosedScope(duckdb::ClientContext &context, const SettingValues &travelling = SettingValues());
	~ClosedScope();
	ClosedScope(const ClosedScope &) = delete;

private:
	duckdb::ClientContext &context;
	duckdb::LocalUserSettings settings;
	duckdb::unique_ptr<duckdb::CatalogSearchPath> search_path;
	duckdb::DuckTransaction &system;
	duckdb::VisibilityBound system_bound;
};

} // namespace quack
