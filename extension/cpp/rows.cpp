//! Finds, scans, deletes and updates rows of a table by their ids, and evaluates their index keys. It works around faults
//! of DuckDB in deletions beside a checkpoint and in updates to equal values.

#include "rows.hpp"

#include "own_rows.hpp"
#include "row_identity.hpp"
#include "statement.hpp"
#include "duckdb/common/type_visitor.hpp"
#include "duckdb/common/vector/flat_vector.hpp"
#include "duckdb/common/vector/struct_vector.hpp"
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
#include <cmath>

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
	FollowNewIndexes(LocalStorage::Get(context, table.ParentCatalog()), storage);
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
	auto &open = StatementState::Get(context).open;
	auto hidden = open ? open->HiddenIn(*storage.GetDataTableInfo()) : nullptr;
	auto all_types = storage.GetTypes();
	vector<LogicalType> types;
	for (auto &column : columns) {
		types.push_back(all_types[column.GetPrimaryIndex()]);
	}
	DataChunk visible;
	visible.InitializeEmpty(types);
	auto scanned = columns;
	if (hidden) {
		scanned.emplace_back(COLUMN_IDENTIFIER_ROW_ID);
		types.push_back(LogicalType::ROW_TYPE);
	}
	TableScanState scan;
	storage.InitializeScan(context, transaction, scan, scanned);
	DataChunk rows;
	rows.Initialize(context, types);
	SelectionVector selection(STANDARD_VECTOR_SIZE);
	while (true) {
		rows.Reset();
		storage.Scan(transaction, rows, scan);
		if (rows.size() == 0) {
			return;
		}
		if (!hidden) {
			callback(rows);
			continue;
		}
		rows.data.back().Flatten();
		auto row_ids = FlatVector::GetData<row_t>(rows.data.back());
		idx_t count = 0;
		for (idx_t i = 0; i < rows.size(); i++) {
			selection.set_index(count, i);
			count += row_ids[i] >= MAX_ROW_ID || !hidden->Contains(row_ids[i]);
		}
		if (count == 0) {
			continue;
		}
		for (idx_t i = 0; i < columns.size(); i++) {
			visible.data[i].Reference(rows.data[i]);
		}
		visible.SetCardinalityUnsafe(rows.size());
		visible.Slice(selection, count);
		callback(visible);
	}
}

