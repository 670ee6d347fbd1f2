//! What is not a number, as one value.
#pragma once

#include "duckdb.hpp"

namespace quack {

//! Gives everything in the chunk that is not a number the same bits. DuckDB keeps the bits that a computation has left,
//! shows their sign, and forgets it at a checkpoint if a column holds nothing else: at another moment on each node.
void UnifyNans(duckdb::DataChunk &rows);

} // namespace quack
