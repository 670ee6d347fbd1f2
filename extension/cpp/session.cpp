//! Sessions of clients that are served over the network.

#include "chunk.hpp"
#include "client_listing.hpp"
#include "consistency.hpp"
#include "error.hpp"
#include "host_extensions.hpp"
#include "network_session.hpp"
#include "row_bytes.hpp"
#include "statement.hpp"
#include "store.hpp"
#include "value_check.hpp"
#include "duckdb/common/vector_operations/vector_operations.hpp"
#include "duckdb/main/query_result_stream.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/transaction/meta_transaction.hpp"

using namespace duckdb;

namespace quack {

//! An answer holds so much, and a quarter more, unless one row is larger: far more than a message costs, and little memory.
constexpr idx_t ANSWER_BYTES = idx_t(8) << 20;

//! One client: a connection whose default database is the store, and the result that the client is reading.
//!
//! A text of several statements is one transaction, unless it begins and ends transactions itself or runs within one.
class Session {
public:
	Session(Store &store, const string &consistency, bool allow_host_access)
	    : store(store), host(store.host), connection(store.Connect(false)), context(*connection->context),
	      catalog_name(store.CatalogName()) {
		try {
			if (!consistency.empty()) {
				ConnectWith(context, ParseConsistency(consistency));
			}
			NetworkSession::Mark(context, store.Catalog(), allow_host_access);
		} catch (...) {
			Close();
			throw;
		}
	}
	~Session() {
		Close();
	}

	void Query(const string &sql, QuackSink types, QuackSink names);
	//! Emits up to so many chunks, of `ANSWER_BYTES` together unless one row has more; returns whether there may be more.
	bool Fetch(size_t chunks_max, QuackSink chunks);
	void Append(const string &schema, const string &table, QuackBytes chunk);
	void Interrupt() {
		connection->Interrupt();
	}
	bool IsInTransaction() {
		return connection->HasActiveTransaction();
	}

private:
	void Close() {
		EndResult();
		connection.reset();
	}
	//! Makes `fetched` the next rows of the result; returns false, and ends the result, when there are none.
	bool FetchRows();
	void EndResult();
	void Run(unique_ptr<SQLStatement> statement, bool is_last, bool may_stream);
	unique_ptr<QueryResult> Submit(unique_ptr<SQLStatement> statement, bool may_stream, bool &streams);
	QuackCatalog &ReplicatedCatalog();
	optional_ptr<CatalogEntry> Find(const string &catalog, const string &schema, const string &table);
	//! The table of an APPEND: of the catalog, or a temporary one of the session.
	DuckTableEntry &TargetOf(const string &schema, const string &table);
	//! Hands the rows on in pieces, checked and with the types of the table.
	void AppendRows(DuckTableEntry &target, DataChunk &rows, const std::function<void(DataChunk &rows)> &take);
	//! Runs a text's statements; those that it does not put into transactions itself are one together.
	void RunAll(vector<unique_ptr<SQLStatement>> statements);
	void RunAlone(const char *transaction_statement);

	void FollowName();

