//! The path of a statement's changes to the log.
#pragma once

#include "bridge.h"
#include "catalog.hpp"
#include "changes.hpp"
#include "gate.hpp"
#include "open_transaction.hpp"
#include "outcome.hpp"
#include "shard.hpp"
#include "duckdb.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/main/client_context_state.hpp"

namespace quack {

struct Definition;

//! Rows that are written at a time hold no more bytes, unless one row does. A quarter of a part of a transaction (`PART_BYTES`
//! in crates/types).
constexpr idx_t PIECE_BYTES = 1 << 20;

//! See `Places` in proto/quack/log/v1/entry.proto.
struct PlacedRows {
	uint64_t revision;
	duckdb::string runs;
	uint64_t check;
	idx_t count;
	//! Empty for rows that go.
	const duckdb::vector<duckdb::PhysicalIndex> &columns;
	//! Their new values, as `SerializeChunk` writes them.
	QuackBytes values;
	bool in_place;
};

//! Owns a transaction that is being written for the log: aborts it unless it was committed.
class Writer : public Changes {
public:
	explicit Writer(const void *node);
	~Writer() override;

	void Deleted(duckdb::DuckTableEntry &table, duckdb::DataChunk &rows) override;
	void Inserted(duckdb::DuckTableEntry &table, duckdb::DataChunk &rows) override;
	void Updated(duckdb::DuckTableEntry &table, duckdb::DataChunk &rows) override;
	//! Rows that go, or change where they are, by their places. A transaction with such rows has no others.
	void Placed(duckdb::DuckTableEntry &table, const PlacedRows &rows);
	//! Rows for a table that an earlier step of the same transaction creates.
	void InsertedInto(duckdb::SchemaCatalogEntry &schema, const duckdb::string &table, const Route &route,
	                  duckdb::DataChunk &chunk);
	//! What follows is about this table, as the transaction sees it, and about no other of its name.
	void Meant(duckdb::DuckTableEntry &table);
	//! Rows that follow take effect after all that came before.
	void BeginStatement();
	void Ddl(const Definition &definition);
	//! Records how far a sequence is that an earlier statement of the same transaction has created.
	void Sequence(const duckdb::SequenceCatalogEntry &sequence);
	//! Proposes and waits for the outcome; throws when it is a refusal.
	void Commit(duckdb::ClientContext &context);

private:
	using Put = void (*)(void *, QuackTable, QuackBytes, uint32_t, QuackError *);
	//! `route` tells which lanes the rows would take.
	void Rows(Put put, const QuackTable &table, const Route &route, duckdb::DataChunk &chunk);
	void Rows(Put put, duckdb::DuckTableEntry &table, duckdb::DataChunk &chunk);
	void Send(Put put, const QuackTable &table, QuackBytes chunk, idx_t count);

	duckdb::mutex lock;
	void *handle;
};

//! What a connection remembers about its writes to replicated catalogs.
class StatementState : public duckdb::ClientContextState {
public:
	static constexpr const char *KEY = "quack_statement";
	static StatementState &Get(duckdb::ClientContext &context);
	explicit StatementState(duckdb::ClientContext &context);

	//! Passes the gate until the statement ends; once for all catalogs that it touches.
	void EnterGate(duckdb::ClientContext &context, StatementGate &gate);
	//! For rows that are appended without a statement.
	void EnterGate(duckdb::ClientContext &context, StatementGate &gate, const duckdb::string &table);
	void LeaveGate();
	bool IsUpsert() const {
		return writes.kind == StatementKind::UPSERT;
	}
	void QueryBegin(duckdb::ClientContext &context) override;
	void QueryEnd(duckdb::ClientContext &context, duckdb::optional_ptr<duckdb::ErrorData> error) override;
	void TransactionCommit(duckdb::MetaTransaction &transaction, duckdb::ClientContext &context) override;
	void TransactionRollback(duckdb::MetaTransaction &transaction, duckdb::ClientContext &context) override;
	//! Remembers what an EXECUTE runs.
	duckdb::RebindQueryInfo OnRebindPreparedStatement(duckdb::ClientContext &context,
	                                                  duckdb::BindPreparedStatementCallbackInfo &info,
	                                                  duckdb::RebindQueryInfo current_rebind) override;

	//! Whether the connection is the node's own, for checkpoints and hashes: its transactions wait for no quorum.
	bool internal = false;
	//! Whether the statement that was bound last does something after it has written, so that its changes may be
	//! proposed only when all of it has ended.
	bool goes_on_after_write = false;
	//! What its RETURNING computes from the rows that it emits.
	duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> returning;
	//! Whether the running statement is of that kind.
	bool collects = false;

	//! The transaction of several statements that the connection has open, once it has written to a replicated catalog.
	duckdb::shared_ptr<OpenTransaction> open;

