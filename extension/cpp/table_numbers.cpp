//! Numbering tables: the list of them in the store, which changes with the catalog, and what is known of it in memory.

#include "table_numbers.hpp"

#include "applier.hpp"
#include "error.hpp"
#include "rows.hpp"
#include "table_entry.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/storage/data_table.hpp"

using namespace duckdb;

namespace quack {

//! The list, in the schema of the applier's own tables. It is there once tables are numbered.
constexpr const char *LIST = "table_numbers";
//! Numbers in the text of one statement.
constexpr idx_t NUMBERS_PER_STATEMENT = 1024;

uint64_t TableNumbers::Of(DuckTableEntry &table) const {
	auto &info = table.GetStorage().GetDataTableInfo();
	lock_guard<mutex> guard(lock);
	auto found = numbers.find(info.get());
	return found == numbers.end() || found->second.table.expired() ? 0 : found->second.number;
}

uint64_t TableNumbers::ForRows(DuckTableEntry &table) const {
	if (!begun) {
		return 0;
	}
	auto number = Of(table);
	// A session sees what is not committed only when it is its own.
	return number == 0 && table.timestamp >= TRANSACTION_ID_START ? TABLE_MADE_HERE : number;
}

void TableNumbers::Publish(const shared_ptr<DataTableInfo> &table, uint64_t number) {
	lock_guard<mutex> guard(lock);
	numbers[table.get()] = Numbered {table, number};
}

void TableNumbers::ForgetGone() {
	lock_guard<mutex> guard(lock);
	for (auto it = numbers.begin(); it != numbers.end();) {
		it = it->second.table.expired() ? numbers.erase(it) : std::next(it);
	}
}

void TableList::ForgetChanges() {
	changes = false;
	added.clear();
	moved.clear();
	gone.clear();
}

void TableList::KeepChanges() {
	for (auto table : gone) {
		tables.erase(table);
	}
	for (auto &table : moved) {
		tables[table.first] = std::move(table.second);
	}
	for (auto &table : added) {
		tables[table.first.get()] = std::move(table.second);
	}
	ForgetChanges();
}

//! Compares the list with the catalog, as the running transaction sees it. New tables get numbers behind `last`, in the
//! order of schemas and names.
static uint64_t Compare(ClientContext &context, QuackCatalog &catalog, TableList &list, uint64_t last) {
	list.ForgetChanges();
	list.looks++;
	map<pair<string, string>, shared_ptr<DataTableInfo>> made;
	optional_ptr<SchemaCatalogEntry> schema;
	string path;
	ForEachTable(context, catalog, [&](SchemaCatalogEntry &parent, DuckTableEntry &table) {
		if (schema.get() != &parent) {
			schema = parent;
			path = PathOf(parent);
		}
		auto &name = table.name.GetIdentifierName();
		auto &info = table.GetStorage().GetDataTableInfo();
		auto found = list.tables.find(info.get());
		if (found == list.tables.end()) {
			made.emplace(make_pair(path, name), info);
			return;
		}
		auto &listed = found->second;
		listed.seen = list.looks;
		if (listed.name != name || listed.schema != path) {
			list.moved.emplace_back(info.get(), ListedTable {listed.number, path, name, list.looks});
		}
	});
	for (auto &table : list.tables) {
		if (table.second.seen != list.looks) {
			list.gone.push_back(table.first);
		}
	}
	for (auto &table : made) {
		list.added.emplace_back(table.second, ListedTable {++last, table.first.first, table.first.second, list.looks});
	}
	list.changes = true;
	return last;
}

void Applier::Unlist(const vector<uint64_t> &numbers) {
	for (idx_t begin = 0; begin < numbers.size(); begin += NUMBERS_PER_STATEMENT) {
		string some;
		for (idx_t i = begin; i < MinValue<idx_t>(begin + NUMBERS_PER_STATEMENT, numbers.size()); i++) {
			some += (some.empty() ? "" : ", ") + to_string(numbers[i]);
		}
		Run(StringUtil::Format("DELETE FROM %s.%s WHERE number IN (%s)", SQLIdentifier::ToString(INTERNAL_SCHEMA), LIST, some));
	}
}

void Applier::List(const vector<reference<const ListedTable>> &tables) {
	const string schema(INTERNAL_SCHEMA);
	const string name(LIST);
	for (idx_t begin = 0; begin < tables.size(); begin += STANDARD_VECTOR_SIZE) {
		auto end = MinValue<idx_t>(begin + STANDARD_VECTOR_SIZE, tables.size());
		DataChunk rows;
		rows.Initialize(context, {LogicalType::UBIGINT, LogicalType::VARCHAR, LogicalType::VARCHAR}, end - begin);
		for (idx_t i = begin; i < end; i++) {
			auto &table = tables[i].get();
			rows.data[0].Append(Value::UBIGINT(table.number));
			rows.data[1].Append(Value(table.schema));
			rows.data[2].Append(Value(table.name));
		}
		rows.SetChildCardinality(end - begin);
		auto &target = TargetOf(QuackTable {Bytes(schema), Bytes(name), 0, 0});
		target.entry->GetStorage().LocalAppend(*target.entry, context, rows, target.constraints);
		inserted.insert(&target);
	}
}

uint64_t Applier::NumberTables(uint64_t last) {
	FlushAppend();
	auto &catalog = store.Catalog();
	if (!catalog.numbers.HaveBegun()) {
		Run(StringUtil::Format(
		    "CREATE TABLE IF NOT EXISTS %s.%s (number UBIGINT NOT NULL, schema_path VARCHAR NOT NULL, name VARCHAR NOT NULL)",
		    SQLIdentifier::ToString(INTERNAL_SCHEMA), LIST));
	}
	last = Compare(context, catalog, list, last);
	vector<uint64_t> off;
	vector<reference<const ListedTable>> on;
	for (auto table : list.gone) {
		off.push_back(list.tables[table].number);
	}
	for (auto &table : list.moved) {
		off.push_back(table.second.number);
		on.push_back(table.second);
	}
	for (auto &table : list.added) {
		on.push_back(table.second);
	}
	Unlist(off);
	List(on);
	if (catalog.numbers.HaveBegun()) {
		// Before the commit: whoever sees the new tables must find their numbers. They are new indeed, as all others have
		// one; where the transaction fails, nobody ever sees them.
		PublishNumbers();
	}
	return last;
}

void Applier::PublishNumbers() {
	auto &numbers = store.Catalog().numbers;
	for (auto &table : list.added) {
		numbers.Publish(table.first, table.second.number);
	}
}

void Applier::KeepNumbers() {
	if (!list.changes) {
		return;
	}
	auto &numbers = store.Catalog().numbers;
	PublishNumbers();
	numbers.Begin();
	numbers.ForgetGone();
	list.KeepChanges();
}

//! The list as it is stored, by schema and name.
static map<pair<string, string>, uint64_t> ReadList(Connection &connection) {
	auto result = connection.Query(StringUtil::Format("SELECT number, schema_path, name FROM %s.%s",
	                                                  SQLIdentifier::ToString(INTERNAL_SCHEMA), LIST));
	if (result->HasError()) {
		result->ThrowError();
	}
	map<pair<string, string>, uint64_t> numbers;
	while (auto chunk = result->Fetch()) {
		if (chunk->size() == 0) {
			break;
		}
		for (idx_t i = 0; i < chunk->size(); i++) {
			auto schema = StringValue::Get(chunk->GetValue(1, i));
			auto name = StringValue::Get(chunk->GetValue(2, i));
			numbers[{schema, name}] = chunk->GetValue(0, i).GetValue<uint64_t>();
		}
	}
	return numbers;
}

void Applier::LoadNumbers() {
	auto exists = false;
	context.RunFunctionInTransaction([&]() {
		exists = Catalog::GetEntry<TableCatalogEntry>(context, NameIn(catalog_name, INTERNAL_SCHEMA, LIST),
		                                              OnEntryNotFound::RETURN_NULL) != nullptr;
	});
	if (!exists) {
		return;
	}
	auto numbers = ReadList(*connection);
	auto all = true;
	context.RunFunctionInTransaction([&]() {
		Compare(context, store.Catalog(), list, 0);
		for (auto &table : list.added) {
			auto found = numbers.find({table.second.schema, table.second.name});
			all = all && found != numbers.end();
			table.second.number = all ? found->second : 0;
		}
	});
	if (!all || list.added.size() != numbers.size()) {
		throw InvalidInputException("the file '%s' has been written by an older release since this one has used it: it lists "
		                            "other tables than it holds. Remove this node's data folder, so that it is rebuilt from "
		                            "the other nodes, or restore the folder from a backup",
		                            store.db->GetCatalog().GetDBPath());
	}
	KeepNumbers();
}

} // namespace quack

extern "C" uint64_t quack_cpp_applier_number_tables(void *applier, uint64_t last, QuackError *error) {
	uint64_t result = last;
	quack::Guard(error, [&]() { result = static_cast<quack::Applier *>(applier)->NumberTables(last); });
	return result;
}
