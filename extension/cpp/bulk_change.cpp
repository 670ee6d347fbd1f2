//! Collects the rows of an UPDATE or DELETE that changes many rows, and writes their places to the log instead of the
//! rows. Where places do not pay or are not the same on all nodes, the caller gets the rows back.

#include "bulk_change.hpp"

#include "chunk.hpp"
#include "one_nan.hpp"
#include "repeat.hpp"
#include "row_bytes.hpp"
#include "rows.hpp"
#include "statement.hpp"
#include "transaction_manager.hpp"
#include "duckdb/common/vector/flat_vector.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"

#include <algorithm>

using namespace duckdb;

namespace quack {

//! With fewer rows of a table with a key, a conflict with a statement about other rows costs more than the rows do.
constexpr idx_t ROWS_MIN = STANDARD_VECTOR_SIZE;
//! Every node finds places by reading the ids of all rows. That costs about as much as sending one row in this many. And a
//! table without a key loses its order when rows are sent, so that a statement sends them only where there are very few.
constexpr idx_t ROWS_PER_ROW_WITH_KEY = 1 << 10;
constexpr idx_t ROWS_PER_ROW = 1 << 20;
//! So many rows are updated where they are. That takes a fraction of the time, but a transaction from before it keeps
//! checkpoints away for as long as it is open.
constexpr idx_t ROWS_IN_PLACE_MIN = 5 * STANDARD_VECTOR_SIZE;
//! `Rows.count` has 32 bits.
constexpr idx_t ROWS_PER_MESSAGE = idx_t(1) << 30;

static bool AreIndexed(DuckTableEntry &table, const vector<PhysicalIndex> &columns) {
	auto indexed = table.GetStorage().GetDataTableInfo()->GetIndexes().GetIndexedColumns();
	return std::any_of(columns.begin(), columns.end(),
	                   [&](const PhysicalIndex &column) { return indexed.count(column.index) > 0; });
}

unique_ptr<BulkChange> BulkChange::Begin(ClientContext &context, const PhysicalCapture &op, DuckTableEntry &table,
                                         const vector<PhysicalIndex> &columns) {
	// A statement that is refused because the table has changed must be able to run again; then it sends its rows.
	if (!op.is_alone || op.return_chunk || op.proposal->reads_replacement ||
	    StatementState::Get(context).unfinished != 1 || !MayRepeat(context, op)) {
		return nullptr;
	}
	auto &catalog = table.ParentCatalog().Cast<QuackCatalog>();
	auto number = catalog.numbers.ForRows(table);
	auto &transactions = QuackTransactionManager::Get(catalog);
	auto revision = transactions.RevisionIn(DuckTransaction::Get(context, catalog));
	if (number <= TABLE_MADE_HERE || !revision.IsValid() || AreIndexed(table, columns)) {
		return nullptr;
	}
	auto &storage = table.GetStorage();
	auto has_key = HasKey(context, storage);
	auto is_ordered = transactions.IsOrdered(number);
	if (!is_ordered && !columns.empty()) {
		return nullptr;
	}
	auto rows = storage.GetTotalRows();
	auto rows_min = has_key || !is_ordered ? MaxValue<idx_t>(ROWS_MIN, rows / ROWS_PER_ROW_WITH_KEY) : rows / ROWS_PER_ROW;
	return unique_ptr<BulkChange>(
	    new BulkChange(context, op, table, columns, revision.GetIndex(), is_ordered, MaxValue<idx_t>(rows_min, 1)));
}

BulkChange::BulkChange(ClientContext &context, const PhysicalCapture &op, DuckTableEntry &table,
                       const vector<PhysicalIndex> &columns, uint64_t revision, bool is_ordered, idx_t rows_min)
    : context(context), op(op), table(table), columns(columns), revision(revision), is_ordered(is_ordered),
      rows_min(rows_min) {
	if (columns.empty()) {
		return;
	}
	vector<LogicalType> types;
	auto table_types = table.GetStorage().GetTypes();
	for (auto &column : columns) {
		types.push_back(table_types[column.index]);
	}
	types.push_back(LogicalType::ROW_TYPE);
	kept = make_uniq<ColumnDataCollection>(context, types);
}

RowPlaces &BulkChange::Places() {
	if (!places) {
		places = make_uniq<RowPlaces>(context, table.GetStorage());
	}
	return *places;
}

RowCheck &BulkChange::Check() {
	if (!check) {
		check = make_uniq<RowCheck>(DuckTransaction::Get(context, table.ParentCatalog()), table);
	}
	return *check;
}

void BulkChange::Write(PlaceWriter &runs, bool are_all, QuackBytes values) {
	auto count = runs.Count();
	auto bytes = runs.Finish();
	if (are_all) {
		bytes.clear();
	}
	static_cast<Writer &>(*op.proposal->changes)
	    .Placed(table, PlacedRows {revision, std::move(bytes), Check().Finish(), count, columns, values, in_place});
}

static TransactionException RowIsGone(const DuckTableEntry &table) {
	return TransactionException("Conflict on table \"%s\": a row that the statement has read is gone",
	                            table.name.GetIdentifierName());
}

void BulkChange::WriteUpdated(Vector &row_ids, DataChunk &values) {
	auto ids = FlatVector::GetData<row_t>(row_ids);
	for (auto &range : Cut(values, values.size(), PIECE_BYTES)) {
		PlaceWriter runs;
		for (auto i = range.begin; i < range.end; i++) {
			runs.Add(Places().PlaceOf(ids[i]), 1);
		}
		Vector changed(row_ids, range.begin, range.end);
		changed.Flatten();
		if (!Check().Add(changed, range.end - range.begin, false)) {
			throw RowIsGone(table);
		}
		auto bytes = SerializeChunk(*PieceOf(values, range));
		Write(runs, false, QuackBytes {bytes->GetData(), bytes->GetPosition()});
	}
}

//! Puts rows in the order of their ids.
static void Sort(Vector &row_ids, idx_t count, DataChunk &values) {
	auto ids = FlatVector::GetData<row_t>(row_ids);
	if (std::is_sorted(ids, ids + count)) {
		return;
	}
	vector<idx_t> order(count);
	for (idx_t i = 0; i < count; i++) {
		order[i] = i;
	}
	std::sort(order.begin(), order.end(), [&](idx_t left, idx_t right) { return ids[left] < ids[right]; });
	SelectionVector sel(count);
	for (idx_t i = 0; i < count; i++) {
		sel.set_index(i, order[i]);
	}
	row_ids.Slice(sel, count);
	row_ids.Flatten();
	values.Slice(sel, count);
	values.Flatten();
}

void BulkChange::ForEachKept(ColumnDataCollection &rows, const Take &take) {
	for (auto &chunk : rows.Chunks()) {
		chunk.Flatten();
		Vector ids(Vector::Ref(chunk.data[columns.size()]));
		DataChunk values;
		ReferenceColumns(chunk, 0, columns.size(), values);
		take(ids, chunk.size(), values);
	}
}

void BulkChange::Update(Vector &row_ids, idx_t count, DataChunk &values) {
	row_ids.Flatten();
	if (kept) {
		DataChunk both;
		both.InitializeEmpty(kept->Types());
		for (idx_t i = 0; i < columns.size(); i++) {
			both.data[i].Reference(values.data[i]);
		}
		both.data[columns.size()].Reference(row_ids);
		both.SetCardinalityUnsafe(count);
		kept->Append(both);
		if (kept->Count() >= MaxValue<idx_t>(rows_min, ROWS_IN_PLACE_MIN)) {
			in_place = true;
			WriteKept();
		}
		return;
	}
	WriteSorted(row_ids, count, values);
}

void BulkChange::WriteKept() {
	auto first = std::move(kept);
	ForEachKept(*first, [&](Vector &row_ids, idx_t count, DataChunk &values) { WriteSorted(row_ids, count, values); });
}

void BulkChange::WriteSorted(Vector &row_ids, idx_t count, DataChunk &values) {
	DataChunk sorted;
	ReferenceColumns(values, 0, columns.size(), sorted);
	UnifyNans(sorted);
	Vector ids(Vector::Ref(row_ids));
	Sort(ids, count, sorted);
	WriteUpdated(ids, sorted);
}

void BulkChange::Delete(Vector &row_ids, idx_t count) {
	row_ids.Flatten();
	deleted.Add(FlatVector::GetData<row_t>(row_ids), count);
}

bool BulkChange::WriteDeleted() {
	auto count = deleted.Count();
	if (count < rows_min) {
		return false;
	}
	auto are_all = count == Places().Count() && count <= ROWS_PER_MESSAGE;
	if (!are_all && !is_ordered) {
		return false;
	}
	PlaceWriter runs;
	deleted.ForEachVector([&](Vector &row_ids, idx_t size) {
		auto ids = FlatVector::GetData<row_t>(row_ids);
		auto first = Places().PlaceOf(ids[0]);
		if (Places().PlaceOf(ids[size - 1]) - first == size - 1) {
			runs.Add(first, size);
		} else {
			for (idx_t i = 0; i < size; i++) {
				runs.Add(Places().PlaceOf(ids[i]), 1);
			}
		}
		if (!Check().Add(row_ids, size, are_all)) {
			throw RowIsGone(table);
		}
		if (!are_all && (runs.Bytes() > PIECE_BYTES || runs.Count() > ROWS_PER_MESSAGE)) {
			Write(runs, false, QuackBytes {nullptr, 0});
		}
	});
	if (runs.Count() > 0) {
		Write(runs, are_all, QuackBytes {nullptr, 0});
	}
	return true;
}

void BulkChange::Finish(const Take &take) {
	if (kept && kept->Count() >= rows_min) {
		WriteKept();
	} else if (kept) {
		ForEachKept(*kept, take);
	} else if (columns.empty() && !WriteDeleted()) {
		DataChunk none;
		deleted.ForEachVector([&](Vector &row_ids, idx_t count) { take(row_ids, count, none); });
	}
}

} // namespace quack
