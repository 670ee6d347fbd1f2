//! Statements that change the catalog, as texts in the log.
#pragma once

#include "statement.hpp"
#include "duckdb.hpp"
#include "duckdb/catalog/catalog.hpp"
#include "duckdb/execution/physical_operator.hpp"
#include "duckdb/parser/parsed_data/alter_info.hpp"
#include "duckdb/planner/operator/logical_extension_operator.hpp"

namespace quack {

//! Whether a catalog change goes to DuckDB: the applier makes it, or the file is being loaded.
bool PassesThrough(duckdb::CatalogTransaction transaction);

//! The texts of statements as they go to the log: without the catalog's name, which is each node's own. They refuse what
//! not every node would execute alike.
duckdb::string TextOfCreate(duckdb::ClientContext &context, duckdb::CreateInfo &info);
duckdb::string TextOfAlter(duckdb::ClientContext &context, duckdb::AlterInfo &info);
duckdb::string TextOfDrop(duckdb::DropInfo &info);

//! Proposes a change of the catalog as a transaction of its own.
void ProposeText(duckdb::ClientContext &context, QuackCatalog &catalog, const duckdb::string &sql);

//! Leads a change of the catalog where it belongs. For the applier, and while the file is loaded, that is DuckDB; in a
//! transaction that goes on it is DuckDB as well, and the transaction's record, which says which table is `meant` when it
//! is one; otherwise the log alone.
template <class TEXT, class NATIVE>
auto ChangeCatalog(duckdb::CatalogTransaction transaction, duckdb::Catalog &catalog_p, TEXT &&text, NATIVE &&native,
                   duckdb::optional_ptr<duckdb::CatalogEntry> meant = nullptr) -> decltype(native()) {
	if (PassesThrough(transaction)) {
		return native();
	}
	auto &context = transaction.GetContext();
	auto &catalog = reinterpret_cast<QuackCatalog &>(catalog_p);
	if (!IsPartOfTransaction(context)) {
		ProposeText(context, catalog, text());
		return decltype(native())();
	}
	auto &open = OpenTransactionOf(context, catalog);
	return open.IsInsideCatalogChange() ? native() : open.ChangeCatalog(text(), native, meant);
}

//! The text of a CREATE statement as it goes to the log: without the catalog's name, which is each node's own.
duckdb::string CreateText(const duckdb::CreateInfo &info);

//! Refuses an expression whose value is not a function of the row alone, where the applier would evaluate it.
void RequireReplayable(duckdb::ClientContext &context, const duckdb::ParsedExpression &expression,
                       const duckdb::string &clause);

//! A statement that does not pass the catalog's hooks (CREATE INDEX, ADD PRIMARY KEY, triggers): it proposes its text.
struct LogicalProposeDdl : public duckdb::LogicalExtensionOperator {
	using Native = std::function<void(duckdb::ClientContext &)>;

	//! `native` makes the change in the store, for a transaction that goes on; without it the statement must be a
	//! transaction of its own.
	LogicalProposeDdl(QuackCatalog &catalog, duckdb::string sql, Native native = nullptr);

	duckdb::PhysicalOperator &CreatePlan(duckdb::ClientContext &context,
	                                     duckdb::PhysicalPlanGenerator &planner) override;
	duckdb::vector<duckdb::ColumnBinding> GetColumnBindings() override;
	duckdb::string GetExtensionName() const override;

	QuackCatalog &catalog;
	duckdb::string sql;
	Native native;

protected:
	void ResolveTypes() override;
};

} // namespace quack
