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

//! The list, in the schema of the applier's own tables; it is there once tables are numbered. Only added to, as a rule:
//! of the rows with a number the one of the last version counts, and without a name it says that the table is gone.
constexpr const char *LIST = "table_numbers";
//! Rows of the list that need not count any more, beside as many as there are tables, before they are cleared away.
constexpr idx_t ROWS_SPARE = 1024;

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

void TableNumbers::ForgetGone(idx_t tables) {
	lock_guard<mutex> guard(lock);
	if (numbers.size() <= tables) {
		return;
	}
	for (auto it = numbers.begin(); it != numbers.end();) {
		it = it->second.table.expired() ? numbers.erase(it) : std::next(it);
	}
}

void TableList::ForgetChanges() {
	made.clear();
	made_only = true;
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
	rows = rows_after;
	ForgetChanges();
}

void TableList::Note(optional_ptr<DuckTableEntry> table) {
	if (table) {
		made.push_back(*table);
	} else {
		made_only = false;
	}
}

TableList::Unlisted TableList::MadeTables() const {
	Unlisted result;
	for (auto &table : made) {
		auto &entry = table.get();
		result.emplace(make_pair(PathOf(entry.ParentSchema()), entry.name.GetIdentifierName()),
		               entry.GetStorage().GetDataTableInfo());
	}
	return result;
}

TableList::Unlisted TableList::LookThrough(ClientContext &context, QuackCatalog &catalog) {
	Unlisted result;
	idx_t met = 0;
	optional_ptr<SchemaCatalogEntry> schema;
	string path;
	ForEachTable(context, catalog, [&](SchemaCatalogEntry &parent, DuckTableEntry &table) {
		if (schema.get() != &parent) {
			schema = parent;
			path = PathOf(parent);
		}
		auto &name = table.name.GetIdentifierName();
		auto &info = table.GetStorage().GetDataTableInfo();
		auto found = tables.find(info.get());
		if (found == tables.end()) {
			result.emplace(make_pair(path, name), info);
			return;
		}
		auto &listed = found->second;
		listed.seen = version;
		met++;
		if (listed.name != name || listed.schema != path) {
			moved.emplace_back(info.get(), ListedTable {listed.number, path, name, version});
		}
	});
	if (met == tables.size()) {
		return result;
	}
	for (auto &table : tables) {
		if (table.second.seen != version) {
			gone.push_back(table.first);
		}
	}
	return result;
}

uint64_t TableList::Follow(ClientContext &context, QuackCatalog &catalog, uint64_t last) {
	version++;
	// Many tables are often made one after the other: not each time at the cost of all those before it.
	auto unlisted = made_only && catalog.numbers.HaveBegun() ? MadeTables() : LookThrough(context, catalog);
	for (auto &table : unlisted) {
		added.emplace_back(table.second, ListedTable {++last, table.first.first, table.first.second, version});
	}
	changes = true;
	return last;
}

void Applier::WriteList(const vector<ListRow> &written) {
	const string schema(INTERNAL_SCHEMA);
	const string name(LIST);
	for (idx_t begin = 0; begin < written.size(); begin += STANDARD_VECTOR_SIZE) {
		auto end = MinValue<idx_t>(begin + STANDARD_VECTOR_SIZE, written.size());
		DataChunk rows;
		rows.Initialize(context, {LogicalType::UBIGINT, LogicalType::UBIGINT, LogicalType::VARCHAR, LogicalType::VARCHAR},
		                end - begin);
		for (idx_t i = begin; i < end; i++) {
			auto &table = written[i].table.get();
			auto gone = written[i].gone;
			rows.data[0].Append(Value::UBIGINT(table.number));
			rows.data[1].Append(Value::UBIGINT(written[i].version));
			rows.data[2].Append(gone ? Value(LogicalType::VARCHAR) : Value(table.schema));
			rows.data[3].Append(gone ? Value(LogicalType::VARCHAR) : Value(table.name));
		}
		rows.SetChildCardinality(end - begin);
		auto &target = TargetOf(QuackTable {Bytes(schema), Bytes(name), 0, 0});
		target.entry->GetStorage().LocalAppend(*target.entry, context, rows, target.constraints);
		inserted.insert(&target);
	}
}

