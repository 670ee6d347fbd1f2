//! The operator on top of every write: opens the transaction, proposes it, waits for its outcome.

#include "capture.hpp"
#include "repeat.hpp"
#include "duckdb/common/types/column/column_data_collection.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/parallel/meta_pipeline.hpp"
#include "duckdb/parallel/pipeline.hpp"

using namespace duckdb;

namespace quack {

namespace {

class ProposeState : public GlobalSinkState {
public:
	ProposeState(ClientContext &context, const PhysicalPropose &op) : emitted(context, op.types) {
	}

	//! Each action of a MERGE emits its rows from a pipeline of its own, and some of these run at the same time.
	void Emit(ExecutionContext &execution, DataChunk &rows) {
		lock_guard<mutex> guard(lock);
		auto &of_pipeline = of_pipelines[execution.pipeline->GetBaseBatchIndex()];
		if (!of_pipeline) {
			of_pipeline = make_uniq<ColumnDataCollection>(execution.client, emitted.Types());
		}
		of_pipeline->Append(rows);
	}
	//! All rows are there. DuckDB's own order is that of the actions.
	void Gather() {
		for (auto &rows : of_pipelines) {
			emitted.Combine(*rows.second);
		}
		of_pipelines.clear();
	}

	//! What the operators below have emitted; shown to the client only when the outcome is known.
	ColumnDataCollection emitted;

private:
	mutex lock;
	map<idx_t, unique_ptr<ColumnDataCollection>> of_pipelines;
};

class EmitState : public GlobalSourceState {
public:
	explicit EmitState(ProposeState &state) {
		state.emitted.InitializeScan(scan);
	}
	ColumnDataScanState scan;
};

} // namespace

PhysicalPropose::PhysicalPropose(PhysicalPlan &plan, PhysicalOperator &captured, QuackCatalog &catalog,
                                 shared_ptr<Proposal> proposal)
    : PhysicalOperator(plan, PhysicalOperatorType::EXTENSION, captured.types, captured.estimated_cardinality),
      catalog(catalog), proposal(std::move(proposal)) {
	children.push_back(captured);
}

static void BindCaptures(ClientContext &context, PhysicalOperator &op) {
	if (auto capture = dynamic_cast<PhysicalCapture *>(&op)) {
		capture->Bind(context);
	}
	for (auto &child : op.children) {
		BindCaptures(context, child);
	}
}

void PhysicalPropose::BuildPipelines(Pipeline &current, MetaPipeline &meta_pipeline) {
	// Runs once before each execution of the plan, and before anything below: a write that must be refused is refused
	// here, with nothing proposed.
	auto &context = meta_pipeline.GetExecutor().context;
	auto &state = StatementState::Get(context);
	state.collects = state.collects || proposal->goes_on_after_write;
	if (!state.collects) {
		RequireSameShape(state, proposal->returned_shape);
	}
	if (state.unfinished == 0) {
		state.changes = OpenChanges(context, catalog);
	}
	state.unfinished++;
	proposal->changes = state.changes;
	if (proposal->is_upsert) {
		state.writes.Add(StatementWrites {StatementKind::UPSERT, {}});
	}
	BindCaptures(context, children[0]);
	PhysicalOperator::BuildPipelines(current, meta_pipeline);
}

unique_ptr<GlobalSinkState> PhysicalPropose::GetGlobalSinkState(ClientContext &context) const {
	return make_uniq<ProposeState>(context, *this);
}

SinkResultType PhysicalPropose::Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const {
	input.global_state.Cast<ProposeState>().Emit(context, chunk);
	return SinkResultType::NEED_MORE_INPUT;
}

//! Computes what RETURNING will, so that an error in it comes before the write.
void PhysicalPropose::TryReturning(ClientContext &context, ColumnDataCollection &emitted) const {
	if (proposal->returning.empty()) {
		return;
	}
	vector<LogicalType> returned_types;
	for (auto &expression : proposal->returning) {
		returned_types.push_back(expression->GetReturnType());
	}
	ExpressionExecutor executor(context, proposal->returning);
	DataChunk returned;
	returned.Initialize(context, returned_types);
	for (auto &chunk : emitted.Chunks()) {
		returned.Reset();
		executor.Execute(chunk, returned);
	}
}

SinkFinalizeType PhysicalPropose::Finalize(Pipeline &pipeline, Event &event, ClientContext &context,
                                           OperatorSinkFinalizeInput &input) const {
	proposal->changes.reset();
	auto &proposed = input.global_state.Cast<ProposeState>();
	proposed.Gather();
	auto &state = StatementState::Get(context);
	if (--state.unfinished > 0) {
		if (state.open) {
			// Other parts of the statement, which come after this one, see what it has written.
			state.open->EndStatement();
		}
		return SinkFinalizeType::READY;
	}
	auto &emitted = proposed.emitted;
	TryReturning(context, emitted);
	try {
		FinishChanges(context, catalog, std::move(state.changes));
	} catch (...) {
		if (!state.conflicted || proposal->reads_replacement || !MayRepeat(context, children[0])) {
			throw;
		}
		Repeat(context, emitted, proposal->returned_shape);
	}
	if (!state.collects) {
		HandOver(state, emitted);
		// It has written all that it will. Rows that it goes on to give out may be read late, or never.
		state.LeaveGate();
	}
	return SinkFinalizeType::READY;
}

unique_ptr<GlobalSourceState> PhysicalPropose::GetGlobalSourceState(ClientContext &context) const {
	return make_uniq<EmitState>(sink_state->Cast<ProposeState>());
}

SourceResultType PhysicalPropose::GetDataInternal(ExecutionContext &context, DataChunk &chunk,
                                                  OperatorSourceInput &input) const {
	auto &state = sink_state->Cast<ProposeState>();
	state.emitted.Scan(input.global_state.Cast<EmitState>().scan, chunk);
	return chunk.size() == 0 ? SourceResultType::FINISHED : SourceResultType::HAVE_MORE_OUTPUT;
}

} // namespace quack
