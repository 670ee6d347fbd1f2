//! Decides whether a client's transaction may see data now: refuses it on a node that does not serve, and waits for the
//! leader where reads are linearizable. Statements that call only the extension's own table functions pass at once.

#include "admission.hpp"

#include "catalog.hpp"
#include "compat.hpp"
#include "consistency.hpp"
#include "error.hpp"
#include "statement.hpp"

#include "duckdb/main/client_context.hpp"
#include "duckdb/parser/expression/function_expression.hpp"
#include "duckdb/parser/parsed_expression_iterator.hpp"
#include "duckdb/parser/parser.hpp"
#include "duckdb/parser/query_node/select_node.hpp"
#include "duckdb/parser/statement/call_statement.hpp"
#include "duckdb/parser/statement/select_statement.hpp"
#include "duckdb/parser/tableref/table_function_ref.hpp"

using namespace duckdb;

namespace quack {

//! Our own table functions tell of servers, nodes and logs.
static bool IsOwnFunction(const ParsedExpression &expression) {
	return expression.GetExpressionClass() == ExpressionClass::FUNCTION &&
	       StringUtil::StartsWith(StringUtil::Lower(expression.Cast<FunctionExpression>().FunctionName().GetIdentifierName()),
	                              "quack_");
}

static bool HasSubquery(const ParsedExpression &expression) {
	if (expression.GetExpressionClass() == ExpressionClass::SUBQUERY) {
		return true;
	}
	bool found = false;
	ParsedExpressionIterator::EnumerateChildren(expression, [&](const ParsedExpression &child) {
		found = found || HasSubquery(child);
	});
	return found;
}

//! A query on one of our functions, with any filter and order; any larger query is taken to see data.
static bool ReadsOwnFunctionOnly(QueryNode &node) {
	if (node.type != QueryNodeType::SELECT_NODE || !node.cte_map.map.empty()) {
		return false;
	}
	auto &from = node.Cast<SelectNode>().from_table;
	if (!from || from->type != TableReferenceType::TABLE_FUNCTION ||
	    !IsOwnFunction(*from->Cast<TableFunctionRef>().function)) {
		return false;
	}
	bool subquery = false;
	auto look = [&](unique_ptr<ParsedExpression> &child) {
		subquery = subquery || HasSubquery(*child);
	};
	ParsedExpressionIterator::EnumerateQueryNodeChildren(node, look);
	ParsedExpressionIterator::EnumerateQueryNodeModifiers(node, look);
	return !subquery;
}

static bool SeesNoData(SQLStatement &statement) {
	switch (statement.type) {
	case StatementType::SELECT_STATEMENT:
		return ReadsOwnFunctionOnly(*statement.Cast<SelectStatement>().node);
	case StatementType::CALL_STATEMENT:
		return IsOwnFunction(*statement.Cast<CallStatement>().function);
	case StatementType::SET_STATEMENT:
	case StatementType::DETACH_STATEMENT:
	case StatementType::TRANSACTION_STATEMENT:
		return true;
	default:
		return false;
	}
}

//! Told from the text. Within BEGIN ... COMMIT later statements would read in the same snapshot.
static bool SeesNoData(ClientContext &context) {
	if (!context.transaction.IsAutoCommit()) {
		return false;
	}
	auto sql = CurrentQuery(context);
	auto lower = StringUtil::Lower(sql);
	auto may = [&](const char *word) {
		return lower.find(word) != string::npos;
	};
	// Most statements need not be parsed once more.
	if (!may("quack_") && !may("detach") && !may("set") && !may("use")) {
		return false;
	}
	try {
		Parser parser(context);
		parser.ParseQuery(sql);
		return parser.statements.size() == 1 && SeesNoData(*parser.statements[0]);
	} catch (std::exception &) {
		// The syntax of a parser extension: DuckDB decides what it is.
		return false;
	}
}

void Admit(ClientContext &context, QuackCatalog &catalog) {
	auto repeated = StatementState::Get(context).repeated;
	auto linearizable = ReadsLinearizably(repeated ? *repeated : context, catalog);
	if ((catalog.Serves() && !linearizable) || SeesNoData(context)) {
		return;
	}
	QuackInterrupt interrupt {&context, [](void *waiting) {
		                          return IsInterrupted(*static_cast<ClientContext *>(waiting));
	                          }};
	QuackError error = NoError();
	quack_rs_node_admit(catalog.Node(), linearizable, interrupt, &error);
	ThrowIfError(error);
}

} // namespace quack
