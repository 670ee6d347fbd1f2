//! Plans the writes of clients: capture the changes, then propose them.
#pragma once

#include "capture.hpp"
#include "catalog.hpp"
#include "duckdb/execution/operator/persistent/physical_merge_into.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/planner/operator/logical_create_table.hpp"
#include "duckdb/planner/operator/logical_delete.hpp"
#include "duckdb/planner/operator/logical_insert.hpp"
#include "duckdb/planner/operator/logical_merge_into.hpp"
#include "duckdb/planner/operator/logical_update.hpp"

namespace quack {

//! Builds `Propose(Capture(plan))` in the place of DuckDB's own operators; a MERGE has one capture per action below
//! DuckDB's own merge operator.
class WritePlan {
public:
	WritePlan(duckdb::ClientContext &context, duckdb::PhysicalPlanGenerator &planner, QuackCatalog &catalog);

	duckdb::PhysicalOperator &Insert(duckdb::LogicalInsert &op, duckdb::PhysicalOperator &plan);
	duckdb::PhysicalOperator &Update(duckdb::LogicalUpdate &op, duckdb::PhysicalOperator &plan);
	duckdb::PhysicalOperator &Delete(duckdb::LogicalDelete &op, duckdb::PhysicalOperator &plan);
	duckdb::PhysicalOperator &CreateTableAs(duckdb::LogicalCreateTable &op, duckdb::PhysicalOperator &plan);
	duckdb::PhysicalOperator &MergeInto(duckdb::LogicalMergeInto &op, duckdb::PhysicalOperator &plan);

private:
	duckdb::PhysicalOperator &Propose(duckdb::PhysicalOperator &captured);
	//! The same of one that changes rows of a table, and may return them.
	duckdb::PhysicalOperator &Propose(duckdb::PhysicalOperator &captured, const duckdb::TableCatalogEntry &table,
	                                  bool returns_rows);
	PhysicalCapture &CaptureInsert(duckdb::LogicalInsert &op, duckdb::PhysicalOperator &plan);
	PhysicalCapture &CaptureUpdate(duckdb::LogicalUpdate &op, duckdb::PhysicalOperator &plan);
	PhysicalCapture &CaptureDelete(duckdb::LogicalDelete &op, duckdb::PhysicalOperator &plan);
	duckdb::unique_ptr<duckdb::MergeIntoOperator> MergeAction(duckdb::LogicalMergeInto &op,
	                                                          duckdb::PhysicalOperator &plan,
	                                                          duckdb::BoundMergeIntoAction &action);

	duckdb::ClientContext &context;
	duckdb::PhysicalPlanGenerator &planner;
	QuackCatalog &catalog;
	duckdb::shared_ptr<Proposal> proposal;
};

} // namespace quack
