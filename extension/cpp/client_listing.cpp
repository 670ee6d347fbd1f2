//! Answers the query by which clients of protocol 1 (DuckDB 1.5) list the tables of a catalog. It writes each table as a
//! CREATE TABLE that such a client can run.

#include "client_listing.hpp"

#include "catalog.hpp"
#include "duckdb/catalog/catalog_entry/table_catalog_entry.hpp"
#include "duckdb/common/type_visitor.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/function/lambda_functions.hpp"
#include "duckdb/function/scalar_function.hpp"
#include "duckdb/main/extension/extension_loader.hpp"
#include "duckdb/parser/expression/cast_expression.hpp"
#include "duckdb/parser/expression/constant_expression.hpp"
#include "duckdb/parser/expression/function_expression.hpp"
#include "duckdb/parser/parsed_data/create_table_info.hpp"
#include "duckdb/parser/parsed_expression_iterator.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression_binder/constant_binder.hpp"
#include "duckdb/planner/expression_iterator.hpp"

using namespace duckdb;

namespace quack {

namespace {

//! The text that clients of 1.5.3 to 1.5.6 send, but for white space.
constexpr const char *LISTING = "SELECT schema_name, sql, 'table' FROM duckdb_tables() UNION ALL "
                                "SELECT schema_name, view_name, 'view' FROM duckdb_views()";
constexpr const char *ANSWER =
    "SELECT schema_name, sql, 'table' FROM (SELECT schema_name, quack_table_for_client(database_name, schema_name, "
    "table_name, sql) AS sql FROM duckdb_tables()) WHERE sql IS NOT NULL UNION ALL "
    "SELECT schema_name, view_name, 'view' FROM duckdb_views()";

//! With one space for each stretch of white space, and none at the ends.
string WithSingleSpaces(const string &text) {
	string result;
	for (auto c : text) {
		if (!StringUtil::CharacterIsSpace(c)) {
			result += c;
		} else if (!result.empty() && result.back() != ' ') {
			result += ' ';
		}
	}
	StringUtil::RTrim(result);
	return result;
}

//! Whether DuckDB 1.5 has the type.
bool IsKnownToClients(const LogicalType &type) {
	return !TypeVisitor::Contains(type, [](const LogicalType &part) {
		return part.id() == LogicalTypeId::TIMESTAMP_TZ_NS || part.id() == LogicalTypeId::TUPLE ||
		       part.id() == LogicalTypeId::TYPE;
	});
}

//! Whether the expression is a constant, or a cast of one: such a default the client can bind.
bool IsLiteral(const ParsedExpression &expression) {
	switch (expression.GetExpressionClass()) {
	case ExpressionClass::CONSTANT:
		return true;
	case ExpressionClass::CAST:
		return IsLiteral(expression.Cast<CastExpression>().Child());
	default:
		return false;
	}
}

//! Whether the expression calls a macro of the catalog, which the client cannot.
bool CallsMacro(const ParsedExpression &expression) {
	if (expression.GetExpressionClass() == ExpressionClass::FUNCTION &&
	    expression.Cast<FunctionExpression>().GetQualifiedName().Path().size() > 1) {
		return true;
	}
	auto found = false;
	ParsedExpressionIterator::EnumerateChildren(expression,
	                                            [&](const ParsedExpression &child) { found = found || CallsMacro(child); });
	return found;
}

unique_ptr<ParsedExpression> CastOf(unique_ptr<ParsedExpression> expression, const LogicalType &type) {
	return make_uniq<CastExpression>(type, std::move(expression));
}

//! Whether all functions in it have one value for ever, not one for each query.
bool IsConstant(const Expression &expression) {
	if (expression.GetExpressionClass() == ExpressionClass::BOUND_FUNCTION) {
		auto &function = expression.Cast<BoundFunctionExpression>();
		// What a lambda computes is no child.
		if (function.Function().GetStability() != FunctionStability::CONSISTENT ||
		    dynamic_cast<const LambdaFunctionData *>(function.BindInfo().get())) {
			return false;
		}
	}
	auto is_constant = true;
	ExpressionIterator::EnumerateChildren(expression,
	                                      [&](const Expression &child) { is_constant = is_constant && IsConstant(child); });
	return is_constant;
}

//! A default that is the same for each row, as the cast of a text; null when it is not, or no text says it.
unique_ptr<ParsedExpression> ConstantDefault(ClientContext &context, const ColumnDefinition &column) {
	try {
		auto binder = Binder::CreateBinder(context);
		ConstantBinder default_binder(*binder, context, "DEFAULT value");
		default_binder.target_type = column.Type();
		auto copy = column.DefaultValue().Copy();
		auto bound = default_binder.Bind(copy);
		// `now()` is foldable, too.
		if (!bound->IsFoldable() || !IsConstant(*bound)) {
			return nullptr;
		}
		auto value = ExpressionExecutor::EvaluateScalar(context, *bound);
		if (value.IsNull()) {
			return CastOf(ConstantExpression::Null(), column.Type());
		}
		auto text = value.ToString();
		if (!Value::NotDistinctFrom(Value(text).DefaultCastAs(column.Type()), value)) {
			return nullptr;
		}
		return CastOf(ConstantExpression::String(text), column.Type());
	} catch (std::exception &) {
		return nullptr;
	}
}

//! What a client evaluates when an INSERT leaves the column out: an error that says so.
unique_ptr<ParsedExpression> ServersDefault(const ColumnDefinition &column) {
	auto text = StringUtil::Format("the default of column %s is computed by the server: give the column a value, or send the "
	                               "INSERT as text",
	                               column.Name().GetIdentifierName());
	return CastOf(CastOf(CastOf(ConstantExpression::String(text), LogicalType::INTEGER), LogicalType::VARCHAR), column.Type());
}

//! The statement that makes a table in the client; empty when the client cannot have it.
string StatementFor(ClientContext &context, TableCatalogEntry &table) {
	auto info = table.GetInfo();
	auto &create = info->Cast<CreateTableInfo>();
	for (idx_t i = 0; i < create.columns.LogicalColumnCount(); i++) {
		auto &column = create.columns.GetColumnMutable(LogicalIndex(i));
		if (!IsKnownToClients(column.Type())) {
			return string();
		}
		if (column.Generated()) {
			// The client computes it.
			if (CallsMacro(column.GeneratedExpression())) {
				return string();
			}
		} else if (column.HasDefaultValue() && !IsLiteral(column.DefaultValue())) {
			auto constant = ConstantDefault(context, column);
			column.SetDefaultValue(constant ? std::move(constant) : ServersDefault(column));
		}
	}
	// The server looks at them.
	vector<unique_ptr<Constraint>> kept;
	for (auto &constraint : create.constraints) {
		if (constraint->type == ConstraintType::NOT_NULL || constraint->type == ConstraintType::UNIQUE) {
			kept.push_back(std::move(constraint));
		}
	}
	create.constraints = std::move(kept);
	create.options.clear();
	return create.ToString();
}

void TableForClient(DataChunk &args, ExpressionState &state, Vector &result) {
	auto &context = state.GetContext();
	auto count = args.size();
	result.SetVectorType(VectorType::FLAT_VECTOR);
	for (idx_t i = 0; i < count; i++) {
		Identifier database(args.GetValue(0, i).ToString());
		auto catalog = Catalog::GetCatalogEntry(context, database);
		if (!catalog || !QuackCatalog::Is(*catalog)) {
			result.SetValue(i, args.GetValue(3, i));
			continue;
		}
		// No client finds what lies in a schema within another one.
		QualifiedName name(database, Identifier(args.GetValue(1, i).ToString()), Identifier(args.GetValue(2, i).ToString()));
		auto entry = Catalog::GetEntry(context, EntryLookupInfo(CatalogType::TABLE_ENTRY, name), OnEntryNotFound::RETURN_NULL);
		auto text = entry && entry->type == CatalogType::TABLE_ENTRY ? StatementFor(context, entry->Cast<TableCatalogEntry>())
		                                                             : string();
		result.SetValue(i, text.empty() ? Value(LogicalType::VARCHAR) : Value(text));
	}
}

} // namespace

string ListingFor(const string &query) {
	return WithSingleSpaces(query) == LISTING ? ANSWER : string();
}

void RegisterClientListing(ExtensionLoader &loader) {
	ScalarFunction function("quack_table_for_client",
	                        {LogicalType::VARCHAR, LogicalType::VARCHAR, LogicalType::VARCHAR, LogicalType::VARCHAR},
	                        LogicalType::VARCHAR, TableForClient);
	function.SetNullHandling(FunctionNullHandling::SPECIAL_HANDLING);
	function.SetStability(FunctionStability::VOLATILE);
	loader.RegisterFunction(std::move(function));
}

} // namespace quack
