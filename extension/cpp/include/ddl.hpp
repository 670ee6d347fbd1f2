//! Statements that change the catalog, on their way to the log.
#pragma once

#include "definition.hpp"
#include "statement.hpp"
#include "duckdb.hpp"
#include "duckdb/catalog/catalog.hpp"
#include "duckdb/execution/physical_operator.hpp"
#include "duckdb/planner/operator/logical_extension_operator.hpp"

namespace quack {

//! Whether a catalog change goes to DuckDB: the applier makes it, or the file is being loaded.
bool PassesThrough(duckdb::CatalogTransaction transaction);

//! The scope in which a connection's statement defines something.
DefinitionScope ScopeOf(duckdb::ClientContext &context, duckdb::Catalog &catalog);

//! Proposes a change of the catalog as a transaction of its own.
void Propose(duckdb::ClientContext &context, QuackCatalog &catalog, const Definition &definition);

//! Leads a change of the catalog where it belongs. For the applier, and while the file is loaded, that is DuckDB; in a
//! transaction that goes on it is DuckDB as well, and the transaction's record, which says which table is `meant` when it
//! is one; otherwise the log alone. `define` gives the definition for the log.
template <class DEFINE, class NATIVE>
auto ChangeCatalog(duckdb::CatalogTransaction transaction, duckdb::Catalog &catalog_p, DEFINE &&define, NATIVE &&native,
                   duckdb::optional_ptr<duckdb::CatalogEntry> meant = nullptr) -> decltype(native()) {
	if (PassesThrough(transaction)) {
		return native();
	}
	auto &context = transaction.GetContext();
	auto &catalog = reinterpret_cast<QuackCatalog &>(catalog_p);
	if (!IsPartOfTransaction(context)) {
		Propose(context, catalog, define(ScopeOf(context, catalog)));
		return decltype(native())();
	}
	auto &open = OpenTransactionOf(context, catalog);
	if (open.IsInsideCatalogChange()) {
		return native();
	}
	return open.ChangeCatalog(define(ScopeOf(context, catalog)), native, meant);
}

//! Refuses an expression whose value is not a function of the row alone, where the applier would evaluate it.
void RequireReplayable(duckdb::ClientContext &context, const duckdb::ParsedExpression &expression,
                       const duckdb::string &clause);

//! A statement that does not pass the catalog's hooks (CREATE INDEX, ADD PRIMARY KEY, triggers): it proposes its
//! definition.
struct LogicalProposeDdl : public duckdb::LogicalExtensionOperator {
	using Native = std::function<void(duckdb::ClientContext &)>;

	//! `native` makes the change in the store, for a transaction that goes on; without it the statement must be a
	//! transaction of its own.
	LogicalProposeDdl(QuackCatalog &catalog, Definition definition, Native native = nullptr);

	duckdb::PhysicalOperator &CreatePlan(duckdb::ClientContext &context,
	                                     duckdb::PhysicalPlanGenerator &planner) override;
	duckdb::vector<duckdb::ColumnBinding> GetColumnBindings() override;
	duckdb::string GetExtensionName() const override;

	QuackCatalog &catalog;
	Definition definition;
	Native native;

protected:
	void ResolveTypes() override;
};

} // namespace quack
