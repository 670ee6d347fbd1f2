//! Applying log entries to DuckDB: transactions, the position, changes of the catalog, sequences.

#include "applier.hpp"

#include "applier_placed.hpp"
#include "chunk.hpp"
#include "compat.hpp"
#include "definition.hpp"
#include "error.hpp"
#include "rows.hpp"
#include "settings.hpp"
#include "statement.hpp"
#include "table_entry.hpp"
#include "transaction_manager.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/meta_transaction.hpp"

#include <cfenv>

using namespace duckdb;

namespace quack {

//! Free bytes with which a transaction begins, and beside what it copies when it commits.
constexpr idx_t MEMORY_FOR_ENTRY = 32 << 20;

Applier::Applier(Store &store) : store(store), connection(store.Connect(true)), context(*connection->context),
      catalog_name(store.CatalogName()) {
	context.registered_state->Insert(ApplierMark::KEY, make_shared_ptr<ApplierMark>());
	// Rows are appended in the order of the log, and an expression means the same on every node.
	PinSettings(context);
}

Applier::~Applier() {
	append_state.reset();
	readings.clear();
	placed.reset();
	targets.clear();
	found.clear();
	store.host.memory_room.GiveBack(*context.db);
	connection.reset();
}

void Applier::Run(const string &sql) {
	auto result = connection->Query(sql);
	if (result->HasError()) {
		result->ThrowError();
	}
}

string Applier::Internal(const string &name) const {
	// In full: the process may have another database of the schema's name.
	return SQLIdentifier::ToString(store.CatalogName()) + "." + SQLIdentifier::ToString(INTERNAL_SCHEMA) + "." + name;
}

void Applier::Claim(const string &owner, bool foreign) {
	auto known = connection->Query(StringUtil::Format(
	    "SELECT count(*) FILTER (schema_name = %s AND table_name = 'owner'), count(*) FROM duckdb_tables() WHERE "
	    "database_name = %s",
	    SQLString(INTERNAL_SCHEMA), SQLString(store.CatalogName())));
	if (known->HasError()) {
		known->ThrowError();
	}
	auto counts = known->Fetch();
	auto claimed = counts->GetValue(0, 0).GetValue<int64_t>() > 0;
	auto empty = counts->GetValue(1, 0).GetValue<int64_t>() == 0;
	known.reset();
	if (!claimed && !empty) {
		throw InvalidInputException("the file '%s' holds tables, but is not a node's store: it does not belong into this "
		                            "data folder. Start the node with an empty folder: with peers it is rebuilt from them",
		                            store.db->GetCatalog().GetDBPath());
	}
	if (!claimed) {
		Run("BEGIN");
		Run("CREATE SCHEMA IF NOT EXISTS " + SQLIdentifier::ToString(store.CatalogName()) + "." +
		    SQLIdentifier::ToString(INTERNAL_SCHEMA));
		Run("CREATE TABLE " + Internal("owner") + " AS SELECT " + SQLString::ToString(owner) + " AS identity");
		Run("COMMIT");
		return;
	}
	if (foreign) {
		Run("UPDATE " + Internal("owner") + " SET identity = " + SQLString::ToString(owner));
		return;
	}
	auto found = connection->Query("SELECT identity FROM " + Internal("owner"));
	if (found->HasError()) {
		found->ThrowError();
	}
	auto identity = found->Fetch()->GetValue(0, 0).ToString();
	if (identity != owner) {
		throw InvalidInputException("the file '%s' is the store of another node (cluster, node, incarnation: %s; this node: "
		                            "%s). Give each node its own data folder; one whose own is gone starts with an empty "
		                            "one: with peers it is rebuilt from them",
		                            store.db->GetCatalog().GetDBPath(), identity, owner);
	}
}

void Applier::Position(uint64_t &index, string &state) {
	// Appended to, one row a transaction, and emptied now and then: the last row counts. Commits in the midst of a cut have
	// one index in the root, and each of them the places of its lanes in its state.
	Run("CREATE TABLE IF NOT EXISTS " + Internal("applied") + "(log_index UBIGINT NOT NULL, state BLOB NOT NULL)");
	LoadNumbers();
	BindAllIndexes();
	auto result = connection->Query("SELECT log_index, state FROM " + Internal("applied") +
	                                " ORDER BY log_index DESC, rowid DESC LIMIT 1");
	if (result->HasError()) {
		result->ThrowError();
	}
	index = 0;
	auto chunk = result->Fetch();
	if (chunk && chunk->size() > 0) {
		index = chunk->GetValue(0, 0).GetValue<uint64_t>();
		state = StringValue::Get(chunk->GetValue(1, 0));
	}
}

void Applier::BindAllIndexes() {
	// Before a client does it, under settings that may give the index's expressions another meaning.
	context.RunFunctionInTransaction([&]() {
		// Binding looks the table up, which a scan of the catalog would lock out.
		vector<reference<DuckTableEntry>> tables;
		ForEachTable(context, store.Catalog(),
		             [&](SchemaCatalogEntry &, DuckTableEntry &table) { tables.push_back(table); });
		for (auto &table : tables) {
			BindIndexes(context, table);
		}
	});
}

bool Applier::IsForWantOfMemory(const ErrorData &error) const {
	auto &buffers = BufferManager::GetBufferManager(*context.db);
	return error.Type() == ExceptionType::IO && buffers.HasTemporaryDirectory() &&
	       error.RawMessage().find(buffers.GetTemporaryDirectory()) != string::npos;
}

void Applier::Begin() {
	// How numbers are rounded, and whether the smallest ones are taken for 0, a thread has from that which has started it.
	std::fesetenv(FE_DFL_ENV);
	if (catalog_name != store.CatalogName()) {
		// An ATTACH has given the catalog another name.
		catalog_name = store.CatalogName();
		UseStore(context, catalog_name);
		targets.clear();
	}
	touched.clear();
	ran_statement = false;
	keeps_checkpoints_away = false;
	text_bytes = 0;
	QuackTransactionManager::Get(store.Catalog()).BeginAttempt();
	store.host.memory_room.Ensure(*context.db, MEMORY_FOR_ENTRY);
	connection->BeginTransaction();
	auto &meta = MetaTransaction::Get(context);
	// Everything that an entry may do, so that DuckDB takes the locks it takes for such a statement.
	DatabaseModificationType modification;
	modification |= DatabaseModificationType::INSERT_DATA;
	modification |= DatabaseModificationType::DELETE_DATA;
	meta.ModifyDatabase(*store.db, modification);
	if (suspects_checkpoint) {
		suspects_checkpoint = false;
		KeepCheckpointsAway();
	}
}

void Applier::Commit(uint64_t index, const string &state) {
	FlushAppend();
	readings.clear();
	placed.reset();
	DataChunk row;
	row.Initialize(context, {LogicalType::UBIGINT, LogicalType::BLOB}, 1);
	row.data[0].Append(Value::UBIGINT(index));
	row.data[1].Append(Value::BLOB(const_data_ptr_cast(state.data()), state.size()));
	row.SetChildCardinality(1);
	const string schema(INTERNAL_SCHEMA);
	const string name("applied");
	auto &target = TargetOf(QuackTable {Bytes(schema), Bytes(name), 0, 0});
	target.entry->GetStorage().LocalAppend(*target.entry, context, row, target.constraints);
	// The first position in every 4096 drops those before it: the table stays small between checkpoints too.
	if (index % 4096 == 0) {
		Run(StringUtil::Format("DELETE FROM %s WHERE log_index < %llu", Internal("applied"), index));
	}
	inserted.insert(&target);
	CommitTransaction();
	KeepNumbers();
	QuackTransactionManager::Get(store.Catalog()).EndAttempt();
	store.host.memory_room.GiveBackSometimes(*context.db);
}

void Applier::Reached(const QuackRevisions &revisions) {
	QuackTransactionManager::Get(store.Catalog()).NoteRevisions(revisions);
}

//! Whether an error is about the disk, the memory or the end of this process.
static bool IsOfThisNode(ExceptionType type) {
	switch (type) {
	case ExceptionType::IO:
	case ExceptionType::OUT_OF_MEMORY:
	case ExceptionType::PERMISSION:
	case ExceptionType::INTERRUPT:
	case ExceptionType::NETWORK:
	case ExceptionType::HTTP:
	case ExceptionType::FATAL:
		return true;
	default:
		return false;
	}
}

void Applier::CommitTransaction() {
	// DuckDB would wait for the tables' locks inside its commit, with the lock held that every other transaction needs to
	// begin. They are kept per transaction, so the commit finds them taken.
	vector<shared_ptr<CheckpointLock>> table_locks;
	auto &transaction = DuckTransaction::Get(context, *store.db);
	for (auto target : inserted) {
		table_locks.push_back(transaction.SharedLockTable(*target->entry->GetStorage().GetDataTableInfo()));
	}
	inserted.clear();
	auto &catalog = store.Catalog();
	// DuckDB begins a checkpoint with this lock, and takes it for commits that write to its log. This store has none, and
	// without the lock a checkpoint may begin between a commit's look at a table and its look at the table's indexes.
	auto begins_no_checkpoint = store.db->GetStorageManager().GetWALLock();
	lock_guard<mutex> guard(catalog.sequences.commit_lock);
	// A commit reads the rows again for the indexes, a vector at a time, with all that they hold.
	store.host.memory_room.Ensure(*context.db, MEMORY_FOR_ENTRY + 4 * transaction.GetLocalStorage().EstimatedSize() +
	                                               2 * text_bytes);
	auto &refused = ApplierMark::Get(context)->commit_error;
	refused = ErrorData();
	try {
		connection->Commit();
	} catch (std::exception &ex) {
		// DuckDB reports every error as TRANSACTION. A conflict is one on every node; a full disk is this node's own.
		ErrorData error(ex);
		if (error.Type() == ExceptionType::TRANSACTION) {
			error = refused.HasError() ? refused : ErrorData(ExceptionType::IO, error.RawMessage());
		}
		if (error.Type() != ExceptionType::TRANSACTION && error.Type() != ExceptionType::CONSTRAINT) {
			// DuckDB 2.0.0 leaves columns of different lengths and keys without rows behind where memory or the disk ends in
			// the midst of a commit: what is in memory is good for nothing any more, and no outcome.
			catalog.Spoil();
			if (error.Type() != ExceptionType::DATA_CORRUPTION) {
				// Any other error may be the entry's, and is looked at more closely by the next start.
				auto type = IsOfThisNode(error.Type()) ? ExceptionType::IO : ExceptionType::FATAL;
				error = ErrorData(type, error.RawMessage());
			}
		}
		error.Throw();
	}
	moves.Publish(catalog);
	QuackTransactionManager::Get(catalog).NoteChanged(changed);
	changed.clear();
}

void Applier::Rollback() {
	append_state.reset();
	readings.clear();
	placed.reset();
	appending = nullptr;
	inserted.clear();
	changed.clear();
	moves.Forget();
	list.ForgetChanges();
	ForgetFound();
	// The rolled back transaction may have altered tables, or made the applier's own.
	ForgetTargets();
	targets.clear();
	if (connection->HasActiveTransaction()) {
		connection->Rollback();
	}
	QuackTransactionManager::Get(store.Catalog()).EndAttempt();
}

void Applier::ForgetTargets() {
	FlushAppend();
	readings.clear();
	placed.reset();
	inserted.clear();
	for (auto it = targets.begin(); it != targets.end();) {
		// No statement of the log alters the applier's own tables.
		it = it->second->internal ? std::next(it) : targets.erase(it);
	}
}

ClearedWay Applier::ClearWay(ExceptionType error) {
	if (error == ExceptionType::OUT_OF_MEMORY) {
		return store.host.memory_room.Raise(*context.db) ? ClearedWay::CLEARED : ClearedWay::NOTHING_WAS_THERE;
	}
	auto &catalog = store.Catalog();
	auto &transactions = QuackTransactionManager::Get(catalog);
	if (transactions.HasOlder()) {
		return transactions.EndOlder();
	}
	if (error == ExceptionType::INTERNAL && !keeps_checkpoints_away) {
		// When a checkpoint is written differs from node to node: an assertion that fails beside one decides nothing.
		suspects_checkpoint = true;
		return ClearedWay::CLEARED;
	}
	auto result = transactions.Doom(FailedAttempt {error, touched, ran_statement});
	if (result == ClearedWay::NOTHING_WAS_THERE && error == ExceptionType::TRANSACTION && ran_statement) {
		// The tables that a statement is about are not known.
		context.RunFunctionInTransaction([&]() {
			ForEachTable(context, catalog, [&](SchemaCatalogEntry &, DuckTableEntry &table) {
				if (transactions.Reopen(table)) {
					result = ClearedWay::CLEARED;
				}
			});
		});
	}
	return result;
}

void Applier::Ddl(QuackBytes definition) {
	FlushAppend();
	{
		// The change may copy a sequence, or drop it. This transaction has created the sequences that have been moved, or
		// the entry gives their states regardless of those before.
		auto &catalog = store.Catalog();
		lock_guard<mutex> guard(catalog.sequences.commit_lock);
		moves.Publish(catalog);
	}
	auto &made = ApplierMark::Get(context)->made;
	made = nullptr;
	ran_statement = true;
	Apply(*connection, store.Catalog(), definition);
	list.Note(made);
	ForgetTargets();
}

optional_ptr<SequenceCatalogEntry> Applier::FindSequence(const string &schema, const string &name) {
	return Catalog::GetEntry<SequenceCatalogEntry>(
	    context, NameIn(store.CatalogName(), schema, name),
	    OnEntryNotFound::RETURN_NULL);
}

bool Applier::Sequence(const string &schema, const string &name, QuackSequenceState &state) {
	auto sequence = FindSequence(schema, name);
	if (sequence) {
		state = StateForLog(moves.StateOf(*sequence));
	}
	return sequence != nullptr;
}

void Applier::MoveSequence(const string &schema, const string &name, const QuackSequenceState &state, bool is_set) {
	auto sequence = FindSequence(schema, name);
	if (!sequence) {
		throw InternalException("the sequence \"%s\" was there just now", name);
	}
	moves.Move(*sequence, state, is_set);
}

} // namespace quack
