//! The file system of a session that must not use the host's files.
#pragma once

#include "duckdb.hpp"

namespace quack {

//! Lets a connection see no file: everything that DuckDB does with files for a statement goes through its file system.
//! What DuckDB does for itself, such as spilling, does not.
void HideHostFiles(duckdb::ClientContext &context);

} // namespace quack
