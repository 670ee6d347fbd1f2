//! The groups of a catalog's tables, as users and the node see them.
#pragma once

#include "duckdb.hpp"
#include "host.hpp"

namespace quack {

//! Registers `quack_table_groups` and `quack_multiraft_sql_set_enabled`.
void RegisterGroups(duckdb::ExtensionLoader &loader, Host &host);

} // namespace quack
