//! One number for everything that a store holds, to compare nodes by.

#include "applier.hpp"
#include "error.hpp"
#include "rows.hpp"
#include "settings.hpp"

#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/common/types/hash.hpp"
#include "duckdb/transaction/duck_transaction.hpp"

#include <set>

using namespace duckdb;

namespace quack {

namespace {

//! Runs the queries of one hash in one transaction, as the applier's kind of connection: it sees the position.
class StateHasher {
public:
	explicit StateHasher(Store &store) : store(store), connection(store.Connect(true)) {
		auto &context = *connection->context;
		context.registered_state->Insert(ApplierMark::KEY, make_shared_ptr<ApplierMark>());
		// Computed columns are a part of what clients see.
		PinSettings(context);
		connection->BeginTransaction();
		// The states of sequences belong to no transaction: they are taken at the moment of the snapshot.
		auto &catalog = store.Catalog();
		lock_guard<mutex> guard(catalog.sequences.commit_lock);
		DuckTransaction::Get(context, *store.db);
		ScanSequences(catalog, [&](SequenceCatalogEntry &sequence) {
			sequences[{PathOf(sequence.ParentSchema()), sequence.name.GetIdentifierName()}] =
			    StateForLog(sequence.GetData());
		});
	}
	~StateHasher() {
		connection.reset();
		store.host.held--;
	}

	string Hash();
	uint64_t Position();

private:
	vector<vector<Value>> Rows(const string &sql);
	void Mix(const string &text);
	void MixCatalog();
	void MixSequences();
	void MixTables();

