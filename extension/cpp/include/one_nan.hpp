//! One bit pattern for all NaNs.
#pragma once

#include "duckdb.hpp"

namespace quack {

//! Gives all NaNs in the chunk the same bits. DuckDB keeps the bits that a computation has left and shows their sign. A
//! checkpoint forgets the sign if a column holds nothing else, and each node writes its checkpoints at other moments.
void UnifyNans(duckdb::DataChunk &rows);

} // namespace quack
