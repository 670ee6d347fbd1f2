//! Reads the rows that a transaction has added to a table before its commit, and adds them to unique indexes that the
//! same transaction has made later.

#include "own_rows.hpp"

#include "rows.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/storage/table/scan_state.hpp"

using namespace duckdb;

namespace quack {

void ScanOwnRows(LocalStorage &local, DataTable &table, bool row_ids,
                 const std::function<void(DataChunk &rows)> &callback) {
	auto own = local.GetStorage(table);
	if (!own || own->GetCollection().GetTotalRows() == 0) {
		return;
	}
	vector<StorageIndex> column_ids;
	auto types = table.GetTypes();
	for (idx_t i = 0; i < table.ColumnCount(); i++) {
		column_ids.emplace_back(i);
	}
	if (row_ids) {
		column_ids.emplace_back(COLUMN_IDENTIFIER_ROW_ID);
		types.push_back(LogicalType::ROW_TYPE);
	}
	TableScanState state;
	state.Initialize(column_ids);
	local.InitializeScan(table, state.local_state, nullptr);
	DataChunk rows;
	rows.Initialize(Allocator::Get(table.db), types);
	while (true) {
		rows.Reset();
		local.Scan(state.local_state, column_ids, rows);
		if (rows.size() == 0) {
			return;
		}
		rows.Flatten();
		callback(rows);
	}
}

//! Puts the rows into one index.
static void Follow(LocalStorage &local, DataTable &table, IndexEntry &own_index) {
	ScanOwnRows(local, table, true, [&](DataChunk &rows) {
		Vector row_ids(Vector::Ref(rows.data.back()));
		DataChunk keys;
		ReferenceColumns(rows, 0, table.ColumnCount(), keys);
		auto error = own_index.Append(keys, row_ids, nullptr, IndexAppendMode::DEFAULT, optional_idx());
		if (error.HasError()) {
			error.Throw();
		}
	});
}

void FollowNewIndexes(LocalStorage &local, DataTable &table) {
	auto own = local.GetStorage(table);
	if (!own) {
		return;
	}
	for (auto entry : table.GetDataTableInfo()->GetIndexes().IndexEntries()) {
		if (!entry->IsUnique() || own->delete_indexes.FindEntry(*entry)) {
			continue;
		}
		entry->InitializeLocalIndexes(own->delete_indexes, own->append_indexes);
		auto own_index = own->append_indexes.FindEntry(*entry);
		if (own_index) {
			Follow(local, table, *own_index);
		}
	}
}

} // namespace quack
