//! Catalog changes on their way to the log.

#include "ddl.hpp"

#include "catalog.hpp"
#include "settings.hpp"
#include "statement.hpp"
#include "duckdb/catalog/catalog_entry/macro_catalog_entry.hpp"
#include "duckdb/common/logical_type_info.hpp"
#include "duckdb/catalog/catalog_entry/scalar_function_catalog_entry.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/function/scalar_macro_function.hpp"
#include "duckdb/parser/expression/cast_expression.hpp"
#include "duckdb/parser/expression/columnref_expression.hpp"
#include "duckdb/parser/expression/subquery_expression.hpp"
#include "duckdb/parser/parsed_data/create_macro_info.hpp"
#include "duckdb/parser/parsed_data/create_view_info.hpp"
#include "duckdb/parser/query_node.hpp"
#include "duckdb/parser/statement/select_statement.hpp"
#include "duckdb/parser/tableref/basetableref.hpp"
#include "duckdb/function/table_macro_function.hpp"
#include "duckdb/parser/constraints/check_constraint.hpp"
#include "duckdb/parser/expression/function_expression.hpp"
#include "duckdb/parser/keyword_helper.hpp"
#include "duckdb/parser/parsed_data/alter_table_info.hpp"
#include "duckdb/parser/parsed_data/create_index_info.hpp"
#include "duckdb/parser/parsed_data/create_schema_info.hpp"
#include "duckdb/parser/parsed_data/create_table_info.hpp"
#include "duckdb/parser/parsed_data/drop_info.hpp"
#include "duckdb/parser/parsed_expression_iterator.hpp"
#include "duckdb/planner/binder.hpp"

using namespace duckdb;

