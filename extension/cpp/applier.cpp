//! Applying log entries to DuckDB.

#include "applier.hpp"

#include "chunk.hpp"
#include "compat.hpp"
#include "error.hpp"
#include "rows.hpp"
#include "settings.hpp"
#include "transaction_manager.hpp"
#include "statement.hpp"
#include "duckdb/execution/index/art/art.hpp"
#include "duckdb/execution/index/art/art_key.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/common/vector_operations/vector_operations.hpp"
#include "duckdb/main/appender.hpp"
#include "duckdb/parser/constraints/unique_constraint.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "duckdb/storage/table/update_state.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/local_storage.hpp"
#include "duckdb/transaction/meta_transaction.hpp"

using namespace duckdb;

namespace quack {

//! Table of `Search`: the rows sought, with their position.
constexpr const char *SOUGHT = "temp.main.quack_sought";

Applier::Applier(Store &store) : store(store), connection(store.Connect(true)), context(*connection->context),
      catalog_name(store.CatalogName()) {
	context.registered_state->Insert(ApplierMark::KEY, make_shared_ptr<ApplierMark>());
	// Rows are appended in the order of the log, and a statement's text means the same on every node.
	Run("SET preserve_insertion_order = true");
	PinSettings(*connection);
}

Applier::~Applier() {
	append_state.reset();
	targets.clear();
	found.clear();
	connection.reset();
	store.host.held--;
}

void Applier::Run(const string &sql) {
	auto result = connection->Query(sql);
	if (result->HasError()) {
		result->ThrowError();
	}
}

static string Internal(const string &name) {
	return SQLIdentifier::ToString(INTERNAL_SCHEMA) + "." + name;
}

void Applier::Claim(const string &owner, bool foreign) {
	auto known = connection->Query(StringUtil::Format(
	    "SELECT count(*) FILTER (schema_name = %s AND table_name = 'owner'), count(*) FROM duckdb_tables() WHERE "
	    "database_name = %s",
	    SQLString(INTERNAL_SCHEMA), SQLString(store.CatalogName())));
	if (known->HasError()) {
		known->ThrowError();
	}
	auto counts = known->Fetch();
	auto claimed = counts->GetValue(0, 0).GetValue<int64_t>() > 0;
	auto empty = counts->GetValue(1, 0).GetValue<int64_t>() == 0;
	known.reset();
	if (!claimed && !empty) {
		throw InvalidInputException("the file '%s' holds tables, but is not a node's store: it does not belong into this "
		                            "data folder. Move it elsewhere, and restore the node's own from a backup",
		                            store.db->GetCatalog().GetDBPath());
	}
	if (!claimed) {
		Run("BEGIN");
		Run("CREATE SCHEMA IF NOT EXISTS " + SQLIdentifier::ToString(INTERNAL_SCHEMA));
		Run("CREATE TABLE " + Internal("owner") + " AS SELECT " + SQLString::ToString(owner) + " AS identity");
		Run("COMMIT");
		return;
	}
	if (foreign) {
		Run("UPDATE " + Internal("owner") + " SET identity = " + SQLString::ToString(owner));
		return;
	}
	auto found = connection->Query("SELECT identity FROM " + Internal("owner"));
	if (found->HasError()) {
		found->ThrowError();
	}
	auto identity = found->Fetch()->GetValue(0, 0).ToString();
	if (identity != owner) {
		throw InvalidInputException("the file '%s' is the store of another node (cluster, node, incarnation: %s; this node: "
		                            "%s). Give each node its own data folder, or restore this node's store from a backup",
		                            store.db->GetCatalog().GetDBPath(), identity, owner);
	}
}

void Applier::Position(uint64_t &index, string &state) {
	// Appended to, one row a transaction, and emptied now and then: the last row counts.
	Run("CREATE TABLE IF NOT EXISTS " + Internal("applied") + "(log_index UBIGINT NOT NULL, state BLOB NOT NULL)");
	auto result = connection->Query("SELECT log_index, state FROM " + Internal("applied") +
	                                " ORDER BY log_index DESC LIMIT 1");
	if (result->HasError()) {
		result->ThrowError();
	}
	index = 0;
	auto chunk = result->Fetch();
	if (chunk && chunk->size() > 0) {
		index = chunk->GetValue(0, 0).GetValue<uint64_t>();
		state = StringValue::Get(chunk->GetValue(1, 0));
	}
}

void Applier::Begin() {
	if (catalog_name != store.CatalogName()) {
		// An ATTACH has given the catalog another name.
		catalog_name = store.CatalogName();
		UseStore(context, catalog_name);
		targets.clear();
	}
	touched.clear();
	connection->BeginTransaction();
	auto &meta = MetaTransaction::Get(context);
	// Everything that an entry may do, so that DuckDB takes the locks it takes for such a statement.
	DatabaseModificationType modification;
	modification |= DatabaseModificationType::INSERT_DATA;
	modification |= DatabaseModificationType::DELETE_DATA;
	meta.ModifyDatabase(*store.db, modification);
}

void Applier::Commit(uint64_t index, const string &state) {
	FlushAppend();
	DataChunk row;
	row.Initialize(context, {LogicalType::UBIGINT, LogicalType::BLOB}, 1);
	row.data[0].Append(Value::UBIGINT(index));
	row.data[1].Append(Value::BLOB(const_data_ptr_cast(state.data()), state.size()));
	row.SetChildCardinality(1);
	const string schema(INTERNAL_SCHEMA);
	const string name("applied");
	auto &target = TargetOf(QuackTable {Bytes(schema), Bytes(name), 0});
	target.entry->GetStorage().LocalAppend(*target.entry, context, row, target.constraints);
	// The first position in every 4096 drops those before it: the table stays small between checkpoints too.
	if (index % 4096 == 0) {
		Run(StringUtil::Format("DELETE FROM %s WHERE log_index < %llu", Internal("applied"), index));
	}
	inserted.insert(&target);
	CommitTransaction();
}

void Applier::CommitTransaction() {
	// DuckDB would wait for the tables' locks inside its commit, with the lock held that every other transaction needs to
	// begin. They are kept per transaction, so the commit finds them taken.
	vector<shared_ptr<CheckpointLock>> table_locks;
	auto &transaction = DuckTransaction::Get(context, *store.db);
	for (auto target : inserted) {
		table_locks.push_back(transaction.SharedLockTable(*target->entry->GetStorage().GetDataTableInfo()));
	}
	inserted.clear();
	auto &catalog = store.Catalog();
	lock_guard<mutex> guard(catalog.sequences.commit_lock);
	connection->Commit();
	moves.Publish(catalog);
}

void Applier::Rollback() {
	append_state.reset();
	appending = nullptr;
	inserted.clear();
	moves.Forget();
	ForgetFound();
	// The rolled back transaction may have altered tables.
	ForgetTargets();
	if (connection->HasActiveTransaction()) {
		connection->Rollback();
	}
	if (settings_changed) {
		settings_changed = false;
		RestoreSettings(*connection, Identifier(store.CatalogName()));
	}
}

void Applier::ForgetTargets() {
	FlushAppend();
	inserted.clear();
	targets.clear();
}

Applier::Target &Applier::TargetOf(const QuackTable &table) {
	auto schema = Text(table.schema);
	auto name = Text(table.name);
	auto key = schema + '\0' + name;
	auto &target = targets[key];
	if (!target) {
		auto &entry = Catalog::GetEntry(context, CatalogType::TABLE_ENTRY,
		                                NameIn(store.CatalogName(), schema, name));
		if (entry.type != CatalogType::TABLE_ENTRY) {
			targets.erase(key);
			throw CatalogException("\"%s\" is not a table", name);
		}
		auto created = make_uniq<Target>();
		created->entry = &entry.Cast<DuckTableEntry>();
		// Those of a file that was just loaded are not yet, and DuckDB's own operators would do it.
		created->entry->GetStorage().BindIndexes(context);
		created->shape = ShapeOf(*created->entry);
		created->constraints = Binder::CreateBinder(context)->BindConstraints(*created->entry);
		target = std::move(created);
	}
	if (table.shape != 0 && table.shape != target->shape) {
		throw TransactionException("Conflict on table \"%s\": its columns have changed since the statement was evaluated",
		                           name);
	}
	touched.insert(target->entry->GetStorage().GetDataTableInfo().get());
	return *target;
}

void Applier::FlushAppend() {
	if (!append_state) {
		return;
	}
	appending->entry->GetStorage().FinalizeLocalAppend(*append_state);
	append_state.reset();
	appending = nullptr;
}

void Applier::Insert(const QuackTable &table, QuackBytes bytes) {
	auto &target = TargetOf(table);
	auto &storage = target.entry->GetStorage();
	DataChunk chunk;
	DeserializeChunk(context, bytes, chunk);
	if (chunk.GetTypes() != storage.GetTypes()) {
		throw InvalidInputException("the rows for table \"%s\" do not have the types of its columns",
		                            target.entry->name.GetIdentifierName());
	}
	if (appending != &target) {
		FlushAppend();
		append_state = make_uniq<LocalAppendState>();
		appending = &target;
		storage.InitializeLocalAppend(*append_state, *target.entry, context, target.constraints);
	}
	storage.LocalAppend(*append_state, *target.entry, context, chunk, false);
	inserted.insert(&target);
}

bool Applier::LookUpKeys(Target &target, DataChunk &sought, const vector<idx_t> &positions, vector<row_t> &hints) {
	auto &info = *target.entry->GetStorage().GetDataTableInfo();
	info.BindIndexes(context);
	vector<shared_ptr<IndexEntry>> entries;
	for (auto entry : info.GetIndexes().IndexEntries()) {
		entries.push_back(std::move(entry));
	}
	for (auto &entry : entries) {
		if (entry->GetBindState() != IndexBindState::BOUND || entry->GetIndexType() != ART::TYPE_NAME) {
			continue;
		}
		auto index = entry->GetReadHandle<ART>();
		if (!index->IsPrimary()) {
			continue;
		}
		SelectionVector sel(positions.size());
		for (idx_t i = 0; i < positions.size(); i++) {
			sel.set_index(i, positions[i]);
		}
		DataChunk keys;
		vector<LogicalType> types;
		for (auto column : index->GetColumnIds()) {
			types.push_back(sought.data[column].GetType());
		}
		keys.InitializeEmpty(types);
		for (idx_t i = 0; i < types.size(); i++) {
			keys.data[i].Slice(sought.data[index->GetColumnIds()[i]], sel, positions.size());
		}
		keys.SetChildCardinality(positions.size());
		ArenaAllocator arena(BufferAllocator::Get(context));
		unsafe_vector<ARTKey> art_keys(positions.size());
		index->GenerateKeys<>(arena, keys, art_keys);
		for (idx_t i = 0; i < positions.size(); i++) {
			hints[positions[i]] = FindKey(*index.operator->(), art_keys[i]);
		}
		return true;
	}
	return false;
}

void Applier::FollowHints(Target &target, DataChunk &sought, const vector<row_t> &hints, const vector<idx_t> &positions,
                          vector<row_t> &ids, vector<idx_t> &missing) {
	auto &storage = target.entry->GetStorage();
	auto types = storage.GetTypes();
	auto columns = types.size();
	auto count = positions.size();
	auto &taken_ids = taken[&target];

	SelectionVector sel(count);
	Vector candidates(LogicalType::ROW_TYPE, MaxValue<idx_t>(count, 1));
	auto candidate_ids = FlatVector::GetDataMutable<row_t>(candidates);
	idx_t candidate_count = 0;
	auto next_row_id = NumericCast<row_t>(storage.GetNextRowId());
	for (auto position : positions) {
		auto hint = hints[position];
		auto usable = hint >= 0 && hint < next_row_id && taken_ids.insert(hint).second;
		if (!usable) {
			missing.push_back(position);
			continue;
		}
		candidate_ids[candidate_count] = hint;
		sel.set_index(candidate_count++, position);
	}
	if (candidate_count == 0) {
		return;
	}
	// Fetch skips rows that this transaction does not see: the ids tell which came back.
	vector<StorageIndex> column_ids;
	for (idx_t i = 0; i < columns; i++) {
		column_ids.emplace_back(i);
	}
	types.push_back(LogicalType::ROW_TYPE);
	column_ids.emplace_back(COLUMN_IDENTIFIER_ROW_ID);
	DataChunk present;
	present.Initialize(context, types, candidate_count);
	ColumnFetchState fetch_state;
	storage.Fetch(DuckTransaction::Get(context, storage.db), present, column_ids, candidates, candidate_count,
	              fetch_state);
	present.data[columns].Flatten();
	auto present_ids = FlatVector::GetData<row_t>(present.data[columns]);

	// Line the sought rows up with those that came back.
	SelectionVector present_sel(MaxValue<idx_t>(present.size(), 1));
	idx_t p = 0;
	for (idx_t c = 0; c < candidate_count; c++) {
		if (p < present.size() && present_ids[p] == candidate_ids[c]) {
			present_sel.set_index(p++, sel.get_index(c));
		} else {
			missing.push_back(sel.get_index(c));
			taken_ids.erase(candidate_ids[c]);
		}
	}
	vector<bool> differs(present.size(), false);
	SelectionVector different(MaxValue<idx_t>(present.size(), 1));
	for (idx_t i = 0; i < columns && present.size() > 0; i++) {
		Vector expected(Vector::Ref(sought.data[i]));
		expected.Slice(sought.data[i], present_sel, present.size());
		auto different_count = VectorOperations::DistinctFrom(expected, present.data[i], nullptr, present.size(),
		                                                      &different, nullptr);
		for (idx_t d = 0; d < different_count; d++) {
			differs[different.get_index(d)] = true;
		}
	}
	for (idx_t i = 0; i < present.size(); i++) {
		auto position = present_sel.get_index(i);
		if (differs[i]) {
			missing.push_back(position);
			taken_ids.erase(present_ids[i]);
		} else {
			ids[position] = present_ids[i];
		}
	}
}

bool Applier::Search(Target &target, DataChunk &sought, vector<row_t> &ids, const vector<idx_t> &missing) {
	auto columns = target.entry->GetStorage().GetTypes().size();
	auto table = target.entry->ParentSchema().GetQualifiedName(target.entry->name).ToString();
	string names, equal;
	for (auto &column : target.entry->GetColumns().Physical()) {
		auto name = SQLIdentifier::ToString(column.Name());
		names += (names.empty() ? "" : ", ") + name;
		equal += " AND t." + name + " IS NOT DISTINCT FROM s." + name;
	}
	Run(StringUtil::Format("CREATE OR REPLACE TEMP TABLE quack_sought AS SELECT %s, 0::UBIGINT AS quack_position FROM %s "
	                       "LIMIT 0",
	                       names, table));
	{
		auto &entry = Catalog::GetEntry<TableCatalogEntry>(context, QualifiedName("temp", "main", "quack_sought"));
		InternalAppender appender(context, entry);
		for (auto position : missing) {
			appender.BeginRow();
			for (idx_t c = 0; c < columns; c++) {
				appender.Append(sought.GetValue(c, position));
			}
			appender.Append(Value::UBIGINT(position));
			appender.EndRow();
		}
		appender.Close();
	}
	// Rows are a bag: the n-th of several equal rows sought takes the n-th equal row of the table.
	auto result = connection->Query(StringUtil::Format(
	    "SELECT s.quack_position, t.quack_row_id FROM (SELECT *, row_number() OVER (PARTITION BY %s) AS quack_nth FROM %s) s "
	    "JOIN (SELECT *, row_number() OVER (PARTITION BY %s ORDER BY quack_row_id) AS quack_nth FROM (SELECT t.*, t.rowid AS "
	    "quack_row_id FROM %s t WHERE EXISTS (FROM %s s WHERE true%s))) t ON s.quack_nth = t.quack_nth%s",
	    names, SOUGHT, names, table, SOUGHT, equal, equal));
	if (result->HasError()) {
		result->ThrowError();
	}
	auto &taken_ids = taken[&target];
	idx_t found_count = 0;
	while (auto chunk = result->Fetch()) {
		if (chunk->size() == 0) {
			break;
		}
		for (idx_t i = 0; i < chunk->size(); i++) {
			auto id = chunk->GetValue(1, i).GetValue<int64_t>();
			if (!taken_ids.insert(id).second) {
				continue;
			}
			ids[chunk->GetValue(0, i).GetValue<uint64_t>()] = id;
			found_count++;
		}
	}
	result.reset();
	Run(StringUtil::Format("DROP TABLE %s", SOUGHT));
	return found_count == missing.size();
}

bool Applier::Find(const QuackTable &table, QuackBytes bytes, bool search) {
	auto &target = TargetOf(table);
	auto types = target.entry->GetStorage().GetTypes();
	auto columns = types.size();
	auto chunk = make_uniq<DataChunk>();
	DeserializeChunk(context, bytes, *chunk);
	auto count = chunk->size();
	auto is_update = chunk->ColumnCount() == 2 * columns + 1;
	if (chunk->ColumnCount() != columns + 1 && !is_update) {
		throw InvalidInputException("the changed rows of table \"%s\" do not have its columns",
		                            target.entry->name.GetIdentifierName());
	}
	if (search) {
		// A search sees what has been changed and inserted, not what is about to be.
		FlushAppend();
		if (!found.empty()) {
			ChangeFound();
		}
	}
	vector<row_t> ids(count, -1);
	vector<idx_t> missing;
	vector<row_t> hints;
	vector<idx_t> positions;
	chunk->data[columns].Flatten();
	for (idx_t i = 0; i < count; i++) {
		hints.push_back(FlatVector::GetData<row_t>(chunk->data[columns])[i]);
		positions.push_back(i);
	}
	FollowHints(target, *chunk, hints, positions, ids, missing);
	if (!missing.empty() && LookUpKeys(target, *chunk, missing, hints)) {
		positions.swap(missing);
		missing.clear();
		FollowHints(target, *chunk, hints, positions, ids, missing);
	}
	if (!missing.empty() && search) {
		// All rows by value, also those whose hints were right: which of several equal rows a hint has taken must not
		// decide whether the others are found.
		taken.clear();
		missing.clear();
		for (idx_t i = 0; i < count; i++) {
			missing.push_back(i);
		}
		if (Search(target, *chunk, ids, missing)) {
			missing.clear();
		}
	}
	if (!missing.empty()) {
		return false;
	}
	Vector row_ids(LogicalType::ROW_TYPE, MaxValue<idx_t>(count, 1));
	for (auto id : ids) {
		row_ids.Append(Value::BIGINT(id));
	}
	unique_ptr<DataChunk> updated;
	if (is_update) {
		updated = make_uniq<DataChunk>();
		updated->InitializeEmpty(types);
		for (idx_t i = 0; i < columns; i++) {
			updated->data[i].Reference(chunk->data[columns + 1 + i]);
		}
		updated->SetChildCardinality(count);
	}
	found.push_back(Found {&target, std::move(row_ids), count, std::move(chunk), std::move(updated)});
	return true;
}

void Applier::ChangeFound() {
	FlushAppend();
	for (auto &rows : found) {
		rows.rows->Flatten();
		auto &target = *rows.target;
		if (rows.updated) {
			rows.updated->Flatten();
			UpdateRows(context, *target.entry, target.constraints, rows.row_ids, *rows.rows, *rows.updated);
		} else {
			DeleteRows(context, *target.entry, target.constraints, rows.row_ids, *rows.rows);
		}
	}
	ForgetFound();
}

void Applier::ForgetFound() {
	found.clear();
	taken.clear();
}

ClearedWay Applier::ClearWay(ExceptionType error) {
	return QuackTransactionManager::Get(store.Catalog()).Doom(error, touched);
}

void Applier::Ddl(const string &sql) {
	FlushAppend();
	{
		// The statement may copy a sequence, or drop it. Those that have been moved are the transaction's own, or the
		// entry says where they are whatever they were.
		auto &catalog = store.Catalog();
		lock_guard<mutex> guard(catalog.sequences.commit_lock);
		moves.Publish(catalog);
	}
	settings_changed = true;
	RunWithSettings(*connection, Identifier(store.CatalogName()), sql);
	settings_changed = false;
	ForgetTargets();
}

optional_ptr<SequenceCatalogEntry> Applier::FindSequence(const string &schema, const string &name) {
	return Catalog::GetEntry<SequenceCatalogEntry>(
	    context, NameIn(store.CatalogName(), schema, name),
	    OnEntryNotFound::RETURN_NULL);
}

bool Applier::Sequence(const string &schema, const string &name, QuackSequenceState &state) {
	auto sequence = FindSequence(schema, name);
	if (sequence) {
		state = StateForLog(moves.StateOf(*sequence));
	}
	return sequence != nullptr;
}

void Applier::MoveSequence(const string &schema, const string &name, const QuackSequenceState &state, bool is_set) {
	auto sequence = FindSequence(schema, name);
	if (!sequence) {
		throw InternalException("the sequence \"%s\" was there just now", name);
	}
	moves.Move(*sequence, state, is_set);
}

} // namespace quack

