//! The writer, which carries the changes of a transaction to the log, and the state that a connection keeps about the
//! statement that it runs.

#include "statement.hpp"

#include "chunk.hpp"
#include "compat.hpp"
#include "definition.hpp"
#include "error.hpp"
#include "row_bytes.hpp"
#include "rows.hpp"
#include "table_entry.hpp"
#include "transaction_manager.hpp"
#include "one_nan.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/common/type_visitor.hpp"
#include "duckdb/common/vector/flat_vector.hpp"
#include "duckdb/main/prepared_statement_data.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/transaction/duck_transaction.hpp"

using namespace duckdb;

namespace quack {

Writer::Writer(const void *node) {
	QuackError error = NoError();
	handle = quack_rs_writer_open(node, &error);
	ThrowIfError(error);
}

Writer::~Writer() {
	if (handle) {
		quack_rs_writer_abort(handle);
	}
}

void Writer::Rows(Put put, const QuackTable &table, const Route &route, DataChunk &chunk) {
	UnifyNans(chunk);
	for (auto &range : Cut(chunk, chunk.size(), PIECE_BYTES)) {
		auto piece = PieceOf(chunk, range);
		auto bytes = SerializeChunk(*piece);
		vector<pair<string, uint64_t>> weights;
		route.Weigh(*piece, bytes->GetPosition(),
		            [&](const string &group, uint64_t weight) { weights.emplace_back(group, weight); });
		lock_guard<mutex> guard(lock);
		Send(put, table, QuackBytes {bytes->GetData(), bytes->GetPosition()}, piece->size());
		for (auto &weight : weights) {
			quack_rs_writer_weigh(handle, Bytes(weight.first), weight.second);
		}
	}
}

void Writer::Send(Put put, const QuackTable &table, QuackBytes chunk, idx_t count) {
	QuackError error = NoError();
	put(handle, table, chunk, static_cast<uint32_t>(count), &error);
	ThrowIfError(error);
}

static string SchemaOf(const DuckTableEntry &table) {
	RequireNotReserved(table.ParentSchema().name);
	return PathOf(table.ParentSchema());
}

void Writer::Rows(Put put, DuckTableEntry &table, DataChunk &chunk) {
	Route route(QuackTableEntry::PlacementOf(table), table.GetColumns());
	auto schema = SchemaOf(table);
	auto number = table.ParentCatalog().Cast<QuackCatalog>().numbers.ForRows(table);
	Rows(put, QuackTable {Bytes(schema), Bytes(table.name.GetIdentifierName()), ShapeOf(table), number}, route, chunk);
}

void Writer::Meant(DuckTableEntry &table) {
	auto number = table.ParentCatalog().Cast<QuackCatalog>().numbers.ForRows(table);
	if (number == 0) {
		return;
	}
	auto types = table.GetStorage().GetTypes();
	types.push_back(LogicalType::ROW_TYPE);
	DataChunk none;
	none.Initialize(Allocator::DefaultAllocator(), types);
	auto bytes = SerializeChunk(none);
	auto schema = SchemaOf(table);
	lock_guard<mutex> guard(lock);
	Send(quack_rs_writer_deleted, QuackTable {Bytes(schema), Bytes(table.name.GetIdentifierName()), ShapeOf(table), number},
	     QuackBytes {bytes->GetData(), bytes->GetPosition()}, 0);
}

void Writer::Deleted(DuckTableEntry &table, DataChunk &chunk) {
	Rows(quack_rs_writer_deleted, table, chunk);
}

void Writer::Inserted(DuckTableEntry &table, DataChunk &chunk) {
	Rows(quack_rs_writer_inserted, table, chunk);
}

void Writer::Updated(DuckTableEntry &table, DataChunk &chunk) {
	Rows(quack_rs_writer_updated, table, chunk);
}

void Writer::Placed(DuckTableEntry &table, const PlacedRows &rows) {
	Route route(QuackTableEntry::PlacementOf(table), table.GetColumns());
	auto schema = SchemaOf(table);
	auto number = table.ParentCatalog().Cast<QuackCatalog>().numbers.ForRows(table);
	vector<uint32_t> columns;
	for (auto &column : rows.columns) {
		columns.push_back(NumericCast<uint32_t>(column.index));
	}
	QuackPlaces places {rows.revision, Bytes(rows.runs), columns.data(), columns.size(), rows.check, rows.in_place};
	lock_guard<mutex> guard(lock);
	QuackError error = NoError();
	quack_rs_writer_places(handle, QuackTable {Bytes(schema), Bytes(table.name.GetIdentifierName()), ShapeOf(table), number},
	                       places, rows.values, NumericCast<uint32_t>(rows.count), &error);
	ThrowIfError(error);
	route.WeighEvenly(rows.runs.size() + rows.values.length, [&](const string &group, uint64_t weight) {
		quack_rs_writer_weigh(handle, Bytes(group), weight);
	});
}

void Writer::InsertedInto(SchemaCatalogEntry &schema, const string &table, const Route &route, DataChunk &chunk) {
	auto path = PathOf(schema);
	auto number = schema.ParentCatalog().Cast<QuackCatalog>().numbers.ForRowsOfNewTable();
	Rows(quack_rs_writer_inserted, QuackTable {Bytes(path), Bytes(table), 0, number}, route, chunk);
}

void Writer::BeginStatement() {
	lock_guard<mutex> guard(lock);
	quack_rs_writer_begin_statement(handle);
}

void Writer::Ddl(const Definition &definition) {
	lock_guard<mutex> guard(lock);
	QuackError error = NoError();
	quack_rs_writer_ddl(handle, Bytes(definition.text), Bytes(definition.bytes), &error);
	ThrowIfError(error);
}

void Writer::Sequence(const SequenceCatalogEntry &sequence) {
	lock_guard<mutex> guard(lock);
	auto state = StateForLog(sequence.GetData());
	QuackError error = NoError();
	auto schema = PathOf(sequence.schema);
	quack_rs_writer_sequence(handle, Bytes(schema), Bytes(sequence.name.GetIdentifierName()), &state, &error);
	ThrowIfError(error);
}

//! Whether the log refused a transaction because rows or columns have changed since it was evaluated
//! (`Refused.conflict`; the texts are made in crates/apply and in applier.cpp).
static bool IsConflict(const QuackError &error) {
	return error.kind == static_cast<int32_t>(ExceptionType::TRANSACTION) && error.message &&
	       StringUtil::StartsWith(error.message, "Conflict");
}

//! Whether it was refused for a key that is there already.
static bool IsOfKey(const QuackError &error) {
	return error.kind == static_cast<int32_t>(ExceptionType::CONSTRAINT) && error.message &&
	       StringUtil::StartsWith(error.message, "Duplicate key");
}

//! The connection that runs the statement, and the one whose statement it runs, if that is another.
template <class CALLBACK>
static void ForEachOf(ClientContext &context, CALLBACK &&callback) {
	auto &state = StatementState::Get(context);
	callback(context, state.outcome);
	if (state.repeated) {
		callback(*state.repeated, StatementState::Get(*state.repeated).outcome);
	}
}

void Writer::Commit(ClientContext &context) {
	lock_guard<mutex> guard(lock);
	QuackInterrupt interrupt {&context, [](void *waiting) {
		                          return IsInterrupted(*static_cast<ClientContext *>(waiting));
	                          }};
	auto handed_over = [](void *waiting) {
		ForEachOf(*static_cast<ClientContext *>(waiting),
		          [](ClientContext &client, Outcome &outcome) { outcome.HandedOver(client); });
	};
	// Before the log has it, the write can still be given up, also when the time of its client is over.
	ForEachOf(context, [](ClientContext &client, Outcome &) { client.BlockingInterruptCheck(); });
	auto committed = handle;
	handle = nullptr;
	QuackError error = NoError();
	quack_rs_writer_commit(committed, interrupt, handed_over, &error);
	if (error.kind != static_cast<int32_t>(ExceptionType::CONNECTION)) {
		auto taken = error.kind == NO_ERROR;
		ForEachOf(context, [&](ClientContext &client, Outcome &outcome) { outcome.Known(client, taken); });
	}
	auto &state = StatementState::Get(context);
	// What another node has written since the statement looked for the key.
	state.key_conflict = state.IsUpsert() && !state.key_is_seen && IsOfKey(error);
	state.conflicted = IsConflict(error) || state.key_conflict;
	ThrowIfError(error);
}

StatementState &StatementState::Get(ClientContext &context) {
	return *context.registered_state->GetOrCreate<StatementState>(KEY, context);
}

static unique_ptr<TableRef> NoteReplacement(ClientContext &context, ReplacementScanInput &, optional_ptr<ReplacementScanData>) {
	StatementState::Get(context).meets_replacement = true;
	return nullptr;
}

StatementState::StatementState(ClientContext &context) {
	// Those of the connection are asked before those of the process, of which Python's is one.
	context.config.replacement_scans.insert(context.config.replacement_scans.begin(),
	                                        make_shared_ptr<ReplacementScan>(NoteReplacement));
}

void StatementState::EnterGate(ClientContext &context, StatementGate &gate) {
	if (passage || !context.transaction.IsAutoCommit()) {
		// What a longer transaction has read is settled at its COMMIT.
		return;
	}
	if (!repeated) {
		writes = WritesOf(context);
		patience_ends = StatementGate::PatienceEnds();
	}
	auto entering = writes;
	// An INSERT is repeated for rows that a trigger changes.
	auto changes = writes.kind == StatementKind::OPTIMISTIC_CHANGE || (writes.kind == StatementKind::INSERT && repeated);
	if (changes && cautious > 0) {
		cautious--;
		entering.kind = StatementKind::CHANGE;
	}
	if (entering.kind != StatementKind::OTHER) {
		passage = gate.Enter(context, std::move(entering), losses, patience_ends);
	}
}

void StatementState::EnterGate(ClientContext &context, StatementGate &gate, const string &table) {
	passage = gate.Enter(context, StatementWrites {StatementKind::INSERT, {NameAtGate(table)}}, 0, StatementGate::PatienceEnds());
}

void StatementState::LeaveGate() {
	passage.reset();
}

//! A block that fails its check is damage of this node's own file, regardless of the client whose statement has read it: the
//! node fails.
static void TellOfDamage(AttachedDatabase &db, const ErrorData &error) {
	auto &catalog = db.GetCatalog().Cast<QuackCatalog>();
	auto reason = StringUtil::Format("the file '%s' is damaged: %s", catalog.GetDBPath(), error.RawMessage());
	catalog.Fail(reason);
}

void StatementState::Forget() {
	prepared = nullptr;
	parameters.clear();
	changes.reset();
	unfinished = 0;
	collects = false;
	key_is_seen = false;
	if (!repeated) {
		writes = StatementWrites();
	}
}

void StatementState::QueryBegin(ClientContext &) {
	// A statement that was only bound, for the names of its tables for instance, has no end.
	Forget();
	lock_guard<mutex> guard(ending_lock);
	ending = false;
}

void StatementState::QueryEnd(ClientContext &context, optional_ptr<ErrorData> error) {
	LeaveGate();
	auto db = read.lock();
	read.reset();
	if (db && error && error->HasError() && error->Type() == ExceptionType::DATA_CORRUPTION) {
		TellOfDamage(*db, *error);
	}
	outcome.Correct(error);
	Forget();
	if (open) {
		open->EndStatement();
	}
	bool lost;
	{
		// The applier may be about to interrupt the statement.
		lock_guard<mutex> guard(ending_lock);
		lost = outdated || (open && open->doomed);
	}
	if (lost && error && error->HasError() && error->Type() == ExceptionType::INTERRUPT) {
		*error = ErrorData(LostConflict());
	}
	SetEnding(context, false);
}

void StatementState::SetEnding(ClientContext &context, bool is_ending) {
	lock_guard<mutex> guard(ending_lock);
	ending = is_ending;
	if (ending && (outdated || (open && open->doomed))) {
		// It was meant for a statement that keeps the transaction open.
		context.SuppressInterrupts();
	}
	outdated = false;
}

void StatementState::Interrupt(ClientContext &context) {
	lock_guard<mutex> guard(ending_lock);
	if (!ending) {
		outdated = true;
		context.Interrupt();
	}
}

void StatementState::TransactionCommit(MetaTransaction &, ClientContext &) {
	open.reset();
}

void StatementState::TransactionRollback(MetaTransaction &, ClientContext &) {
	if (open) {
		open->Forget();
	}
	open.reset();
}

RebindQueryInfo StatementState::OnRebindPreparedStatement(ClientContext &context,
                                                          BindPreparedStatementCallbackInfo &info,
                                                          RebindQueryInfo current_rebind) {
	prepared = info.prepared_statement;
	parameters = info.parameters ? *info.parameters : identifier_map_t<BoundParameterData>();
	if (prepared->statement_type == StatementType::TRANSACTION_STATEMENT) {
		SetEnding(context, true);
		return RebindQueryInfo::DO_NOT_REBIND;
	}
	ThrowIfDoomed(context);
	// Its plan may be without the filter that hides what the transaction has deleted.
	return open ? RebindQueryInfo::ATTEMPT_TO_REBIND : RebindQueryInfo::DO_NOT_REBIND;
}

bool IsInterrupted(ClientContext &context) {
	auto interrupted = false;
	ForEachOf(context, [&](ClientContext &client, Outcome &outcome) {
		interrupted = outcome.IsInterrupted(client) || interrupted;
	});
	return interrupted;
}

bool IsTransactionOfItsOwn(ClientContext &context) {
	return context.transaction.IsAutoCommit() && !ExpandsIntoSeveral(context);
}

bool IsPartOfTransaction(ClientContext &context) {
	return !IsTransactionOfItsOwn(context) || StatementState::Get(context).collects;
}

TransactionException LostConflict() {
	return TransactionException("Conflict: another transaction has committed a change that this one is in the way of, and "
	                            "this one has been rolled back: run it again");
}

void ThrowIfDoomed(ClientContext &context) {
	auto state = context.registered_state->Get<StatementState>(StatementState::KEY);
	if (state && state->open && state->open->doomed) {
		throw LostConflict();
	}
}

OpenTransaction &OpenTransactionOf(ClientContext &context, QuackCatalog &catalog) {
	ThrowIfDoomed(context);
	auto &state = StatementState::Get(context);
	if (!state.open) {
		catalog.Node();
		state.open = make_shared_ptr<OpenTransaction>(context, catalog);
	}
	return *state.open;
}

shared_ptr<Changes> OpenChanges(ClientContext &context, QuackCatalog &catalog) {
	if (!IsPartOfTransaction(context)) {
		return make_shared_ptr<Writer>(catalog.Node());
	}
	OpenTransactionOf(context, catalog).BeginStatement();
	return StatementState::Get(context).open;
}

void FinishChanges(ClientContext &context, QuackCatalog &catalog, shared_ptr<Changes> changes) {
	auto &open = StatementState::Get(context).open;
	if (open && open.get() == changes.get()) {
		open->EndStatement();
		return;
	}
	FinishWriter(context, catalog, static_cast<Writer &>(*changes));
}

void ReadNoMore(DuckTransaction &transaction) {
	ReleaseCheckpointLock(transaction);
	ReleaseVacuumLock(transaction);
	StopReading(transaction);
}

void FinishWriter(ClientContext &context, QuackCatalog &catalog, Writer &writer) {
	ReadNoMore(DuckTransaction::Get(context, catalog));
	writer.Commit(context);
}

static void Mix(uint64_t &hash, const string &text) {
	for (auto c : text) {
		hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
	}
	hash = (hash ^ 0xff) * 0x100000001b3ULL;
}

//! What the codes of the ENUMs in a type stand for: a type that has a name does not say.
static void MixEnums(uint64_t &hash, const LogicalType &type) {
	TypeVisitor::Contains(type, [&](const LogicalType &part) {
		if (part.id() == LogicalTypeId::ENUM) {
			auto &values = EnumType::GetValuesInsertOrder(part);
			auto texts = FlatVector::GetData<string_t>(values);
			for (idx_t i = 0; i < EnumType::GetSize(part); i++) {
				Mix(hash, texts[i].GetString());
			}
		}
		return false;
	});
}

uint64_t ComputeShape(const TableCatalogEntry &table) {
	uint64_t hash = 0xcbf29ce484222325ULL;
	for (auto &column : table.GetColumns().Physical()) {
		Mix(hash, column.Name().GetIdentifierName());
		Mix(hash, column.Type().ToString());
		MixEnums(hash, column.Type());
	}
	// Zero means "not checked".
	return hash == 0 ? 1 : hash;
}

uint64_t ShapeOf(const TableCatalogEntry &table) {
	auto ours = dynamic_cast<const QuackTableEntry *>(&table);
	return ours ? ours->Shape() : ComputeShape(table);
}

} // namespace quack