namespace quack {

bool PassesThrough(CatalogTransaction transaction) {
	return !transaction.HasContext() || ApplierMark::IsSet(transaction.GetContext());
}

void ProposeText(ClientContext &context, QuackCatalog &catalog, const string &sql) {
	Writer writer(catalog.Node());
	writer.Ddl(WithSettings(context, catalog.GetName(), sql));
	FinishWriter(context, catalog, writer);
}

//! Macros within macros that are looked into. DuckDB refuses those that call themselves.
constexpr idx_t MACRO_DEPTH_MAX = 32;

static bool IsConsistent(ScalarFunctionCatalogEntry &function) {
	for (auto &overload : function.functions.functions) {
		if (overload->GetStability() != FunctionStability::CONSISTENT) {
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
		if (StringUtil::CIEquals(name, "current_localtimestamp") || StringUtil::CIEquals(name, "current_localtime")) {
			// DuckDB 2.0.0 takes them for functions of nothing but their arguments.
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

static void RequireReplayableConstraints(ClientContext &context, const vector<unique_ptr<Constraint>> &constraints) {
	for (auto &constraint : constraints) {
		if (constraint->type == ConstraintType::CHECK) {
			RequireReplayable(context, *constraint->Cast<CheckConstraint>().expression, "CHECK");
		}
	}
}

//! The text of a generated column is not read again when its type has a collation. It has that from its expression.
static void OmitDerivedCollations(CreateTableInfo &table) {
	ColumnList columns;
	for (auto &column : table.columns.Logical()) {
		if (!column.Generated() || StringType::GetCollation(column.Type()).empty()) {
			columns.AddColumn(column.Copy());
			continue;
		}
		reference<const ParsedExpression> expression = column.GeneratedExpression();
		if (expression.get().GetExpressionClass() == ExpressionClass::CAST) {
			// To the type that it was found to have.
			expression = expression.get().Cast<CastExpression>().Child();
		}
		ColumnDefinition derived(column.Name(), LogicalType::ANY, expression.get().Copy(), TableColumnType::GENERATED);
		derived.SetComment(column.Comment());
		columns.AddColumn(std::move(derived));
	}
	table.columns = std::move(columns);
}

string CreateText(const CreateInfo &info) {
	if (info.type == CatalogType::SCHEMA_ENTRY) {
		auto &schema = info.Cast<CreateSchemaInfo>();
		auto path = schema.ParentSchemas();
		path.push_back(schema.SchemaName());
		string prefix = "CREATE SCHEMA ";
		if (info.on_conflict == OnCreateConflict::IGNORE_ON_CONFLICT) {
			prefix += "IF NOT EXISTS ";
		} else if (info.on_conflict == OnCreateConflict::REPLACE_ON_CONFLICT) {
			prefix = "CREATE OR REPLACE SCHEMA ";
		}
		return prefix + QualifiedName::FromPath(std::move(path)).ToString() + ";";
	}
	auto copy = info.Copy();
	copy->StripCatalogQualification();
	if (copy->type == CatalogType::TABLE_ENTRY) {
		OmitDerivedCollations(copy->Cast<CreateTableInfo>());
	}
	return copy->ToString();
}

static void RequireOwnTables(ClientContext &context, QueryNode &node);

static void RequireOwnTables(ClientContext &context, ParsedExpression &expression) {
	if (expression.GetExpressionClass() == ExpressionClass::SUBQUERY) {
		RequireOwnTables(context, *expression.Cast<SubqueryExpression>().SubqueryMutable()->node);
	}
	ParsedExpressionIterator::EnumerateChildren(expression,
	                                            [&](ParsedExpression &child) { RequireOwnTables(context, child); });
}

//! Refuses a query that reads what this process has and other nodes may not: they could not define it.
static void RequireOwnTables(ClientContext &context, QueryNode &node) {
	ParsedExpressionIterator::EnumerateQueryNodeChildren(
	    node, [&](unique_ptr<ParsedExpression> &child) { RequireOwnTables(context, *child); },
	    [&](TableRef &ref) {
		    if (ref.type != TableReferenceType::BASE_TABLE) {
			    return;
		    }
		    CatalogEntryRetriever retriever(context);
		    auto name = Binder::BindTableName(retriever, ref.Cast<BaseTableRef>().GetQualifiedName());
		    EntryLookupInfo lookup(CatalogType::TABLE_ENTRY, name);
		    auto entry = Catalog::GetEntry(context, lookup, OnEntryNotFound::RETURN_NULL);
		    if (!entry || entry->ParentCatalog().IsSystemCatalog() || QuackCatalog::Is(entry->ParentCatalog())) {
			    return;
		    }
		    throw NotImplementedException("\"%s\" lies in the database \"%s\", which is this process's own: other nodes of the "
		                                  "replicated catalog could not look into it",
		                                  name.ToString(), entry->ParentCatalog().GetName().GetIdentifierName());
	    });
}

static void RequireOwnTables(ClientContext &context, CreateInfo &info) {
	if (info.type == CatalogType::VIEW_ENTRY) {
		RequireOwnTables(context, *info.Cast<CreateViewInfo>().query->node);
	}
	if (info.type != CatalogType::MACRO_ENTRY && info.type != CatalogType::TABLE_MACRO_ENTRY) {
		return;
	}
	for (auto &macro : info.Cast<CreateMacroInfo>().macros) {
		if (macro->type == MacroType::SCALAR_MACRO) {
			RequireOwnTables(context, *macro->Cast<ScalarMacroFunction>().expression);
		} else if (macro->type == MacroType::TABLE_MACRO) {
			RequireOwnTables(context, *macro->Cast<TableMacroFunction>().query_node);
		}
	}
}

string TextOfCreate(ClientContext &context, CreateInfo &info) {
	RequireNotReserved(info.GetQualifiedName().Schema());
	if (info.temporary) {
		throw InternalException("a temporary entry cannot live in a replicated catalog");
	}
	RequireOwnTables(context, info);
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

//! DuckDB's own text of it leaves out the column's collation.
static string AddColumnText(AddColumnInfo &info) {
	string result = "ALTER TABLE ";
	if (info.if_not_found == OnEntryNotFound::RETURN_NULL) {
		result += "IF EXISTS ";
	}
	result += info.GetQualifiedName().ToString() + " ADD COLUMN ";
	if (info.if_column_not_exists) {
		result += "IF NOT EXISTS ";
	}
	result += info.new_column.ToSQLString();
	if (info.add_column_constraints.add_not_null) {
		result += " NOT NULL";
	}
	if (info.add_column_constraints.add_unique) {
		result += " UNIQUE";
	}
	return result + ";";
}

//! The conversion that ALTER ... TYPE does by itself. Its text would not be read again when the type has a collation.
static void OmitPlainCast(ChangeColumnTypeInfo &info) {
	if (!info.expression || info.expression->GetExpressionClass() != ExpressionClass::CAST) {
		return;
	}
	auto &cast = info.expression->Cast<CastExpression>();
	auto type = info.target_type.ToString();
	auto &type_info = info.target_type.GetTypeInfo();
	if (type_info.type == LogicalTypeInfoType::STRING_TYPE_INFO && !type_info.Cast<StringTypeInfo>().collation.empty()) {
		type += " COLLATE " + type_info.Cast<StringTypeInfo>().collation;
	}
	if (cast.IsTryCast() || !StringUtil::CIEquals(cast.TargetType().ToString(), type) ||
	    cast.Child().GetExpressionClass() != ExpressionClass::COLUMN_REF || info.column_path.size() != 1) {
		return;
	}
	if (cast.Child().Cast<ColumnRefExpression>().GetColumnName() == info.column_path[0]) {
		info.expression.reset();
	}
}

string TextOfAlter(ClientContext &context, AlterInfo &info) {
	RequireNotReserved(info.GetQualifiedName().Schema());
	RequireReplayableAlter(context, info);
	auto copy = info.Copy();
	copy->GetQualifiedNameMutable().StripCatalog();
	if (info.type == AlterType::ALTER_TABLE) {
		auto &alter = copy->Cast<AlterTableInfo>();
		if (alter.alter_table_type == AlterTableType::ADD_COLUMN) {
			return AddColumnText(alter.Cast<AddColumnInfo>());
		}
		if (alter.alter_table_type == AlterTableType::ALTER_COLUMN_TYPE) {
			OmitPlainCast(alter.Cast<ChangeColumnTypeInfo>());
		}
	}
	return copy->ToString();
}

string TextOfDrop(DropInfo &info) {
	auto is_schema = info.type == CatalogType::SCHEMA_ENTRY;
	RequireNotReserved(is_schema ? info.GetQualifiedName().Name() : info.GetQualifiedName().Schema());
	auto copy = info.Copy();
	auto &drop = copy->Cast<DropInfo>();
	if (is_schema) {
		// The catalog, then the schemas from the outermost inwards.
		auto path = drop.GetQualifiedName().Path();
		if (path.size() > 1) {
			path.erase(path.begin());
		}
		drop.SetQualifiedName(QualifiedName::FromPath(std::move(path)));
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