	//! Outlives the session: the server closes its sessions before the store.
	Store &store;
	Host &host;
	HeldConnection connection;
	ClientContext &context;
	string catalog_name;
	//! The result being read: as a stream where possible, else whole.
	unique_ptr<QueryResultStream<>> stream;
	unique_ptr<QueryResult> result;
	//! The rows of it that are on their way, and which of their pieces is the next.
	unique_ptr<DataChunk> fetched;
	vector<RowRange> pieces;
	idx_t next_piece = 0;
	vector<LogicalType> result_types;
	vector<Identifier> result_names;
	bool has_result = false;
	//! Whether the result lists the catalog's tables.
	bool is_listing = false;
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

unique_ptr<QueryResult> Session::Submit(unique_ptr<SQLStatement> statement, bool may_stream, bool &streams) {
	auto written_type = statement->type;
	auto submitted = connection->Submit(std::move(statement));
	if (submitted->HasError()) {
		NetworkSession::Get(context)->RequireOwnError(context);
	}
	streams = !submitted->HasError() && may_stream && StreamsByDefault(written_type, *submitted, false);
	if (!submitted->HasError() && !streams) {
		submitted->Complete();
	}
	submitted->ThrowIfError();
	return submitted;
}

void Session::RunAlone(const char *transaction_statement) {
	auto result = connection->Query(transaction_statement);
	result->ThrowIfError();
}

void Session::RunAll(vector<unique_ptr<SQLStatement>> statements) {
	auto several = statements.size() > 1;
	auto together = false;
	try {
		for (idx_t i = 0; i < statements.size(); i++) {
			auto is_last = i + 1 == statements.size();
			if (statements[i]->type == StatementType::TRANSACTION_STATEMENT) {
				if (together) {
					together = false;
					RunAlone("COMMIT");
				}
			} else if (several && context.transaction.IsAutoCommit()) {
				RunAlone("BEGIN");
				together = true;
			}
			// A result that is still being read would keep the transaction open.
			Run(std::move(statements[i]), is_last, is_last && !together);
		}
		if (together) {
			together = false;
			RunAlone("COMMIT");
		}
	} catch (...) {
		if (together) {
			RunAlone("ROLLBACK");
		}
		throw;
	}
}

void Session::Run(unique_ptr<SQLStatement> statement, bool is_last, bool may_stream) {
	RequireOwnMatter(context, *statement);
	bool streams;
	auto submitted = Submit(std::move(statement), may_stream && !has_result, streams);
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
	EndResult();
	has_result = false;
	result_types.clear();
	result_names.clear();
	FollowName();
	auto listing = ListingFor(sql);
	is_listing = !listing.empty();
	auto statements = connection->ExtractStatements(is_listing ? listing : sql);
	if (statements.empty()) {
		throw InvalidInputException("Query did not return any columns");
	}
	RunAll(std::move(statements));
	for (idx_t i = 0; i < result_types.size(); i++) {
		auto type = SerializeTypeForClient(result_types[i]);
		types.take(types.context, QuackBytes {type->GetData(), type->GetPosition()});
		names.take(names.context, Bytes(result_names[i].GetIdentifierName()));
	}
}

bool Session::FetchRows() {
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
		EndResult();
		return false;
	}
	fetched = std::move(chunk);
	pieces = Cut(*fetched, fetched->size(), ANSWER_BYTES / 4);
	next_piece = 0;
	return true;
}

bool Session::Fetch(size_t chunks_max, QuackSink chunks) {
	idx_t bytes_sent = 0;
	// A client reads the first answer of its listing alone.
	for (size_t i = 0; is_listing || (i < chunks_max && bytes_sent < ANSWER_BYTES); i++) {
		if (next_piece == pieces.size() && !FetchRows()) {
			return false;
		}
		auto bytes = SerializeChunkForClient(*PieceOf(*fetched, pieces[next_piece++]));
		chunks.take(chunks.context, QuackBytes {bytes->GetData(), bytes->GetPosition()});
		bytes_sent += bytes->GetPosition();
	}
	return true;
}

void Session::EndResult() {
	stream.reset();
	result.reset();
	fetched.reset();
	pieces.clear();
	next_piece = 0;
}

optional_ptr<CatalogEntry> Session::Find(const string &catalog, const string &schema, const string &table) {
	QualifiedName name(Identifier(catalog), Identifier(schema.empty() ? string(DEFAULT_SCHEMA) : schema), Identifier(table));
	return Catalog::GetEntry(context, EntryLookupInfo(CatalogType::TABLE_ENTRY, name), OnEntryNotFound::RETURN_NULL);
}

DuckTableEntry &Session::TargetOf(const string &schema, const string &table) {
	auto entry = Find(catalog_name, schema, table);
	auto temporary = Find(TEMP_CATALOG, schema, table);
	// As in SQL, where a name alone is first that of a temporary table.
	if (temporary && (schema.empty() || !entry)) {
		entry = temporary;
	}
	if (!entry) {
		throw CatalogException::MissingEntry(CatalogType::TABLE_ENTRY, Identifier(table), string());
	}
	if (entry->type != CatalogType::TABLE_ENTRY) {
		throw CatalogException("%s is not a table", SQLIdentifier::ToString(entry->name));
	}
	return entry->Cast<DuckTableEntry>();
}

void Session::AppendRows(DuckTableEntry &target, DataChunk &rows, const std::function<void(DataChunk &rows)> &take) {
	auto types = target.GetStorage().GetTypes();
	if (rows.ColumnCount() != types.size()) {
		throw InvalidInputException("table %s has %llu columns but %llu columns were supplied",
		                            SQLIdentifier::ToString(target.name), types.size(), rows.ColumnCount());
	}
	// Some clients send a whole batch of rows as one chunk.
	for (auto &range : Cut(rows, STANDARD_VECTOR_SIZE, PIECE_BYTES)) {
		auto piece = PieceOf(rows, range);
		piece->Flatten();
		// Before casts look at them.
		CheckValues(target, *piece, 0, Checked::ALL);
		DataChunk cast;
		cast.Initialize(context, types, MaxValue<idx_t>(piece->size(), 1));
		for (idx_t i = 0; i < types.size(); i++) {
			if (piece->data[i].GetType() == types[i]) {
				cast.data[i].Reference(piece->data[i]);
			} else {
				VectorOperations::Cast(context, piece->data[i], cast.data[i], piece->size());
			}
		}
		cast.SetChildCardinality(piece->size());
		take(cast);
	}
}

void Session::Append(const string &schema, const string &table, QuackBytes bytes) {
	EndResult();
	FollowName();
	auto &state = StatementState::Get(context);
	try {
		if (context.transaction.IsAutoCommit()) {
			state.EnterGate(context, host.gate, table);
		}
		context.RunFunctionInTransaction([&]() {
			DataChunk rows;
			DeserializeChunk(context, bytes, rows, [](idx_t, const vector<LogicalType> &types) {
				for (auto &type : types) {
					CheckType(type);
				}
				return types;
			});
			auto &catalog = ReplicatedCatalog();
			auto &target = TargetOf(schema, table);
			if (&target.ParentCatalog() != &catalog) {
				MetaTransaction::Get(context).ModifyDatabase(target.ParentCatalog().GetAttached(),
				                                             DatabaseModificationType::INSERT_DATA);
				auto constraints = Binder::CreateBinder(context)->BindConstraints(target);
				AppendRows(target, rows, [&](DataChunk &piece) {
					target.GetStorage().LocalAppend(target, context, piece, constraints);
				});
				return;
			}
			auto changes = OpenChanges(context, catalog);
			AppendRows(target, rows, [&](DataChunk &piece) { changes->Inserted(target, piece); });
			FinishChanges(context, catalog, std::move(changes));
		});
		state.LeaveGate();
	} catch (...) {
		state.LeaveGate();
		throw;
	}
}

} // namespace quack

