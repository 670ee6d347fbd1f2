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
	//! Records how far the sequences of the catalog have been used, so that no value is drawn again. Returns whether
	//! there was anything to record.
	bool SequencesOf(QuackCatalog &catalog);
	//! Proposes and waits for the outcome; throws when it is a refusal.
	void Commit(duckdb::ClientContext &context, QuackCatalog &catalog);

private:
	void SequencesAreLogged(QuackCatalog &catalog);

	using Put = void (*)(void *, QuackTable, QuackBytes, uint32_t, QuackError *);
	void Rows(Put put, const duckdb::string &schema, const duckdb::string &table, uint64_t shape,
	          duckdb::DataChunk &chunk);

	duckdb::mutex lock;
	void *handle;
	//! The sequences whose use this transaction records, and how far.
	duckdb::vector<duckdb::pair<duckdb::string, uint64_t>> sequences;
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
	void QueryEnd(duckdb::ClientContext &context) override;

	//! Whether whoever runs the statement will run it again when it meets a conflict.
	bool optimistic = false;
	//! Whether the last proposal of the connection met a conflict: it has changed nothing.
	bool conflicted = false;
	//! Set while a client's session collects the writes between BEGIN and COMMIT; null otherwise.
	duckdb::shared_ptr<Writer> collected;
	//! Whether the session collects at all: its connection then is in autocommit mode although its client is not.
	bool collecting = false;

private:
	duckdb::optional_ptr<StatementGate> gate;
	StatementKind passed = StatementKind::OTHER;
};

//! Throws unless a write may be proposed by this connection now.
void RequireProposable(duckdb::ClientContext &context, QuackCatalog &catalog);
//! The writer for a statement: a new one, or that of the transaction that the session collects.
duckdb::shared_ptr<Writer> OpenWriter(duckdb::ClientContext &context, QuackCatalog &catalog);
//! Commits the writer, unless it belongs to a transaction that goes on.
void FinishWriter(duckdb::ClientContext &context, QuackCatalog &catalog, duckdb::shared_ptr<Writer> writer);

//! Fingerprint of a table's column names and types (FNV-1a, 64 bits), see `Rows.shape`.
uint64_t ShapeOf(const duckdb::TableCatalogEntry &table);

} // namespace quack
