//! An UPDATE or DELETE that sends the places of its rows instead of the rows.
#pragma once

#include "capture.hpp"
#include "hidden_rows.hpp"
#include "row_places.hpp"
#include "duckdb/common/types/column/column_data_collection.hpp"

namespace quack {

//! The changes of an autocommit statement in one table, by the places of the rows (row_places.hpp). Every node refuses them
//! if the table has changed since; then the statement runs again and sends its rows. A statement that changes few rows of a
//! table in which other clients may change others at the same time sends its rows at once.
class BulkChange {
public:
	using Take = std::function<void(duckdb::Vector &row_ids, idx_t count, duckdb::DataChunk &values)>;

	//! Null when the statement must send its rows. `columns` are those that change; empty when the rows are deleted.
	static duckdb::unique_ptr<BulkChange> Begin(duckdb::ClientContext &context, const PhysicalCapture &op,
	                                            duckdb::DuckTableEntry &table,
	                                            const duckdb::vector<duckdb::PhysicalIndex> &columns);

	//! Rows that change, no two of them the same in all calls.
	void Update(duckdb::Vector &row_ids, idx_t count, duckdb::DataChunk &values);
	//! Rows that are deleted.
	void Delete(duckdb::Vector &row_ids, idx_t count);
	//! The statement has ended. If it must send its rows after all, `take` gets them, with the values for an update.
	void Finish(const Take &take);
	//! Rows that the statement deletes.
	idx_t Deleted() const {
		return deleted.Count();
	}

private:
	BulkChange(duckdb::ClientContext &context, const PhysicalCapture &op, duckdb::DuckTableEntry &table,
	           const duckdb::vector<duckdb::PhysicalIndex> &columns, uint64_t revision, bool is_ordered, idx_t rows_min);

	void WriteUpdated(duckdb::Vector &row_ids, duckdb::DataChunk &values);
	void WriteSorted(duckdb::Vector &row_ids, idx_t count, duckdb::DataChunk &values);
	void WriteKept();
	void ForEachKept(duckdb::ColumnDataCollection &rows, const Take &take);
	//! Returns whether the rows have been written.
	bool WriteDeleted();
	void Write(PlaceWriter &runs, bool are_all, QuackBytes values);
	RowPlaces &Places();
	RowCheck &Check();

	duckdb::ClientContext &context;
	const PhysicalCapture &op;
	duckdb::DuckTableEntry &table;
	const duckdb::vector<duckdb::PhysicalIndex> &columns;
	uint64_t revision;
	//! Whether places are the same on every node.
	bool is_ordered;
	//! With fewer rows the statement sends them.
	idx_t rows_min;
	//! Whether there are so many rows that they are updated where they are.
	bool in_place = false;
	duckdb::unique_ptr<RowPlaces> places;
	duckdb::unique_ptr<RowCheck> check;
	HiddenRows deleted;
	//! Rows that are updated, until there are enough: the values, then the ids.
	duckdb::unique_ptr<duckdb::ColumnDataCollection> kept;
};

} // namespace quack