	Store &store;
	unique_ptr<Connection> connection;
	//! By schema and name.
	map<pair<string, string>, QuackSequenceState> sequences;
	//! Two lanes of FNV-1a with different offsets: 128 bits, so that no two states meet by accident.
	uint64_t lanes[2] = {0xcbf29ce484222325ULL, 0x84222325cbf29ce4ULL};
};

vector<vector<Value>> StateHasher::Rows(const string &sql) {
	auto result = connection->Query(sql);
	if (result->HasError()) {
		result->ThrowError();
	}
	vector<vector<Value>> rows;
	while (auto chunk = result->Fetch()) {
		if (chunk->size() == 0) {
			break;
		}
		for (idx_t r = 0; r < chunk->size(); r++) {
			vector<Value> row;
			for (idx_t c = 0; c < chunk->ColumnCount(); c++) {
				row.push_back(chunk->GetValue(c, r));
			}
			rows.push_back(std::move(row));
		}
	}
	return rows;
}

void StateHasher::Mix(const string &text) {
	for (auto &lane : lanes) {
		for (auto c : text) {
			lane = (lane ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
		}
		lane = (lane ^ 0xff) * 0x100000001b3ULL;
	}
}

uint64_t StateHasher::Position() {
	auto rows = Rows("SELECT coalesce(max(log_index), 0)::UBIGINT FROM " + SQLIdentifier::ToString(INTERNAL_SCHEMA) +
	                 ".applied");
	return rows[0][0].GetValue<uint64_t>();
}

void StateHasher::MixCatalog() {
	auto name = SQLString(store.CatalogName());
	auto rows = Rows(StringUtil::Format(
	    "SELECT kind, schema_name, name, definition FROM ("
	    "SELECT 'schema' AS kind, schema_name, schema_name AS name, comment AS definition FROM duckdb_schemas() WHERE "
	    "database_name = %s AND NOT internal UNION ALL "
	    "SELECT 'table', schema_name, table_name, sql || coalesce(comment, '') || CASE WHEN cardinality(tags) > 0 THEN "
	    "tags::VARCHAR ELSE '' END FROM duckdb_tables() WHERE database_name = %s UNION ALL "
	    "SELECT 'column', schema_name, table_name || '.' || column_name, comment FROM duckdb_columns() WHERE database_name = "
	    "%s AND comment IS NOT NULL UNION ALL "
	    "SELECT 'view', schema_name, view_name, sql FROM duckdb_views() WHERE database_name = %s AND NOT internal UNION ALL "
	    "SELECT 'index', schema_name, index_name, sql FROM duckdb_indexes() WHERE database_name = %s UNION ALL "
	    "SELECT 'sequence', schema_name, sequence_name, comment FROM duckdb_sequences() WHERE database_name = %s UNION ALL "
	    "SELECT 'type', schema_name, type_name, array_to_string(labels, ',') FROM duckdb_types() WHERE database_name = %s AND "
	    "NOT internal UNION ALL "
	    "SELECT 'trigger', schema_name, trigger_name, sql FROM duckdb_triggers() WHERE database_name = %s UNION ALL "
	    "SELECT 'macro', schema_name, function_name, macro_definition FROM duckdb_functions() WHERE database_name = %s AND "
	    "NOT internal) WHERE schema_name <> %s ORDER BY ALL",
	    name, name, name, name, name, name, name, name, name, SQLString(INTERNAL_SCHEMA)));
	for (auto &row : rows) {
		for (auto &value : row) {
			Mix(value.ToString());
		}
	}
}

void StateHasher::MixSequences() {
	// Without its first value, which DuckDB does not keep, and the last one, which it does not keep in every format of
	// the file.
	for (auto &sequence : sequences) {
		auto &state = sequence.second;
		Mix(sequence.first.first + "." + sequence.first.second);
		Mix(StringUtil::Format("%llu,%lld,%lld,%lld,%lld,%s", state.usage_count, state.counter, state.minimum, state.maximum,
		                       state.increment, state.cycle ? "cycle" : ""));
	}
}

void StateHasher::MixTables() {
	std::set<string> tables;
	store.Catalog().DuckCatalog::ScanSchemas(*connection->context, [&](SchemaCatalogEntry &schema) {
		if (schema.name == INTERNAL_SCHEMA) {
			return;
		}
		schema.Scan(*connection->context, CatalogType::TABLE_ENTRY, [&](CatalogEntry &entry) {
			if (entry.type == CatalogType::TABLE_ENTRY) {
				auto path = schema.GetSchemaPath();
				path.push_back(entry.name);
				tables.insert(QualifiedName::FromPath(std::move(path)).ToString());
			}
		});
	});
	for (auto &table : tables) {
		// Sums of row hashes: a table is a bag. The halves are summed apart, so that nothing overflows.
		auto row = Rows(StringUtil::Format(
		    "SELECT count(*), sum((h >> 32)::BIGINT), sum((h & 4294967295)::BIGINT) FROM (SELECT hash(t) AS h FROM %s.%s t)",
		    SQLIdentifier::ToString(store.CatalogName()), table));
		Mix(table);
		for (auto &value : row[0]) {
			Mix(value.ToString());
		}
	}
}

string StateHasher::Hash() {
	MixCatalog();
	MixSequences();
	MixTables();
	return StringUtil::Format("%016llx%016llx", lanes[0], lanes[1]);
}

} // namespace

} // namespace quack

extern "C" void *quack_cpp_state_hasher_open(void *store, uint64_t *position, QuackError *error) {
	void *result = nullptr;
	quack::Guard(error, [&]() {
		auto hasher = duckdb::make_uniq<quack::StateHasher>(*static_cast<quack::Store *>(store));
		*position = hasher->Position();
		result = hasher.release();
	});
	return result;
}

extern "C" void quack_cpp_state_hasher_run(void *hasher, QuackSink hash, QuackError *error) {
	quack::Guard(error, [&]() {
		auto text = static_cast<quack::StateHasher *>(hasher)->Hash();
		hash.take(hash.context, quack::Bytes(text));
	});
}

extern "C" void quack_cpp_state_hasher_close(void *hasher) {
	QuackError error = quack::NoError();
	quack::Guard(&error, [&]() { delete static_cast<quack::StateHasher *>(hasher); });
	if (error.kind != quack::NO_ERROR) {
		quack_cpp_free(error.message);
	}
}
