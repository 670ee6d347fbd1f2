//! Implementation of operations on rows by their ids.

#include "rows.hpp"

#include "duckdb/common/vector_operations/vector_operations.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/append_state.hpp"
#include "duckdb/storage/table/delete_state.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "duckdb/storage/table/update_state.hpp"
#include "duckdb/transaction/local_storage.hpp"

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

void FetchRows(DuckTransaction &transaction, DuckTableEntry &table, Vector &row_ids, idx_t count, DataChunk &result) {
	auto &storage = table.GetStorage();
	auto types = storage.GetTypes();
	vector<StorageIndex> column_ids;
	for (idx_t i = 0; i < types.size(); i++) {
		column_ids.emplace_back(i);
	}
	types.push_back(LogicalType::ROW_TYPE);
	column_ids.emplace_back(COLUMN_IDENTIFIER_ROW_ID);
	result.Initialize(Allocator::Get(storage.db), types, MaxValue<idx_t>(count, 1));
	row_ids.Flatten();
	ColumnFetchState fetch_state;
	storage.Fetch(transaction, result, column_ids, row_ids, count, fetch_state);
	if (result.size() != count) {
		throw TransactionException("Conflict on table \"%s\": a row that the statement has read is gone",
		                           table.name.GetIdentifierName());
	}
}

//! The first columns of a chunk: those that a table stores.
static void ReferenceColumns(DataChunk &rows, const vector<LogicalType> &types, DataChunk &result) {
	result.InitializeEmpty(types);
	for (idx_t i = 0; i < types.size(); i++) {
		result.data[i].Reference(rows.data[i]);
	}
	result.SetChildCardinality(rows.size());
}

void FreeKeys(ClientContext &context, DuckTableEntry &table, const BoundConstraints &constraints, Vector &row_ids,
              DataChunk &rows) {
	auto &storage = table.GetStorage();
	if (!storage.HasUniqueIndexes()) {
		return;
	}
	DataChunk keys;
	ReferenceColumns(rows, storage.GetTypes(), keys);
	LocalAppendState state;
	storage.InitializeLocalStorage(state, table, context, constraints);
	state.storage->AppendToDeleteIndexes(row_ids, keys);
}

void DeleteRows(ClientContext &context, DuckTableEntry &table, const BoundConstraints &constraints, Vector &row_ids,
                DataChunk &rows) {
	auto &storage = table.GetStorage();
	FreeKeys(context, table, constraints, row_ids, rows);
	auto state = storage.InitializeDelete(table, context, constraints);
	storage.Delete(*state, context, table, row_ids, rows.size());
}

void UpdateRows(ClientContext &context, DuckTableEntry &table, const BoundConstraints &constraints, Vector &row_ids,
                DataChunk &old_rows, DataChunk &new_rows) {
	auto &storage = table.GetStorage();
	auto count = old_rows.size();
	vector<PhysicalIndex> columns;
	vector<LogicalType> types;
	auto table_types = storage.GetTypes();
	for (idx_t i = 0; i < table_types.size(); i++) {
		if (VectorOperations::DistinctFrom(old_rows.data[i], new_rows.data[i], nullptr, count, nullptr, nullptr) > 0) {
			columns.emplace_back(i);
			types.push_back(table_types[i]);
		}
	}
	if (columns.empty()) {
		return;
	}
	DataChunk values;
	values.InitializeEmpty(types);
	for (idx_t i = 0; i < columns.size(); i++) {
		values.data[i].Reference(new_rows.data[columns[i].index]);
	}
	values.SetChildCardinality(count);
	auto state = storage.InitializeUpdate(table, context, constraints);
	storage.Update(*state, context, table, row_ids, columns, values);
}

} // namespace quack
