//! Catalog changes on their way to the log.

#include "ddl.hpp"

#include "catalog.hpp"
#include "settings.hpp"
#include "statement.hpp"
#include "duckdb/catalog/catalog_entry/scalar_function_catalog_entry.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/parser/constraints/check_constraint.hpp"
#include "duckdb/parser/expression/function_expression.hpp"
#include "duckdb/parser/keyword_helper.hpp"
#include "duckdb/parser/parsed_data/alter_table_info.hpp"
#include "duckdb/parser/parsed_data/create_index_info.hpp"
#include "duckdb/parser/parsed_data/create_schema_info.hpp"
#include "duckdb/parser/parsed_data/create_table_info.hpp"
#include "duckdb/parser/parsed_data/drop_info.hpp"
#include "duckdb/parser/parsed_expression_iterator.hpp"

using namespace duckdb;

namespace quack {

bool PassesThrough(CatalogTransaction transaction) {
	return !transaction.HasContext() || ApplierMark::IsSet(transaction.GetContext());
}

void ProposeText(ClientContext &context, QuackCatalog &catalog, const string &sql) {
	Writer writer(catalog.Node());
	writer.Ddl(WithSettings(context, sql));
	FinishWriter(context, catalog, writer);
}

//! Whether every function in the expression returns the same value for the same arguments, at any time.
static bool IsReplayable(ClientContext &context, const ParsedExpression &expression) {
	if (expression.GetExpressionClass() == ExpressionClass::SUBQUERY) {
		return false;
	}
	if (expression.GetExpressionClass() == ExpressionClass::FUNCTION) {
		auto &function = expression.Cast<FunctionExpression>();
		auto &name = function.FunctionName().GetIdentifierName();
		if (StringUtil::CIEquals(name, "current_localtimestamp") || StringUtil::CIEquals(name, "current_localtime")) {
			// DuckDB 2.0.0 takes them for functions of nothing but their arguments.
			return false;
		}
		EntryLookupInfo lookup(CatalogType::SCALAR_FUNCTION_ENTRY, function.GetQualifiedName());
		auto entry = Catalog::GetEntry(context, lookup, OnEntryNotFound::RETURN_NULL);
		if (!entry || entry->type != CatalogType::SCALAR_FUNCTION_ENTRY) {
			return false;
		}
		for (auto &overload : entry->Cast<ScalarFunctionCatalogEntry>().functions.functions) {
			if (overload->GetStability() != FunctionStability::CONSISTENT) {
				return false;
			}
		}
	}
	bool replayable = true;
	ParsedExpressionIterator::EnumerateChildren(expression, [&](const ParsedExpression &child) {
		replayable = replayable && IsReplayable(context, child);
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

static void RequireReplayableConstraints(ClientContext &context, const vector<unique_ptr<Constraint>> &constraints) {
	for (auto &constraint : constraints) {
		if (constraint->type == ConstraintType::CHECK) {
			RequireReplayable(context, *constraint->Cast<CheckConstraint>().expression, "CHECK");
		}
	}
}

string CreateText(const CreateInfo &info) {
	if (info.type == CatalogType::SCHEMA_ENTRY) {
		auto &schema = info.Cast<CreateSchemaInfo>();
		auto prefix = info.on_conflict == OnCreateConflict::IGNORE_ON_CONFLICT ? "CREATE SCHEMA IF NOT EXISTS "
		                                                                      : "CREATE SCHEMA ";
		return prefix + SQLIdentifier::ToString(schema.SchemaName()) + ";";
	}
	auto copy = info.Copy();
	copy->StripCatalogQualification();
	return copy->ToString();
}

string TextOfCreate(ClientContext &context, CreateInfo &info) {
	RequireNotReserved(info.GetQualifiedName().Schema());
	if (info.temporary) {
		throw InternalException("a temporary entry cannot live in a replicated catalog");
	}
	if (info.type == CatalogType::SCHEMA_ENTRY && info.on_conflict == OnCreateConflict::REPLACE_ON_CONFLICT) {
		throw NotImplementedException("CREATE OR REPLACE SCHEMA is not supported in the replicated catalog: use DROP "
		                              "SCHEMA and CREATE SCHEMA");
	}
	if (info.type == CatalogType::TABLE_ENTRY) {
		auto &table = info.Cast<CreateTableInfo>();
		RequireReplayableConstraints(context, table.constraints);
	}
	if (info.type == CatalogType::INDEX_ENTRY) {
		for (auto &expression : info.Cast<CreateIndexInfo>().parsed_expressions) {
			RequireReplayable(context, *expression, "CREATE INDEX over");
		}
	}
	return CreateText(info);
}

static void RequireReplayableAlter(ClientContext &context, AlterInfo &info) {
	if (info.type != AlterType::ALTER_TABLE) {
		return;
	}
	auto &alter = info.Cast<AlterTableInfo>();
	if (alter.alter_table_type == AlterTableType::ADD_COLUMN) {
		auto &column = alter.Cast<AddColumnInfo>().new_column;
		if (!column.Generated() && column.HasDefaultValue()) {
			RequireReplayable(context, column.DefaultValue(),
			                  "ALTER TABLE ... ADD COLUMN (first add the column, then ALTER COLUMN ... SET DEFAULT) with DEFAULT");
		}
	}
	if (alter.alter_table_type == AlterTableType::ALTER_COLUMN_TYPE) {
		auto &change = alter.Cast<ChangeColumnTypeInfo>();
		if (change.expression) {
			RequireReplayable(context, *change.expression, "ALTER COLUMN ... TYPE ... USING");
		}
	}
	if (alter.alter_table_type == AlterTableType::ADD_CONSTRAINT) {
		auto &constraint = alter.Cast<AddConstraintInfo>().constraint;
		if (constraint->type == ConstraintType::CHECK) {
			RequireReplayable(context, *constraint->Cast<CheckConstraint>().expression, "CHECK");
		}
	}
}

string TextOfAlter(ClientContext &context, AlterInfo &info) {
	RequireNotReserved(info.GetQualifiedName().Schema());
	RequireReplayableAlter(context, info);
	auto copy = info.Copy();
	copy->GetQualifiedNameMutable().StripCatalog();
	return copy->ToString();
}

string TextOfDrop(DropInfo &info) {
	auto is_schema = info.type == CatalogType::SCHEMA_ENTRY;
	RequireNotReserved(is_schema ? info.GetQualifiedName().Name() : info.GetQualifiedName().Schema());
	auto copy = info.Copy();
	auto &drop = copy->Cast<DropInfo>();
	if (is_schema) {
		drop.SetQualifiedName(QualifiedName(drop.GetQualifiedName().Name()));
	} else {
		drop.GetQualifiedNameMutable().StripCatalog();
	}
	return drop.ToString();
}

namespace {

//! Proposes a text when it is pulled.
class PhysicalProposeDdl : public PhysicalOperator {
public:
	PhysicalProposeDdl(PhysicalPlan &plan, vector<LogicalType> types, QuackCatalog &catalog, string sql,
	                   LogicalProposeDdl::Native native)
	    : PhysicalOperator(plan, PhysicalOperatorType::EXTENSION, std::move(types), 1), catalog(catalog),
	      sql(std::move(sql)), native(std::move(native)) {
	}

	string GetName() const override {
		return "QUACK_PROPOSE_DDL";
	}
	bool IsSource() const override {
		return true;
	}

protected:
	SourceResultType GetDataInternal(ExecutionContext &context, DataChunk &chunk,
	                                 OperatorSourceInput &input) const override {
		auto &client = context.client;
		if (!IsPartOfTransaction(client)) {
			ProposeText(client, catalog, sql);
			return SourceResultType::FINISHED;
		}
		if (!native) {
			throw TransactionException("this statement was prepared outside of the transaction: prepare it again");
		}
		OpenTransactionOf(client, catalog).ChangeCatalog(sql, [&]() {
			native(client);
			return true;
		});
		return SourceResultType::FINISHED;
	}

private:
	QuackCatalog &catalog;
	string sql;
	LogicalProposeDdl::Native native;
};

} // namespace

LogicalProposeDdl::LogicalProposeDdl(QuackCatalog &catalog, string sql, Native native)
    : catalog(catalog), sql(std::move(sql)), native(std::move(native)) {
}

PhysicalOperator &LogicalProposeDdl::CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) {
	catalog.Node();
	return planner.Make<PhysicalProposeDdl>(types, catalog, sql, native);
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
