//! Finds rows of a table that stand in the way of new rows by a key, and tells whether the transaction sees them.

#include "taken_keys.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/common/types/conflict_manager.hpp"
#include "duckdb/common/types/constraint_conflict_info.hpp"
#include "duckdb/planner/bound_constraint.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/append_state.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/local_storage.hpp"

using namespace duckdb;

namespace quack {

TakenKeys FindTakenKeys(ClientContext &context, DuckTableEntry &table, const BoundConstraints &bound,
                        DataChunk &rows) {
	TakenKeys result;
	auto &storage = table.GetStorage();
	if (!storage.HasIndexes()) {
		return result;
	}
	auto constraints = storage.InitializeConstraintState(table, bound);
	unordered_set<column_t> all_indexes;
	ConflictInfo info(all_indexes);
	ConflictManager manager(VerifyExistenceType::APPEND, rows.size(), &info);
	manager.SetMode(ConflictManagerMode::SCAN);
	// Its deleted rows have no keys any more.
	auto local_storage = LocalStorage::Get(context, table.ParentCatalog()).GetStorage(storage);
	try {
		storage.VerifyAppendConstraints(*constraints, context, rows, local_storage, &manager);
	} catch (ConstraintException &) {
		// Not of a key.
		return result;
	}
	if (!manager.HasConflicts()) {
		return result;
	}
	auto &transaction = DuckTransaction::Get(context, table.ParentCatalog());
	manager.FinalizeGlobal(transaction, storage);
	auto ids = FlatVector::GetData<row_t>(manager.GetRowIds());
	for (idx_t i = 0; i < manager.ConflictCount(); i++) {
		auto seen = storage.CanFetch(transaction, ids[i]);
		result.seen = result.seen || seen;
		result.unseen = result.unseen || !seen;
	}
	return result;
}

} // namespace quack
