//! Rewrites optimized plans so that they avoid three faults in the joins of DuckDB 2.0.0. For DuckDB 2.0.1, which has
//! mended them, it does nothing.

#include "join_faults.hpp"

#include "catalog.hpp"
#include "duckdb/optimizer/optimizer_extension.hpp"
#include "duckdb/planner/operator/logical_comparison_join.hpp"
#include "duckdb/planner/operator/logical_get.hpp"

using namespace duckdb;

namespace quack {

#if QUACK_DUCKDB_PATCH == 0

using Scans = unordered_map<idx_t, reference<LogicalGet>>;

static void CollectScans(LogicalOperator &op, Scans &scans) {
	if (op.type == LogicalOperatorType::LOGICAL_GET) {
		auto &get = op.Cast<LogicalGet>();
		auto table = get.GetTable();
		if (table && QuackCatalog::Is(table->ParentCatalog())) {
			scans.emplace(get.table_index.index, get);
		}
	}
	for (auto &child : op.children) {
		CollectScans(*child, scans);
	}
}

static bool IsRowId(const Scans &scans, const ColumnBinding &column) {
	auto scan = scans.find(column.table_index.index);
	if (scan == scans.end()) {
		return false;
	}
	auto &columns = scan->second.get().GetColumnIds();
	return column.column_index >= columns.size() || columns[column.column_index].IsRowIdColumn();
}

static void KeepBloomFiltersAway(LogicalComparisonJoin &join, const Scans &scans) {
	if (!join.filter_pushdown) {
		return;
	}
	for (auto &probe : join.filter_pushdown->probe_info) {
		for (auto &column : probe.columns) {
			if (IsRowId(scans, column.probe_column_index)) {
				column.mode = JoinFilterPushdownMode::STORAGE_ONLY;
			}
		}
	}
}

//! What becomes, above an operator, of the chunks that it gives out.
struct Above {
	//! A join or a cache that takes a dictionary for that of all chunks.
	bool is_consumed = false;
	//! Below such a consumer, an operator that forwards the dictionary of some chunks only.
	bool is_forwarded = false;
};

static bool Computes(const LogicalOperator &projection) {
	for (auto &expression : projection.expressions) {
		if (expression->GetExpressionClass() != ExpressionClass::BOUND_COLUMN_REF) {
			return true;
		}
	}
	return false;
}

static Above BelowOf(const LogicalOperator &op, Above above) {
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY:
	case LogicalOperatorType::LOGICAL_ORDER_BY:
	case LogicalOperatorType::LOGICAL_TOP_N:
	case LogicalOperatorType::LOGICAL_DISTINCT:
	case LogicalOperatorType::LOGICAL_WINDOW:
		// They store what they take.
		return Above();
	case LogicalOperatorType::LOGICAL_PROJECTION:
		above.is_forwarded |= above.is_consumed && Computes(op);
		return above;
	case LogicalOperatorType::LOGICAL_FILTER:
		above.is_consumed = true;
		return above;
	case LogicalOperatorType::LOGICAL_COMPARISON_JOIN:
	case LogicalOperatorType::LOGICAL_DELIM_JOIN:
		above.is_forwarded |= above.is_consumed;
		above.is_consumed = true;
		return above;
	case LogicalOperatorType::LOGICAL_ANY_JOIN:
	case LogicalOperatorType::LOGICAL_ASOF_JOIN:
	case LogicalOperatorType::LOGICAL_POSITIONAL_JOIN:
	case LogicalOperatorType::LOGICAL_CROSS_PRODUCT:
	case LogicalOperatorType::LOGICAL_UNNEST:
	case LogicalOperatorType::LOGICAL_GET:
		// A LOGICAL_GET that has a child is a function of rows.
		return Above {true, true};
	default:
		return above;
	}
}

//! DuckDB's `DictionaryEmissionActivation::MIN_PROBE_ROWS`.
static constexpr idx_t MIN_PROBE_ROWS = 262144;

