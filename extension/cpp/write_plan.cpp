//! Planning of writes.

#include "write_plan.hpp"

#include "duckdb/execution/operator/persistent/physical_merge_into.hpp"
#include "duckdb/parser/parsed_data/create_table_info.hpp"
#include "duckdb/planner/expression/bound_cast_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/parsed_data/bound_create_table_info.hpp"

using namespace duckdb;

namespace quack {

WritePlan::WritePlan(ClientContext &context, PhysicalPlanGenerator &planner, QuackCatalog &catalog)
    : context(context), planner(planner), catalog(catalog), proposal(make_shared_ptr<Proposal>()) {
	catalog.Node();
	auto &state = StatementState::Get(context);
	proposal->goes_on_after_write = state.goes_on_after_write;
	proposal->reads_replacement = state.reads_replacement;
	proposal->returning = std::move(state.returning);
	state.returning.clear();
}

PhysicalOperator &WritePlan::Propose(PhysicalOperator &captured, const TableCatalogEntry &table, bool returns_rows) {
	proposal->returned_shape = returns_rows ? ShapeOf(table) : 0;
	return Propose(captured);
}

PhysicalOperator &WritePlan::Propose(PhysicalOperator &captured) {
	return planner.Make<PhysicalPropose>(captured, catalog, proposal);
}

PhysicalCapture &WritePlan::CaptureInsert(LogicalInsert &op, PhysicalOperator &plan) {
	if (op.on_conflict_info.action_type != OnConflictAction::THROW) {
		throw NotImplementedException("this form of ON CONFLICT is not supported in a replicated catalog");
	}
	auto &capture = planner.Make<PhysicalCaptureInsert>(op.types, op.estimated_cardinality, proposal, op.return_chunk,
	                                                    op.table.Cast<DuckTableEntry>());
	capture.children.push_back(plan);
	return capture.Cast<PhysicalCapture>();
}

PhysicalCapture &WritePlan::CaptureUpdate(LogicalUpdate &op, PhysicalOperator &plan) {
	auto &capture = planner.Make<PhysicalCaptureUpdate>(
	    op.types, op.estimated_cardinality, proposal, op.return_chunk, op.table.Cast<DuckTableEntry>(), op.columns,
	    std::move(op.expressions), std::move(op.bound_defaults), RepeatedRowsOf(op));
	capture.children.push_back(plan);
	return capture.Cast<PhysicalCapture>();
}

PhysicalCapture &WritePlan::CaptureDelete(LogicalDelete &op, PhysicalOperator &plan) {
	auto &row_id = op.expressions[0]->Cast<BoundReferenceExpression>();
	auto &capture =
	    planner.Make<PhysicalCaptureDelete>(op.types, op.estimated_cardinality, proposal, op.return_chunk,
	                                        op.table.Cast<DuckTableEntry>(), row_id.Index());
	capture.children.push_back(plan);
	return capture.Cast<PhysicalCapture>();
}

PhysicalOperator &WritePlan::Insert(LogicalInsert &op, PhysicalOperator &plan_p) {
	reference<PhysicalOperator> plan = plan_p;
	if (!op.column_index_map.empty()) {
		plan = planner.ResolveDefaultsProjection(op, plan);
	}
	return Propose(CaptureInsert(op, plan), op.table, op.return_chunk);
}

PhysicalOperator &WritePlan::Update(LogicalUpdate &op, PhysicalOperator &plan) {
	auto &capture = CaptureUpdate(op, plan);
	capture.is_alone = true;
	return Propose(capture, op.table, op.return_chunk);
}

PhysicalOperator &WritePlan::Delete(LogicalDelete &op, PhysicalOperator &plan) {
	auto &capture = CaptureDelete(op, plan);
	capture.is_alone = true;
	return Propose(capture, op.table, op.return_chunk);
}

PhysicalOperator &WritePlan::CreateTableAs(LogicalCreateTable &op, PhysicalOperator &plan) {
	auto info = op.info->Base().Copy();
	auto &table = info->Cast<CreateTableInfo>();
	table.query.reset();
	auto placement = Placement::OfCreate(table);
	RequirePlacementPermitted(catalog, Placement(), placement);
	table.options = placement.ToOptions();
	auto &capture = planner.Make<PhysicalCaptureCreate>(op.types, op.estimated_cardinality, proposal, op.schema,
	                                                    std::move(info));
	capture.children.push_back(plan);
	return Propose(capture);
}

//! The values of an action in the types of the columns that they go to.
static void CastToColumns(ClientContext &context, TableCatalogEntry &table, vector<unique_ptr<Expression>> &expressions,
                          const vector<PhysicalIndex> &columns) {
	auto &table_columns = table.GetColumns();
	for (idx_t i = 0; i < expressions.size(); i++) {
		auto &type = table_columns.GetColumn(columns.empty() ? PhysicalIndex(i) : columns[i]).Type();
		expressions[i] = BoundCastExpression::AddCastToType(context, std::move(expressions[i]), type);
	}
}

unique_ptr<MergeIntoOperator> WritePlan::MergeAction(LogicalMergeInto &op, PhysicalOperator &plan,
                                                     BoundMergeIntoAction &action) {
	auto result = make_uniq<MergeIntoOperator>();
	result->action_type = action.action_type;
	result->condition = std::move(action.condition);
	vector<unique_ptr<Expression>> row_ids;
	for (idx_t i = op.row_id_start; i < plan.types.size(); i++) {
		row_ids.push_back(make_uniq<BoundReferenceExpression>(plan.types[i], i));
	}

	// The merge operator puts its own source below each capture and runs `expressions` in between, so that a capture
	// reads what it would read below an INSERT, UPDATE or DELETE of its own.
	switch (action.action_type) {
	case MergeActionType::MERGE_UPDATE: {
		LogicalUpdate update(op.table);
		CastToColumns(context, op.table, action.expressions, action.columns);
		for (auto &expression : action.expressions) {
			update.expressions.push_back(
			    make_uniq<BoundReferenceExpression>(expression->GetReturnType(), result->expressions.size()));
			result->expressions.push_back(std::move(expression));
		}
		for (auto &row_id : row_ids) {
			result->expressions.push_back(std::move(row_id));
		}
		update.columns = std::move(action.columns);
		for (auto &value : op.bound_defaults) {
			update.bound_defaults.push_back(value->Copy());
		}
		update.return_chunk = op.return_chunk;
		update.estimated_cardinality = op.estimated_cardinality;
		update.ResolveOperatorTypes();
		result->op = CaptureUpdate(update, plan);
		break;
	}
	case MergeActionType::MERGE_DELETE: {
		LogicalDelete deletion(op.table, TableIndex(0));
		deletion.expressions = std::move(row_ids);
		deletion.return_chunk = op.return_chunk;
		deletion.estimated_cardinality = op.estimated_cardinality;
		deletion.ResolveOperatorTypes();
		result->op = CaptureDelete(deletion, plan);
		break;
	}
	case MergeActionType::MERGE_INSERT: {
		if (!action.column_index_map.empty()) {
			throw NotImplementedException("this form of MERGE is not supported in a replicated catalog");
		}
		CastToColumns(context, op.table, action.expressions, vector<PhysicalIndex>());
		result->expressions = std::move(action.expressions);
		LogicalInsert insert(op.table, TableIndex(0));
		insert.return_chunk = op.return_chunk;
		insert.estimated_cardinality = op.estimated_cardinality;
		insert.ResolveOperatorTypes();
		result->op = CaptureInsert(insert, plan);
		break;
	}
	case MergeActionType::MERGE_ERROR:
		result->expressions = std::move(action.expressions);
		break;
	case MergeActionType::MERGE_DO_NOTHING:
		break;
	default:
		throw InternalException("unknown action of MERGE");
	}
	return result;
}

PhysicalOperator &WritePlan::MergeInto(LogicalMergeInto &op, PhysicalOperator &plan) {
	proposal->is_upsert = true;
	map<MergeActionCondition, vector<unique_ptr<MergeIntoOperator>>> actions;
	for (auto &entry : op.actions) {
		vector<unique_ptr<MergeIntoOperator>> planned;
		for (auto &action : entry.second) {
			planned.push_back(MergeAction(op, plan, *action));
		}
		actions.emplace(entry.first, std::move(planned));
	}
	auto &merge = planner.Make<PhysicalMergeInto>(op.types, plan, std::move(actions), op.row_id_start, op.source_marker,
	                                              /*parallel=*/false, op.return_chunk, /*serialize_actions=*/true);
	return Propose(merge, op.table, op.return_chunk);
}

} // namespace quack
