//! Numbers that identify the tables of a catalog, independently of their names.
#pragma once

#include "duckdb.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/storage/table/data_table_info.hpp"

namespace quack {

class QuackCatalog;

//! Stands for a table that the transaction itself makes, see `Rows.table_number`; `TABLE_MADE_HERE` in crates/apply.
constexpr uint64_t TABLE_MADE_HERE = 1;

//! The numbers of a catalog's tables, see `Rows.table_number` in proto/quack/log/v1/entry.proto: for the sessions, which
//! put them beside the rows that they capture, and for the applier, which compares them.
//!
//! A table is what DuckDB's `DataTableInfo` belongs to: all versions of a table share one, also those that a session with
//! an older snapshot sees. A table never changes its number, so a session that sees the table has the right one.
class TableNumbers {
public:
	//! The number of a table; 0 when it has none.
	uint64_t Of(duckdb::DuckTableEntry &table) const;
	//! What a session writes beside rows for a table as it sees it: 0 when that is not known.
	uint64_t ForRows(duckdb::DuckTableEntry &table) const;
	//! The same for a table that is yet to be made.
	uint64_t ForRowsOfNewTable() const {
		return begun ? TABLE_MADE_HERE : 0;
	}

	//! For the applier: the table has this number from now on. No session sees it sooner.
	void Publish(const duckdb::shared_ptr<duckdb::DataTableInfo> &table, uint64_t number);
	//! For the applier: every table that is committed has a number from now on.
	void Begin() {
		begun = true;
	}
	bool HaveBegun() const {
		return begun;
	}
	//! For the applier, when the catalog has so many tables: forgets those that no session can see any more.
	void ForgetGone(idx_t tables);

private:
	struct Numbered {
		//! Tells the table from a later one at the same address.
		duckdb::weak_ptr<duckdb::DataTableInfo> table;
		uint64_t number;
	};

	mutable duckdb::mutex lock;
	duckdb::unordered_map<const duckdb::DataTableInfo *, Numbered> numbers;
	duckdb::atomic<bool> begun {false};
};

//! A table as the store's list of numbers has it.
struct ListedTable {
	uint64_t number = 0;
	//! As `PathOf` writes it.
	duckdb::string schema;
	duckdb::string name;
	//! The version of the list for which the catalog was looked through and had it.
	uint64_t seen = 0;
};

//! A row of the list.
struct ListRow {
	duckdb::reference<const ListedTable> table;
	uint64_t version;
	bool gone;
};

//! What the applier knows of the list, and what its running transaction changes of it.
struct TableList {
	//! As the last committed transaction has left it. What is in here is in the catalog, so that the addresses are good.
	duckdb::unordered_map<const duckdb::DataTableInfo *, ListedTable> tables;
	//! The list's last version, and its rows in the store: those that do not count any more are cleared away now and then.
	uint64_t version = 0;
	idx_t rows = 0;

	//! What the statements of the running transaction have made, unless one of them has done anything else.
	duckdb::vector<duckdb::reference<duckdb::DuckTableEntry>> made;
	bool made_only = true;

	//! Whether the running transaction has brought the list up to date with the catalog, and its rows then.
	bool changes = false;
	idx_t rows_after = 0;
	duckdb::vector<std::pair<duckdb::shared_ptr<duckdb::DataTableInfo>, ListedTable>> added;
	//! Tables under another name.
	duckdb::vector<std::pair<const duckdb::DataTableInfo *, ListedTable>> moved;
	duckdb::vector<const duckdb::DataTableInfo *> gone;

	//! A statement has changed the catalog: it has made this table, or done anything else.
	void Note(duckdb::optional_ptr<duckdb::DuckTableEntry> table);
	//! Compares the list with the catalog, as the running transaction sees it. Tables that are not listed get numbers
	//! behind `last`, in the order of schemas and names; returns the last one.
	uint64_t Follow(duckdb::ClientContext &context, QuackCatalog &catalog, uint64_t last);
	void ForgetChanges();
	void KeepChanges();

private:
	//! By schema and name.
	using Unlisted = std::map<std::pair<duckdb::string, duckdb::string>, duckdb::shared_ptr<duckdb::DataTableInfo>>;
	Unlisted MadeTables() const;
	//! Notes what has another name than in the list, and what is gone; returns what is not listed.
	Unlisted LookThrough(duckdb::ClientContext &context, QuackCatalog &catalog);
};

} // namespace quack
