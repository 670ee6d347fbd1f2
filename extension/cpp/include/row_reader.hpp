//! Reads rows of a table by their ids.
#pragma once

#include "duckdb.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/transaction/duck_transaction.hpp"

namespace duckdb {
class TableScanState;
}

namespace quack {

//! Reads rows by their ids, as DuckDB's `Fetch` does, which reads them one by one: what is compressed takes about a
//! thousand times as long as a scan then. Where many of the rows sought lie in one vector of the table, this scans it, and
//! goes on from there with the next one.
class RowReader {
public:
	//! Reads all physical columns.
	RowReader(duckdb::DuckTransaction &transaction, duckdb::DataTable &storage);
	//! Reads these.
	RowReader(duckdb::DuckTransaction &transaction, duckdb::DataTable &storage, const duckdb::vector<idx_t> &columns);
	~RowReader();

	//! Of the rows with these ids, at most STANDARD_VECTOR_SIZE and no two of them the same, those that the transaction
	//! sees: the columns, then the ids, in the order of `row_ids`. `result` is good until the next call.
	void Read(const duckdb::Vector &row_ids, idx_t count, duckdb::DataChunk &result);
	//! The transaction has changed rows of the table.
	void Forget();

	//! The types of what `Read` gives.
	const duckdb::vector<duckdb::LogicalType> &Types() const {
		return types;
	}

private:
	void ReadAscending(const duckdb::row_t *ids, idx_t count, duckdb::DataChunk &result);
	//! Scans the vector in which a row is that the transaction sees, unless it is the one scanned last.
	void ScanVectorOf(duckdb::row_t id);
	void Open(duckdb::row_t id);
	//! The rows of the scanned vector that have one of these ids.
	void Pick(const duckdb::row_t *ids, idx_t count, duckdb::DataChunk &result);
	void Fetch(const duckdb::row_t *ids, idx_t count, duckdb::DataChunk &result);
	bool CanFetch(duckdb::row_t id);

	duckdb::DuckTransaction &transaction;
	duckdb::DataTable &storage;
	duckdb::vector<duckdb::LogicalType> types;
	duckdb::vector<duckdb::StorageIndex> column_ids;

	//! The scan, the row group in which it is, and the vector that it has read last: `scanned` holds its visible rows.
	duckdb::unique_ptr<duckdb::TableScanState> scan;
	idx_t group_begin = 0;
	idx_t group_end = 0;
	idx_t vector_begin = 0;
	idx_t vector_end = 0;
	duckdb::DataChunk scanned;
};

} // namespace quack
