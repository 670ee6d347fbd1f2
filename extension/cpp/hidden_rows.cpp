//! Implementation of sets of hidden rows, and of the filter that hides them from plans.
//!
//! The filter sits directly above each scan, before the optimizer sees the plan: a scan with a filter is not answered
//! from statistics. What a statement's own filters would observe of a hidden row, an error or a value that is drawn, stands
//! behind a barrier: the optimizer moves no such filter before the one that hides. It looks the rows up when it runs, so that a plan that was prepared in one transaction is right in
//! another, provided that it has the filter (`StatementState::OnRebindPreparedStatement`).

#include "hidden_rows.hpp"

#include "catalog.hpp"
#include "open_transaction.hpp"
#include "statement.hpp"
#include "duckdb/common/vector_operations/unary_executor.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/bound_statement.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression/bound_subquery_expression.hpp"
#include "duckdb/planner/expression/expression_barrier.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/logical_operator_visitor.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"

using namespace duckdb;

namespace quack {

void HiddenRows::Add(row_t row_id) {
	Add(&row_id, 1);
}

void HiddenRows::Add(const row_t *row_ids, idx_t count) {
	// Neighbours as a rule.
	auto last = vectors.end();
	for (idx_t i = 0; i < count; i++) {
		auto id = NumericCast<idx_t>(row_ids[i]);
		if (last == vectors.end() || last->first != id / STANDARD_VECTOR_SIZE) {
			last = vectors.emplace(id / STANDARD_VECTOR_SIZE, Bitmap {}).first;
		}
		auto bit = id % STANDARD_VECTOR_SIZE;
		last->second[bit / WORD_BITS] |= uint64_t(1) << (bit % WORD_BITS);
	}
}

idx_t HiddenRows::Count() const {
	idx_t count = 0;
	for (auto &entry : vectors) {
		for (auto word : entry.second) {
			count += static_cast<idx_t>(__builtin_popcountll(word));
		}
	}
	return count;
}

void HiddenRows::Add(const HiddenRows &other) {
	for (auto &entry : other.vectors) {
		auto &bitmap = vectors[entry.first];
		for (idx_t i = 0; i < bitmap.size(); i++) {
			bitmap[i] |= entry.second[i];
		}
	}
}

bool HiddenRows::Contains(row_t row_id) const {
	auto id = static_cast<idx_t>(row_id);
	auto found = vectors.find(id / STANDARD_VECTOR_SIZE);
	if (found == vectors.end()) {
		return false;
	}
	auto bit = id % STANDARD_VECTOR_SIZE;
	return (found->second[bit / WORD_BITS] >> (bit % WORD_BITS)) & 1;
}

void HiddenRows::ForEachVector(const std::function<void(Vector &row_ids, idx_t count)> &callback) const {
	Vector row_ids(LogicalType::ROW_TYPE);
	auto ids = FlatVector::GetDataMutable<row_t>(row_ids);
	idx_t count = 0;
	auto flush = [&]() {
		Vector batch(LogicalType::ROW_TYPE, data_ptr_cast(ids), count);
		callback(batch, count);
		count = 0;
	};
	for (auto &entry : vectors) {
		for (idx_t bit = 0; bit < STANDARD_VECTOR_SIZE; bit++) {
			if (!((entry.second[bit / WORD_BITS] >> (bit % WORD_BITS)) & 1)) {
				continue;
			}
			ids[count++] = NumericCast<row_t>(entry.first * STANDARD_VECTOR_SIZE + bit);
			if (count == STANDARD_VECTOR_SIZE) {
				flush();
			}
		}
	}
	if (count > 0) {
		flush();
	}
}

namespace {

//! Names the table whose rows are looked up.
struct IsVisibleData : public FunctionData {
	explicit IsVisibleData(shared_ptr<DataTableInfo> table) : table(std::move(table)) {
	}
	unique_ptr<FunctionData> Copy() const override {
		return make_uniq<IsVisibleData>(table);
	}
	bool Equals(const FunctionData &other) const override {
		return table == other.Cast<IsVisibleData>().table;
	}

