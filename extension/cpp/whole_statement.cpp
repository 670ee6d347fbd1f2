//! Runs a statement that goes on after a write in a session beside the client's, so that it can run again after a
//! conflict. The client gets the rows when the statement is committed.

#include "whole_statement.hpp"

#include "catalog.hpp"
#include "profile.hpp"
#include "repeat.hpp"
#include "statement.hpp"
#include "duckdb/common/types/column/column_data_collection.hpp"
#include "duckdb/execution/physical_operator.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/parallel/meta_pipeline.hpp"
#include "duckdb/parallel/pipeline.hpp"
#include "duckdb/planner/operator/logical_create_table.hpp"
#include "duckdb/planner/operator/logical_delete.hpp"
#include "duckdb/planner/operator/logical_extension_operator.hpp"
#include "duckdb/planner/operator/logical_insert.hpp"
#include "duckdb/planner/operator/logical_merge_into.hpp"
#include "duckdb/planner/operator/logical_update.hpp"

using namespace duckdb;

namespace quack {

namespace {

//! What a statement does.
struct Effects {
	bool replicated = false;
	//! Whether it writes a table of another database, or a file: a second run would write that twice.
	bool others = false;
	//! Whether its text says all that it does. The text of an appender's statement does not hold the rows.
	bool runs_from_text = true;

	void Add(Catalog &catalog) {
		(QuackCatalog::Is(catalog) ? replicated : others) = true;
	}

	void AddAllOf(LogicalOperator &op) {
		switch (op.type) {
		case LogicalOperatorType::LOGICAL_INSERT:
			Add(op.Cast<LogicalInsert>().table.ParentCatalog());
			break;
		case LogicalOperatorType::LOGICAL_UPDATE:
			Add(op.Cast<LogicalUpdate>().table.ParentCatalog());
			break;
		case LogicalOperatorType::LOGICAL_DELETE:
			Add(op.Cast<LogicalDelete>().table.ParentCatalog());
			break;
		case LogicalOperatorType::LOGICAL_MERGE_INTO:
			Add(op.Cast<LogicalMergeInto>().table.ParentCatalog());
			break;
		case LogicalOperatorType::LOGICAL_CREATE_TABLE:
			Add(op.Cast<LogicalCreateTable>().schema.ParentCatalog());
			break;
		case LogicalOperatorType::LOGICAL_COPY_TO_FILE:
			others = true;
			break;
		case LogicalOperatorType::LOGICAL_CHUNK_GET:
			runs_from_text = false;
			break;
		default:
			break;
		}
		for (auto &child : op.children) {
			if (child) {
				AddAllOf(*child);
			}
		}
	}
};

enum class Mode {
	//! The client's transaction goes on after the statement, or the statement cannot run again: this operator does nothing.
	INLINE,
	//! The statement runs in a session beside the client's.
	APART,
	//! This is the run in that session: it hands over the rows that it emits.
	HANDED_OVER,
};

class EmittedSink : public GlobalSinkState {
public:
	EmittedSink(ClientContext &context, const PhysicalOperator &op) : emitted(context, op.types) {
	}
	ColumnDataCollection emitted;
};

class EmittedSource : public GlobalSourceState {
public:
	EmittedSource(ClientContext &context, const PhysicalOperator &op) : emitted(context, op.types) {
	}
	ColumnDataCollection emitted;
	ColumnDataScanState scan;
	bool has_run = false;
};

class PhysicalWholeStatement : public PhysicalOperator {
public:
	PhysicalWholeStatement(PhysicalPlan &plan, PhysicalOperator &whole)
	    : PhysicalOperator(plan, PhysicalOperatorType::EXTENSION, whole.types, whole.estimated_cardinality),
	      shape(ShapeOfPlan(whole)) {
		children.push_back(whole);
	}

	string GetName() const override {
		return "QUACK_WHOLE_STATEMENT";
	}
	InsertionOrderPreservingMap<string> ParamsToString() const override {
		return Profiled(*this);
	}
	bool IsSink() const override {
		return true;
	}
	bool IsSource() const override {
		return true;
	}
	bool SinkOrderDependent() const override {
		return true;
	}