using quack::Applier;
using quack::Guard;

extern "C" void *quack_cpp_applier_open(void *store, QuackError *error) {
	void *result = nullptr;
	Guard(error, [&]() { result = new Applier(*static_cast<quack::Store *>(store)); });
	return result;
}

extern "C" void quack_cpp_applier_close(void *applier) {
	delete static_cast<Applier *>(applier);
}

extern "C" void quack_cpp_applier_claim(void *applier, QuackBytes owner, bool foreign, QuackError *error) {
	Guard(error, [&]() { static_cast<Applier *>(applier)->Claim(quack::Text(owner), foreign); });
}

extern "C" void quack_cpp_applier_position(void *applier, uint64_t *index, QuackSink state, QuackError *error) {
	Guard(error, [&]() {
		duckdb::string text;
		static_cast<Applier *>(applier)->Position(*index, text);
		state.take(state.context, quack::Bytes(text));
	});
}

extern "C" void quack_cpp_applier_begin(void *applier, QuackError *error) {
	Guard(error, [&]() { static_cast<Applier *>(applier)->Begin(); });
}

extern "C" void quack_cpp_applier_commit(void *applier, uint64_t index, QuackBytes state, QuackError *error) {
	Guard(error, [&]() { static_cast<Applier *>(applier)->Commit(index, quack::Text(state)); });
}