	shared_ptr<DataTableInfo> table;
};

struct IsVisibleState : public FunctionLocalState {
	shared_ptr<const HiddenRows> hidden;
};

unique_ptr<FunctionLocalState> InitIsVisible(ExpressionState &state, const BoundFunctionExpression &, FunctionData *data) {
	auto result = make_uniq<IsVisibleState>();
	auto &open = StatementState::Get(state.GetContext()).open;
	if (open) {
		result->hidden = open->HiddenIn(*data->Cast<IsVisibleData>().table);
	}
	return std::move(result);
}

void IsVisible(DataChunk &args, ExpressionState &state, Vector &result) {
	auto &local = ExecuteFunctionState::GetFunctionState(state)->Cast<IsVisibleState>();
	UnaryExecutor::Execute<int64_t, bool>(args.data[0], result, args.size(), [&](int64_t row_id) {
		return row_id >= MAX_ROW_ID || !local.hidden || !local.hidden->Contains(row_id);
	});
}

unique_ptr<Expression> VisibilityOf(LogicalGet &get, shared_ptr<DataTableInfo> table) {
	auto column = optional_idx();
	auto &column_ids = get.GetColumnIds();
	for (idx_t i = 0; i < column_ids.size(); i++) {
		if (column_ids[i].IsRowIdColumn()) {
			column = i;
		}
	}
	auto position = column.IsValid() ? ProjectionIndex(column.GetIndex()) : get.AddColumnId(COLUMN_IDENTIFIER_ROW_ID);
	ScalarFunction function("quack_is_visible", {LogicalType::ROW_TYPE}, LogicalType::BOOLEAN, IsVisible);
	function.SetInitStateCallback(InitIsVisible);
	function.SetStability(FunctionStability::CONSISTENT_WITHIN_QUERY);
	vector<unique_ptr<Expression>> arguments;
	arguments.push_back(
	    make_uniq<BoundColumnRefExpression>(LogicalType::ROW_TYPE, ColumnBinding(get.table_index, position)));
	return make_uniq<BoundFunctionExpression>(BoundScalarFunction(function), std::move(arguments),
	                                          make_uniq<IsVisibleData>(std::move(table)));
}

bool ReadsRow(const Expression &expression) {
	auto type = expression.GetExpressionClass();
	auto reads = type == ExpressionClass::BOUND_COLUMN_REF || type == ExpressionClass::BOUND_SUBQUERY;
	ExpressionIterator::EnumerateChildren(expression, [&](const Expression &child) { reads = reads || ReadsRow(child); });
	return reads;
}

//! Not only what it is given, as long as there is an error in that.
bool ThrowsByItself(const Expression &expression) {
	if (expression.Cast<BoundFunctionExpression>().Function().GetErrorMode() == FunctionErrors::CAN_THROW_RUNTIME_ERROR) {
		return true;
	}
	auto in_child = false;
	ExpressionIterator::EnumerateChildren(expression, [&](const Expression &child) { in_child = in_child || child.CanThrow(); });
	return !in_child;
}

//! Puts what may fail for a row behind a barrier, which goes with it wherever the optimizer moves it. A constant fails for all
//! rows, or for none, and an index is not found behind a barrier.
void BarErrors(unique_ptr<Expression> &expression) {
	if (!expression->CanThrow() || !ReadsRow(*expression) || ExpressionBarrier::IsBarrier(*expression)) {
		return;
	}
	if (expression->GetExpressionClass() == ExpressionClass::BOUND_FUNCTION && ThrowsByItself(*expression)) {
		expression = ExpressionBarrier::Wrap(std::move(expression));
		return;
	}
	ExpressionIterator::EnumerateChildren(*expression, [](unique_ptr<Expression> &child) { BarErrors(child); });
}

//! Where the optimizer finds the filters that it moves, and what it puts into them.
void BarErrors(LogicalOperator &op) {
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_FILTER:
		LogicalFilter::SplitPredicates(op.expressions);
		for (auto &predicate : op.expressions) {
			if (predicate->IsVolatile() && !predicate->HasSubquery() && !ExpressionBarrier::Contains(*predicate)) {
				// It draws for each row that it is evaluated for.
				predicate = ExpressionBarrier::Wrap(std::move(predicate));
			}
		}
		break;
	case LogicalOperatorType::LOGICAL_PROJECTION:
	case LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY:
	case LogicalOperatorType::LOGICAL_ANY_JOIN:
	case LogicalOperatorType::LOGICAL_ASOF_JOIN:
	case LogicalOperatorType::LOGICAL_COMPARISON_JOIN:
	case LogicalOperatorType::LOGICAL_DELIM_JOIN:
	case LogicalOperatorType::LOGICAL_DEPENDENT_JOIN:
		break;
	default:
		return;
	}
	LogicalOperatorVisitor::EnumerateExpressions(op, [](unique_ptr<Expression> *expression) { BarErrors(*expression); });
}

//! Without a transaction, in all tables.
using Hiding = optional_ptr<const OpenTransaction>;

void HideRowsIn(Hiding transaction, unique_ptr<LogicalOperator> &op);

void HideRowsIn(Hiding transaction, Expression &expression) {
	if (expression.GetExpressionClass() == ExpressionClass::BOUND_SUBQUERY) {
		HideRowsIn(transaction, expression.Cast<BoundSubqueryExpression>().SubqueryMutable().plan);
	}
	ExpressionIterator::EnumerateChildren(expression, [&](Expression &child) { HideRowsIn(transaction, child); });
}

void HideRowsIn(Hiding transaction, unique_ptr<LogicalOperator> &op) {
	if (!op || op->type == LogicalOperatorType::LOGICAL_CREATE_INDEX) {
		// An index is made when its table hides nothing any more (`OpenTransaction::GoNative`).
		return;
	}
	LogicalOperatorVisitor::EnumerateExpressions(
	    *op, [&](unique_ptr<Expression> *expression) { HideRowsIn(transaction, **expression); });
	for (auto &child : op->children) {
		HideRowsIn(transaction, child);
	}
	BarErrors(*op);
	if (op->type != LogicalOperatorType::LOGICAL_GET) {
		return;
	}
	auto &get = op->Cast<LogicalGet>();
	auto table = get.GetTable();
	if (!table || !QuackCatalog::Is(table->ParentCatalog())) {
		return;
	}
	if (transaction && !transaction->HiddenIn(*table->GetStorage().GetDataTableInfo())) {
		return;
	}
	// DuckDB 2.0.0 cannot read the rows of a LIMIT late where a filter is on their row ids.
	get.function.late_materialization = false;
	auto filter = make_uniq<LogicalFilter>(VisibilityOf(get, table->GetStorage().GetDataTableInfo()));
	filter->children.push_back(std::move(op));
	op = std::move(filter);
}

} // namespace

void HideRows(ClientContext &context, BoundStatement &statement, bool goes_on_after_write) {
	if (goes_on_after_write) {
		HideRowsIn(nullptr, statement.plan);
		return;
	}
	auto &open = StatementState::Get(context).open;
	if (open && open->Hides()) {
		HideRowsIn(*open, statement.plan);
	}
}

} // namespace quack
