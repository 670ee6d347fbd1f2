//! Capturing operators: from the chunks of a plan to the changes of a transaction.

#include "capture.hpp"

#include "bulk_change.hpp"
#include "ddl.hpp"
#include "definition.hpp"
#include "definition_format.hpp"
#include "row_identity.hpp"
#include "rows.hpp"
#include "schema_entry.hpp"
#include "taken_keys.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/parsed_data/bound_create_table_info.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/common/types/column/column_data_collection.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/execution/operator/scan/physical_table_scan.hpp"
#include "duckdb/execution/row_id_deduplicator.hpp"
#include "duckdb/function/table/table_scan.hpp"
#include "duckdb/parser/constraints/foreign_key_constraint.hpp"
#include "duckdb/parser/parsed_data/create_table_info.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/append_state.hpp"
#include "duckdb/transaction/duck_transaction.hpp"

using namespace duckdb;

namespace quack {

static const vector<PhysicalIndex> NO_COLUMNS;

//! Whether a plan reads tables of ours, or what other plans read of them.
static bool ReadsTables(const PhysicalOperator &op) {
	switch (op.type) {
	case PhysicalOperatorType::COLUMN_DATA_SCAN:
	case PhysicalOperatorType::DUMMY_SCAN:
	case PhysicalOperatorType::EMPTY_RESULT:
		return false;
	case PhysicalOperatorType::TABLE_SCAN: {
		// Files and functions.
		auto &scan = op.Cast<PhysicalTableScan>();
		return scan.function.get_table_entry && scan.function.get_table_entry(scan.bind_data.get());
	}
	default:
		break;
	}
	if (op.children.empty()) {
		return true;
	}
	for (auto &child : op.children) {
		if (ReadsTables(child)) {
			return true;
		}
	}
	return false;
}

class CaptureState : public GlobalSinkState {
public:
	CaptureState(ClientContext &context, const PhysicalCapture &op)
	    : returned(context, op.types), seen(context, vector<LogicalType> {LogicalType::ROW_TYPE}) {
		if (IsPartOfTransaction(context) && ReadsTables(op.children[0])) {
			kept = make_uniq<ColumnDataCollection>(context, op.ChangeTypes());
		}
	}

	//! Reads rows of the table that the plan changes, as the statement sees them.
	RowReader &ReaderOf(ClientContext &context, DuckTableEntry &table) {
		if (!reader) {
			reader = make_uniq<RowReader>(DuckTransaction::Get(context, table.ParentCatalog()), table.GetStorage());
		}
		return *reader;
	}

