//! Two rows are the same when all their bytes are the same. SQL's equality is another one, which depends on collations and
//! takes -0.0 for 0.0 and a month for 30 days. Every NaN is the same as every other NaN.
#pragma once

#include "duckdb.hpp"

namespace quack {

//! Two hashes of a row's bytes that have nothing to do with one another. The same on every node and in every release
//! that stores values in the same form.
struct RowHash {
	uint64_t lanes[2];

	bool operator==(const RowHash &other) const {
		return lanes[0] == other.lanes[0] && lanes[1] == other.lanes[1];
	}
};

//! The bytes of some columns of a chunk. A NULL is different from every value, regardless of the bytes beneath it; elements that
//! no list refers to do not count, nor does how a vector is compressed.
class RowBytes {
public:
	//! `column_count` columns from `first_column` on. The chunk must stay as it is meanwhile.
	RowBytes(const duckdb::DataChunk &rows, idx_t first_column, idx_t column_count);
	explicit RowBytes(const duckdb::Vector &column);

	//! One hash for each of the first `count` rows.
	duckdb::vector<RowHash> Hash(idx_t count) const;
	//! Compares row `own.get_index(i)` with row `theirs.get_index(i)` of `other`, for each i below `count`.
	duckdb::vector<bool> Differ(const duckdb::SelectionVector &own, const RowBytes &other,
	                            const duckdb::SelectionVector &theirs, idx_t count) const;
	//! Compares each of the first `count` rows with the one at the same place.
	duckdb::vector<bool> Differ(const RowBytes &other, idx_t count) const;

private:
	using Format = duckdb::RecursiveUnifiedVectorFormat;
	duckdb::vector<Format> columns;
};

//! Whether a column is the same in the first `count` rows of both.
bool IsSame(const duckdb::Vector &left, const duckdb::Vector &right, idx_t count);

} // namespace quack
