//! What profiles say of the extension's operators.
#pragma once

#include "duckdb/execution/physical_operator.hpp"

namespace quack {

//! EXPLAIN ANALYZE names an operator by its type, which is the same for all of an extension's: so it is told which one it
//! is beside that.
inline duckdb::InsertionOrderPreservingMap<duckdb::string> Profiled(const duckdb::PhysicalOperator &op) {
	duckdb::InsertionOrderPreservingMap<duckdb::string> result;
	result["Operator"] = op.GetName();
	return result;
}

} // namespace quack
