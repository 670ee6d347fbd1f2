//! Keeps the changes that a client's transaction makes between BEGIN and COMMIT, first in its own local storage and, once
//! it must see their effects in the store, natively. At COMMIT it writes them for the log.

#include "open_transaction.hpp"

#include "compat.hpp"
#include "definition.hpp"
#include "error.hpp"
#include "own_rows.hpp"
#include "row_bytes.hpp"
#include "self_reference.hpp"
#include "statement.hpp"
#include "taken_keys.hpp"
#include "transaction_manager.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/catalog/catalog_entry/sequence_catalog_entry.hpp"
#include "duckdb/parser/constraints/foreign_key_constraint.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/append_state.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/delete_state.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "duckdb/transaction/local_storage.hpp"
#include "duckdb/transaction/meta_transaction.hpp"

#include <algorithm>

using namespace duckdb;

namespace quack {

OpenTransaction::OpenTransaction(ClientContext &context, QuackCatalog &catalog) : context(context), catalog(catalog) {
}

OpenTransaction::Table &OpenTransaction::TableOf(DuckTableEntry &entry) {
	auto key = entry.GetStorage().GetDataTableInfo().get();
	RequireNotReserved(entry.ParentSchema().name);
	auto &table = tables.emplace(key, Table(entry)).first->second;
	if (table.constraints.empty() || !RefersToSameObject(table.entry.get(), entry)) {
		table.entry = entry;
		BindIndexes(context, entry);
		table.constraints = BindConstraints(context, entry);
	}
	return table;
}

const BoundConstraints &OpenTransaction::ConstraintsOf(DuckTableEntry &entry) {
	std::lock_guard<std::recursive_mutex> guard(lock);
	return TableOf(entry).constraints;
}

shared_ptr<const HiddenRows> OpenTransaction::HiddenIn(const DataTableInfo &table) const {
	std::lock_guard<std::recursive_mutex> guard(lock);
	auto found = tables.find(const_cast<DataTableInfo *>(&table));
	return found == tables.end() ? nullptr : found->second.hidden;
}

void OpenTransaction::Table::HideDeleted() {
	if (deleted_now.Empty()) {
		return;
	}
	// Scans that are under way keep the set that they have begun with.
	auto all = hidden ? make_shared_ptr<HiddenRows>(*hidden) : make_shared_ptr<HiddenRows>();
	all->Add(deleted_now);
	hidden = std::move(all);
	deleted_now.Clear();
}

void OpenTransaction::BeginStatement() {
	DatabaseModificationType rows;
	rows |= DatabaseModificationType::INSERT_DATA;
	rows |= DatabaseModificationType::DELETE_DATA;
	MetaTransaction::Get(context).ModifyDatabase(catalog.GetAttached(), rows);
	if (native) {
		record->BeginStatement();
	} else {
		// A statement that DuckDB takes for an UPDATE in place would keep checkpoints away for as long as the
		// transaction is open.
		ReleaseCheckpointLock(DuckTransaction::Get(context, catalog));
	}
}

void OpenTransaction::EndStatement() {
	std::lock_guard<std::recursive_mutex> guard(lock);
	for (auto &entry : tables) {
		auto &table = entry.second;
		table.HideDeleted();
		hides = hides || table.hidden;
		// They refer to the binder of the statement.
		table.constraints.clear();
	}
}

static bool IsReferenced(const TableCatalogEntry &table) {
	for (auto &constraint : table.GetConstraints()) {
		if (constraint->type == ConstraintType::FOREIGN_KEY &&
		    constraint->Cast<ForeignKeyConstraint>().info.type != ForeignKeyType::FK_TYPE_FOREIGN_KEY_TABLE) {
			return true;
		}
	}
	return false;
}

//! Throws as DuckDB does when a transaction that was committed since this one began has deleted or replaced some of these
//! rows. Of rows that are the transaction's own none is committed.
static void RequireCurrent(ClientContext &context, DuckTableEntry &table, Vector &row_ids, idx_t count, idx_t committed_count) {
	DataChunk current;
	current.Initialize(Allocator::DefaultAllocator(), {LogicalType::ROW_TYPE});
	vector<StorageIndex> column_ids;
	column_ids.emplace_back(COLUMN_IDENTIFIER_ROW_ID);
	ColumnFetchState state;
	// The transaction's own ids are beyond those that it knows, and are skipped.
	table.GetStorage().FetchCommitted(current, column_ids, row_ids, count, state);
	if (current.size() != committed_count) {
		StatementState::Get(context).conflicted = true;
		throw TransactionException("Conflict on tuple deletion!");
	}
}

void OpenTransaction::DeleteLocally(Table &table, DataChunk &rows) {
	auto &entry = table.entry.get();
	auto &row_ids = rows.data[entry.GetStorage().GetTypes().size()];
	row_ids.Flatten();
	auto ids = FlatVector::GetData<row_t>(row_ids);
	// The transaction's own rows go where they lie; the others are only hidden.
	SelectionVector own(rows.size());
	idx_t own_count = 0;
	for (idx_t i = 0; i < rows.size(); i++) {
		if (ids[i] >= MAX_ROW_ID) {
			own.set_index(own_count++, i);
		} else {
			table.deleted_now.Add(ids[i]);
		}
	}
	if (own_count < rows.size()) {
		RequireCurrent(context, entry, row_ids, rows.size(), rows.size() - own_count);
	}
	FreeKeys(context, entry, table.constraints, row_ids, rows);
	if (own_count > 0) {
		Vector own_ids(row_ids, own, own_count);
		own_ids.Flatten();
		auto &storage = entry.GetStorage();
		auto state = storage.InitializeDelete(entry, context, table.constraints);
		storage.Delete(*state, context, entry, own_ids, own_count);
	}
}

void OpenTransaction::NoteDeleted(DuckTableEntry &entry, Vector &row_ids, idx_t count) {
	row_ids.Flatten();
	auto ids = FlatVector::GetData<row_t>(row_ids);
	auto is_own = [](row_t id) { return id >= MAX_ROW_ID; };
	if (!std::all_of(ids, ids + count, is_own)) {
		auto &storage = entry.GetStorage();
		deleted_from[storage.GetDataTableInfo().get()].insert(storage.shared_from_this());
	}
}

void OpenTransaction::BeginIndex(DuckTableEntry &entry, bool is_unique) {
	std::lock_guard<std::recursive_mutex> guard(lock);
	auto &storage = entry.GetStorage();
	auto info = storage.GetDataTableInfo().get();
	for (auto &version : deleted_from[info]) {
		if (version.get() != &storage) {
			throw NotImplementedException("this transaction has deleted or updated rows of table \"%s\" and then changed its "
			                              "columns: COMMIT first, and make the index in the next transaction",
			                              entry.name.GetIdentifierName());
		}
	}
	if (is_unique && replaced_in.count(info) > 0) {
		// The words of DuckDB, for updates of the key. The index would have the keys of both, the old rows and the new ones.
		throw TransactionException("Cannot create index with outstanding updates: this transaction has updated rows of table "
		                           "\"%s\". COMMIT first, and make the key in the next transaction",
		                           entry.name.GetIdentifierName());
	}
	indexes_made = true;
	Touch(info);
}

void OpenTransaction::NoteReplaced(DuckTableEntry &entry) {
	std::lock_guard<std::recursive_mutex> guard(lock);
	replaced_in.insert(entry.GetStorage().GetDataTableInfo().get());
}

void OpenTransaction::Deleted(DuckTableEntry &entry, DataChunk &rows) {
	std::lock_guard<std::recursive_mutex> guard(lock);
	auto &table = TableOf(entry);
	NoteDeleted(entry, rows.data[entry.GetStorage().GetTypes().size()], rows.size());
	if (!native && IsReferenced(entry)) {
		// Only DuckDB can tell whether other rows still refer to these.
		EnterNativeState();
	}
	if (!native) {
		DeleteLocally(table, rows);
		return;
	}
	Touch(entry.GetStorage().GetDataTableInfo().get());
	record->Deleted(entry, rows);
	DeleteRows(context, entry, table.constraints, rows.data[entry.GetStorage().GetTypes().size()], rows);
}

void OpenTransaction::Inserted(DuckTableEntry &entry, DataChunk &rows) {
	std::lock_guard<std::recursive_mutex> guard(lock);
	auto &table = TableOf(entry);
	if (native) {
		record->Inserted(entry, rows);
	}
	// A chunk at a time, and no longer: DuckDB locks the table meanwhile, and a checkpoint waits for that lock with the
	// applier behind it.
	DataChunk appended;
	ReferenceColumns(rows, 0, rows.ColumnCount(), appended);
	FollowNewIndexes(LocalStorage::Get(context, catalog), entry.GetStorage());
	try {
		entry.GetStorage().LocalAppend(entry, context, appended, table.constraints);
	} catch (ConstraintException &) {
		auto &state = StatementState::Get(context);
		state.conflicted = state.key_conflict = FindTakenKeys(context, entry, table.constraints, rows).AreUnseen();
		throw;
	}
}

void OpenTransaction::Updated(DuckTableEntry &entry, DataChunk &rows) {
	std::lock_guard<std::recursive_mutex> guard(lock);
	auto &table = TableOf(entry);
	EnterNativeState();
	Touch(entry.GetStorage().GetDataTableInfo().get());
	record->Updated(entry, rows);
	auto columns = entry.GetStorage().ColumnCount();
	NoteDeleted(entry, rows.data[columns], rows.size());
	DataChunk old_rows;
	ReferenceColumns(rows, 0, columns, old_rows);
	DataChunk new_rows;
	ReferenceColumns(rows, columns + 1, columns, new_rows);
	UpdateRows(context, entry, table.constraints, rows.data[columns], old_rows, new_rows);
}

void OpenTransaction::GoNative() {
	std::lock_guard<std::recursive_mutex> guard(lock);
	EnterNativeState();
}

void OpenTransaction::EnterNativeState() {
	if (native) {
		return;
	}
	QuackTransactionManager::Get(catalog).AddNative(context, StatementState::Get(context).open);
	auto &transaction = DuckTransaction::Get(context, catalog);
	// From now on a checkpoint would write what is in the store and not committed.
	DatabaseModificationType changes;
	changes |= DatabaseModificationType::UPDATE_DATA;
	transaction.SetModifications(changes);
	record = make_shared_ptr<Writer>(catalog.Node());
	WriteDifference(transaction, *record);
	record->BeginStatement();
	// From now on the store itself hides what is deleted, also from DuckDB's own checks of the rows.
	for (auto &known : tables) {
		auto &table = known.second;
		auto &entry = table.entry.get();
		table.HideDeleted();
		if (!table.hidden) {
			continue;
		}
		Touch(known.first);
		if (table.constraints.empty()) {
			table.constraints = BindConstraints(context, entry);
		}
		auto state = entry.GetStorage().InitializeDelete(entry, context, table.constraints);
		table.hidden->ForEachVector([&](Vector &row_ids, idx_t count) {
			entry.GetStorage().Delete(*state, context, entry, row_ids, count);
		});
		// A scan that is under way keeps it: it does not see the deletion in the store yet.
		table.hidden.reset();
	}
	hides = false;
	native = true;
}

void OpenTransaction::Touch(DataTableInfo *table) {
	lock_guard<mutex> guard(touched_lock);
	touched.insert(table);
}

void OpenTransaction::RecordMeant(optional_ptr<CatalogEntry> entry) {
	if (entry && entry->type == CatalogType::TABLE_ENTRY) {
		record->Meant(entry->Cast<DuckTableEntry>());
	}
}

void OpenTransaction::Record(const Definition &definition) {
	record->Ddl(definition);
	// A statement that changes the catalog may replace the entries of tables.
	tables.clear();
}

NativeChanges OpenTransaction::ChangesInStore() const {
	lock_guard<mutex> guard(touched_lock);
	return NativeChanges {catalog_changes > 0, indexes_made, touched};
}

void NativeChanges::Add(const NativeChanges &others) {
	of_catalog = of_catalog || others.of_catalog;
	of_indexes = of_indexes || others.of_indexes;
	tables.insert(others.tables.begin(), others.tables.end());
}

bool NativeChanges::Concern(const FailedAttempt &attempt) const {
	for (auto table : tables) {
		if (attempt.changed.count(table) > 0) {
			return true;
		}
	}
	return false;
}

bool NativeChanges::MayCause(const FailedAttempt &attempt) const {
	if (attempt.error == ExceptionType::SEQUENCE) {
		// Whether a sequence has values left, the log alone decides.
		return false;
	}
	if (attempt.error == ExceptionType::CONSTRAINT) {
		return of_indexes && Concern(attempt);
	}
	if (attempt.ran_statement) {
		// What a statement finds in the catalog is committed or its own: what others are about to change is a conflict. And
		// before it changes a table, the applier ends those that have changed it, or made an index of it.
		return attempt.error == ExceptionType::TRANSACTION && Any();
	}
	return of_catalog || Concern(attempt);
}

//! The tables to which the transaction has added rows, those that foreign keys refer to before those that refer.
static vector<reference<DuckTableEntry>> InsertionOrder(LocalStorage &local) {
	vector<reference<DuckTableEntry>> unordered;
	for (auto &storage : EntriesOf(local)) {
		if (storage->table_entry && !storage->is_dropped) {
			unordered.push_back(*storage->table_entry);
		}
	}
	vector<reference<DuckTableEntry>> ordered;
	reference_set_t<DuckTableEntry> done;
	std::function<void(DuckTableEntry &)> place = [&](DuckTableEntry &table) {
		if (!done.insert(table).second) {
			return;
		}
		for (auto &constraint : table.GetConstraints()) {
			if (constraint->type != ConstraintType::FOREIGN_KEY) {
				continue;
			}
			auto &info = constraint->Cast<ForeignKeyConstraint>().info;
			if (info.type == ForeignKeyType::FK_TYPE_PRIMARY_KEY_TABLE) {
				continue;
			}
			for (auto &other : unordered) {
				// Foreign keys stay within a schema.
				if (other.get().name == info.table &&
				    RefersToSameObject(other.get().ParentSchema(), table.ParentSchema())) {
					place(other);
				}
			}
		}
		ordered.push_back(table);
	};
	for (auto &table : unordered) {
		place(table);
	}
	return ordered;
}

void OpenTransaction::WriteDifference(DuckTransaction &transaction, Writer &writer) {
	for (auto &known : tables) {
		auto &table = known.second;
		table.HideDeleted();
		if (!table.hidden) {
			continue;
		}
		RowReader reader(transaction, table.entry.get().GetStorage());
		table.hidden->ForEachVector([&](Vector &row_ids, idx_t count) {
			DataChunk rows;
			FetchRows(reader, table.entry, row_ids, count, rows);
			writer.Deleted(table.entry, rows);
		});
	}
	auto &local = transaction.GetLocalStorage();
	for (auto &table : InsertionOrder(local)) {
		ScanOwnRows(local, table.get().GetStorage(), false, [&](DataChunk &rows) {
			auto ranges = CutAtReferences(table, rows);
			if (ranges.size() == 1) {
				writer.Inserted(table, rows);
				return;
			}
			for (auto &range : ranges) {
				writer.Inserted(table, *SliceOf(rows, range));
			}
		});
	}
}

void OpenTransaction::WriteOwnSequences(DuckTransaction &transaction) {
	if (catalog_changes == 0) {
		return;
	}
	// By the transaction itself: its connection has let go of it by now.
	auto snapshot = transaction.GetSnapshotView();
	CatalogTransaction view(catalog.GetDatabase(), snapshot.transaction_id, snapshot.visibility_bound);
	catalog.GetSchemaCatalogSet().Scan(view, [&](CatalogEntry &root) {
		root.Cast<SchemaCatalogEntry>().ScanSchemaTree(view, [&](SchemaCatalogEntry &schema) {
			schema.Scan(view, CatalogType::SEQUENCE_ENTRY, [&](CatalogEntry &entry) {
				auto &sequence = entry.Cast<SequenceCatalogEntry>();
				if (sequence.timestamp == transaction.GetTransactionId() && sequence.GetData().usage_count > 0) {
					record->Sequence(sequence);
				}
			});
		});
	});
}

void OpenTransaction::Forget() {
	QuackTransactionManager::Get(catalog).RemoveNative(*this);
}

shared_ptr<Writer> OpenTransaction::Finish(DuckTransaction &transaction) {
	std::lock_guard<std::recursive_mutex> guard(lock);
	if (native) {
		WriteOwnSequences(transaction);
		return record;
	}
	auto writer = make_shared_ptr<Writer>(catalog.Node());
	WriteDifference(transaction, *writer);
	return writer;
}

} // namespace quack
