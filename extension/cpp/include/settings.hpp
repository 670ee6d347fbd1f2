//! Settings that decide what a statement means.
#pragma once

#include "duckdb.hpp"

namespace quack {

//! Gives a connection of the node's own the same meaning of every expression as on all other nodes, whatever the settings
//! of this process are.
void PinSettings(duckdb::Connection &connection);

//! A statement's text, with the settings of the session before it that would make it mean something else elsewhere, and
//! with the schema of the catalog that the session uses.
duckdb::string WithSettings(duckdb::ClientContext &context, const duckdb::Identifier &catalog, const duckdb::string &sql);

//! Runs such a text on a connection with pinned settings, and pins them again. After an error they may be others:
//! DuckDB sets none in a transaction that has failed.
void RunWithSettings(duckdb::Connection &connection, const duckdb::Identifier &catalog, const duckdb::string &sql);

//! Pins the settings again, outside of a transaction that has failed.
void RestoreSettings(duckdb::Connection &connection, const duckdb::Identifier &catalog);

} // namespace quack
