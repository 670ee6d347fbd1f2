//! Whether a statement may see the data of a replicated catalog now.
#pragma once

#include "duckdb.hpp"

namespace quack {

class QuackCatalog;

//! The caller is a client's transaction, before it takes its snapshot. Throws on a node that does not serve clients, and
//! waits for the leader's confirmation where reads are linearizable. Statements that see no data, above all those that
//! report the state of the node, pass at once.
void Admit(duckdb::ClientContext &context, QuackCatalog &catalog);

} // namespace quack
