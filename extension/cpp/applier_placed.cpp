//! Rows of log entries that are named by their places.

#include "applier_placed.hpp"

#include "chunk.hpp"
#include "error.hpp"
#include "rows.hpp"
#include "value_check.hpp"
#include "duckdb/common/vector/flat_vector.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/update_state.hpp"

#include <algorithm>

using namespace duckdb;

namespace quack {

//! Puts columns in ascending order, which is that of a reader.
static vector<idx_t> Ascending(vector<idx_t> columns) {
	std::sort(columns.begin(), columns.end());
	return columns;
}

Applier::Placed::Placed(ClientContext &context, Target &target, vector<PhysicalIndex> columns_p, bool in_place)
    : target(target), columns(std::move(columns_p)), in_place(in_place), places(context, target.entry->GetStorage()),
      check(DuckTransaction::Get(context, target.entry->GetStorage().db), *target.entry),
      rows(DuckTransaction::Get(context, target.entry->GetStorage().db), target.entry->GetStorage()) {
	auto &entry = *target.entry;
	auto &storage = entry.GetStorage();
	auto &transaction = DuckTransaction::Get(context, storage.db);
	auto of_indexes = storage.GetDataTableInfo()->GetIndexes().GetIndexedColumns();
	indexed = Ascending({of_indexes.begin(), of_indexes.end()});
	if (!indexed.empty()) {
		keys = make_uniq<RowReader>(transaction, storage, indexed);
	}
	auto types = storage.GetTypes();
	// Where rows stay, DuckDB does not evaluate generated columns.
	moves_all = !in_place || entry.HasGeneratedColumns();
	for (auto &column : columns) {
		auto &type = types[column.index];
		moves_all = moves_all || IsMovedByUpdates(type);
		if (MayDropUpdates(type)) {
			needed.push_back(column.index);
		}
	}
	written = columns;
	physical_index_set_t checked(columns.begin(), columns.end());
	AddCheckedColumns(target.constraints, checked);
	for (auto &column : checked) {
		if (std::find(columns.begin(), columns.end(), column) == columns.end()) {
			written.push_back(column);
			needed.push_back(column.index);
		}
	}
	needed = Ascending(std::move(needed));
	if (!moves_all && !needed.empty()) {
		old_values = make_uniq<RowReader>(transaction, storage, needed);
	}
}

Applier::Placed &Applier::PlacedIn(Target &target, const vector<PhysicalIndex> &columns, bool in_place) {
	if (!placed) {
		if (in_place) {
			// A checkpoint replaces the columns that rows are updated in, and frees what a commit still looks at.
			KeepCheckpointsAway();
		}
		placed = make_uniq<Placed>(context, target, columns, in_place);
	}
	if (&placed->target != &target || placed->columns != columns || placed->in_place != in_place) {
		throw InvalidInputException("rows that are named by their places are changed in several ways");
	}
	return *placed;
}

static InvalidInputException AreOthers(const DuckTableEntry &table) {
	return InvalidInputException("the rows of table \"%s\" are others than where the statement was evaluated",
	                             table.name.GetIdentifierName());
}

//! Refuses columns that indexes are made of: all of an entry's rows would have to go before any of them comes.
static vector<PhysicalIndex> ColumnsOf(DuckTableEntry &table, const QuackPlaces &places) {
	auto &storage = table.GetStorage();
	auto indexed = storage.GetDataTableInfo()->GetIndexes().GetIndexedColumns();
	auto types = storage.GetTypes();
	vector<PhysicalIndex> columns;
	for (size_t i = 0; i < places.column_count; i++) {
		auto column = idx_t(places.columns[i]);
		auto is_known = std::find(columns.begin(), columns.end(), PhysicalIndex(column)) != columns.end();
		if (column >= types.size() || is_known || indexed.count(column) > 0) {
			throw InvalidInputException("column %llu of table \"%s\" cannot be changed by places", column,
			                            table.name.GetIdentifierName());
		}
		columns.emplace_back(column);
	}
	return columns;
}

void Applier::ChangePlaces(const QuackTable &table, const QuackPlaces &places, QuackBytes bytes, idx_t count) {
	if (table.number <= TABLE_MADE_HERE) {
		throw InvalidInputException("rows are named by their places in a table that is not named by its number");
	}
	auto &target = TargetOf(table);
	auto &entry = *target.entry;
	auto columns = ColumnsOf(entry, places);
	DataChunk values;
	if (!columns.empty()) {
		vector<LogicalType> types;
		auto table_types = entry.GetStorage().GetTypes();
		for (auto &column : columns) {
			types.push_back(table_types[column.index]);
		}
		ReadRows(target, bytes, {types}, values);
		if (values.size() != count) {
			throw InvalidInputException("there are %llu new values for %llu rows", values.size(), count);
		}
		for (idx_t i = 0; i < columns.size(); i++) {
			CheckColumn(entry, columns[i].index, values.data[i], count, Checked::ALL);
		}
		values.Flatten();
	}
	auto &in = PlacedIn(target, columns, places.in_place);
	changed.insert(entry.GetStorage().GetDataTableInfo().get());

	auto runs = Text(places.runs);
	auto are_all = runs.empty();
	if (are_all) {
		PlaceWriter all;
		all.Add(0, count);
		runs = all.Finish();
	}
	Vector row_ids(LogicalType::ROW_TYPE);
	auto ids = FlatVector::GetDataMutable<row_t>(row_ids);
	idx_t gathered = 0;
	idx_t done = 0;
	auto flush = [&]() {
		Vector piece(LogicalType::ROW_TYPE, data_ptr_cast(ids), gathered);
		if (!in.check.Add(piece, gathered, are_all)) {
			throw AreOthers(entry);
		}
		if (columns.empty()) {
			DeletePlaced(target, piece, gathered);
		} else {
			UpdatePlaced(target, piece, gathered, values);
		}
		done += gathered;
		gathered = 0;
	};
	PlaceReader reader(runs);
	uint64_t place, length;
	while (reader.Next(place, length)) {
		if (place + length > in.places.Count() || done + gathered + length > count) {
			throw AreOthers(entry);
		}
		while (length > 0) {
			auto here = MinValue<idx_t>(length, STANDARD_VECTOR_SIZE - gathered);
			in.places.IdsFrom(place, here, ids + gathered);
			gathered += here;
			place += here;
			length -= here;
			// The values of an update are of one vector.
			if (gathered == STANDARD_VECTOR_SIZE) {
				flush();
			}
		}
	}
	if (gathered > 0) {
		flush();
	}
	if (done != count || in.check.Finish() != places.check) {
		throw AreOthers(entry);
	}
}

void Applier::DeletePlaced(Target &target, Vector &row_ids, idx_t count) {
	auto &in = *placed;
	auto &entry = *target.entry;
	auto &storage = entry.GetStorage();
	idx_t deleted;
	if (!in.keys) {
		auto state = storage.InitializeDelete(entry, context, target.constraints);
		deleted = storage.Delete(*state, context, entry, row_ids, count);
	} else {
		DataChunk keys;
		in.keys->Read(row_ids, count, keys);
		if (keys.size() != count) {
			throw AreOthers(entry);
		}
		keys.Flatten();
		DataChunk rows;
		auto types = storage.GetTypes();
		rows.InitializeEmpty(types);
		for (idx_t i = 0; i < types.size(); i++) {
			auto key = std::find(in.indexed.begin(), in.indexed.end(), i);
			if (key == in.indexed.end()) {
				rows.data[i].Reference(Value(types[i]), count_t(count));
			} else {
				rows.data[i].Reference(keys.data[NumericCast<idx_t>(key - in.indexed.begin())]);
			}
		}
		rows.SetCardinalityUnsafe(count);
		// What is read again when the transaction commits.
		NoteText(target, keys);
		deleted = DeleteStored(context, entry, target.constraints, row_ids, rows);
	}
	if (deleted != count) {
		throw AreOthers(entry);
	}
}

void Applier::UpdatePlaced(Target &target, Vector &row_ids, idx_t count, DataChunk &values) {
	auto &in = *placed;
	if (in.moves_all) {
		MovePlaced(target, row_ids, count, values);
		return;
	}
	DataChunk old_values;
	if (in.old_values) {
		FetchRows(*in.old_values, *target.entry, row_ids, count, old_values);
	}
	auto old_of = [&](const PhysicalIndex &column) -> Vector & {
		auto place = std::lower_bound(in.needed.begin(), in.needed.end(), column.index);
		return old_values.data[NumericCast<idx_t>(place - in.needed.begin())];
	};
	vector<LogicalType> types = values.GetTypes();
	for (idx_t i = in.columns.size(); i < in.written.size(); i++) {
		types.push_back(old_of(in.written[i]).GetType());
	}
	DataChunk written;
	written.InitializeEmpty(types);
	for (idx_t i = 0; i < in.written.size(); i++) {
		auto is_changed = i < in.columns.size();
		written.data[i].Reference(is_changed ? values.data[i] : old_of(in.written[i]));
		if (is_changed && MayDropUpdates(types[i])) {
			KeepFromDropping(context, *target.entry, row_ids, in.written[i], old_of(in.written[i]), values.data[i], count);
		}
	}
	written.SetCardinalityUnsafe(count);
	auto &entry = *target.entry;
	auto state = entry.GetStorage().InitializeUpdate(entry, context, target.constraints);
	entry.GetStorage().Update(*state, context, entry, row_ids, in.written, written);
}

void Applier::MovePlaced(Target &target, Vector &row_ids, idx_t count, DataChunk &values) {
	auto &in = *placed;
	auto &entry = *target.entry;
	DataChunk old_rows;
	FetchRows(in.rows, entry, row_ids, count, old_rows);
	DataChunk new_rows;
	ReferenceColumns(old_rows, 0, entry.GetStorage().ColumnCount(), new_rows);
	for (idx_t i = 0; i < in.columns.size(); i++) {
		new_rows.data[in.columns[i].index].Reference(values.data[i]);
	}
	NoteText(target, old_rows);
	DeleteRows(context, entry, target.constraints, row_ids, old_rows);
	Append(target, new_rows);
}

} // namespace quack