using quack::Guard;
using quack::Session;

extern "C" void *quack_cpp_session_open(void *store, QuackBytes consistency, bool allow_host_access, QuackError *error) {
	void *result = nullptr;
	Guard(error, [&]() {
		result = new Session(*static_cast<quack::Store *>(store), quack::Text(consistency), allow_host_access);
	});
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

extern "C" bool quack_cpp_session_in_transaction(void *session) {
	return static_cast<Session *>(session)->IsInTransaction();
}

extern "C" void quack_cpp_session_query(void *session, QuackBytes sql, QuackSink types, QuackSink names,
                                        QuackError *error) {
	Guard(error, [&]() {
		quack::ServesClient serves;
		static_cast<Session *>(session)->Query(quack::Text(sql), types, names);
	});
}

extern "C" bool quack_cpp_session_fetch(void *session, size_t chunks_max, QuackSink chunks, QuackError *error) {
	bool more = false;
	Guard(error, [&]() {
		quack::ServesClient serves;
		more = static_cast<Session *>(session)->Fetch(chunks_max, chunks);
	});
	return more;
}

extern "C" void quack_cpp_session_append(void *session, QuackBytes schema, QuackBytes table, QuackBytes chunk,
                                         QuackError *error) {
	Guard(error, [&]() {
		quack::ServesClient serves;
		static_cast<Session *>(session)->Append(quack::Text(schema), quack::Text(table), chunk);
	});
}
