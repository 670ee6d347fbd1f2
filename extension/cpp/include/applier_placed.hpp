//! Rows that an entry names by their places, at the applier.
#pragma once

#include "applier.hpp"
#include "row_places.hpp"

namespace quack {

//! A table as it was before the running transaction, which changes nothing but rows of it by their places.
struct Applier::Placed {
	Placed(duckdb::ClientContext &context, Target &target);

	Target &target;
	RowPlaces places;
	RowCheck check;
	//! Reads the columns that indexes are made of; none where there are none.
	duckdb::vector<idx_t> indexed;
	duckdb::unique_ptr<RowReader> keys;
	//! Reads all columns of rows that are updated.
	RowReader rows;
};

} // namespace quack
