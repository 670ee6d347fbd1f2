//! Rows of log entries: they are found by their old values, and inserted and deleted in batches.

#include "applier.hpp"

#include "chunk.hpp"
#include "compat.hpp"
#include "definition.hpp"
#include "error.hpp"
#include "row_bytes.hpp"
#include "row_identity.hpp"
#include "rows.hpp"
#include "statement.hpp"
#include "table_entry.hpp"
#include "transaction_manager.hpp"
#include "value_check.hpp"
#include "duckdb/execution/index/art/art.hpp"
#include "duckdb/execution/index/art/art_key.hpp"
#include "duckdb/parser/constraints/foreign_key_constraint.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "duckdb/transaction/duck_transaction.hpp"

#include <algorithm>
#include <deque>

using namespace duckdb;

namespace quack {

//! More than any machine has.
constexpr idx_t UNKNOWN_BYTES = idx_t(1) << 48;

static bool ComputesKeys(ClientContext &context, DataTable &storage) {
	auto computes = false;
	ForEachIndex(context, storage, [&](const ART &index) {
		for (auto &expression : index.unbound_expressions) {
			computes = computes || expression->GetExpressionClass() != ExpressionClass::BOUND_COLUMN_REF;
		}
		return !computes;
	});
	return computes;
}

//! Whether a table has foreign keys.
static bool RefersToTables(const DuckTableEntry &table) {
	auto &constraints = table.GetConstraints();
	return std::any_of(constraints.begin(), constraints.end(), [](const unique_ptr<Constraint> &constraint) {
		return constraint->type == ConstraintType::FOREIGN_KEY &&
		       constraint->Cast<ForeignKeyConstraint>().info.type != ForeignKeyType::FK_TYPE_PRIMARY_KEY_TABLE;
	});
}

TransactionException Applier::TableIsGone(const QuackTable &table) {
	auto &catalog = store.Catalog();
	auto change = "dropped";
	ForEachTable(context, catalog, [&](SchemaCatalogEntry &, DuckTableEntry &entry) {
		if (table.number != 0 && catalog.numbers.Of(entry) == table.number) {
			change = "renamed";
		}
	});
	return TransactionException("Attempting to modify table \"%s\" but another transaction has %s this table",
	                            Text(table.name), change);
}

unique_ptr<Applier::Target> Applier::NewTarget(const QuackTable &table) {
	auto schema = Text(table.schema);
	EntryLookupInfo lookup(CatalogType::TABLE_ENTRY, NameIn(store.CatalogName(), schema, Text(table.name)));
	auto entry = Catalog::GetEntry(context, lookup, OnEntryNotFound::RETURN_NULL);
	if (!entry || entry->type != CatalogType::TABLE_ENTRY) {
		throw TableIsGone(table);
	}
	auto target = make_uniq<Target>();
	target->entry = &entry->Cast<DuckTableEntry>();
	// Those of a file that was just loaded are not yet, and DuckDB's own operators would do it.
	BindIndexes(context, *target->entry);
	target->shape = ShapeOf(*target->entry);
	target->internal = schema == INTERNAL_SCHEMA;
	target->computes_keys = ComputesKeys(context, target->entry->GetStorage());
	target->has_key = quack::HasKey(context, target->entry->GetStorage());
	target->refers = RefersToTables(*target->entry);
	target->constraints = BindConstraints(context, *target->entry);
	return target;
}

Applier::Target &Applier::TargetOf(const QuackTable &table) {
	auto name = Text(table.name);
	auto key = Text(table.schema) + '\0' + name;
	auto known = targets.find(key);
	if (known == targets.end()) {
		known = targets.emplace(key, NewTarget(table)).first;
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
		if (target->refers) {
			// What changes while a checkpoint is written waits beside the index, and DuckDB 2.0.0 fails an assertion where it
			// checks a row that is referred to and meets several such rows of one key: on the nodes that write a checkpoint.
			KeepCheckpointsAway();
		}
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

void Applier::ReadRows(Target &target, QuackBytes bytes, const vector<vector<LogicalType>> &expected, DataChunk &chunk) {
	auto accept = [&](idx_t rows, const vector<LogicalType> &types) {
		auto found = std::find_if(expected.begin(), expected.end(),
		                          [&](const vector<LogicalType> &meant) { return WithCodes(meant) == types; });
		if (rows > STANDARD_VECTOR_SIZE || found == expected.end()) {
			throw InvalidInputException("the rows for table \"%s\" do not have the types of its columns",
			                            target.entry->name.GetIdentifierName());
		}
		return *found;
	};
	try {
		DeserializeChunk(context, bytes, chunk, accept);
	} catch (SerializationException &ex) {
		// Bytes of the log, which are the same on all nodes: the entry is refused by all, and stops none.
		throw InvalidInputException("the rows for table \"%s\" cannot be read: %s", target.entry->name.GetIdentifierName(),
		                            ErrorData(ex).RawMessage());
	}
}

void Applier::Insert(const QuackTable &table, QuackBytes bytes) {
	auto &target = TargetOf(table);
	DataChunk chunk;
	ReadRows(target, bytes, {target.entry->GetStorage().GetTypes()}, chunk);
	CheckValues(*target.entry, chunk, 0, Checked::ALL);
	Append(target, chunk);
}

void Applier::NoteText(Target &target, DataChunk &rows) {
	auto bytes = TextBytes(rows);
	text_bytes += bytes;
	if (target.computes_keys) {
		text_bytes = UNKNOWN_BYTES;
	}
	store.host.memory_room.NoteRows(rows.size(), bytes);
}

void Applier::Append(Target &target, DataChunk &rows) {
	auto &storage = target.entry->GetStorage();
	if (appending != &target) {
		FlushAppend();
		append_state = make_uniq<LocalAppendState>();
		appending = &target;
		storage.InitializeLocalAppend(*append_state, *target.entry, context, target.constraints);
	}
	NoteText(target, rows);
	if (target.computes_keys) {
		TryKeys(context, *target.entry, rows);
	}
	storage.LocalAppend(*append_state, *target.entry, context, rows, false);
	inserted.insert(&target);
}

bool Applier::LookUpKeys(Target &target, DataChunk &sought, const vector<idx_t> &positions, vector<row_t> &hints) {
	auto found = false;
	ForEachIndex(context, target.entry->GetStorage(), [&](const ART &index) {
		if (!index.IsPrimary()) {
			return true;
		}
		SelectionVector sel(positions.size());
		for (idx_t i = 0; i < positions.size(); i++) {
			sel.set_index(i, positions[i]);
		}
		DataChunk keys;
		vector<LogicalType> types;
		for (auto column : index.GetColumnIds()) {
			types.push_back(sought.data[column].GetType());
		}
		keys.InitializeEmpty(types);
		for (idx_t i = 0; i < types.size(); i++) {
			keys.data[i].Slice(sought.data[index.GetColumnIds()[i]], sel, positions.size());
		}
		keys.SetChildCardinality(positions.size());
		ArenaAllocator arena(BufferAllocator::Get(context));
		unsafe_vector<ARTKey> art_keys(positions.size());
		index.GenerateKeys<>(arena, keys, art_keys);
		for (idx_t i = 0; i < positions.size(); i++) {
			hints[positions[i]] = FindKey(index, art_keys[i]);
		}
		found = true;
		return false;
	});
	return found;
}

Applier::Reading &Applier::ReadingOf(Target &target) {
	auto &reading = readings[&target];
	if (!reading.reader) {
		auto &storage = target.entry->GetStorage();
		reading.reader = make_uniq<RowReader>(DuckTransaction::Get(context, storage.db), storage);
	}
	return reading;
}

void Applier::FollowHints(Target &target, DataChunk &sought, const vector<row_t> &hints, const vector<idx_t> &positions,
                          vector<row_t> &ids, vector<idx_t> &missing) {
	auto &storage = target.entry->GetStorage();
	auto columns = storage.ColumnCount();
	auto &taken_ids = taken[&target];

	SelectionVector sel(positions.size());
	Vector candidates(LogicalType::ROW_TYPE, MaxValue<idx_t>(positions.size(), 1));
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
	// Rows that this transaction does not see do not come: the ids tell which did.
	FlatVector::SetSize(candidates, count_t(candidate_count));
	DataChunk present;
	ReadingOf(target).reader->Read(candidates, candidate_count, present);
	present.data[columns].Flatten();
	auto present_ids = FlatVector::GetData<row_t>(present.data[columns]);
	auto present_count = present.size();

	// Line the sought rows up with those that came.
	SelectionVector present_sel(MaxValue<idx_t>(present_count, 1));
	idx_t p = 0;
	for (idx_t c = 0; c < candidate_count; c++) {
		if (p < present_count && present_ids[p] == candidate_ids[c]) {
			present_sel.set_index(p++, sel.get_index(c));
		} else {
			missing.push_back(sel.get_index(c));
			taken_ids.erase(candidate_ids[c]);
		}
	}
	auto differs = RowBytes(sought, 0, columns)
	                   .Differ(present_sel, RowBytes(present, 0, columns), *FlatVector::IncrementalSelectionVector(),
	                           present_count);
	for (idx_t i = 0; i < present_count; i++) {
		auto position = present_sel.get_index(i);
		if (differs[i]) {
			missing.push_back(position);
			taken_ids.erase(present_ids[i]);
		} else {
			ids[position] = present_ids[i];
		}
	}
}

namespace {

//! Rows that are sought, by their bytes.
class Sought {
public:
	Sought(const DataChunk &rows, idx_t columns, vector<row_t> &ids, unordered_set<row_t> &taken)
	    : columns(columns), bytes(rows, 0, columns), ids(ids), taken(taken), missing(rows.size()) {
		auto hashes = bytes.Hash(rows.size());
		for (idx_t i = 0; i < hashes.size(); i++) {
			places[hashes[i].lanes[0]].push_back(i);
		}
	}

	//! Looks for them among rows of the table, whose last column are the ids. Rows are a bag: the next one of several that
	//! are the same takes the next row of the table that is.
	void LookIn(DataChunk &rows) {
		rows.data[columns].Flatten();
		auto row_ids = FlatVector::GetData<row_t>(rows.data[columns]);
		RowBytes row_bytes(rows, 0, columns);
		auto hashes = row_bytes.Hash(rows.size());
		SelectionVector own(1), theirs(1);
		for (idx_t i = 0; i < rows.size(); i++) {
			auto same_hash = places.find(hashes[i].lanes[0]);
			if (same_hash == places.end()) {
				continue;
			}
			theirs.set_index(0, i);
			auto &candidates = same_hash->second;
			for (auto place = candidates.begin(); place != candidates.end(); ++place) {
				own.set_index(0, *place);
				if (bytes.Differ(own, row_bytes, theirs, 1)[0]) {
					continue;
				}
				if (taken.insert(row_ids[i]).second) {
					ids[*place] = row_ids[i];
					last = row_ids[i];
					missing--;
					candidates.erase(place);
				}
				break;
			}
		}
	}
	bool AllFound() const {
		return missing == 0;
	}
	//! The row that was found last; -1 when none was.
	row_t Last() const {
		return last;
	}

private:
	idx_t columns;
	RowBytes bytes;
	vector<row_t> &ids;
	unordered_set<row_t> &taken;
	//! Where those that are still missing are, by a hash.
	unordered_map<uint64_t, std::deque<idx_t>> places;
	idx_t missing;
	row_t last = -1;
};

} // namespace

bool Applier::Search(Target &target, DataChunk &rows, vector<row_t> &ids) {
	auto &storage = target.entry->GetStorage();
	auto columns = storage.ColumnCount();
	auto &transaction = DuckTransaction::Get(context, storage.db);
	auto &reading = ReadingOf(target);
	Sought sought(rows, columns, ids, taken[&target]);
	vector<StorageIndex> column_ids;
	for (idx_t i = 0; i < columns; i++) {
		column_ids.emplace_back(i);
	}
	column_ids.emplace_back(COLUMN_IDENTIFIER_ROW_ID);
	DataChunk scanned;
	scanned.Initialize(context, reading.reader->Types());
	auto look = [&](TableScanState &scan, auto &&next) {
		while (!sought.AllFound()) {
			scanned.Reset();
			next(scan);
			if (scanned.size() == 0) {
				return;
			}
			sought.LookIn(scanned);
		}
	};
	if (reading.searched_to >= 0 && reading.searched_to < MAX_ROW_ID) {
		// The rows of a statement come in the table's order as a rule: each search goes on where the last one has ended, so
		// that all of them together read the table once.
		TableScanState scan;
		BeginScan(storage, transaction, scan, column_ids, reading.searched_to);
		look(scan, [&](TableScanState &scan) { scan.table_state.Scan(transaction, scanned); });
	}
	if (!sought.AllFound()) {
		TableScanState scan;
		storage.InitializeScan(context, transaction, scan, column_ids);
		look(scan, [&](TableScanState &scan) { storage.Scan(transaction, scanned, scan); });
	}
	if (sought.Last() >= 0) {
		reading.searched_to = sought.Last();
	}
	return sought.AllFound();
}

bool Applier::Find(const QuackTable &table, QuackBytes bytes, bool search) {
	auto &target = TargetOf(table);
	auto columns = target.entry->GetStorage().ColumnCount();
	auto deleted_types = target.entry->GetStorage().GetTypes();
	auto updated_types = deleted_types;
	deleted_types.push_back(LogicalType::ROW_TYPE);
	updated_types.insert(updated_types.begin(), deleted_types.begin(), deleted_types.end());
	auto chunk = make_uniq<DataChunk>();
	ReadRows(target, bytes, {deleted_types, updated_types}, *chunk);
	CheckValues(*target.entry, *chunk, 0, Checked::WHAT_IS_FOLLOWED);
	auto is_update = chunk->ColumnCount() == updated_types.size();
	if (is_update) {
		CheckValues(*target.entry, *chunk, columns + 1, Checked::ALL);
	}
	auto count = chunk->size();
	if (count == 0) {
		// It was only to be the table that is meant.
		return true;
	}
	chunk->Flatten();
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
	auto sent_ids = FlatVector::GetData<row_t>(chunk->data[columns]);
	for (idx_t i = 0; i < count; i++) {
		hints.push_back(sent_ids[i]);
		positions.push_back(i);
	}
	FollowHints(target, *chunk, hints, positions, ids, missing);
	if (!missing.empty() && LookUpKeys(target, *chunk, missing, hints)) {
		positions.swap(missing);
		missing.clear();
		FollowHints(target, *chunk, hints, positions, ids, missing);
	}
	if (!missing.empty()) {
		if (!search) {
			return false;
		}
		// All rows by value, also those whose hints were right: which of several equal rows a hint has taken must not
		// decide whether the others are found.
		taken.clear();
		ids.assign(count, -1);
		if (!Search(target, *chunk, ids)) {
			return false;
		}
	}
	Vector row_ids(LogicalType::ROW_TYPE, count);
	std::copy(ids.begin(), ids.end(), FlatVector::GetDataMutable<row_t>(row_ids));
	FlatVector::SetSize(row_ids, count_t(count));
	unique_ptr<DataChunk> updated;
	if (is_update) {
		updated = make_uniq<DataChunk>();
		ReferenceColumns(*chunk, columns + 1, columns, *updated);
	}
	found.push_back(Found {&target, std::move(row_ids), std::move(chunk), std::move(updated)});
	return true;
}

bool Applier::HasKey(const QuackTable &table) {
	return TargetOf(table).has_key;
}

void Applier::KeepCheckpointsAway() {
	if (keeps_checkpoints_away) {
		return;
	}
	keeps_checkpoints_away = true;
	auto &transaction = DuckTransaction::Get(context, *store.db);
	// One that is being written waits for the tables of scans.
	readings.clear();
	DatabaseModificationType changes;
	changes |= DatabaseModificationType::UPDATE_DATA;
	transaction.SetModifications(changes);
}

void Applier::ChangeFound() {
	FlushAppend();
	auto is_update = [](const Found &rows) { return rows.updated != nullptr; };
	if (std::any_of(found.begin(), found.end(), is_update)) {
		// A checkpoint replaces the columns that rows are updated in, and frees what a commit still looks at.
		KeepCheckpointsAway();
	}
	for (auto &rows : found) {
		auto &target = *rows.target;
		changed.insert(target.entry->GetStorage().GetDataTableInfo().get());
		ReadingOf(target).reader->Forget();
		NoteText(target, *rows.rows);
		if (rows.updated) {
			UpdateFound(target, rows);
		} else {
			DeleteRows(context, *target.entry, target.constraints, rows.row_ids, *rows.rows);
		}
	}
	ForgetFound();
}

void Applier::UpdateFound(Target &target, Found &update) {
	auto count = update.rows->size();
	SelectionVector in_place(count), others(count);
	idx_t in_place_count, others_count;
	SplitInPlace(*target.entry, *update.rows, *update.updated, in_place, in_place_count, others, others_count);
	if (others_count == 0) {
		UpdateRows(context, *target.entry, target.constraints, update.row_ids, *update.rows, *update.updated);
		return;
	}
	// An index has been made since the origin saw that none is concerned. DuckDB changes no index where rows stay.
	auto select = [&](const SelectionVector &sel, idx_t selected, DataChunk &old_rows, DataChunk &new_rows) {
		SelectRows(*update.rows, sel, selected, old_rows);
		SelectRows(*update.updated, sel, selected, new_rows);
		Vector ids(update.row_ids, sel, selected);
		ids.Flatten();
		return ids;
	};
	if (in_place_count > 0) {
		DataChunk old_rows, new_rows;
		auto ids = select(in_place, in_place_count, old_rows, new_rows);
		UpdateRows(context, *target.entry, target.constraints, ids, old_rows, new_rows);
	}
	DataChunk old_rows, new_rows;
	auto ids = select(others, others_count, old_rows, new_rows);
	DeleteRows(context, *target.entry, target.constraints, ids, old_rows);
	Append(target, new_rows);
}

void Applier::ForgetFound() {
	found.clear();
	taken.clear();
}

} // namespace quack