void Applier::WriteChanges() {
	vector<ListRow> rows;
	list.rows_after = list.rows;
	if (list.rows > 2 * list.tables.size() + ROWS_SPARE) {
		Run("DELETE FROM " + Internal(LIST));
		for (auto &table : list.tables) {
			rows.push_back(ListRow {table.second, list.version - 1, false});
		}
		list.rows_after = 0;
	}
	for (auto table : list.gone) {
		rows.push_back(ListRow {list.tables[table], list.version, true});
	}
	for (auto &table : list.moved) {
		rows.push_back(ListRow {table.second, list.version, false});
	}
	for (auto &table : list.added) {
		rows.push_back(ListRow {table.second, list.version, false});
	}
	WriteList(rows);
	list.rows_after += rows.size();
}

uint64_t Applier::NumberTables(uint64_t last) {
	FlushAppend();
	auto &catalog = store.Catalog();
	if (!catalog.numbers.HaveBegun()) {
		Run("CREATE TABLE IF NOT EXISTS " + Internal(LIST) +
		    " (number UBIGINT NOT NULL, version UBIGINT NOT NULL, schema_path VARCHAR, name VARCHAR)");
	}
	last = list.Follow(context, catalog, last);
	WriteChanges();
	if (catalog.numbers.HaveBegun()) {
		// Before the commit: a session that sees the new tables must find their numbers. Only new tables get one here, as all
		// others have one; if the transaction fails, no session ever sees these tables.
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
		list.ForgetChanges();
		return;
	}
	auto &numbers = store.Catalog().numbers;
	PublishNumbers();
	numbers.Begin();
	list.KeepChanges();
	numbers.ForgetGone(list.tables.size());
}

//! The numbers of tables by schema and name, as the list is stored.
static map<pair<string, string>, uint64_t> ReadList(Connection &connection, const string &name, TableList &list) {
	auto result = connection.Query("SELECT number, version, schema_path, name FROM " + name + " ORDER BY version");
	if (result->HasError()) {
		result->ThrowError();
	}
	unordered_map<uint64_t, pair<string, string>> names;
	while (auto chunk = result->Fetch()) {
		if (chunk->size() == 0) {
			break;
		}
		for (idx_t i = 0; i < chunk->size(); i++) {
			auto number = chunk->GetValue(0, i).GetValue<uint64_t>();
			auto schema = chunk->GetValue(2, i);
			if (schema.IsNull()) {
				names.erase(number);
			} else {
				names[number] = {StringValue::Get(schema), StringValue::Get(chunk->GetValue(3, i))};
			}
			list.version = chunk->GetValue(1, i).GetValue<uint64_t>();
			list.rows++;
		}
	}
	map<pair<string, string>, uint64_t> numbers;
	for (auto &table : names) {
		numbers[table.second] = table.first;
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
	auto numbers = ReadList(*connection, Internal(LIST), list);
	auto all = true;
	context.RunFunctionInTransaction([&]() {
		list.Follow(context, store.Catalog(), 0);
		for (auto &table : list.added) {
			auto found = numbers.find({table.second.schema, table.second.name});
			all = all && found != numbers.end();
			table.second.number = all ? found->second : 0;
		}
	});
	if (!all || list.added.size() != numbers.size()) {
		throw InvalidInputException("the file '%s' has been written by an older release since this one has used it: it lists "
		                            "other tables than it holds. In a cluster, remove this node's data folder, and it is "
		                            "rebuilt from the other nodes; otherwise restore a backup into an empty folder (quackctl "
		                            "restore)",
		                            store.db->GetCatalog().GetDBPath());
	}
	list.rows_after = list.rows;
	KeepNumbers();
}

} // namespace quack

extern "C" uint64_t quack_cpp_applier_number_tables(void *applier, uint64_t last, QuackError *error) {
	uint64_t result = last;
	quack::Guard(error, [&]() { result = static_cast<quack::Applier *>(applier)->NumberTables(last); });
	return result;
}
