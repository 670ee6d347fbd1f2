//! Implementation of the writer and of the per-connection state.

#include "statement.hpp"

#include "chunk.hpp"
#include "compat.hpp"
#include "error.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"

using namespace duckdb;

namespace quack {

//! Largest serialized chunk that is not split. A quarter of a part of a transaction (`PART_BYTES` in crates/types).
constexpr idx_t PIECE_BYTES = 1 << 20;

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

void Writer::Rows(Put put, const string &schema, const string &table, uint64_t shape, DataChunk &chunk) {
	if (chunk.size() == 0) {
		return;
	}
	auto bytes = SerializeChunk(chunk);
	if (bytes->GetPosition() > PIECE_BYTES && chunk.size() > 1) {
		// Wide rows: in halves, until a piece fits or is a single row.
		auto half = chunk.size() / 2;
		auto front = SliceOf(chunk, 0, half);
		auto back = SliceOf(chunk, half, chunk.size());
		Rows(put, schema, table, shape, *front);
		Rows(put, schema, table, shape, *back);
		return;
	}
	lock_guard<mutex> guard(lock);
	QuackError error = NoError();
	put(handle, QuackTable {Bytes(schema), Bytes(table), shape}, QuackBytes {bytes->GetData(), bytes->GetPosition()},
	    static_cast<uint32_t>(chunk.size()), &error);
	ThrowIfError(error);
}

static const string &SchemaOf(const DuckTableEntry &table) {
	return table.ParentSchema().name.GetIdentifierName();
}

void Writer::Deleted(const DuckTableEntry &table, DataChunk &chunk) {
	Rows(quack_rs_writer_deleted, SchemaOf(table), table.name.GetIdentifierName(), ShapeOf(table), chunk);
}

void Writer::Inserted(const DuckTableEntry &table, DataChunk &chunk) {
	Rows(quack_rs_writer_inserted, SchemaOf(table), table.name.GetIdentifierName(), ShapeOf(table), chunk);
}

void Writer::Updated(const DuckTableEntry &table, DataChunk &chunk) {
	Rows(quack_rs_writer_updated, SchemaOf(table), table.name.GetIdentifierName(), ShapeOf(table), chunk);
}

void Writer::InsertedInto(const string &schema, const string &table, DataChunk &chunk) {
	Rows(quack_rs_writer_inserted, schema, table, 0, chunk);
}

void Writer::Ddl(const string &sql) {
	lock_guard<mutex> guard(lock);
	QuackError error = NoError();
	quack_rs_writer_ddl(handle, Bytes(sql), &error);
	ThrowIfError(error);
}

void Writer::Sequence(const SequenceCatalogEntry &sequence) {
	lock_guard<mutex> guard(lock);
	auto state = StateForLog(sequence.GetData());
	QuackError error = NoError();
	quack_rs_writer_sequence(handle, Bytes(sequence.schema.name.GetIdentifierName()),
	                         Bytes(sequence.name.GetIdentifierName()), &state, &error);
	ThrowIfError(error);
}

//! Whether the log refused a transaction because rows or columns have changed since it was evaluated
//! (`Refused.conflict`; the texts are made in crates/apply and in applier.cpp).
static bool IsConflict(const QuackError &error) {
	return error.kind == static_cast<int32_t>(ExceptionType::TRANSACTION) && error.message &&
	       StringUtil::StartsWith(error.message, "Conflict");
}

void Writer::Commit(ClientContext &context) {
	lock_guard<mutex> guard(lock);
	QuackInterrupt interrupt {&context, [](void *waiting) {
		                          return IsInterrupted(*static_cast<ClientContext *>(waiting));
	                          }};
	auto committed = handle;
	handle = nullptr;
	QuackError error = NoError();
	quack_rs_writer_commit(committed, interrupt, &error);
	auto &state = StatementState::Get(context);
	// What another node has written since the statement looked for the key.
	state.key_conflict = state.IsUpsert() && error.kind == static_cast<int32_t>(ExceptionType::CONSTRAINT);
	state.conflicted = IsConflict(error) || state.key_conflict;
	ThrowIfError(error);
}

StatementState &StatementState::Get(ClientContext &context) {
	return *context.registered_state->GetOrCreate<StatementState>(KEY);
}

void StatementState::EnterGate(ClientContext &context, StatementGate &gate_p) {
	if (gate) {
		return;
	}
	auto kind = KindOf(context);
	if (kind == StatementKind::OPTIMISTIC_CHANGE && (cautious > 0 || collecting)) {
		cautious -= cautious > 0 ? 1 : 0;
		kind = StatementKind::CHANGE;
	}
	EnterGate(context, gate_p, kind);
}

void StatementState::EnterGate(ClientContext &context, StatementGate &gate_p, StatementKind kind) {
	if (gate || kind == StatementKind::OTHER) {
		return;
	}
	gate_p.Enter(context, kind);
	gate = gate_p;
	passed = kind;
}

void StatementState::LeaveGate() {
	if (gate) {
		gate->Leave(passed);
		gate = nullptr;
	}
}

//! A block that does not check is this node's own trouble, whoever has met it.
static void TellOfDamage(AttachedDatabase &db, const ErrorData &error) {
	auto &catalog = db.GetCatalog().Cast<QuackCatalog>();
	auto reason = StringUtil::Format("the file '%s' is damaged: %s", catalog.GetDBPath(), error.RawMessage());
	catalog.Fail(reason);
}

void StatementState::QueryEnd(ClientContext &context, optional_ptr<ErrorData> error) {
	LeaveGate();
	auto db = read.lock();
	read.reset();
	if (db && error && error->HasError() && error->Type() == ExceptionType::DATA_CORRUPTION) {
		TellOfDamage(*db, *error);
	}
	prepared = nullptr;
	parameters.clear();
	writer.reset();
	unfinished = 0;
}

RebindQueryInfo StatementState::OnRebindPreparedStatement(ClientContext &context,
                                                          BindPreparedStatementCallbackInfo &info,
                                                          RebindQueryInfo current_rebind) {
	prepared = info.prepared_statement;
	parameters = info.parameters ? *info.parameters : identifier_map_t<BoundParameterData>();
	return RebindQueryInfo::DO_NOT_REBIND;
}

bool IsInterrupted(ClientContext &context) {
	auto &state = StatementState::Get(context);
	return context.IsInterrupted() || (state.repeated && state.repeated->IsInterrupted());
}

//! Refuses a statement that DuckDB runs as several: its first would be in the log before a later one fails.
static void RequireSingle(ClientContext &context) {
	if (!MoreStatementsFollow(context)) {
		return;
	}
	throw NotImplementedException(
	    "DuckDB runs this statement as several, which a replicated catalog cannot do as one transaction yet: write the steps "
	    "yourself (for ADD COLUMN: add the column without NOT NULL, UNIQUE and DEFAULT, UPDATE it, then ALTER COLUMN ... SET "
	    "NOT NULL or SET DEFAULT; for COPY FROM DATABASE and IMPORT DATABASE: create and fill the tables one by one)");
}

void RequireProposable(ClientContext &context, QuackCatalog &catalog) {
	catalog.Node();
	RequireSingle(context);
	auto &state = StatementState::Get(context);
	if (!state.collecting && !context.transaction.IsAutoCommit()) {
		throw NotImplementedException(
		    "writing to the replicated catalog \"%s\" inside BEGIN ... COMMIT is not supported yet: run the statement on "
		    "its own, outside a transaction",
		    catalog.GetName().GetIdentifierName());
	}
}

shared_ptr<Writer> OpenWriter(ClientContext &context, QuackCatalog &catalog) {
	RequireProposable(context, catalog);
	auto &state = StatementState::Get(context);
	if (!state.collecting) {
		return make_shared_ptr<Writer>(catalog.Node());
	}
	if (!state.collected) {
		state.collected = make_shared_ptr<Writer>(catalog.Node());
	}
	return state.collected;
}

void FinishWriter(ClientContext &context, QuackCatalog &catalog, shared_ptr<Writer> writer) {
	if (StatementState::Get(context).collected == writer) {
		return;
	}
	// This connection's transaction has changed nothing: it must not hold up checkpoints while it waits.
	ReleaseCheckpointLocks(DuckTransaction::Get(context, catalog));
	writer->Commit(context);
}

static void Mix(uint64_t &hash, const string &text) {
	for (auto c : text) {
		hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
	}
	hash = (hash ^ 0xff) * 0x100000001b3ULL;
}

uint64_t ShapeOf(const TableCatalogEntry &table) {
	uint64_t hash = 0xcbf29ce484222325ULL;
	for (auto &column : table.GetColumns().Physical()) {
		Mix(hash, column.Name().GetIdentifierName());
		Mix(hash, column.Type().ToString());
	}
	// Zero means "not checked".
	return hash == 0 ? 1 : hash;
}

} // namespace quack
