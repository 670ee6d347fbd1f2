//! Rows that an open transaction has deleted, without a trace in the store.
#pragma once

#include "duckdb.hpp"

#include <array>
#include <map>

namespace duckdb {
struct BoundStatement;
}

namespace quack {

//! A set of row ids, as one bitmap for each vector of rows: 256 bytes for any of 2048 neighbours.
class HiddenRows {
public:
	void Add(duckdb::row_t row_id);
	void Add(const duckdb::row_t *row_ids, idx_t count);
	idx_t Count() const;
	//! Adds all of `other`.
	void Add(const HiddenRows &other);
	bool Contains(duckdb::row_t row_id) const;
	bool Empty() const {
		return vectors.empty();
	}
	void Clear() {
		vectors.clear();
	}
	//! Calls back with up to STANDARD_VECTOR_SIZE ids at a time, in ascending order.
	void ForEachVector(const std::function<void(duckdb::Vector &row_ids, idx_t count)> &callback) const;

private:
	static constexpr idx_t WORD_BITS = 64;
	using Bitmap = std::array<uint64_t, STANDARD_VECTOR_SIZE / WORD_BITS>;
	std::map<idx_t, Bitmap> vectors;
};

//! Makes every scan in the statement's plan skip the rows that the connection's open transaction hides, or that the
//! statement itself will have hidden when the scan begins.
void HideRows(duckdb::ClientContext &context, duckdb::BoundStatement &statement, bool goes_on_after_write);

} // namespace quack
