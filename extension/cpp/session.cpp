//! Sessions of clients that are served over the network.

#include "chunk.hpp"
#include "error.hpp"
#include "statement.hpp"
#include "store.hpp"
#include "duckdb/common/vector_operations/vector_operations.hpp"
#include "duckdb/main/query_result_stream.hpp"
#include "duckdb/parser/parsed_data/transaction_info.hpp"
#include "duckdb/parser/statement/transaction_statement.hpp"
#include "duckdb/storage/data_table.hpp"

using namespace duckdb;

namespace quack {

//! One client: a connection whose default database is the store, and the result that the client is reading.
//!
//! A stock client sends each change of the catalog, with the rows that belong to it, between BEGIN and COMMIT of its
//! own making. The session collects such a transaction and proposes it at COMMIT; nothing of it is visible before.
class Session {
public:
	explicit Session(Store &store)
	    : store(store), host(store.host), connection(store.Connect(false)), context(*connection->context),
	      catalog_name(store.CatalogName()) {
	}
	~Session() {
		stream.reset();
		result.reset();
		connection.reset();
		host.held--;
	}

	void Query(const string &sql, QuackSink types, QuackSink names);
	bool Fetch(size_t chunks_max, QuackSink chunks);
	void Append(const string &schema, const string &table, QuackBytes chunk);
	void Interrupt() {
		connection->Interrupt();
	}

private:
	void Run(unique_ptr<SQLStatement> statement, bool is_last);
	unique_ptr<QueryResult> Submit(unique_ptr<SQLStatement> statement, bool may_stream, bool &streams);
	void RunTransactionStatement(TransactionStatement &statement);
	void RequireCollectable(const SQLStatement &statement);
	QuackCatalog &ReplicatedCatalog();
	void AppendRows(Writer &writer, const string &schema, const string &table, DataChunk &rows);

	void FollowName();

