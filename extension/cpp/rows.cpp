//! Implementation of operations on rows by their ids.

#include "rows.hpp"

#include "row_identity.hpp"
#include "duckdb/common/type_visitor.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/execution/index/art/art.hpp"
#include "duckdb/planner/constraints/bound_check_constraint.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/append_state.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/delete_state.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "duckdb/storage/table/update_state.hpp"
#include "duckdb/transaction/local_storage.hpp"

#include <algorithm>

using namespace duckdb;

namespace quack {

constexpr char PATH_SEPARATOR = '\x1f';

string PathOf(const SchemaCatalogEntry &schema) {
	string result;
	for (auto &name : schema.GetSchemaPath()) {
		result += (result.empty() ? "" : string(1, PATH_SEPARATOR)) + name.GetIdentifierName();
	}
	return result;
}

QualifiedName NameIn(const string &catalog, const string &schema_path, const string &name) {
	vector<Identifier> path;
	for (auto &schema : StringUtil::Split(schema_path, PATH_SEPARATOR)) {
		path.emplace_back(schema);
	}
	return QualifiedName::FromCatalogSchema(Identifier(catalog), std::move(path), Identifier(name));
}

void FetchRows(RowReader &reader, const DuckTableEntry &table, const Vector &row_ids, idx_t count, DataChunk &result) {
	reader.Read(row_ids, count, result);
	if (result.size() != count) {
		throw TransactionException("Conflict on table \"%s\": a row that the statement has read is gone",
		                           table.name.GetIdentifierName());
	}
	result.Flatten();
}

void ReferenceColumns(const DataChunk &rows, idx_t first_column, idx_t column_count, DataChunk &result) {
	vector<LogicalType> types;
	for (idx_t i = 0; i < column_count; i++) {
		types.push_back(rows.data[first_column + i].GetType());
	}
	result.InitializeEmpty(types);
	for (idx_t i = 0; i < column_count; i++) {
		// A constant vector shares its length with all that refer to it.
		rows.data[first_column + i].Flatten();
		result.data[i].Reference(rows.data[first_column + i]);
	}
	result.SetCardinalityUnsafe(rows.size());
}

void FreeKeys(ClientContext &context, DuckTableEntry &table, const BoundConstraints &constraints, Vector &row_ids,
              DataChunk &rows) {
	auto &storage = table.GetStorage();
	if (!storage.HasUniqueIndexes()) {
		return;
	}
	DataChunk keys;
	ReferenceColumns(rows, 0, storage.ColumnCount(), keys);
	LocalAppendState state;
	storage.InitializeLocalStorage(state, table, context, constraints);
	state.storage->AppendToDeleteIndexes(row_ids, keys);
}

vector<StorageIndex> AllColumns(DuckTableEntry &table) {
	vector<StorageIndex> result;
	for (idx_t i = 0; i < table.GetStorage().ColumnCount(); i++) {
		result.emplace_back(i);
	}
	return result;
}

void ScanRows(ClientContext &context, DuckTableEntry &table, const vector<StorageIndex> &columns,
              const std::function<void(DataChunk &rows)> &callback) {
	auto &storage = table.GetStorage();
	auto &transaction = DuckTransaction::Get(context, storage.db);
	TableScanState scan;
	storage.InitializeScan(context, transaction, scan, columns);
	auto all_types = storage.GetTypes();
	vector<LogicalType> types;
	for (auto &column : columns) {
		types.push_back(all_types[column.GetPrimaryIndex()]);
	}
	DataChunk rows;
	rows.Initialize(context, types);
	while (true) {
		rows.Reset();
		storage.Scan(transaction, rows, scan);
		if (rows.size() == 0) {
			return;
		}
		callback(rows);
	}
}

void ForEachIndex(ClientContext &context, DataTable &storage, const std::function<bool(const ART &index)> &callback) {
	auto &info = *storage.GetDataTableInfo();
	info.BindIndexes(context);
	// DuckDB takes an entry from its list and ends its index at once, also for those that have the entry still. The list
	// is locked as long as it is walked.
	for (auto entry : info.GetIndexes().IndexEntries()) {
		if (entry->GetBindState() == IndexBindState::BOUND && entry->GetIndexType() == ART::TYPE_NAME) {
			auto index = entry->GetReadHandle<ART>();
			if (!callback(*index.operator->())) {
				return;
			}
		}
	}
}

//! Whether an index holds each of the rows: it holds none with a NULL in its key. The index evaluates its expressions for
//! one thread at a time, so they are evaluated apart from it.
static vector<bool> HeldBy(const BoundIndex &index, ClientContext &context, DataChunk &rows) {
	vector<unique_ptr<Expression>> expressions;
	ExpressionExecutor executor(context);
	for (idx_t i = 0; i < index.UnboundExpressionCount(); i++) {
		auto expression = index.CopyUnboundExpression(i);
		ExpressionIterator::VisitExpressionMutable<BoundColumnRefExpression>(
		    expression, [&](BoundColumnRefExpression &column, unique_ptr<Expression> &place) {
			    auto position = index.GetColumnIds()[column.Binding().column_index];
			    place = make_uniq<BoundReferenceExpression>(column.GetReturnType(), position);
		    });
		executor.AddExpression(*expression);
		expressions.push_back(std::move(expression));
	}
	DataChunk keys;
	keys.Initialize(Allocator::Get(context), index.GetLogicalTypes(), rows.size());
	executor.Execute(rows, keys);
	vector<bool> held(rows.size(), true);
	for (auto &column : keys.data) {
		UnifiedVectorFormat format;
		column.ToUnifiedFormat(format);
		for (idx_t i = 0; i < held.size(); i++) {
			held[i] = held[i] && format.validity.RowIsValid(format.sel->get_index(i));
		}
	}
	return held;
}

//! The positions of rows in groups, so that each index of the table holds all rows of a group or none. Where a commit
//! takes rows from an index while a checkpoint is written, DuckDB 2.0.0 counts those that the index does not hold as taken
//! from what the checkpoint has put aside, and breaks off when it finds only a part of them there.
static vector<vector<idx_t>> GroupByIndexes(ClientContext &context, DataTable &storage, DataChunk &rows) {
	vector<vector<idx_t>> groups(1);
	for (idx_t i = 0; i < rows.size(); i++) {
		groups[0].push_back(i);
	}
	if (rows.size() <= 1 || !storage.HasIndexes()) {
		return groups;
	}
	DataChunk columns;
	ReferenceColumns(rows, 0, storage.ColumnCount(), columns);
	ForEachIndex(context, storage, [&](const ART &index) {
		auto held = HeldBy(index, context, columns);
		auto count = groups.size();
		for (idx_t group = 0; group < count; group++) {
			vector<idx_t> others;
			auto &positions = groups[group];
			auto first = held[positions[0]];
			positions.erase(std::remove_if(positions.begin(), positions.end(), [&](idx_t i) {
				if (held[i] != first) {
					others.push_back(i);
				}
				return held[i] != first;
			}), positions.end());
			if (!others.empty()) {
				groups.push_back(std::move(others));
			}
		}
		return true;
	});
	return groups;
}

idx_t DeleteStored(ClientContext &context, DuckTableEntry &table, const BoundConstraints &constraints, Vector &row_ids,
                   DataChunk &rows) {
	auto &storage = table.GetStorage();
	auto state = storage.InitializeDelete(table, context, constraints);
	idx_t deleted = 0;
	for (auto &positions : GroupByIndexes(context, storage, rows)) {
		if (positions.size() == rows.size()) {
			return storage.Delete(*state, context, table, row_ids, rows.size());
		}
		SelectionVector sel(positions.size());
		for (idx_t i = 0; i < positions.size(); i++) {
			sel.set_index(i, positions[i]);
		}
		Vector ids(row_ids, sel, positions.size());
		ids.Flatten();
		deleted += storage.Delete(*state, context, table, ids, positions.size());
	}
	return deleted;
}

void DeleteRows(ClientContext &context, DuckTableEntry &table, const BoundConstraints &constraints, Vector &row_ids,
                DataChunk &rows) {
	FreeKeys(context, table, constraints, row_ids, rows);
	DeleteStored(context, table, constraints, row_ids, rows);
}

bool HasKey(ClientContext &context, DataTable &storage) {
	auto has_key = false;
	ForEachIndex(context, storage, [&](const ART &index) {
		has_key = has_key || index.IsPrimary();
		return !has_key;
	});
	return has_key;
}

//! Whether values may differ and be equal in SQL: 0.0 and -0.0, a month and 30 days. DuckDB drops an update to an equal
//! value where the vector has had no update since the last checkpoint, which is another one on each node.
static bool HasEqualValues(const LogicalType &type) {
	return TypeVisitor::Contains(type, [](const LogicalType &part) {
		return part.id() == LogicalTypeId::FLOAT || part.id() == LogicalTypeId::DOUBLE ||
		       part.id() == LogicalTypeId::INTERVAL;
	});
}

bool IsMovedByUpdates(const LogicalType &type) {
	return !type.SupportsRegularUpdate();
}

bool MayMoveByUpdate(const LogicalType &type) {
	return IsMovedByUpdates(type) || HasEqualValues(type);
}

void NoteMoved(Vector &old_values, Vector &new_values, bool whenever_different, vector<bool> &moves) {
	auto count = moves.size();
	auto differ = RowBytes(old_values).Differ(RowBytes(new_values), count);
	if (!whenever_different) {
		SelectionVector equal(count);
		auto equal_count = VectorOperations::NotDistinctFrom(old_values, new_values, nullptr, count, &equal, nullptr);
		vector<bool> seems_same(count, false);
		for (idx_t row = 0; row < equal_count; row++) {
			seems_same[equal.get_index(row)] = true;
		}
		for (idx_t row = 0; row < count; row++) {
			differ[row] = differ[row] && seems_same[row];
		}
	}
	for (idx_t row = 0; row < count; row++) {
		moves[row] = moves[row] || differ[row];
	}
}

void Split(const vector<bool> &moves, SelectionVector &in_place, idx_t &in_place_count, SelectionVector &others,
           idx_t &others_count) {
	in_place_count = others_count = 0;
	for (idx_t row = 0; row < moves.size(); row++) {
		if (moves[row]) {
			others.set_index(others_count++, row);
		} else {
			in_place.set_index(in_place_count++, row);
		}
	}
}

void SplitInPlace(DuckTableEntry &table, DataChunk &old_rows, DataChunk &new_rows, SelectionVector &in_place,
                  idx_t &in_place_count, SelectionVector &others, idx_t &others_count) {
	auto indexed = table.GetStorage().GetDataTableInfo()->GetIndexes().GetIndexedColumns();
	vector<bool> moves(new_rows.size(), false);
	for (idx_t i = 0; i < new_rows.ColumnCount(); i++) {
		auto &type = new_rows.data[i].GetType();
		auto is_moved = IsMovedByUpdates(type) || indexed.count(i) > 0;
		if (is_moved || MayMoveByUpdate(type)) {
			NoteMoved(old_rows.data[i], new_rows.data[i], is_moved, moves);
		}
	}
	Split(moves, in_place, in_place_count, others, others_count);
}

void SelectRows(const DataChunk &rows, const SelectionVector &sel, idx_t count, DataChunk &result) {
	result.InitializeEmpty(rows.GetTypes());
	result.Slice(rows, sel, count);
	result.Flatten();
}

void AddCheckedColumns(const BoundConstraints &constraints, physical_index_set_t &updated) {
	auto is_updated = [&](const PhysicalIndex &column) { return updated.count(column) > 0; };
	for (idx_t before = 0; before != updated.size();) {
		before = updated.size();
		for (auto &constraint : constraints) {
			if (constraint->type != ConstraintType::CHECK) {
				continue;
			}
			auto &checked = constraint->Cast<BoundCheckConstraint>().bound_columns;
			if (std::any_of(checked.begin(), checked.end(), is_updated)) {
				updated.insert(checked.begin(), checked.end());
			}
		}
	}
}

void UpdateRows(ClientContext &context, DuckTableEntry &table, const BoundConstraints &constraints, Vector &row_ids,
                DataChunk &old_rows, DataChunk &new_rows) {
	auto &storage = table.GetStorage();
	auto count = old_rows.size();
	physical_index_set_t changed;
	for (idx_t i = 0; i < storage.ColumnCount(); i++) {
		if (!IsSame(old_rows.data[i], new_rows.data[i], count)) {
			changed.insert(PhysicalIndex(i));
		}
	}
	if (changed.empty()) {
		return;
	}
	AddCheckedColumns(constraints, changed);
	vector<PhysicalIndex> columns(changed.begin(), changed.end());
	std::sort(columns.begin(), columns.end());
	vector<LogicalType> types;
	for (auto &column : columns) {
		types.push_back(storage.GetTypes()[column.index]);
	}
	DataChunk values;
	values.InitializeEmpty(types);
	for (idx_t i = 0; i < columns.size(); i++) {
		values.data[i].Reference(new_rows.data[columns[i].index]);
	}
	values.SetCardinalityUnsafe(count);
	auto state = storage.InitializeUpdate(table, context, constraints);
	storage.Update(*state, context, table, row_ids, columns, values);
}

} // namespace quack
