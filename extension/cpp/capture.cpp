//! Capturing operators: from the chunks of a plan to the changes of a transaction.

#include "capture.hpp"

#include "ddl.hpp"
#include "rows.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/parsed_data/bound_create_table_info.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/common/type_visitor.hpp"
#include "duckdb/common/types/column/column_data_collection.hpp"
#include "duckdb/common/types/conflict_manager.hpp"
#include "duckdb/common/types/constraint_conflict_info.hpp"
#include "duckdb/common/vector_operations/vector_operations.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/execution/row_id_deduplicator.hpp"
#include "duckdb/parser/constraints/foreign_key_constraint.hpp"
#include "duckdb/parser/parsed_data/create_table_info.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/append_state.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "duckdb/transaction/duck_transaction.hpp"

using namespace duckdb;

namespace quack {

namespace {

class CaptureState : public GlobalSinkState {
public:
	CaptureState(ClientContext &context, const PhysicalCapture &op)
	    : returned(context, op.types), seen(context, vector<LogicalType> {LogicalType::ROW_TYPE}) {
	}

	mutex lock;
	idx_t count = 0;
	//! The rows for RETURNING.
	ColumnDataCollection returned;
	//! Rows that the statement has changed already.
	RowIdDeduplicator seen;
};

class CreateState : public CaptureState {
public:
	using CaptureState::CaptureState;
	//! The new table, when the transaction goes on and therefore must see it.
	optional_ptr<DuckTableEntry> table;
};

class EmitState : public GlobalSourceState {
public:
	ColumnDataScanState scan;
	bool started = false;
};

//! Keeps the rows whose ids the statement has not met yet; returns how many.
idx_t KeepFirst(CaptureState &state, Vector &row_ids, idx_t count, DataChunk &chunk, Vector &kept_ids) {
	SelectionVector sel(count);
	auto kept = state.seen.Register(row_ids, count, sel);
	if (kept != count) {
		chunk.Slice(sel, kept);
		kept_ids.Slice(row_ids, sel, kept);
	}
	return kept;
}

bool IsReferenced(const TableCatalogEntry &table) {
	for (auto &constraint : table.GetConstraints()) {
		if (constraint->type != ConstraintType::FOREIGN_KEY) {
			continue;
		}
		if (constraint->Cast<ForeignKeyConstraint>().info.type != ForeignKeyType::FK_TYPE_FOREIGN_KEY_TABLE) {
			return true;
		}
	}
	return false;
}

//! Whether DuckDB could change these rows where they are: no indexed column and no list changes.
bool CanUpdateInPlace(DuckTableEntry &table, DataChunk &old_rows, DataChunk &new_rows) {
	auto indexed = table.GetStorage().GetDataTableInfo()->GetIndexes().GetIndexedColumns();
	for (idx_t i = 0; i < new_rows.ColumnCount(); i++) {
		auto changed = VectorOperations::DistinctFrom(old_rows.data[i], new_rows.data[i], nullptr, new_rows.size(),
		                                              nullptr, nullptr) > 0;
		auto list = TypeVisitor::Contains(new_rows.data[i].GetType(), [](const LogicalType &type) {
			return type.InternalType() == PhysicalType::LIST || type.InternalType() == PhysicalType::ARRAY;
		});
		if (changed && (list || indexed.count(i) > 0)) {
			return false;
		}
	}
	return true;
}

} // namespace

PhysicalCapture::PhysicalCapture(PhysicalPlan &plan, vector<LogicalType> types, idx_t estimated_cardinality,
                                 shared_ptr<Proposal> proposal, bool return_chunk)
    : PhysicalOperator(plan, PhysicalOperatorType::EXTENSION, std::move(types), estimated_cardinality),
      proposal(std::move(proposal)), return_chunk(return_chunk) {
}

unique_ptr<GlobalSinkState> PhysicalCapture::GetGlobalSinkState(ClientContext &context) const {
	return make_uniq<CaptureState>(context, *this);
}

SinkResultType PhysicalCapture::Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const {
	auto &state = input.global_state.Cast<CaptureState>();
	lock_guard<mutex> guard(state.lock);
	chunk.Flatten();
	Capture(context.client, chunk, state);
	return SinkResultType::NEED_MORE_INPUT;
}

unique_ptr<GlobalSourceState> PhysicalCapture::GetGlobalSourceState(ClientContext &context) const {
	return make_uniq<EmitState>();
}

SourceResultType PhysicalCapture::GetDataInternal(ExecutionContext &context, DataChunk &chunk,
                                                  OperatorSourceInput &input) const {
	auto &state = sink_state->Cast<CaptureState>();
	if (!return_chunk) {
		chunk.data[0].Append(Value::BIGINT(NumericCast<int64_t>(state.count)));
		return SourceResultType::FINISHED;
	}
	auto &emit = input.global_state.Cast<EmitState>();
	if (!emit.started) {
		state.returned.InitializeScan(emit.scan);
		emit.started = true;
	}
	state.returned.Scan(emit.scan, chunk);
	return chunk.size() == 0 ? SourceResultType::FINISHED : SourceResultType::HAVE_MORE_OUTPUT;
}

PhysicalCaptureInsert::PhysicalCaptureInsert(PhysicalPlan &plan, vector<LogicalType> types, idx_t estimated_cardinality,
                                             shared_ptr<Proposal> proposal, bool return_chunk, DuckTableEntry &table)
    : PhysicalCapture(plan, std::move(types), estimated_cardinality, std::move(proposal), return_chunk), table(table) {
}

//! An upsert that the log refuses because of a key may be right the next time: another one may have brought that key since
//! it was looked for. Not so a key that was there before, of a constraint that the upsert does not provide for.
static void NoteSeenKeys(ClientContext &context, DuckTableEntry &table, DataChunk &rows) {
	auto &state = StatementState::Get(context);
	auto &storage = table.GetStorage();
	if (!state.IsUpsert() || IsPartOfTransaction(context) || !storage.HasIndexes()) {
		return;
	}
	auto bound = BindConstraints(context, table);
	auto constraints = storage.InitializeConstraintState(table, bound);
	unordered_set<column_t> all_indexes;
	ConflictInfo info(all_indexes);
	ConflictManager manager(VerifyExistenceType::APPEND, rows.size(), &info);
	manager.SetMode(ConflictManagerMode::SCAN);
	try {
		storage.VerifyAppendConstraints(*constraints, context, rows, nullptr, &manager);
	} catch (ConstraintException &) {
		// Of another kind; the log will say so.
		return;
	}
	if (!manager.HasConflicts()) {
		return;
	}
	auto &transaction = DuckTransaction::Get(context, table.ParentCatalog());
	manager.FinalizeGlobal(transaction, storage);
	auto ids = FlatVector::GetData<row_t>(manager.GetRowIds());
	for (idx_t i = 0; i < manager.ConflictCount(); i++) {
		state.key_is_seen = state.key_is_seen || storage.CanFetch(transaction, ids[i]);
	}
}

void PhysicalCaptureInsert::Capture(ClientContext &context, DataChunk &chunk, GlobalSinkState &state_p) const {
	auto &state = state_p.Cast<CaptureState>();
	NoteSeenKeys(context, table, chunk);
	proposal->changes->Inserted(table, chunk);
	state.count += chunk.size();
	if (return_chunk) {
		state.returned.Append(chunk);
	}
}

PhysicalCaptureCreate::PhysicalCaptureCreate(PhysicalPlan &plan, vector<LogicalType> types, idx_t estimated_cardinality,
                                             shared_ptr<Proposal> proposal, SchemaCatalogEntry &schema,
                                             unique_ptr<CreateInfo> info)
    : PhysicalCapture(plan, std::move(types), estimated_cardinality, std::move(proposal), false), schema(schema),
      info(std::move(info)),
      route(Placement::OfCreate(this->info->Cast<CreateTableInfo>()), this->info->Cast<CreateTableInfo>().columns) {
}

unique_ptr<GlobalSinkState> PhysicalCaptureCreate::GetGlobalSinkState(ClientContext &context) const {
	auto state = make_uniq<CreateState>(context, *this);
	if (!IsPartOfTransaction(context)) {
		auto definition = DefineCreate(ScopeOf(context, schema.ParentCatalog()), schema, *info);
		static_cast<Writer &>(*proposal->changes).Ddl(definition);
		return std::move(state);
	}
	auto bound = Binder::CreateBinder(context)->BindCreateTableInfo(info->Copy(), schema);
	auto created = schema.CreateTable(schema.GetCatalogTransaction(context), *bound);
	if (created) {
		state->table = created->Cast<DuckTableEntry>();
	}
	return std::move(state);
}

void PhysicalCaptureCreate::Capture(ClientContext &context, DataChunk &chunk, GlobalSinkState &state_p) const {
	auto &state = state_p.Cast<CreateState>();
	if (state.table) {
		proposal->changes->Inserted(*state.table, chunk);
	} else {
		static_cast<Writer &>(*proposal->changes)
		    .InsertedInto(schema, info->GetQualifiedName().Name().GetIdentifierName(), route, chunk);
	}
	state.count += chunk.size();
}

PhysicalCaptureUpdate::PhysicalCaptureUpdate(PhysicalPlan &plan, vector<LogicalType> types, idx_t estimated_cardinality,
                                             shared_ptr<Proposal> proposal, bool return_chunk, DuckTableEntry &table,
                                             vector<PhysicalIndex> columns_p,
                                             vector<unique_ptr<Expression>> expressions,
                                             vector<unique_ptr<Expression>> bound_defaults,
                                             RowIdHandling row_id_handling)
    : PhysicalCapture(plan, std::move(types), estimated_cardinality, std::move(proposal), return_chunk), table(table),
      columns(std::move(columns_p)), expressions(std::move(expressions)), bound_defaults(std::move(bound_defaults)),
      row_id_handling(row_id_handling), referenced(IsReferenced(table)) {
}

void PhysicalCaptureUpdate::Capture(ClientContext &context, DataChunk &chunk, GlobalSinkState &state_p) const {
	auto &state = state_p.Cast<CaptureState>();
	ExpressionExecutor default_executor(context, bound_defaults);
	default_executor.SetChunk(chunk);
	Vector row_ids(Vector::Ref(chunk.data[chunk.ColumnCount() - 1]));
	auto count = chunk.size();

	// The new values, in the order of `columns`.
	DataChunk values;
	vector<LogicalType> value_types;
	for (auto &expression : expressions) {
		value_types.push_back(expression->GetReturnType());
	}
	values.Initialize(context, value_types, MaxValue<idx_t>(count, 1));
	for (idx_t i = 0; i < expressions.size(); i++) {
		if (expressions[i]->GetExpressionType() == ExpressionType::VALUE_DEFAULT) {
			default_executor.ExecuteExpression(columns[i].index, values.data[i]);
		} else {
			values.data[i].Reference(chunk.data[expressions[i]->Cast<BoundReferenceExpression>().Index()]);
		}
	}
	values.SetChildCardinality(count);
	if (row_id_handling != RowIdHandling::ASSUME_UNIQUE) {
		auto kept = KeepFirst(state, chunk.data[chunk.ColumnCount() - 1], count, values, row_ids);
		if (row_id_handling == RowIdHandling::ERROR && kept != count) {
			throw InvalidInputException("UPDATE command cannot update the same row more than once");
		}
		count = kept;
	}
	if (count == 0) {
		return;
	}

	DataChunk old_rows;
	FetchRows(DuckTransaction::Get(context, table.ParentCatalog()), table, row_ids, count, old_rows);
	DataChunk new_rows;
	new_rows.InitializeEmpty(table.GetStorage().GetTypes());
	for (idx_t i = 0; i < new_rows.ColumnCount(); i++) {
		new_rows.data[i].Reference(old_rows.data[i]);
	}
	for (idx_t i = 0; i < columns.size(); i++) {
		new_rows.data[columns[i].index].Reference(values.data[i]);
	}
	new_rows.SetChildCardinality(count);

	if (referenced && CanUpdateInPlace(table, old_rows, new_rows)) {
		DataChunk both;
		auto types = old_rows.GetTypes();
		auto new_types = new_rows.GetTypes();
		types.insert(types.end(), new_types.begin(), new_types.end());
		both.InitializeEmpty(types);
		for (idx_t i = 0; i < old_rows.ColumnCount(); i++) {
			both.data[i].Reference(old_rows.data[i]);
		}
		for (idx_t i = 0; i < new_rows.ColumnCount(); i++) {
			both.data[old_rows.ColumnCount() + i].Reference(new_rows.data[i]);
		}
		both.SetChildCardinality(count);
		proposal->changes->Updated(table, both);
	} else {
		proposal->changes->Deleted(table, old_rows);
		try {
			proposal->changes->Inserted(table, new_rows);
		} catch (ConstraintException &) {
			if (HasMovedOn(context, reinterpret_cast<QuackCatalog &>(table.ParentCatalog()))) {
				// In the words of DuckDB: the key may be that of the same row, as another transaction has left it.
				throw TransactionException("Conflict on update!");
			}
			throw;
		}
	}
	state.count += count;
	if (!return_chunk) {
		return;
	}
	// For a trigger the old rows follow.
	DataChunk returned;
	returned.InitializeEmpty(types);
	for (idx_t i = 0; i < types.size(); i++) {
		auto columns_count = new_rows.ColumnCount();
		returned.data[i].Reference(i < columns_count ? new_rows.data[i] : old_rows.data[i - columns_count]);
	}
	returned.SetChildCardinality(count);
	state.returned.Append(returned);
}

PhysicalCaptureDelete::PhysicalCaptureDelete(PhysicalPlan &plan, vector<LogicalType> types, idx_t estimated_cardinality,
                                             shared_ptr<Proposal> proposal, bool return_chunk, DuckTableEntry &table,
                                             idx_t row_id_index)
    : PhysicalCapture(plan, std::move(types), estimated_cardinality, std::move(proposal), return_chunk), table(table),
      row_id_index(row_id_index) {
}

void PhysicalCaptureDelete::Capture(ClientContext &context, DataChunk &chunk, GlobalSinkState &state_p) const {
	auto &state = state_p.Cast<CaptureState>();
	Vector row_ids(Vector::Ref(chunk.data[row_id_index]));
	auto count = KeepFirst(state, chunk.data[row_id_index], chunk.size(), chunk, row_ids);
	if (count == 0) {
		return;
	}
	DataChunk rows;
	FetchRows(DuckTransaction::Get(context, table.ParentCatalog()), table, row_ids, count, rows);
	proposal->changes->Deleted(table, rows);
	state.count += count;
	if (!return_chunk) {
		return;
	}
	// RETURNING may ask for virtual columns after the table's own: the row id is the only one there is.
	DataChunk returned;
	returned.InitializeEmpty(types);
	for (idx_t i = 0; i < types.size(); i++) {
		returned.data[i].Reference(rows.data[MinValue<idx_t>(i, rows.ColumnCount() - 1)]);
	}
	returned.SetChildCardinality(count);
	state.returned.Append(returned);
}

} // namespace quack