extern "C" void quack_cpp_applier_rollback(void *applier) {
	QuackError error = quack::NoError();
	Guard(&error, [&]() { static_cast<Applier *>(applier)->Rollback(); });
	if (error.kind != quack::NO_ERROR) {
		quack_cpp_free(error.message);
	}
}

extern "C" bool quack_cpp_applier_find(void *applier, QuackTable table, QuackBytes chunk, bool search,
                                       QuackError *error) {
	bool result = false;
	Guard(error, [&]() { result = static_cast<Applier *>(applier)->Find(table, chunk, search); });
	return result;
}

extern "C" void quack_cpp_applier_change_found(void *applier, QuackError *error) {
	Guard(error, [&]() { static_cast<Applier *>(applier)->ChangeFound(); });
}

extern "C" void quack_cpp_applier_forget_found(void *applier) {
	static_cast<Applier *>(applier)->ForgetFound();
}

extern "C" void quack_cpp_applier_insert(void *applier, QuackTable table, QuackBytes chunk, QuackError *error) {
	Guard(error, [&]() { static_cast<Applier *>(applier)->Insert(table, chunk); });
}

extern "C" int32_t quack_cpp_applier_clear_way(void *applier, int32_t error_kind, QuackError *error) {
	auto result = quack::ClearedWay::NOTHING_WAS_THERE;
	Guard(error, [&]() {
		result = static_cast<Applier *>(applier)->ClearWay(static_cast<duckdb::ExceptionType>(error_kind));
	});
	return static_cast<int32_t>(result);
}

extern "C" void quack_cpp_applier_ddl(void *applier, QuackBytes sql, QuackError *error) {
	Guard(error, [&]() { static_cast<Applier *>(applier)->Ddl(quack::Text(sql)); });
}

extern "C" bool quack_cpp_applier_sequence(void *applier, QuackBytes schema, QuackBytes name,
                                           QuackSequenceState *state, QuackError *error) {
	bool result = false;
	Guard(error, [&]() {
		result = static_cast<Applier *>(applier)->Sequence(quack::Text(schema), quack::Text(name), *state);
	});
	return result;
}

extern "C" void quack_cpp_applier_move_sequence(void *applier, QuackBytes schema, QuackBytes name,
                                                const QuackSequenceState *state, bool is_set, QuackError *error) {
	Guard(error, [&]() {
		static_cast<Applier *>(applier)->MoveSequence(quack::Text(schema), quack::Text(name), *state, is_set);
	});
}