//! DuckDB's `PerfectHashJoinExecutor` and `JoinHashTable::CanUseDictionaryEmission` are the two that give out dictionaries.
static void GiveOutPlainVectors(ClientContext &context, LogicalComparisonJoin &join) {
	if (join.join_type == JoinType::INNER && join.conditions.size() == 1 && join.conditions[0].IsComparison() &&
	    join.conditions[0].GetComparisonType() == ExpressionType::COMPARE_EQUAL) {
		// A perfect hash join has one condition.
		join.conditions.push_back(join.conditions[0].Copy());
	}
	auto &probe = *join.children[0];
	probe.SetEstimatedCardinality(MinValue<idx_t>(probe.EstimateCardinality(context), MIN_PROBE_ROWS - 1));
}

static bool IsListComparison(const JoinCondition &condition) {
	if (!condition.IsComparison() || (condition.GetComparisonType() != ExpressionType::COMPARE_EQUAL &&
	                                  condition.GetComparisonType() != ExpressionType::COMPARE_NOT_DISTINCT_FROM)) {
		return false;
	}
	auto type = condition.GetLHS().GetReturnType().InternalType();
	return type == PhysicalType::LIST || type == PhysicalType::ARRAY;
}

static void PutListsFirst(LogicalComparisonJoin &join) {
	// Conditions of other joins are known by their places.
	if (join.type != LogicalOperatorType::LOGICAL_COMPARISON_JOIN || join.join_type == JoinType::MARK) {
		return;
	}
	vector<idx_t> order;
	for (auto is_list : {true, false}) {
		for (idx_t i = 0; i < join.conditions.size(); i++) {
			if (IsListComparison(join.conditions[i]) == is_list) {
				order.push_back(i);
			}
		}
	}
	vector<JoinCondition> conditions;
	vector<idx_t> places(order.size());
	for (auto i : order) {
		places[i] = conditions.size();
		conditions.push_back(std::move(join.conditions[i]));
	}
	join.conditions = std::move(conditions);
	if (join.filter_pushdown) {
		for (auto &i : join.filter_pushdown->join_condition) {
			i = places[i];
		}
	}
}

static void Mend(ClientContext &context, LogicalOperator &op, const Scans &scans, Above above) {
	if (op.type == LogicalOperatorType::LOGICAL_COMPARISON_JOIN || op.type == LogicalOperatorType::LOGICAL_DELIM_JOIN) {
		auto &join = op.Cast<LogicalComparisonJoin>();
		KeepBloomFiltersAway(join, scans);
		if (above.is_forwarded) {
			GiveOutPlainVectors(context, join);
		}
		PutListsFirst(join);
	}
	auto below = BelowOf(op, above);
	for (auto &child : op.children) {
		Mend(context, *child, scans, below);
	}
}

void RequireJoinFaultsAvoided(ClientContext &context, LogicalOperator &plan) {
	if (!DBConfig::GetConfig(context).IsOptimizerDisabled(OptimizerType::EXTENSION)) {
		return;
	}
	Scans scans;
	CollectScans(plan, scans);
	if (!scans.empty()) {
		throw InvalidInputException("this process has switched off the optimizer 'extension', without which DuckDB 2.0.0 ends the "
		                            "process at some joins of replicated tables: set disabled_optimizers without it");
	}
}

void RegisterJoinFaults(DatabaseInstance &instance) {
	OptimizerExtension extension;
	extension.optimize_function = [](OptimizerExtensionInput &input, unique_ptr<LogicalOperator> &plan) {
		Scans scans;
		CollectScans(*plan, scans);
		Mend(input.context, *plan, scans, Above());
	};
	OptimizerExtension::Register(DBConfig::GetConfig(instance), std::move(extension));
}

#else

void RequireJoinFaultsAvoided(ClientContext &, LogicalOperator &) {
}

void RegisterJoinFaults(DatabaseInstance &) {
}

#endif

} // namespace quack
