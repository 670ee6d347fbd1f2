//! How many bytes rows hold, and chunks of rows cut by them.
//!
//! A chunk may hold far fewer bytes than its rows: they share a constant, the values of a dictionary, the elements of lists.
//! Each row of the log and of an answer has its own, so that a chunk is cut by what its rows hold before they are written.
#pragma once

#include "duckdb.hpp"

namespace quack {

//! Rows of a chunk, from `begin` to before `end`.
struct RowRange {
	idx_t begin;
	idx_t end;
};

//! Bytes of text and the like that the rows hold beside their columns, each row counted by itself.
idx_t TextBytes(const duckdb::DataChunk &rows);
//! Cuts rows into ranges of at most `rows_max` rows and `bytes_max` bytes; a row with more bytes is a range by itself.
duckdb::vector<RowRange> Cut(const duckdb::DataChunk &rows, idx_t rows_max, idx_t bytes_max);
//! The rows of a range, as a chunk of their own that holds nothing of others. It may refer to `rows` when it is all of them.
duckdb::unique_ptr<duckdb::DataChunk> PieceOf(duckdb::DataChunk &rows, const RowRange &range);
//! Likewise, always a copy.
duckdb::unique_ptr<duckdb::DataChunk> SliceOf(duckdb::DataChunk &rows, const RowRange &range);

} // namespace quack
