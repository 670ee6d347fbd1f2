//! Implementation of joins on row ids without the filter that DuckDB 2.0.0 must not be given.

#include "row_id_filters.hpp"

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

static void KeepBloomFiltersAway(LogicalOperator &op, const Scans &scans) {
	if (op.type == LogicalOperatorType::LOGICAL_COMPARISON_JOIN || op.type == LogicalOperatorType::LOGICAL_DELIM_JOIN) {
		auto &join = op.Cast<LogicalComparisonJoin>();
		if (join.filter_pushdown) {
			for (auto &probe : join.filter_pushdown->probe_info) {
				for (auto &column : probe.columns) {
					if (IsRowId(scans, column.probe_column_index)) {
						column.mode = JoinFilterPushdownMode::STORAGE_ONLY;
					}
				}
			}
		}
	}
	for (auto &child : op.children) {
		KeepBloomFiltersAway(*child, scans);
	}
}

void RegisterRowIdFilters(DatabaseInstance &instance) {
	OptimizerExtension extension;
	extension.optimize_function = [](OptimizerExtensionInput &, unique_ptr<LogicalOperator> &plan) {
		Scans scans;
		CollectScans(*plan, scans);
		if (!scans.empty()) {
			KeepBloomFiltersAway(*plan, scans);
		}
	};
	OptimizerExtension::Register(DBConfig::GetConfig(instance), std::move(extension));
}

#else

void RegisterRowIdFilters(DatabaseInstance &) {
}

#endif

} // namespace quack