	void BuildPipelines(Pipeline &current, MetaPipeline &meta_pipeline) override {
		RequireSameShape(StatementState::Get(meta_pipeline.GetExecutor().context), shape);
		switch (ModeIn(meta_pipeline.GetExecutor().context)) {
		case Mode::INLINE:
			children[0].get().BuildPipelines(current, meta_pipeline);
			break;
		case Mode::APART:
			meta_pipeline.GetState().SetPipelineSource(current, *this);
			break;
		case Mode::HANDED_OVER:
			PhysicalOperator::BuildPipelines(current, meta_pipeline);
			break;
		}
	}

	unique_ptr<GlobalSinkState> GetGlobalSinkState(ClientContext &context) const override {
		return make_uniq<EmittedSink>(context, *this);
	}
	SinkResultType Sink(ExecutionContext &, DataChunk &chunk, OperatorSinkInput &input) const override {
		input.global_state.Cast<EmittedSink>().emitted.Append(chunk);
		return SinkResultType::NEED_MORE_INPUT;
	}
	SinkFinalizeType Finalize(Pipeline &, Event &, ClientContext &context,
	                          OperatorSinkFinalizeInput &input) const override {
		HandOver(StatementState::Get(context), input.global_state.Cast<EmittedSink>().emitted);
		return SinkFinalizeType::READY;
	}
	unique_ptr<GlobalSourceState> GetGlobalSourceState(ClientContext &context) const override {
		return make_uniq<EmittedSource>(context, *this);
	}

protected:
	SourceResultType GetDataInternal(ExecutionContext &context, DataChunk &chunk,
	                                 OperatorSourceInput &input) const override {
		if (StatementState::Get(context.client).repeated) {
			// The sink has handed the rows over; no client reads them here.
			return SourceResultType::FINISHED;
		}
		auto &state = input.global_state.Cast<EmittedSource>();
		if (!state.has_run) {
			state.has_run = true;
			RunApart(context.client, state.emitted, shape);
			state.emitted.InitializeScan(state.scan);
		}
		state.emitted.Scan(state.scan, chunk);
		return chunk.size() == 0 ? SourceResultType::FINISHED : SourceResultType::HAVE_MORE_OUTPUT;
	}

private:
	uint64_t shape;

	Mode ModeIn(ClientContext &context) const {
		if (StatementState::Get(context).repeated) {
			return Mode::HANDED_OVER;
		}
		return MayRunApart(context, children[0]) ? Mode::APART : Mode::INLINE;
	}
};

class LogicalWholeStatement : public LogicalExtensionOperator {
public:
	explicit LogicalWholeStatement(unique_ptr<LogicalOperator> whole) {
		children.push_back(std::move(whole));
	}

	PhysicalOperator &CreatePlan(ClientContext &, PhysicalPlanGenerator &planner) override {
		auto &whole = planner.CreatePlan(*children[0]);
		return planner.Make<PhysicalWholeStatement>(whole);
	}
	vector<ColumnBinding> GetColumnBindings() override {
		return children[0]->GetColumnBindings();
	}
	string GetExtensionName() const override {
		return "quack";
	}

protected:
	void ResolveTypes() override {
		types = children[0]->types;
	}
};

} // namespace

void LeadWholeStatement(BoundStatement &statement) {
	switch (statement.plan->type) {
	case LogicalOperatorType::LOGICAL_PREPARE:
	case LogicalOperatorType::LOGICAL_EXECUTE:
	case LogicalOperatorType::LOGICAL_EXPLAIN:
		return;
	default:
		break;
	}
	Effects effects;
	effects.AddAllOf(*statement.plan);
	if (effects.replicated && !effects.others && effects.runs_from_text) {
		statement.plan = make_uniq<LogicalWholeStatement>(std::move(statement.plan));
	}
}

} // namespace quack
