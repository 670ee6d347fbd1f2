//! Whether a statement may see the data of a replicated catalog now.
#pragma once

#include "duckdb.hpp"

namespace quack {

class QuackCatalog;

//! Before a client's transaction takes its snapshot: throws on a node that serves nobody any more, and waits for the
//! leader's word where reads are linearizable. Statements that see no data, above all those that say how the node is,
//! pass at once.
void Admit(duckdb::ClientContext &context, QuackCatalog &catalog);

} // namespace quack