	//! A COMMIT or ROLLBACK has begun, or the statement has ended.
	void SetEnding(duckdb::ClientContext &context, bool is_ending);
	//! For the applier, in whose way the connection's transaction is: interrupts the statement that runs; not one that
	//! ends the transaction by itself.
	void Interrupt(duckdb::ClientContext &context);

	//! What is known of the statement's write.
	Outcome outcome;

	//! Whether the last proposal of the connection met a conflict, or an upsert a key that it had not found: it has
	//! changed nothing, and may turn out differently when it runs again.
	bool conflicted = false;
	//! Whether it was such a key. It may also be a key that the upsert does not provide for.
	bool key_conflict = false;
	//! Whether the upsert has met such a key in what it sees: it is not worth another attempt.
	bool key_is_seen = false;
	//! Statements that are to run with no change beside them: those after a conflict.
	idx_t cautious = 0;
	//! How often the statement has run and met a conflict.
	idx_t losses = 0;
	//! What the running statement writes: as its text says, then as its plan says, too. Kept from one repetition to the next.
	StatementWrites writes;
	//! Until when the statement waits at the gate, with all its repetitions.
	StatementGate::Clock::time_point patience_ends;
	//! Its place at the gate.
	duckdb::unique_ptr<Passage> passage;
	//! Whether the statement that was bound last reads a name that is none of a catalog: it may be a variable of the client's
	//! program, which other threads do not see.
	bool reads_replacement = false;
	//! Whether binding has met such a name.
	bool meets_replacement = false;
	//! The replicated catalog that the statement has begun to read.
	duckdb::weak_ptr<duckdb::AttachedDatabase> read;
	//! The prepared statement that runs, if one does, and the values of the parameters.
	duckdb::optional_ptr<duckdb::PreparedStatementData> prepared;
	duckdb::identifier_map_t<duckdb::BoundParameterData> parameters;
	//! Set while the connection repeats the statement of another one (repeat.hpp): whose, and where the rows go that the
	//! statement emits.
	duckdb::optional_ptr<duckdb::ClientContext> repeated;
	duckdb::optional_ptr<duckdb::ColumnDataCollection> repeated_into;
	//! The columns that it is to emit (`RequireSameShape`).
	uint64_t repeated_shape = 0;

	//! What the running statement writes, in all its parts: WITH may hold an INSERT, UPDATE or DELETE of its own.
	duckdb::shared_ptr<Changes> changes;
	//! Parts of the running statement that have not ended yet.
	duckdb::atomic<idx_t> unfinished {0};

private:
	//! Forgets what belongs to one statement.
	void Forget();

	duckdb::mutex ending_lock;
	bool ending = false;
	//! Whether the applier has interrupted the statement.
	bool outdated = false;

};

//! Whether the statement is to end, or the one that it repeats.
bool IsInterrupted(duckdb::ClientContext &context);
//! Whether the running statement is all that its transaction consists of.
bool IsTransactionOfItsOwn(duckdb::ClientContext &context);
//! Whether the running statement's changes are committed with its transaction, not when they are made: between BEGIN and
//! COMMIT, in one of several statements that DuckDB makes of what the user wrote, or when it goes on after a write.
bool IsPartOfTransaction(duckdb::ClientContext &context);
//! The connection's open transaction, begun if need be; throws when another one has won over it.
OpenTransaction &OpenTransactionOf(duckdb::ClientContext &context, QuackCatalog &catalog);
//! What a client is told whose transaction the applier has rolled back.
duckdb::TransactionException LostConflict();
//! Throws when the applier has rolled the connection's open transaction back.
void ThrowIfDoomed(duckdb::ClientContext &context);
//! Takes the row changes of a statement that begins: its own transaction for the log, or the open one.
duckdb::shared_ptr<Changes> OpenChanges(duckdb::ClientContext &context, QuackCatalog &catalog);
//! The statement has ended: commits its changes, unless they belong to a transaction that goes on.
void FinishChanges(duckdb::ClientContext &context, QuackCatalog &catalog, duckdb::shared_ptr<Changes> changes);
//! For a transaction that has changed nothing and waits for the log: it holds up no checkpoint, and its snapshot is not in
//! the way of what comes before it in the log.
void ReadNoMore(duckdb::DuckTransaction &transaction);
//! Commits changes of the catalog that are a transaction of their own.
void FinishWriter(duckdb::ClientContext &context, QuackCatalog &catalog, Writer &writer);

//! Fingerprint of a table's column names and types, with all values of their ENUMs (FNV-1a, 64 bits), see `Rows.shape`.
uint64_t ComputeShape(const duckdb::TableCatalogEntry &table);
//! The same, which a table of ours knows.
uint64_t ShapeOf(const duckdb::TableCatalogEntry &table);

} // namespace quack