	//! Outlives the session: the server closes its sessions before the store.
	Store &store;
	Host &host;
	unique_ptr<Connection> connection;
	ClientContext &context;
	string catalog_name;
	//! The result being read: as a stream where possible, else whole.
	unique_ptr<QueryResultStream<>> stream;
	unique_ptr<QueryResult> result;
	vector<LogicalType> result_types;
	vector<Identifier> result_names;
	bool has_result = false;
	//! An error inside BEGIN ... COMMIT: only ROLLBACK helps.
	bool aborted = false;
};

//! An ATTACH of the host gives the catalog another name.
void Session::FollowName() {
	auto name = store.CatalogName();
	if (name != catalog_name) {
		catalog_name = name;
		UseStore(context, catalog_name);
	}
}

QuackCatalog &Session::ReplicatedCatalog() {
	auto &catalog = Catalog::GetCatalog(context, Identifier(catalog_name));
	if (!QuackCatalog::Is(catalog)) {
		throw CatalogException("\"%s\" is not a replicated catalog any more", catalog_name);
	}
	return reinterpret_cast<QuackCatalog &>(catalog);
}

void Session::RunTransactionStatement(TransactionStatement &statement) {
	auto &state = StatementState::Get(context);
	switch (statement.info->type) {
	case TransactionType::BEGIN_TRANSACTION:
		if (state.collecting) {
			throw TransactionException("cannot start a transaction within a transaction");
		}
		state.collecting = true;
		aborted = false;
		break;
	case TransactionType::COMMIT: {
		if (!state.collecting) {
			throw TransactionException("cannot commit - no transaction is active");
		}
		auto writer = std::move(state.collected);
		state.collected.reset();
		state.collecting = false;
		if (aborted) {
			throw TransactionException("Current transaction is aborted: it has been rolled back");
		}
		if (writer) {
			context.RunFunctionInTransaction([&]() { FinishWriter(context, ReplicatedCatalog(), std::move(writer)); });
		}
		break;
	}
	case TransactionType::ROLLBACK:
		if (!state.collecting) {
			throw TransactionException("cannot rollback - no transaction is active");
		}
		state.collected.reset();
		state.collecting = false;
		break;
	default:
		throw NotImplementedException("this transaction statement is not supported");
	}
	if (!has_result) {
		result_types = {LogicalType::BOOLEAN};
		result_names = {Identifier("Success")};
	}
}

void Session::RequireCollectable(const SQLStatement &statement) {
	auto &state = StatementState::Get(context);
	if (aborted && state.collecting) {
		throw TransactionException("Current transaction is aborted (please ROLLBACK)");
	}
	if (state.collected && statement.type == StatementType::SELECT_STATEMENT) {
		throw NotImplementedException("reading inside BEGIN ... COMMIT after a write is not supported yet: the transaction "
		                              "would not see what it has written");
	}
}

unique_ptr<QueryResult> Session::Submit(unique_ptr<SQLStatement> statement, bool may_stream, bool &streams) {
	auto written_type = statement->type;
	auto submitted = connection->Submit(std::move(statement));
	streams = !submitted->HasError() && may_stream && StreamsByDefault(written_type, *submitted, false);
	if (!submitted->HasError() && !streams) {
		submitted->Complete();
	}
	submitted->ThrowIfError();
	return submitted;
}

void Session::Run(unique_ptr<SQLStatement> statement, bool is_last) {
	if (statement->type == StatementType::TRANSACTION_STATEMENT) {
		RunTransactionStatement(statement->Cast<TransactionStatement>());
		return;
	}
	RequireCollectable(*statement);
	bool streams;
	auto submitted = Submit(std::move(statement), is_last && !has_result, streams);
	auto returns_rows = submitted->GetStatementProperties().return_type == StatementReturnType::QUERY_RESULT;
	if (has_result || (!is_last && !returns_rows)) {
		return;
	}
	result_types = submitted->GetTypes();
	result_names = submitted->GetNames();
	has_result = true;
	if (streams) {
		stream = make_uniq<QueryResultStream<>>(std::move(submitted));
	} else {
		result = std::move(submitted);
	}
}

void Session::Query(const string &sql, QuackSink types, QuackSink names) {
	stream.reset();
	result.reset();
	has_result = false;
	result_types.clear();
	result_names.clear();
	FollowName();
	try {
		auto statements = connection->ExtractStatements(sql);
		if (statements.empty()) {
			throw InvalidInputException("Query did not return any columns");
		}
		for (idx_t i = 0; i < statements.size(); i++) {
			Run(std::move(statements[i]), i + 1 == statements.size());
		}
	} catch (...) {
		aborted = true;
		throw;
	}
	for (idx_t i = 0; i < result_types.size(); i++) {
		auto type = SerializeTypeForClient(result_types[i]);
		types.take(types.context, QuackBytes {type->GetData(), type->GetPosition()});
		names.take(names.context, Bytes(result_names[i].GetIdentifierName()));
	}
}

bool Session::Fetch(size_t chunks_max, QuackSink chunks) {
	for (size_t i = 0; i < chunks_max; i++) {
		unique_ptr<DataChunk> chunk;
		if (stream) {
			chunk = stream->Fetch();
			if (stream->HasError()) {
				stream->GetErrorObject().Throw();
			}
		} else if (result) {
			chunk = result->FetchRaw();
		}
		if (!chunk || chunk->size() == 0) {
			stream.reset();
			result.reset();
			return false;
		}
		auto bytes = SerializeChunkForClient(*chunk);
		chunks.take(chunks.context, QuackBytes {bytes->GetData(), bytes->GetPosition()});
	}
	return true;
}

void Session::AppendRows(Writer &writer, const string &schema, const string &table, DataChunk &rows) {
	auto entry = Catalog::GetEntry(
	    context,
	    EntryLookupInfo(CatalogType::TABLE_ENTRY, QualifiedName(Identifier(catalog_name), Identifier(schema), Identifier(table))),
	    StatementState::Get(context).collecting ? OnEntryNotFound::RETURN_NULL : OnEntryNotFound::THROW_EXCEPTION);
	if (!entry) {
		// The transaction that is being collected creates the table.
		writer.InsertedInto(schema, table, rows);
		return;
	}
	if (entry->type != CatalogType::TABLE_ENTRY) {
		throw CatalogException("%s is not a table", SQLIdentifier::ToString(entry->name));
	}
	auto &target = entry->Cast<DuckTableEntry>();
	auto types = target.GetStorage().GetTypes();
	if (rows.ColumnCount() != types.size()) {
		throw InvalidInputException("table %s has %llu columns but %llu columns were supplied",
		                            SQLIdentifier::ToString(entry->name), types.size(), rows.ColumnCount());
	}
	DataChunk cast;
	cast.Initialize(context, types, MaxValue<idx_t>(rows.size(), 1));
	for (idx_t i = 0; i < types.size(); i++) {
		if (rows.data[i].GetType() == types[i]) {
			cast.data[i].Reference(rows.data[i]);
		} else {
			VectorOperations::Cast(context, rows.data[i], cast.data[i], rows.size());
		}
	}
	cast.SetChildCardinality(rows.size());
	writer.Inserted(target, cast);
}

void Session::Append(const string &schema, const string &table, QuackBytes bytes) {
	stream.reset();
	result.reset();
	FollowName();
	auto &state = StatementState::Get(context);
	if (aborted && state.collecting) {
		throw TransactionException("Current transaction is aborted (please ROLLBACK)");
	}
	try {
		state.EnterGate(context, host.gate, StatementKind::INSERT);
		context.RunFunctionInTransaction([&]() {
			DataChunk rows;
			DeserializeChunk(context, bytes, rows);
			auto &catalog = ReplicatedCatalog();
			auto writer = OpenWriter(context, catalog);
			// Some clients send a whole batch of rows as one chunk.
			for (idx_t begin = 0; begin < rows.size(); begin += STANDARD_VECTOR_SIZE) {
				auto piece = SliceOf(rows, begin, MinValue<idx_t>(begin + STANDARD_VECTOR_SIZE, rows.size()));
				piece->Flatten();
				AppendRows(*writer, schema.empty() ? string(DEFAULT_SCHEMA) : schema, table, *piece);
			}
			FinishWriter(context, catalog, std::move(writer));
		});
		state.LeaveGate();
	} catch (...) {
		state.LeaveGate();
		aborted = true;
		throw;
	}
}

} // namespace quack

