//! Rows by their places: where they come in their table, counted from 0, as a transaction sees it.
//!
//! Row ids differ from node to node once checkpoints have moved rows, the order of rows does not
//! (crates/apply/src/revisions.rs). Bulk statements travel as places, without the rows.
#pragma once

#include "row_reader.hpp"
#include "duckdb.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/transaction/duck_transaction.hpp"

#include <array>

namespace quack {

//! Which rows a table has for a transaction: from places to row ids and back.
class RowPlaces {
public:
	//! Looks at all rows; later changes are not seen.
	RowPlaces(duckdb::ClientContext &context, duckdb::DataTable &storage);

	uint64_t Count() const {
		return count;
	}
	//! The place of a row that there is.
	uint64_t PlaceOf(duckdb::row_t id);
	//! The ids of neighbours, of which the last one is below `Count`.
	void IdsFrom(uint64_t place, idx_t length, duckdb::row_t *ids);

private:
	static constexpr idx_t WORD_BITS = 64;
	static constexpr idx_t WORDS = STANDARD_VECTOR_SIZE / WORD_BITS;
	static constexpr idx_t NO_GAPS = duckdb::NumericLimits<idx_t>::Maximum();
	//! Rows of one vector of which some are missing.
	struct Gaps {
		std::array<uint64_t, WORDS> present;
		//! Rows before each word.
		std::array<uint16_t, WORDS> before;
	};
	//! Rows that follow each other in ids, or lie within a vector.
	struct Piece {
		uint64_t place;
		duckdb::row_t id;
		duckdb::row_t last_id;
		idx_t length;
		//! In `gaps`, or none.
		idx_t gaps;
	};

	void Add(const duckdb::row_t *ids, idx_t length);
	const Piece &PieceAt(uint64_t place);
	void Unfold(const Piece &piece);

	duckdb::vector<Piece> pieces;
	duckdb::vector<Gaps> gaps;
	uint64_t count = 0;
	//! The piece that was looked at last: the next rows are in it as a rule.
	idx_t last = 0;
	//! The piece with gaps of which `offsets` has the rows.
	idx_t unfolded = NO_GAPS;
	std::array<uint16_t, STANDARD_VECTOR_SIZE> offsets;
};

//! Places as bytes, see `Places.runs` in proto/quack/log/v1/entry.proto.
class PlaceWriter {
public:
	//! Places come in ascending order.
	void Add(uint64_t place, uint64_t length);
	//! What has been added, which starts anew.
	duckdb::string Finish();
	idx_t Bytes() const {
		return bytes.size();
	}
	uint64_t Count() const {
		return count;
	}

private:
	void Flush();

	duckdb::string bytes;
	//! The end of what is in `bytes`, and the run after it.
	uint64_t end = 0;
	uint64_t run_begin = 0;
	uint64_t run_length = 0;
	uint64_t count = 0;
};

//! Reads what a PlaceWriter has written.
class PlaceReader {
public:
	explicit PlaceReader(const duckdb::string &bytes) : bytes(bytes) {
	}
	//! The next run; false at the end. Throws where the bytes are none.
	bool Next(uint64_t &place, uint64_t &length);

private:
	uint64_t Number();

	const duckdb::string &bytes;
	idx_t at = 0;
	uint64_t end = 0;
};

//! A number that tells rows from others: the sum of their hashes. What is cheap to read counts of every row, of some all
//! columns. Nodes that have the same rows in the same order need no such thing; it finds those that have not.
class RowCheck {
public:
	RowCheck(duckdb::DuckTransaction &transaction, duckdb::DuckTableEntry &table);

	//! Adds rows; returns false when the transaction does not see all of them. At most STANDARD_VECTOR_SIZE, with neighbours
	//! in ascending order. Where the rows `are_all` of the table their order may be each node's own, and none is read whole.
	bool Add(const duckdb::Vector &row_ids, idx_t count, bool are_all);
	//! The sum so far, which starts anew.
	uint64_t Finish();

private:
	RowReader some_columns;
	RowReader all_columns;
	uint64_t sum = 0;
	//! Rows so far.
	uint64_t rows = 0;
};

} // namespace quack