RowBag BagOf(ClientContext &context, DuckTableEntry &table) {
	RowBag bag;
	ScanRows(context, table, AllColumns(table), [&](DataChunk &rows) {
		context.InterruptCheck();
		bag.count += rows.size();
		for (auto &hash : RowBytes(rows, 0, rows.ColumnCount()).Hash(rows.size())) {
			bag.sum.lanes[0] += hash.lanes[0];
			bag.sum.lanes[1] += hash.lanes[1];
		}
	});
	return bag;
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

//! The keys of rows in an index. The index evaluates its expressions for one thread at a time, so they are evaluated apart
//! from it.
static void EvaluateKeys(const BoundIndex &index, ClientContext &context, DataChunk &rows, DataChunk &keys) {
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
	keys.Initialize(Allocator::Get(context), index.GetLogicalTypes(), rows.size());
	executor.Execute(rows, keys);
}

void TryKeys(ClientContext &context, DuckTableEntry &table, DataChunk &rows) {
	auto &storage = table.GetStorage();
	DataChunk columns;
	ReferenceColumns(rows, 0, storage.ColumnCount(), columns);
	ForEachIndex(context, storage, [&](const ART &index) {
		DataChunk keys;
		EvaluateKeys(index, context, columns, keys);
		return true;
	});
}

//! Whether an index holds each of the rows: it holds none with a NULL in its key.
static vector<bool> HeldBy(const BoundIndex &index, ClientContext &context, DataChunk &rows) {
	DataChunk keys;
	EvaluateKeys(index, context, rows, keys);
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

bool IsMovedByUpdates(const LogicalType &type) {
	return !type.SupportsRegularUpdate();
}

bool MayDropUpdates(const LogicalType &type) {
	return TypeVisitor::Contains(type, [](const LogicalType &part) {
		return part.id() == LogicalTypeId::FLOAT || part.id() == LogicalTypeId::DOUBLE ||
		       part.id() == LogicalTypeId::INTERVAL;
	});
}

//! The rows in which a value, or what it is a part of, is NULL.
static vector<bool> NullRows(const Vector &values, vector<bool> nulls) {
	auto &validity = FlatVector::Validity(values);
	for (idx_t row = 0; row < nulls.size(); row++) {
		nulls[row] = nulls[row] || !validity.RowIsValid(row);
	}
	return nulls;
}

//! Notes the rows in which a value is equal to the stored one and not the same, or may be. The values are flat; some may be
//! parts of a NULL.
static void NoteEqual(Vector &old_values, Vector &new_values, const vector<bool> &in_old_null,
                      const vector<bool> &in_new_null, vector<bool> &noted) {
	if (!MayDropUpdates(new_values.GetType())) {
		return;
	}
	auto old_null = NullRows(old_values, in_old_null);
	auto new_null = NullRows(new_values, in_new_null);
	if (new_values.GetType().InternalType() == PhysicalType::STRUCT) {
		auto &old_parts = StructVector::GetEntries(old_values);
		auto &new_parts = StructVector::GetEntries(new_values);
		for (idx_t part = 0; part < new_parts.size(); part++) {
			NoteEqual(old_parts[part], new_parts[part], old_null, new_null, noted);
		}
		return;
	}
	auto count = noted.size();
	auto differ = RowBytes(old_values).Differ(RowBytes(new_values), count);
	SelectionVector equal(count);
	auto equal_count = VectorOperations::NotDistinctFrom(old_values, new_values, nullptr, count, &equal, nullptr);
	vector<bool> seems_same(count, false);
	for (idx_t row = 0; row < equal_count; row++) {
		seems_same[equal.get_index(row)] = true;
	}
	for (idx_t row = 0; row < count; row++) {
		// Under a NULL lies the value from before it.
		noted[row] = noted[row] || (!new_null[row] && (old_null[row] || (differ[row] && seems_same[row])));
	}
}

static void Step(float &value) {
	value = std::nextafter(value, value == 0 ? 1.0F : 0.0F);
}

static void Step(double &value) {
	value = std::nextafter(value, value == 0 ? 1.0 : 0.0);
}

static void Step(interval_t &value) {
	value.micros += value.micros > 0 ? -1 : 1;
}

template <class T>
static void StepAll(Vector &values, idx_t count) {
	auto data = FlatVector::GetDataMutable<T>(values);
	auto &validity = FlatVector::Validity(values);
	for (idx_t row = 0; row < count; row++) {
		if (validity.RowIsValid(row)) {
			Step(data[row]);
		}
	}
}

//! Changes the numbers of a kind that DuckDB may take for others, so that they are equal to nothing that they were.
static void StepNumbers(Vector &values, idx_t count) {
	switch (values.GetType().InternalType()) {
	case PhysicalType::FLOAT:
		StepAll<float>(values, count);
		break;
	case PhysicalType::DOUBLE:
		StepAll<double>(values, count);
		break;
	case PhysicalType::INTERVAL:
		StepAll<interval_t>(values, count);
		break;
	case PhysicalType::STRUCT:
		for (auto &part : StructVector::GetEntries(values)) {
			StepNumbers(part, count);
		}
		break;
	default:
		break;
	}
}

void KeepFromDropping(ClientContext &context, DuckTableEntry &table, Vector &row_ids, PhysicalIndex column,
                      Vector &old_values, Vector &new_values, idx_t count) {
	if (!MayDropUpdates(new_values.GetType())) {
		return;
	}
	const vector<bool> none(count, false);
	vector<bool> noted(count, false);
	old_values.Flatten();
	new_values.Flatten();
	NoteEqual(old_values, new_values, none, none, noted);
	SelectionVector sel(count);
	idx_t noted_count = 0;
	for (idx_t row = 0; row < count; row++) {
		if (noted[row]) {
			sel.set_index(noted_count++, row);
		}
	}
	if (noted_count == 0) {
		return;
	}
	Vector ids(row_ids, sel, noted_count);
	ids.Flatten();
	DataChunk others;
	others.Initialize(context, {new_values.GetType()});
	VectorOperations::Copy(new_values, others.data[0], sel, noted_count, 0, 0);
	others.SetChildCardinality(noted_count);
	auto &storage = table.GetStorage();
	// No constraint is about values that no statement sees.
	const BoundConstraints no_constraints;
	auto state = storage.InitializeUpdate(table, context, no_constraints);
	// One of two different values is not the stored one, and from that update on DuckDB drops none in the same vector.
	for (auto attempt = 0; attempt < 2; attempt++) {
		StepNumbers(others.data[0], noted_count);
		storage.Update(*state, context, table, ids, {column}, others);
	}
}

void SplitInPlace(DuckTableEntry &table, DataChunk &old_rows, DataChunk &new_rows, SelectionVector &in_place,
                  idx_t &in_place_count, SelectionVector &others, idx_t &others_count) {
	auto indexed = table.GetStorage().GetDataTableInfo()->GetIndexes().GetIndexedColumns();
	vector<bool> moves(new_rows.size(), false);
	for (idx_t i = 0; i < new_rows.ColumnCount(); i++) {
		if (!IsMovedByUpdates(new_rows.data[i].GetType()) && indexed.count(i) == 0) {
			continue;
		}
		auto differ = RowBytes(old_rows.data[i]).Differ(RowBytes(new_rows.data[i]), new_rows.size());
		for (idx_t row = 0; row < differ.size(); row++) {
			moves[row] = moves[row] || differ[row];
		}
	}
	in_place_count = others_count = 0;
	for (idx_t row = 0; row < moves.size(); row++) {
		if (moves[row]) {
			others.set_index(others_count++, row);
		} else {
			in_place.set_index(in_place_count++, row);
		}
	}
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
	for (auto &column : columns) {
		auto i = column.index;
		KeepFromDropping(context, table, row_ids, column, old_rows.data[i], new_rows.data[i], count);
	}
	auto state = storage.InitializeUpdate(table, context, constraints);
	storage.Update(*state, context, table, row_ids, columns, values);
}

} // namespace quack
