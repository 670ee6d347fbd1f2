//! Rows that an entry names by their places, at the applier.
#pragma once

#include "applier.hpp"
#include "row_places.hpp"

namespace quack {

//! A table as it was before the running transaction, which changes nothing but rows of it by their places.
struct Applier::Placed {
	//! `columns` are those that change; none when the rows are deleted.
	Placed(duckdb::ClientContext &context, Target &target, duckdb::vector<duckdb::PhysicalIndex> columns, bool in_place);

	Target &target;
	duckdb::vector<duckdb::PhysicalIndex> columns;
	//! Whether rows are updated where they are, as the entry says.
	bool in_place;
	RowPlaces places;
	RowCheck check;
	//! Reads the columns that indexes are made of; none where there are none.
	duckdb::vector<idx_t> indexed;
	duckdb::unique_ptr<RowReader> keys;
	//! Reads all columns of rows that are deleted and appended.
	RowReader rows;

	//! Whether all rows are deleted and appended: because the entry says so, or because DuckDB does not update them in place.
	bool moves_all;
	//! What DuckDB is given to change rows where they are: `columns`, then others that a CHECK needs beside them.
	duckdb::vector<duckdb::PhysicalIndex> written;
	//! Reads the columns of which the values before are needed, in ascending order; none where none are.
	duckdb::vector<idx_t> needed;
	duckdb::unique_ptr<RowReader> old_values;
};

} // namespace quack
