//! Catalog changes on their way to the log.

#include "ddl.hpp"

#include "catalog.hpp"
#include "profile.hpp"
#include "shared_extensions.hpp"
#include "statement.hpp"
#include "duckdb/catalog/catalog_entry/macro_catalog_entry.hpp"
#include "duckdb/catalog/catalog_entry/scalar_function_catalog_entry.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/function/scalar_macro_function.hpp"
#include "duckdb/parser/expression/function_expression.hpp"
#include "duckdb/parser/parsed_expression_iterator.hpp"
#include "duckdb/planner/binder.hpp"

using namespace duckdb;

namespace quack {

bool PassesThrough(CatalogTransaction transaction) {
	return !transaction.HasContext() || ApplierMark::IsSet(transaction.GetContext());
}

DefinitionScope ScopeOf(ClientContext &context, Catalog &catalog) {
	return DefinitionScope {context, reinterpret_cast<QuackCatalog &>(catalog), IsPartOfTransaction(context)};
}

void Propose(ClientContext &context, QuackCatalog &catalog, const Definition &definition) {
	Writer writer(catalog.Node());
	writer.Ddl(definition);
	FinishWriter(context, catalog, writer);
}

//! Macros within macros that are looked into. DuckDB refuses those that call themselves.
constexpr idx_t MACRO_DEPTH_MAX = 32;

//! DuckDB 2.0.0 takes these for functions of nothing but their arguments. The last one binds a text in the process's own
//! databases.
constexpr const char *TAKEN_FOR_CONSISTENT[] = {"current_localtimestamp", "current_localtime", "json_serialize_plan"};

static bool IsConsistent(ScalarFunctionCatalogEntry &function) {
	for (auto &overload : function.functions.functions) {
		// DuckDB 2.0.1 says of those with a time zone that they depend on settings. Definitions have their own (`ClosedScope`).
		auto &signature = overload->GetSignature();
		auto depends_on_settings = overload->GetStability() == FunctionStability::CONSISTENT_WITHIN_QUERY &&
		                           !signature.GetParameters().empty() && HasTimeZone(signature);
		if (overload->GetStability() != FunctionStability::CONSISTENT && !depends_on_settings) {
			return false;
		}
	}
	return true;
}

//! Whether every function in the expression returns the same value for the same arguments, at any time.
static bool IsReplayable(ClientContext &context, const ParsedExpression &expression, idx_t depth = 0) {
	if (expression.GetExpressionClass() == ExpressionClass::SUBQUERY) {
		// DuckDB itself takes none here.
		return true;
	}
	if (expression.GetExpressionClass() == ExpressionClass::FUNCTION) {
		auto &function = expression.Cast<FunctionExpression>();
		auto &name = function.FunctionName().GetIdentifierName();
		for (auto taken : TAKEN_FOR_CONSISTENT) {
			if (StringUtil::CIEquals(name, taken)) {
				return false;
			}
		}
		if (StringUtil::CIEquals(name, "age") && function.GetArguments().size() == 1) {
			// With one argument it is that until today.
			return false;
		}
		EntryLookupInfo lookup(CatalogType::SCALAR_FUNCTION_ENTRY, function.GetQualifiedName());
		auto entry = Catalog::GetEntry(context, lookup, OnEntryNotFound::RETURN_NULL);
		if (entry && entry->type == CatalogType::MACRO_ENTRY) {
			for (auto &macro : entry->Cast<MacroCatalogEntry>().macros) {
				if (depth > MACRO_DEPTH_MAX || macro->type != MacroType::SCALAR_MACRO ||
				    !IsReplayable(context, *macro->Cast<ScalarMacroFunction>().expression, depth + 1)) {
					return false;
				}
			}
		} else if (entry && entry->type == CatalogType::SCALAR_FUNCTION_ENTRY &&
		           !IsConsistent(entry->Cast<ScalarFunctionCatalogEntry>())) {
			return false;
		}
		// Anything else DuckDB itself does not take here, and says so better.
	}
	bool replayable = true;
	ParsedExpressionIterator::EnumerateChildren(expression, [&](const ParsedExpression &child) {
		replayable = replayable && IsReplayable(context, child, depth);
	});
	return replayable;
}

void RequireReplayable(ClientContext &context, const ParsedExpression &expression, const string &clause) {
	if (IsReplayable(context, expression)) {
		return;
	}
	throw NotImplementedException("%s %s is not supported in a replicated catalog: every node evaluates it for itself, and "
	                              "its value must not depend on when or where that is",
	                              clause, expression.ToString());
}

namespace {

//! Proposes a definition when it is pulled.
class PhysicalProposeDdl : public PhysicalOperator {
public:
	PhysicalProposeDdl(PhysicalPlan &plan, vector<LogicalType> types, QuackCatalog &catalog,
	                   Definition definition, LogicalProposeDdl::Native native)
	    : PhysicalOperator(plan, PhysicalOperatorType::EXTENSION, std::move(types), 1), catalog(catalog),
	      definition(std::move(definition)), native(std::move(native)) {
	}

	string GetName() const override {
		return "QUACK_PROPOSE_DDL";
	}
	InsertionOrderPreservingMap<string> ParamsToString() const override {
		return Profiled(*this);
	}
	bool IsSource() const override {
		return true;
	}

protected:
	SourceResultType GetDataInternal(ExecutionContext &context, DataChunk &chunk,
	                                 OperatorSourceInput &input) const override {
		auto &client = context.client;
		if (!IsPartOfTransaction(client)) {
			Propose(client, catalog, definition);
			return SourceResultType::FINISHED;
		}
		if (!native) {
			throw TransactionException("this statement was prepared outside of the transaction: prepare it again");
		}
		OpenTransactionOf(client, catalog).ChangeCatalog(definition, [&]() {
			native(client);
			return true;
		});
		return SourceResultType::FINISHED;
	}

private:
	QuackCatalog &catalog;
	Definition definition;
	LogicalProposeDdl::Native native;
};

} // namespace

LogicalProposeDdl::LogicalProposeDdl(QuackCatalog &catalog, Definition definition, Native native)
    : catalog(catalog), definition(std::move(definition)), native(std::move(native)) {
}

PhysicalOperator &LogicalProposeDdl::CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) {
	catalog.Node();
	return planner.Make<PhysicalProposeDdl>(types, catalog, definition, native);
}

vector<ColumnBinding> LogicalProposeDdl::GetColumnBindings() {
	return {ColumnBinding(TableIndex(0), ProjectionIndex(0))};
}

string LogicalProposeDdl::GetExtensionName() const {
	return "quack";
}

void LogicalProposeDdl::ResolveTypes() {
	types.emplace_back(LogicalType::BIGINT);
}

} // namespace quack
