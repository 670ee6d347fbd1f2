//! What a session that is served over the network may do: everything with its own catalog and its own session, and
//! nothing to the process that serves it.
#pragma once

#include "duckdb.hpp"
#include "duckdb/main/client_context_state.hpp"
#include "duckdb/main/extension/extension_loader.hpp"
#include "duckdb/planner/bound_statement.hpp"

namespace quack {

class QuackCatalog;

//! Marks a connection that belongs to a client of the network.
class NetworkSession : public duckdb::ClientContextState {
public:
	//! `database` is the number of the catalog that is served to it.
	NetworkSession(idx_t database, bool allow_host_access);

	//! Makes the connection one of the network.
	static void Mark(duckdb::ClientContext &context, QuackCatalog &catalog, bool allow_host_access);
	//! Makes `other` a connection of the network if `context` is one.
	static void MarkLike(duckdb::ClientContext &context, duckdb::ClientContext &other);
	//! Null for a connection of the process itself.
	static duckdb::shared_ptr<NetworkSession> Get(duckdb::ClientContext &context);

	//! Before a statement: forgets which databases those before it have read to list what the process has.
	void ForgetLists(duckdb::ClientContext &context);
	//! Behind a statement that has failed: throws what the client is told if it has named another database, where the error may
	//! tell what is in that.
	void RequireOwnError(duckdb::ClientContext &context);

	//! Also before each of the statements that DuckDB makes of one.
	void QueryBegin(duckdb::ClientContext &context) override {
		ForgetLists(context);
	}
	void TransactionCommit(duckdb::MetaTransaction &, duckdb::ClientContext &) override {
		listed.clear();
	}
	void TransactionRollback(duckdb::MetaTransaction &transaction, duckdb::ClientContext &context) override;

	//! Whether DuckDB has bound the statement: what fails from there on has not named another database.
	bool is_bound = false;
	//! The text that the client has sent, in lower case.
	duckdb::string text;

	//! Whether the session may use files and the other databases of the process.
	const bool allow_host_access;
	//! The number of the database that is served to it.
	const duckdb::idx_t database;

private:
	void Note(duckdb::MetaTransaction &transaction);

	//! Another database that a statement has named which was not bound.
	duckdb::Identifier named;
	//! Databases that its transaction has read to list them, and that it keeps.
	duckdb::vector<duckdb::shared_ptr<duckdb::AttachedDatabase>> listed;

	static constexpr const char *KEY = "quack_network_session";
	static void Mark(duckdb::ClientContext &context, duckdb::shared_ptr<NetworkSession> session);
};

//! Refuses a statement of a network session that would change the process, or use what the process has beside the
//! catalog; what DuckDB would set globally unless told otherwise is set for the session.
void RequireOwnMatter(duckdb::ClientContext &context, duckdb::Binder &binder, duckdb::BoundStatement &statement);

//! The same of a statement of which nothing is left in its plan.
void RequireOwnMatter(duckdb::ClientContext &context, const duckdb::SQLStatement &statement);

//! Refuses a network session the sequence of another database; it may be drawn from while a statement is bound.
void RequireOwnSequence(duckdb::ClientContext &context, duckdb::SequenceCatalogEntry &sequence);

//! Refuses functions to network sessions that do something to the process: when they are bound, wherever they are written.
void GuardFunctions(duckdb::ExtensionLoader &loader);

} // namespace quack
