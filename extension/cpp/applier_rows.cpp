//! Rows of log entries: they are found by their old values, and inserted and deleted in batches.

#include "applier.hpp"

#include "chunk.hpp"
#include "compat.hpp"
#include "definition.hpp"
#include "error.hpp"
#include "rows.hpp"
#include "statement.hpp"
#include "transaction_manager.hpp"
#include "duckdb/common/vector_operations/vector_operations.hpp"
#include "duckdb/execution/index/art/art.hpp"
#include "duckdb/execution/index/art/art_key.hpp"
#include "duckdb/main/appender.hpp"
#include "duckdb/parser/constraints/unique_constraint.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "duckdb/storage/table/update_state.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/local_storage.hpp"

using namespace duckdb;

namespace quack {

//! Table of `Search`: the rows sought, with their position.
constexpr const char *SOUGHT = "temp.main.quack_sought";

unique_ptr<Applier::Target> Applier::NewTarget(const string &schema, const string &name) {
	auto &entry = Catalog::GetEntry(context, CatalogType::TABLE_ENTRY, NameIn(store.CatalogName(), schema, name));
	if (entry.type != CatalogType::TABLE_ENTRY) {
		throw CatalogException("\"%s\" is not a table", name);
	}
	auto target = make_uniq<Target>();
	target->entry = &entry.Cast<DuckTableEntry>();
	// Those of a file that was just loaded are not yet, and DuckDB's own operators would do it.
	BindIndexes(context, *target->entry);
	target->shape = ShapeOf(*target->entry);
	target->internal = schema == INTERNAL_SCHEMA;
	target->constraints = BindConstraints(context, *target->entry);
	return target;
}

Applier::Target &Applier::TargetOf(const QuackTable &table) {
	auto schema = Text(table.schema);
	auto name = Text(table.name);
	auto key = schema + '\0' + name;
	auto known = targets.find(key);
	if (known == targets.end()) {
		known = targets.emplace(key, NewTarget(schema, name)).first;
	}
	auto &target = known->second;
	// What the transaction itself makes gets its number at the end.
	auto number = table.number == TABLE_MADE_HERE ? 0 : table.number;
	if (table.number != 0 && store.Catalog().numbers.Of(*target->entry) != number) {
		throw TransactionException("Conflict on table \"%s\": it is another table now than when the statement was evaluated",
		                           name);
	}
	if (table.shape != 0 && table.shape != target->shape) {
		throw TransactionException("Conflict on table \"%s\": its columns have changed since the statement was evaluated",
		                           name);
	}
	if (touched.insert(target->entry->GetStorage().GetDataTableInfo().get()).second && !target->internal) {
		QuackTransactionManager::Get(store.Catalog()).BeginWriting(*target->entry);
	}
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
	if (count == 0) {
		// It was only to be the table that is meant.
		return true;
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
		changed.insert(target.entry->GetStorage().GetDataTableInfo().get());
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

} // namespace quack
