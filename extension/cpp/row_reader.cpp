//! Reads rows of a table by their ids: it scans a vector where many of the rows lie in it, and fetches them one by one
//! elsewhere.

#include "row_reader.hpp"

#include "compat.hpp"
#include "duckdb/common/vector/flat_vector.hpp"
#include "duckdb/storage/table/row_group.hpp"
#include "duckdb/storage/table/row_group_collection.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "duckdb/transaction/local_storage.hpp"

#include <algorithm>

using namespace duckdb;

namespace quack {

//! So many rows sought in one vector are cheaper to scan than to fetch. A compressed vector costs about as much as ten
//! fetched rows; of one that is not compressed even this many cost little either way.
constexpr idx_t DENSE = 8;

static vector<idx_t> AllColumns(const DataTable &storage) {
	vector<idx_t> columns;
	for (idx_t i = 0; i < storage.ColumnCount(); i++) {
		columns.push_back(i);
	}
	return columns;
}

RowReader::RowReader(DuckTransaction &transaction, DataTable &storage)
    : RowReader(transaction, storage, AllColumns(storage)) {
}

RowReader::RowReader(DuckTransaction &transaction, DataTable &storage, const vector<idx_t> &columns)
    : transaction(transaction), storage(storage) {
	auto all_types = storage.GetTypes();
	for (auto column : columns) {
		types.push_back(all_types[column]);
		column_ids.emplace_back(column);
	}
	types.push_back(LogicalType::ROW_TYPE);
	column_ids.emplace_back(COLUMN_IDENTIFIER_ROW_ID);
	scanned.Initialize(Allocator::Get(storage.db), types);
}

RowReader::~RowReader() = default;

void RowReader::Forget() {
	// The scan itself sees changes in what it has not read yet.
	vector_begin = vector_end = 0;
	scanned.Reset();
}

bool RowReader::CanFetch(row_t id) {
	if (id < MAX_ROW_ID) {
		return storage.CanFetch(transaction, id);
	}
	auto &local = transaction.GetLocalStorage();
	return local.GetStorage(storage) && local.CanFetch(storage, id);
}

void RowReader::Open(row_t id) {
	scan = make_uniq<TableScanState>();
	auto &state = scan->table_state;
	if (id < MAX_ROW_ID) {
		BeginScan(storage, transaction, *scan, column_ids, id);
	} else {
		scan->Initialize(column_ids);
		auto own = transaction.GetLocalStorage().GetStorage(storage);
		own->GetCollection().InitializeScanWithOffset(QueryContext(), state, column_ids, NumericCast<idx_t>(id),
		                                              NumericLimits<idx_t>::Maximum());
	}
	auto group = state.GetRowGroup();
	group_begin = group->GetRowStart();
	group_end = group_begin + group->GetNode().count;
}

void RowReader::ScanVectorOf(row_t id) {
	auto row = NumericCast<idx_t>(id);
	if (row >= vector_begin && row < vector_end) {
		return;
	}
	auto is_ahead = [&]() {
		return scan && row >= group_begin && row < group_end &&
		       (row - group_begin) / STANDARD_VECTOR_SIZE >= scan->table_state.vector_index;
	};
	if (!is_ahead()) {
		Open(id);
	}
	auto &state = scan->table_state;
	auto &group = state.GetRowGroup()->GetNode();
	auto index = (row - group_begin) / STANDARD_VECTOR_SIZE;
	while (state.vector_index < index) {
		group.NextVector(state);
	}
	scanned.Reset();
	// The row is visible, so that this stops at its vector.
	state.Scan(transaction, scanned);
	vector_begin = group_begin + index * STANDARD_VECTOR_SIZE;
	vector_end = MinValue(vector_begin + STANDARD_VECTOR_SIZE, group_end);
}

void RowReader::Pick(const row_t *ids, idx_t count, DataChunk &result) {
	auto &column = scanned.data[types.size() - 1];
	column.Flatten();
	auto present = FlatVector::GetData<row_t>(column);
	SelectionVector sel(count);
	idx_t found = 0;
	idx_t position = 0;
	for (idx_t i = 0; i < count; i++) {
		while (position < scanned.size() && present[position] < ids[i]) {
			position++;
		}
		if (position < scanned.size() && present[position] == ids[i]) {
			sel.set_index(found++, position);
		}
	}
	result.InitializeEmpty(types);
	if (found == scanned.size()) {
		result.Reference(scanned);
	} else {
		result.Slice(scanned, sel, found);
	}
}

void RowReader::Fetch(const row_t *ids, idx_t count, DataChunk &result) {
	result.Initialize(Allocator::Get(storage.db), types, MaxValue<idx_t>(count, 1));
	Vector row_ids(LogicalType::ROW_TYPE, data_ptr_cast(const_cast<row_t *>(ids)), count);
	ColumnFetchState state;
	storage.Fetch(transaction, result, column_ids, row_ids, count, state);
}

void RowReader::ReadAscending(const row_t *ids, idx_t count, DataChunk &result) {
	auto is_dense = [&](idx_t begin) {
		return begin + DENSE <= count && ids[begin + DENSE - 1] - ids[begin] < row_t(STANDARD_VECTOR_SIZE);
	};
	auto initialized = false;
	idx_t begin = 0;
	while (begin < count) {
		auto end = begin + 1;
		DataChunk piece;
		if (is_dense(begin)) {
			if (!CanFetch(ids[begin])) {
				begin++;
				continue;
			}
			ScanVectorOf(ids[begin]);
			while (end < count && NumericCast<idx_t>(ids[end]) < vector_end) {
				end++;
			}
			Pick(ids + begin, end - begin, piece);
		} else {
			while (end < count && !is_dense(end)) {
				end++;
			}
			Fetch(ids + begin, end - begin, piece);
		}
		if (begin == 0 && end == count) {
			result.Move(piece);
			return;
		}
		if (!initialized) {
			result.Initialize(Allocator::Get(storage.db), types, count);
			initialized = true;
		}
		result.Append(piece);
		begin = end;
	}
	if (!initialized) {
		result.Initialize(Allocator::Get(storage.db), types, 1);
	}
}

void RowReader::Read(const Vector &row_ids, idx_t count, DataChunk &result) {
	row_ids.Flatten();
	auto ids = FlatVector::GetData<row_t>(row_ids);
	if (std::is_sorted(ids, ids + count)) {
		ReadAscending(ids, count, result);
		return;
	}
	vector<idx_t> order(count);
	for (idx_t i = 0; i < count; i++) {
		order[i] = i;
	}
	std::sort(order.begin(), order.end(), [&](idx_t left, idx_t right) { return ids[left] < ids[right]; });
	vector<row_t> sorted(count);
	for (idx_t i = 0; i < count; i++) {
		sorted[i] = ids[order[i]];
	}
	ReadAscending(sorted.data(), count, result);
	auto &column = result.data[types.size() - 1];
	column.Flatten();
	auto present = FlatVector::GetData<row_t>(column);
	// Where the row that was sought at each place has come to lie.
	vector<idx_t> places(count, result.size());
	idx_t position = 0;
	for (idx_t i = 0; i < count && position < result.size(); i++) {
		if (present[position] == sorted[i]) {
			places[order[i]] = position++;
		}
	}
	SelectionVector sel(count);
	idx_t found = 0;
	for (auto place : places) {
		if (place < result.size()) {
			sel.set_index(found++, place);
		}
	}
	if (found > 0) {
		result.Slice(sel, found);
	}
}

} // namespace quack