	mutex lock;
	idx_t count = 0;
	//! The rows for RETURNING.
	ColumnDataCollection returned;
	//! Rows that the statement has changed already.
	RowIdDeduplicator seen;
	//! Changes that the rest of the plan must not see.
	unique_ptr<ColumnDataCollection> kept;
	unique_ptr<RowReader> reader;
	//! Takes the changes whose rows need not travel.
	unique_ptr<BulkChange> bulk;
};

namespace {

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

//! Keeps the rows whose ids the statement has not met yet; returns how many. `chunk` must not hold `row_ids` itself.
idx_t KeepFirst(CaptureState &state, Vector &row_ids, DataChunk &chunk) {
	auto count = row_ids.size();
	SelectionVector sel(count);
	auto kept = state.seen.Register(row_ids, count, sel);
	if (kept != count) {
		chunk.Slice(sel, kept);
		row_ids.Slice(sel, kept);
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

} // namespace

PhysicalCapture::PhysicalCapture(PhysicalPlan &plan, vector<LogicalType> types, idx_t estimated_cardinality,
                                 shared_ptr<Proposal> proposal, bool return_chunk)
    : PhysicalOperator(plan, PhysicalOperatorType::EXTENSION, std::move(types), estimated_cardinality),
      proposal(std::move(proposal)), return_chunk(return_chunk) {
}

string PhysicalCapture::Target() const {
	auto table = Table();
	return table ? table->schema.GetQualifiedName(table->name).ToString() : string();
}

void PhysicalCapture::Bind(ClientContext &context) {
	auto table = Table();
	if (!table) {
		return;
	}
	auto &state = StatementState::Get(context);
	state.writes.Add(StatementWrites {StatementKind::OTHER, {NameAtGate(table->name.GetIdentifierName())}});
	if (state.open) {
		state.open->ConstraintsOf(*table);
	} else if (state.IsUpsert()) {
		constraints = BindConstraints(context, *table);
	}
}

unique_ptr<GlobalSinkState> PhysicalCapture::GetGlobalSinkState(ClientContext &context) const {
	return make_uniq<CaptureState>(context, *this);
}

InsertionOrderPreservingMap<string> PhysicalCapture::ParamsToString() const {
	auto result = Profiled(*this);
	result["Table"] = Target();
	return result;
}

SinkResultType PhysicalCapture::Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const {
	auto &state = input.global_state.Cast<CaptureState>();
	lock_guard<mutex> guard(state.lock);
	chunk.Flatten();
	Capture(context.client, chunk, state);
	return SinkResultType::NEED_MORE_INPUT;
}

void PhysicalCapture::Write(ClientContext &context, DataChunk &changes, CaptureState &state) const {
	if (state.kept) {
		state.kept->Append(changes);
	} else {
		Apply(context, changes, state);
	}
}

SinkFinalizeType PhysicalCapture::Finalize(Pipeline &pipeline, Event &event, ClientContext &context,
                                           OperatorSinkFinalizeInput &input) const {
	auto &state = input.global_state.Cast<CaptureState>();
	if (state.bulk) {
		FinishBulk(context, state);
		state.bulk.reset();
	}
	state.reader.reset();
	if (!state.kept) {
		return SinkFinalizeType::READY;
	}
	ColumnDataScanState scan;
	state.kept->InitializeScan(scan, ColumnDataScanProperties::DISALLOW_ZERO_COPY);
	DataChunk changes;
	state.kept->InitializeScanChunk(changes);
	while (state.kept->Scan(scan, changes)) {
		changes.Flatten();
		Apply(context, changes, state);
	}
	state.kept.reset();
	return SinkFinalizeType::READY;
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
static void NoteSeenKeys(ClientContext &context, DuckTableEntry &table, const BoundConstraints &constraints,
                         DataChunk &rows) {
	auto &state = StatementState::Get(context);
	if (state.IsUpsert() && !IsPartOfTransaction(context) && !state.key_is_seen) {
		state.key_is_seen = FindTakenKeys(context, table, constraints, rows).seen;
	}
}

vector<LogicalType> PhysicalCaptureInsert::ChangeTypes() const {
	return table.GetStorage().GetTypes();
}

void PhysicalCaptureInsert::Capture(ClientContext &context, DataChunk &chunk, CaptureState &state) const {
	NoteSeenKeys(context, table, constraints, chunk);
	Write(context, chunk, state);
	state.count += chunk.size();
	if (return_chunk) {
		state.returned.Append(chunk);
	}
}

void PhysicalCaptureInsert::Apply(ClientContext &, DataChunk &changes, CaptureState &) const {
	proposal->changes->Inserted(table, changes);
}

PhysicalCaptureCreate::PhysicalCaptureCreate(PhysicalPlan &plan, vector<LogicalType> types, idx_t estimated_cardinality,
                                             shared_ptr<Proposal> proposal, SchemaCatalogEntry &schema,
                                             unique_ptr<CreateInfo> info)
    : PhysicalCapture(plan, std::move(types), estimated_cardinality, std::move(proposal), false), schema(schema),
      info(std::move(info)),
      route(Placement::OfCreate(this->info->Cast<CreateTableInfo>()), this->info->Cast<CreateTableInfo>().columns) {
}

//! Whether a plan reads rows of a table.
static bool Reads(const PhysicalOperator &plan, const DuckTableEntry &table) {
	if (plan.type == PhysicalOperatorType::TABLE_SCAN) {
		auto &scan = plan.Cast<PhysicalTableScan>();
		if (scan.function.GetName() == "seq_scan" && &scan.bind_data->Cast<TableScanBindData>().table == &table) {
			return true;
		}
	}
	auto children = plan.GetChildren();
	return std::any_of(children.begin(), children.end(),
	                   [&](const_reference<PhysicalOperator> child) { return Reads(child.get(), table); });
}

unique_ptr<GlobalSinkState> PhysicalCaptureCreate::GetGlobalSinkState(ClientContext &context) const {
	auto state = make_uniq<CreateState>(context, *this);
	auto &entries = static_cast<QuackSchemaEntry &>(schema);
	auto transaction = schema.GetCatalogTransaction(context);
	// The query takes its time: what it replaces must be what was there when it began.
	auto entry = entries.ReplacedBy(transaction, *info);
	auto is_table = entry && entry->type == CatalogType::TABLE_ENTRY;
	auto replaced = is_table ? optional_ptr<DuckTableEntry>(entry->Cast<DuckTableEntry>()) : nullptr;
	auto rows_seen = replaced && Reads(*this, *replaced) ? RowsSeen(context, *replaced) : 0;
	if (!IsPartOfTransaction(context)) {
		auto &writer = static_cast<Writer &>(*proposal->changes);
		auto scope = ScopeOf(context, schema.ParentCatalog());
		if (replaced) {
			scope.compares_seen = true;
			scope.rows_seen = rows_seen;
			writer.Meant(*replaced);
		}
		writer.Ddl(DefineCreate(scope, schema, *info));
		return std::move(state);
	}
	auto bound = Binder::CreateBinder(context)->BindCreateTableInfo(info->Copy(), schema);
	auto created = entries.CreateTableAs(transaction, *bound, rows_seen);
	if (created) {
		state->table = created->Cast<DuckTableEntry>();
	}
	return std::move(state);
}

vector<LogicalType> PhysicalCaptureCreate::ChangeTypes() const {
	return info->Cast<CreateTableInfo>().columns.GetColumnTypes();
}

void PhysicalCaptureCreate::Capture(ClientContext &context, DataChunk &chunk, CaptureState &state) const {
	Write(context, chunk, state);
	state.count += chunk.size();
}

void PhysicalCaptureCreate::Apply(ClientContext &, DataChunk &changes, CaptureState &state_p) const {
	auto &state = static_cast<CreateState &>(state_p);
	if (state.table) {
		proposal->changes->Inserted(*state.table, changes);
	} else {
		static_cast<Writer &>(*proposal->changes)
		    .InsertedInto(schema, info->GetQualifiedName().Name().GetIdentifierName(), route, changes);
	}
}

PhysicalCaptureUpdate::PhysicalCaptureUpdate(PhysicalPlan &plan, vector<LogicalType> types, idx_t estimated_cardinality,
                                             shared_ptr<Proposal> proposal, bool return_chunk, DuckTableEntry &table,
                                             vector<PhysicalIndex> columns_p,
                                             vector<unique_ptr<Expression>> expressions,
                                             vector<unique_ptr<Expression>> bound_defaults,
                                             RepeatedRows repeated_rows)
    : PhysicalCapture(plan, std::move(types), estimated_cardinality, std::move(proposal), return_chunk), table(table),
      columns(std::move(columns_p)), expressions(std::move(expressions)), bound_defaults(std::move(bound_defaults)),
      repeated_rows(repeated_rows), referenced(IsReferenced(table)) {
}

vector<LogicalType> PhysicalCaptureUpdate::ChangeTypes() const {
	auto columns_of_table = table.GetStorage().GetTypes();
	auto result = columns_of_table;
	result.push_back(LogicalType::ROW_TYPE);
	result.insert(result.end(), columns_of_table.begin(), columns_of_table.end());
	return result;
}

unique_ptr<GlobalSinkState> PhysicalCaptureUpdate::GetGlobalSinkState(ClientContext &context) const {
	auto state = make_uniq<CaptureState>(context, *this);
	if (!referenced) {
		state->bulk = BulkChange::Begin(context, *this, table, columns);
	}
	return std::move(state);
}

void PhysicalCaptureUpdate::FinishBulk(ClientContext &context, CaptureState &state) const {
	state.bulk->Finish([&](Vector &row_ids, idx_t count, DataChunk &values) {
		CaptureRows(context, row_ids, count, values, state);
	});
}

void PhysicalCaptureUpdate::Capture(ClientContext &context, DataChunk &chunk, CaptureState &state) const {
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
		// Constant ones share their length with others.
		values.data[i].Flatten();
	}
	values.SetCardinalityUnsafe(count);
	auto matches = count;
	if (repeated_rows != RepeatedRows::CANNOT_BE) {
		count = KeepFirst(state, row_ids, values);
		if (repeated_rows == RepeatedRows::ERROR && count != matches) {
			throw InvalidInputException("UPDATE command cannot update the same row more than once");
		}
	}
	state.count += repeated_rows == RepeatedRows::KEEP_FIRST_COUNT_ALL ? matches : count;
	if (count == 0) {
		return;
	}
	if (state.bulk) {
		state.bulk->Update(row_ids, count, values);
	} else {
		CaptureRows(context, row_ids, count, values, state);
	}
}

void PhysicalCaptureUpdate::CaptureRows(ClientContext &context, Vector &row_ids, idx_t count, DataChunk &values,
                                        CaptureState &state) const {
	DataChunk old_rows;
	FetchRows(state.ReaderOf(context, table), table, row_ids, count, old_rows);
	auto width = old_rows.ColumnCount() - 1;
	DataChunk both;
	both.InitializeEmpty(ChangeTypes());
	for (idx_t i = 0; i < width; i++) {
		both.data[i].Reference(old_rows.data[i]);
		both.data[width + 1 + i].Reference(old_rows.data[i]);
	}
	both.data[width].Reference(old_rows.data[width]);
	for (idx_t i = 0; i < columns.size(); i++) {
		both.data[width + 1 + columns[i].index].Reference(values.data[i]);
	}
	both.SetCardinalityUnsafe(count);
	Write(context, both, state);
	if (!return_chunk) {
		return;
	}
	// For a trigger the old rows follow.
	DataChunk returned;
	returned.InitializeEmpty(types);
	for (idx_t i = 0; i < types.size(); i++) {
		returned.data[i].Reference(both.data[i < width ? width + 1 + i : i - width]);
	}
	returned.SetCardinalityUnsafe(count);
	state.returned.Append(returned);
}

void PhysicalCaptureUpdate::Replace(ClientContext &context, DataChunk &changes) const {
	auto width = table.GetStorage().ColumnCount();
	DataChunk old_rows;
	ReferenceColumns(changes, 0, width + 1, old_rows);
	DataChunk new_rows;
	ReferenceColumns(changes, width + 1, width, new_rows);
	proposal->changes->Deleted(table, old_rows);
	auto &open = StatementState::Get(context).open;
	if (open) {
		open->NoteReplaced(table);
	}
	try {
		proposal->changes->Inserted(table, new_rows);
	} catch (ConstraintException &) {
		if (open && FindTakenKeys(context, table, open->ConstraintsOf(table), new_rows).AreUnseen()) {
			// In the words of DuckDB: the key may be that of the same row, as another transaction has left it.
			throw TransactionException("Conflict on update!");
		}
		throw;
	}
}

void PhysicalCaptureUpdate::Apply(ClientContext &context, DataChunk &changes, CaptureState &) const {
	if (!referenced) {
		Replace(context, changes);
		return;
	}
	auto width = table.GetStorage().ColumnCount();
	DataChunk old_rows;
	ReferenceColumns(changes, 0, width, old_rows);
	DataChunk new_rows;
	ReferenceColumns(changes, width + 1, width, new_rows);
	SelectionVector in_place(changes.size()), others(changes.size());
	idx_t in_place_count, others_count;
	SplitInPlace(table, old_rows, new_rows, in_place, in_place_count, others, others_count);
	if (others_count > 0) {
		DataChunk replaced;
		SelectRows(changes, others, others_count, replaced);
		Replace(context, replaced);
	}
	if (in_place_count > 0) {
		DataChunk updated;
		SelectRows(changes, in_place, in_place_count, updated);
		proposal->changes->Updated(table, updated);
	}
}

PhysicalCaptureDelete::PhysicalCaptureDelete(PhysicalPlan &plan, vector<LogicalType> types, idx_t estimated_cardinality,
                                             shared_ptr<Proposal> proposal, bool return_chunk, DuckTableEntry &table,
                                             idx_t row_id_index)
    : PhysicalCapture(plan, std::move(types), estimated_cardinality, std::move(proposal), return_chunk), table(table),
      row_id_index(row_id_index) {
}

vector<LogicalType> PhysicalCaptureDelete::ChangeTypes() const {
	auto result = table.GetStorage().GetTypes();
	result.push_back(LogicalType::ROW_TYPE);
	return result;
}

unique_ptr<GlobalSinkState> PhysicalCaptureDelete::GetGlobalSinkState(ClientContext &context) const {
	auto state = make_uniq<CaptureState>(context, *this);
	state->bulk = BulkChange::Begin(context, *this, table, NO_COLUMNS);
	return std::move(state);
}

void PhysicalCaptureDelete::FinishBulk(ClientContext &context, CaptureState &state) const {
	state.count = state.bulk->Deleted();
	state.bulk->Finish(
	    [&](Vector &row_ids, idx_t count, DataChunk &) { CaptureRows(context, row_ids, count, state); });
}

void PhysicalCaptureDelete::Capture(ClientContext &context, DataChunk &chunk, CaptureState &state) const {
	Vector row_ids(Vector::Ref(chunk.data[row_id_index]));
	if (state.bulk) {
		state.bulk->Delete(row_ids, chunk.size());
		return;
	}
	DataChunk nothing_else;
	auto count = KeepFirst(state, row_ids, nothing_else);
	if (count > 0) {
		state.count += count;
		CaptureRows(context, row_ids, count, state);
	}
}

void PhysicalCaptureDelete::CaptureRows(ClientContext &context, Vector &row_ids, idx_t count, CaptureState &state) const {
	DataChunk rows;
	FetchRows(state.ReaderOf(context, table), table, row_ids, count, rows);
	Write(context, rows, state);
	if (!return_chunk) {
		return;
	}
	// RETURNING may ask for virtual columns after the table's own: the row id is the only one there is.
	DataChunk returned;
	returned.InitializeEmpty(types);
	for (idx_t i = 0; i < types.size(); i++) {
		returned.data[i].Reference(rows.data[MinValue<idx_t>(i, rows.ColumnCount() - 1)]);
	}
	returned.SetCardinalityUnsafe(count);
	state.returned.Append(returned);
}

void PhysicalCaptureDelete::Apply(ClientContext &, DataChunk &changes, CaptureState &) const {
	proposal->changes->Deleted(table, changes);
}

} // namespace quack
