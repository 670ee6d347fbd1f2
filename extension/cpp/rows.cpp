//! Implementation of operations on rows by their ids.

#include "rows.hpp"

#include "row_identity.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/append_state.hpp"
#include "duckdb/storage/table/delete_state.hpp"
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
		if (!IsSame(old_rows.data[i], new_rows.data[i], count)) {
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
	values.SetCardinalityUnsafe(count);
	auto state = storage.InitializeUpdate(table, context, constraints);
	storage.Update(*state, context, table, row_ids, columns, values);
}

} // namespace quack
