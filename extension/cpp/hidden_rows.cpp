//! Keeps the set of rows that an open transaction has deleted, and adds the filter that hides them to plans.
//!
//! The filter sits directly above each scan, before the optimizer sees the plan: a scan with a filter is not answered
//! from statistics. The optimizer moves it into the scan, beside filters of the statement that may fail for a hidden row; the
//! scan evaluates those last. It looks the rows up when it runs, so that a plan that was prepared in one transaction is right in
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
#include "duckdb/planner/filter/expression_filter.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/planner/table_filter_set.hpp"
#include "duckdb/storage/table/data_table_info.hpp"

#include <atomic>

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

constexpr const char *IS_VISIBLE = "quack_is_visible";

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
	ScalarFunction function(IS_VISIBLE, {LogicalType::ROW_TYPE}, LogicalType::BOOLEAN, IsVisible);
	function.SetInitStateCallback(InitIsVisible);
	function.SetStability(FunctionStability::CONSISTENT_WITHIN_QUERY);
	vector<unique_ptr<Expression>> arguments;
	arguments.push_back(
	    make_uniq<BoundColumnRefExpression>(LogicalType::ROW_TYPE, ColumnBinding(get.table_index, position)));
	return make_uniq<BoundFunctionExpression>(BoundScalarFunction(function), std::move(arguments),
	                                          make_uniq<IsVisibleData>(std::move(table)));
}

bool Hides(const Expression &expression) {
	auto hides = expression.GetExpressionClass() == ExpressionClass::BOUND_FUNCTION &&
	             expression.Cast<BoundFunctionExpression>().Function().GetName() == IS_VISIBLE;
	ExpressionIterator::EnumerateChildren(expression, [&](const Expression &child) { hides = hides || Hides(child); });
	return hides;
}

//! Not only what it is given, as long as there is an error in that.
bool ThrowsByItself(const Expression &expression) {
	if (expression.GetExpressionClass() != ExpressionClass::BOUND_FUNCTION) {
		return false;
	}
	auto mode = expression.Cast<BoundFunctionExpression>().Function().GetErrorMode();
	auto in_child = false;
	ExpressionIterator::EnumerateChildren(expression, [&](const Expression &child) { in_child = in_child || child.CanThrow(); });
	return mode == FunctionErrors::CAN_THROW_RUNTIME_ERROR || !in_child;
}

//! Puts what may fail behind a barrier, and nothing around it: what stands before it in an AND goes on to protect it.
void BarErrors(unique_ptr<Expression> &expression) {
	if (!expression->CanThrow()) {
		return;
	}
	if (ThrowsByItself(*expression)) {
		expression = ExpressionBarrier::Wrap(std::move(expression));
		return;
	}
	ExpressionIterator::EnumerateChildren(*expression, [](unique_ptr<Expression> &child) { BarErrors(child); });
}

//! A scan evaluates filters that may fail in the order of its columns, and behind all others those with a barrier.
void HideFirst(TableFilterSet &filters) {
	auto hides = false;
	for (auto &entry : filters) {
		hides = hides || Hides(*ExpressionFilter::GetExpressionFilter(entry.Filter(), IS_VISIBLE).expr);
	}
	if (!hides) {
		return;
	}
	for (auto &entry : filters) {
		auto &expression = ExpressionFilter::GetExpressionFilter(entry.Filter(), IS_VISIBLE).expr;
		if (!Hides(*expression) && !ExpressionBarrier::Contains(*expression)) {
			BarErrors(expression);
		}
	}
}

//! DuckDB's own, of a scan of a table.
std::atomic<table_function_init_global_t> init_scan {nullptr};

unique_ptr<GlobalTableFunctionState> InitHidingScan(ClientContext &context, TableFunctionInitInput &input) {
	if (input.filters) {
		HideFirst(*input.filters);
	}
	return init_scan.load()(context, input);
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
	if (get.function.init_global != InitHidingScan) {
		init_scan = get.function.init_global;
		get.function.init_global = InitHidingScan;
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
