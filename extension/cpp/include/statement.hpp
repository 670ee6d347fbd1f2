//! One statement's way to the log.
#pragma once

#include "bridge.h"
#include "catalog.hpp"
#include "gate.hpp"
#include "duckdb.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/main/client_context_state.hpp"

namespace quack {

//! Owns a transaction that is being written for the log: aborts it unless it was committed.
//! Thread-safe: the pipelines of one statement may write at the same time.
class Writer {
public:
	explicit Writer(const void *node);
	~Writer();

	void Deleted(const duckdb::DuckTableEntry &table, duckdb::DataChunk &chunk);
	void Inserted(const duckdb::DuckTableEntry &table, duckdb::DataChunk &chunk);
	void Updated(const duckdb::DuckTableEntry &table, duckdb::DataChunk &chunk);
	//! Rows for a table that an earlier step of the same transaction creates.
	void InsertedInto(const duckdb::string &schema, const duckdb::string &table, duckdb::DataChunk &chunk);
	void Ddl(const duckdb::string &sql);
	//! Records how far a sequence is that an earlier statement of the same transaction has created.
	void Sequence(const duckdb::SequenceCatalogEntry &sequence);
	//! Proposes and waits for the outcome; throws when it is a refusal.
	void Commit(duckdb::ClientContext &context);

private:
	using Put = void (*)(void *, QuackTable, QuackBytes, uint32_t, QuackError *);
	void Rows(Put put, const duckdb::string &schema, const duckdb::string &table, uint64_t shape,
	          duckdb::DataChunk &chunk);

	duckdb::mutex lock;
	void *handle;
};

//! What a connection remembers about its writes to replicated catalogs.
class StatementState : public duckdb::ClientContextState {
public:
	static constexpr const char *KEY = "quack_statement";
	static StatementState &Get(duckdb::ClientContext &context);

	//! Passes the gate until the statement ends; once for all catalogs that it touches.
	void EnterGate(duckdb::ClientContext &context, StatementGate &gate);
	void EnterGate(duckdb::ClientContext &context, StatementGate &gate, StatementKind kind);
	void LeaveGate();
	bool HasPassedGate() const {
		return gate;
	}
	bool IsUpsert() const {
		return gate && passed == StatementKind::UPSERT;
	}
	void QueryEnd(duckdb::ClientContext &context, duckdb::optional_ptr<duckdb::ErrorData> error) override;
	//! Remembers what an EXECUTE runs.
	duckdb::RebindQueryInfo OnRebindPreparedStatement(duckdb::ClientContext &context,
	                                                  duckdb::BindPreparedStatementCallbackInfo &info,
	                                                  duckdb::RebindQueryInfo current_rebind) override;

	//! Whether the connection is the node's own, for checkpoints and hashes: its transactions wait for no quorum.
	bool internal = false;
	//! Whether the last proposal of the connection met a conflict, or an upsert a key that it had not found: it has
	//! changed nothing, and may turn out differently when it runs again.
	bool conflicted = false;
	//! Whether it was such a key. It may also be a key that the upsert does not provide for.
	bool key_conflict = false;
	//! Statements that are to run with no change beside them: those after a conflict.
	idx_t cautious = 0;
	//! The replicated catalog that the statement has begun to read.
	duckdb::weak_ptr<duckdb::AttachedDatabase> read;
	//! The prepared statement that runs, if one does, and the values of the parameters.
	duckdb::optional_ptr<duckdb::PreparedStatementData> prepared;
	duckdb::identifier_map_t<duckdb::BoundParameterData> parameters;
	//! Set while the connection repeats the statement of another one (repeat.hpp): whose, and where the rows go that the
	//! statement emits.
	duckdb::optional_ptr<duckdb::ClientContext> repeated;
	duckdb::optional_ptr<duckdb::ColumnDataCollection> repeated_into;

	//! What the running statement writes, in all its parts: WITH may hold an INSERT, UPDATE or DELETE of its own.
	duckdb::shared_ptr<Writer> writer;
	//! Parts of the running statement that have not ended yet.
	duckdb::atomic<idx_t> unfinished {0};

	//! Set while a client's session collects the writes between BEGIN and COMMIT; null otherwise.
	duckdb::shared_ptr<Writer> collected;
	//! Whether the session collects at all: its connection then is in autocommit mode although its client is not.
	bool collecting = false;

private:
	duckdb::optional_ptr<StatementGate> gate;
	StatementKind passed = StatementKind::OTHER;
};

//! Whether the statement is to end, or the one that it repeats.
bool IsInterrupted(duckdb::ClientContext &context);
//! Throws unless a write may be proposed by this connection now.
void RequireProposable(duckdb::ClientContext &context, QuackCatalog &catalog);
//! The writer for a statement: a new one, or that of the transaction that the session collects.
duckdb::shared_ptr<Writer> OpenWriter(duckdb::ClientContext &context, QuackCatalog &catalog);
//! Commits the writer, unless it belongs to a transaction that goes on.
void FinishWriter(duckdb::ClientContext &context, QuackCatalog &catalog, duckdb::shared_ptr<Writer> writer);

//! Fingerprint of a table's column names and types (FNV-1a, 64 bits), see `Rows.shape`.
uint64_t ShapeOf(const duckdb::TableCatalogEntry &table);

} // namespace quack
