//! Keys of new rows that rows of the table have already.
#pragma once

#include "rows.hpp"

namespace quack {

struct TakenKeys {
	//! By a row that the transaction sees.
	bool seen = false;
	//! By a row that another transaction has committed since, or has yet to.
	bool unseen = false;

	bool AreUnseen() const {
		return unseen && !seen;
	}
};

//! Which rows of the table have a key, or refer to a key, in the way of `rows`, the new ones of the transaction left out.
//! The constraints of the table are bound before, because parts of a statement run at the same time (`ClosedScope`).
TakenKeys FindTakenKeys(duckdb::ClientContext &context, duckdb::DuckTableEntry &table,
                        const BoundConstraints &constraints, duckdb::DataChunk &rows);

} // namespace quack
