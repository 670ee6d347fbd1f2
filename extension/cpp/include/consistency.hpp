//! How much of the cluster a connection's reads must have seen.
#pragma once

#include "duckdb.hpp"

namespace quack {

class QuackCatalog;

enum class Consistency : uint8_t { LOCAL, SESSION, LINEARIZABLE };

//! The setting of DuckDB in which a connection's level is, and the option of ATTACH.
constexpr const char *CONSISTENCY_SETTING = "quack_consistency";

//! Throws a text that names the levels when `text` is none of them.
Consistency ParseConsistency(const duckdb::string &text);

//! Registers the setting.
void RegisterConsistency(duckdb::DatabaseInstance &instance);

//! Sets the level of this connection for one catalog, as its ATTACH asks for it: until the connection sets its setting.
void AttachWith(duckdb::ClientContext &context, QuackCatalog &catalog, Consistency level);
//! Sets the level of a connection, which it comes back to with RESET: that of a server for its clients.
void ConnectWith(duckdb::ClientContext &context, Consistency level);

//! Whether a transaction that begins waits until it sees everything that was acknowledged anywhere before.
bool ReadsLinearizably(duckdb::ClientContext &context, QuackCatalog &catalog);

} // namespace quack