using quack::Guard;
using quack::Session;

extern "C" void *quack_cpp_session_open(void *store, QuackError *error) {
	void *result = nullptr;
	Guard(error, [&]() { result = new Session(*static_cast<quack::Store *>(store)); });
	return result;
}

extern "C" void quack_cpp_session_close(void *session) {
	QuackError error = quack::NoError();
	Guard(&error, [&]() { delete static_cast<Session *>(session); });
	if (error.kind != quack::NO_ERROR) {
		quack_cpp_free(error.message);
	}
}

extern "C" void quack_cpp_session_interrupt(void *session) {
	static_cast<Session *>(session)->Interrupt();
}

extern "C" void quack_cpp_session_query(void *session, QuackBytes sql, QuackSink types, QuackSink names,
                                        QuackError *error) {
	Guard(error, [&]() { static_cast<Session *>(session)->Query(quack::Text(sql), types, names); });
}

extern "C" bool quack_cpp_session_fetch(void *session, size_t chunks_max, QuackSink chunks, QuackError *error) {
	bool more = false;
	Guard(error, [&]() { more = static_cast<Session *>(session)->Fetch(chunks_max, chunks); });
	return more;
}

extern "C" void quack_cpp_session_append(void *session, QuackBytes schema, QuackBytes table, QuackBytes chunk,
                                         QuackError *error) {
	Guard(error, [&]() { static_cast<Session *>(session)->Append(quack::Text(schema), quack::Text(table), chunk); });
}
