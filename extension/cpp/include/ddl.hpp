//! Statements that change the catalog, as texts in the log.
#pragma once

#include "duckdb.hpp"
#include "duckdb/catalog/catalog.hpp"
#include "duckdb/execution/physical_operator.hpp"
#include "duckdb/parser/parsed_data/alter_info.hpp"
#include "duckdb/planner/operator/logical_extension_operator.hpp"

namespace quack {

class QuackCatalog;

//! Whether a catalog change goes to DuckDB: the applier makes it, or the file is being loaded.
bool PassesThrough(duckdb::CatalogTransaction transaction);

void ProposeCreate(duckdb::CatalogTransaction &transaction, duckdb::Catalog &catalog, duckdb::CreateInfo &info);
void ProposeAlter(duckdb::CatalogTransaction &transaction, duckdb::Catalog &catalog, duckdb::AlterInfo &info);
void ProposeDrop(duckdb::ClientContext &context, duckdb::Catalog &catalog, duckdb::DropInfo &info);

//! The text of a CREATE statement as it goes to the log: without the catalog's name, which is each node's own.
duckdb::string CreateText(const duckdb::CreateInfo &info);

//! Refuses an expression whose value is not a function of the row alone, where the applier would evaluate it.
void RequireReplayable(duckdb::ClientContext &context, const duckdb::ParsedExpression &expression,
                       const duckdb::string &clause);

//! A statement that DuckDB would run as a plan of its own (CREATE INDEX, ADD PRIMARY KEY): it proposes its text.
struct LogicalProposeDdl : public duckdb::LogicalExtensionOperator {
	LogicalProposeDdl(QuackCatalog &catalog, duckdb::string sql);

	duckdb::PhysicalOperator &CreatePlan(duckdb::ClientContext &context,
	                                     duckdb::PhysicalPlanGenerator &planner) override;
	duckdb::vector<duckdb::ColumnBinding> GetColumnBindings() override;
	duckdb::string GetExtensionName() const override;

	QuackCatalog &catalog;
	duckdb::string sql;

protected:
	void ResolveTypes() override;
};

} // namespace quack
