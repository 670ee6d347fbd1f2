//! A client's transaction of several statements that has written to the replicated catalog.
#pragma once

#include "catalog.hpp"
#include "changes.hpp"
#include "hidden_rows.hpp"
#include "rows.hpp"

#include <map>
#include <set>

namespace quack {

class Writer;
struct Definition;

//! An attempt of the applier to apply an entry, which has ended in an error.
struct FailedAttempt {
	duckdb::ExceptionType error;
	//! The tables whose rows it has changed.
	const duckdb::unordered_set<duckdb::DataTableInfo *> &changed;
	//! Whether it has run a statement: what that is about is not known.
	bool ran_statement;
};

//! What transactions have done in the store itself, uncommitted, as far as it matters to the applier.
struct NativeChanges {
	bool of_catalog = false;
	bool of_indexes = false;
	//! Those whose rows were changed. Only compared.
	duckdb::unordered_set<duckdb::DataTableInfo *> tables;

	bool Any() const {
		return of_catalog || of_indexes || !tables.empty();
	}
	void Add(const NativeChanges &others);
	//! Whether the applier may have met them in this attempt.
	bool MayCause(const FailedAttempt &attempt) const;
	//! Whether they are of a table that the attempt has changed.
	bool Concern(const FailedAttempt &attempt) const;
};

//! The changes so far of an explicit transaction: no other transaction sees them, and COMMIT proposes them as a whole.
//!
//! It is in one of two states:
//! - **local**, at first: new rows lie in DuckDB's transaction-local storage, rows that were there before are hidden from
//!   the transaction's own scans. The store is not touched, so nothing here can be in the applier's way. What goes to the
//!   log is the difference, computed at COMMIT.
//! - **native**, once it changes the catalog, or rows that foreign keys refer to: DuckDB executes the changes in the store,
//!   uncommitted, so that the transaction sees their effects, and they are recorded in their order. They are never
//!   committed there: at COMMIT the transaction is rolled back and the record proposed. Where the applier meets such a
//!   change, it wins (`QuackTransactionManager::Doom`).
//!
//! DuckDB's transaction keeps the row ids that are remembered here valid, by its lock against vacuuming.
class OpenTransaction : public Changes {
public:
	OpenTransaction(duckdb::ClientContext &context, QuackCatalog &catalog);

	void Deleted(duckdb::DuckTableEntry &table, duckdb::DataChunk &rows) override;
	void Inserted(duckdb::DuckTableEntry &table, duckdb::DataChunk &rows) override;
	void Updated(duckdb::DuckTableEntry &table, duckdb::DataChunk &rows) override;

	//! The table's constraints as they are bound for this transaction, and its indexes with them.
	const BoundConstraints &ConstraintsOf(duckdb::DuckTableEntry &table);

	//! Announces changes of rows to DuckDB before a statement makes any, and keeps only those of its locks that they need.
	void BeginStatement();
	//! What the statement has deleted is hidden from those that follow.
	void EndStatement();

	//! Whether it has changed the catalog of this database.
	bool IsOf(duckdb::AttachedDatabase &db) const {
		return &catalog.GetAttached() == &db;
	}

	//! Everything from here on happens in the store, uncommitted.
	void GoNative();
	bool IsNative() const {
		return native;
	}
	//! Runs a change of the catalog in the store, and records its definition, after which table is `meant` when it is one.
	template <class CHANGE>
	auto ChangeCatalog(const Definition &definition, CHANGE &&change,
	                   duckdb::optional_ptr<duckdb::CatalogEntry> meant = nullptr) {
		GoNative();
		RecordMeant(meant);
		catalog_changes++;
		struct Scope {
			explicit Scope(idx_t &depth) : depth(depth) {
				depth++;
			}
			~Scope() {
				depth--;
			}
			idx_t &depth;
		} scope(inside_catalog_change);
		auto result = change();
		Record(definition);
		return result;
	}
	//! Whether the change of the catalog that runs now is a part of one that is recorded already.
	bool IsInsideCatalogChange() const {
		return inside_catalog_change > 0;
	}

	bool Hides() const {
		return hides;
	}
	//! The hidden rows of a table, as they stay while a statement runs; null when there are none.
	duckdb::shared_ptr<const HiddenRows> HiddenIn(const duckdb::DataTableInfo &table) const;

	//! It has been rolled back.
	void Forget();
	//! The whole transaction, for the log. Ends this object's use.
	duckdb::shared_ptr<Writer> Finish(duckdb::DuckTransaction &transaction);

	//! What the applier may meet of it.
	NativeChanges ChangesInStore() const;
	//! It is about to make an index of the table. Throws where DuckDB's commit would take rows from the index by the columns
	//! that the table had when they were deleted, and where keys would be those of updated rows and of what replaces them.
	void BeginIndex(duckdb::DuckTableEntry &table, bool is_unique);
	//! Rows of the table are updated by replacing them.
	void NoteReplaced(duckdb::DuckTableEntry &table);

	//! Set when the applier has rolled this transaction back: another one was first.
	duckdb::atomic<bool> doomed {false};

private:
	struct Table {
		explicit Table(duckdb::DuckTableEntry &entry) : entry(entry) {
		}
		//! As the running statement sees it.
		duckdb::reference<duckdb::DuckTableEntry> entry;
		BoundConstraints constraints;
		//! Hidden since earlier statements, and by the running one.
		duckdb::shared_ptr<const HiddenRows> hidden;
		HiddenRows deleted_now;

		void HideDeleted();
	};

	Table &TableOf(duckdb::DuckTableEntry &table);
	void EnterNativeState();
	void Touch(duckdb::DataTableInfo *table);
	//! Notes that rows which were there before the transaction go, from this version of their table.
	void NoteDeleted(duckdb::DuckTableEntry &table, duckdb::Vector &row_ids, duckdb::idx_t count);
	void Record(const Definition &definition);
	void RecordMeant(duckdb::optional_ptr<duckdb::CatalogEntry> entry);
	//! Writes how far the sequences that the transaction has created have been used: no other session can have used them.
	void WriteOwnSequences(duckdb::DuckTransaction &transaction);
	void DeleteLocally(Table &table, duckdb::DataChunk &rows);
	//! The changes so far as the difference to the store.
	void WriteDifference(duckdb::DuckTransaction &transaction, Writer &writer);

	duckdb::ClientContext &context;
	QuackCatalog &catalog;
	//! Recursive: a change of rows may turn out to need the native state.
	mutable std::recursive_mutex lock;
	std::map<duckdb::DataTableInfo *, Table> tables;
	//! The versions of tables from which rows have gone.
	std::map<duckdb::DataTableInfo *, std::set<duckdb::shared_ptr<duckdb::DataTable>>> deleted_from;
	//! Tables of which rows have been replaced by updated ones.
	std::set<duckdb::DataTableInfo *> replaced_in;
	duckdb::atomic<bool> hides {false};
	duckdb::atomic<bool> native {false};
	duckdb::atomic<bool> indexes_made {false};
	duckdb::atomic<idx_t> catalog_changes {0};
	idx_t inside_catalog_change = 0;
	//! What was changed in the native state, and before: from then on in its order.
	duckdb::shared_ptr<Writer> record;
	//! Tables whose rows were changed in the store, or are about to be. With a lock of its own, which the applier takes.
	mutable duckdb::mutex touched_lock;
	duckdb::unordered_set<duckdb::DataTableInfo *> touched;
};

} // namespace quack
