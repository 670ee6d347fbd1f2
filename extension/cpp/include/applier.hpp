//! The only writer of the store.
#pragma once

#include "row_reader.hpp"
#include "sequence.hpp"
#include "store.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/planner/bound_constraint.hpp"
#include "duckdb/storage/table/append_state.hpp"
#include "duckdb/storage/table/delete_state.hpp"

namespace quack {

enum class ClearedWay : int32_t;

//! Turns the operations of log entries into changes of DuckDB tables, in vectors.
//!
//! Invariants: one transaction at a time, and the position is written in the same one as the rows. `Find` changes
//! nothing, so that an entry whose rows are not there leaves no trace in the transaction it shares with others.
class Applier {
public:
	explicit Applier(Store &store);
	~Applier();

	void Claim(const duckdb::string &owner, bool foreign);
	void Position(uint64_t &index, duckdb::string &state);
	//! Whether an error of a step says that what has no room in memory cannot be moved to files.
	bool IsForWantOfMemory(const duckdb::ErrorData &error) const;
	void Begin();
	void Commit(uint64_t index, const duckdb::string &state);
	void Rollback();

	bool Find(const QuackTable &table, QuackBytes chunk, bool search);
	void ChangeFound();
	void ForgetFound();
	void Insert(const QuackTable &table, QuackBytes chunk);
	bool HasKey(const QuackTable &table);
	void ChangePlaces(const QuackTable &table, const QuackPlaces &places, QuackBytes values, idx_t count);
	void Reached(const QuackRevisions &revisions);
	void Ddl(QuackBytes definition);
	//! The lanes that tables need, as the running transaction sees them.
	void Placements(QuackPlacementSink sink);
	//! Numbers the tables that the running transaction has made, and all others without a number, counting on from `last`;
	//! returns the last number given. Comes after all changes of the catalog.
	uint64_t NumberTables(uint64_t last);
	//! After an error, with everything rolled back: ends the clients' transactions that may have caused it.
	ClearedWay ClearWay(duckdb::ExceptionType error);
	bool Sequence(const duckdb::string &schema, const duckdb::string &name, QuackSequenceState &state);
	void MoveSequence(const duckdb::string &schema, const duckdb::string &name, const QuackSequenceState &state,
	                  bool is_set);

private:
	//! A table as the running transaction sees it, with what is costly to set up for each chunk.
	struct Target {
		duckdb::DuckTableEntry *entry = nullptr;
		uint64_t shape = 0;
		//! One of the applier's own.
		bool internal = false;
		//! Whether keys of an index are computed: they may be larger than the row by any measure.
		bool computes_keys = false;
		//! Whether it has a primary key.
		bool has_key = false;
		//! Whether it has foreign keys.
		bool refers = false;
		duckdb::vector<duckdb::unique_ptr<duckdb::BoundConstraint>> constraints;
	};
	//! How far the running transaction has read a table.
	struct Reading {
		duckdb::unique_ptr<RowReader> reader;
		//! A row that `Search` has found; -1 when it has found none.
		duckdb::row_t searched_to = -1;
	};
	//! Rows that `Find` has found: the ids, the rows as they are, and the new rows of an update.
	struct Found {
		Target *target;
		duckdb::Vector row_ids;
		duckdb::unique_ptr<duckdb::DataChunk> rows;
		duckdb::unique_ptr<duckdb::DataChunk> updated;
	};

	//! The table of which the running transaction changes rows by their places, as it was before.
	struct Placed;

	//! The table that rows are for; throws when it is not the one that was meant, or has changed.
	Target &TargetOf(const QuackTable &table);
	duckdb::unique_ptr<Target> NewTarget(const QuackTable &table);
	//! What is said of a table that was there when the statement was evaluated.
	duckdb::TransactionException TableIsGone(const QuackTable &table);
	//! A statement may have altered any table.
	void ForgetTargets();
	duckdb::optional_ptr<duckdb::SequenceCatalogEntry> FindSequence(const duckdb::string &schema,
	                                                                const duckdb::string &name);
	//! Reads the rows of an entry, whose types must be among those `expected`. What throws here throws on every node.
	void ReadRows(Target &target, QuackBytes bytes, const duckdb::vector<duckdb::vector<duckdb::LogicalType>> &expected,
	              duckdb::DataChunk &chunk);
	void Append(Target &target, duckdb::DataChunk &rows);
	//! Waits for a checkpoint that is being written; the next one waits for this transaction.
	void KeepCheckpointsAway();
	void UpdateFound(Target &target, Found &update);
	Placed &PlacedIn(Target &target, const duckdb::vector<duckdb::PhysicalIndex> &columns, bool in_place);
	void DeletePlaced(Target &target, duckdb::Vector &row_ids, idx_t count);
	void UpdatePlaced(Target &target, duckdb::Vector &row_ids, idx_t count, duckdb::DataChunk &values);
	//! Deletes the rows and appends them with their new values.
	void MovePlaced(Target &target, duckdb::Vector &row_ids, idx_t count, duckdb::DataChunk &values);
	void FlushAppend();
	//! What has been stored of the tables' numbers.
	void LoadNumbers();
	void WriteChanges();
	void WriteList(const duckdb::vector<ListRow> &written);
	void PublishNumbers();
	//! The transaction that has numbered tables is committed.
	void KeepNumbers();
	//! Commits; a checkpoint that is writing one of the tables is waited for before DuckDB's transaction lock is taken.
	void CommitTransaction();
	void Run(const duckdb::string &sql);
	//! A table of the applier's own, as SQL names it.
	duckdb::string Internal(const duckdb::string &name) const;
	//! The indexes of a file that has just been opened.
	void BindAllIndexes();
	//! Replaces the hints of these rows by where the primary key says that they are: row ids differ from node to node
	//! once checkpoints have moved rows. Returns whether there is such a key. What it finds is still to be compared.
	bool LookUpKeys(Target &target, duckdb::DataChunk &sought, const duckdb::vector<idx_t> &positions,
	                duckdb::vector<duckdb::row_t> &hints);
	//! Of the rows at these positions those that are at the hinted ids and have the bytes of `sought`; the others are
	//! `missing`.
	void FollowHints(Target &target, duckdb::DataChunk &sought, const duckdb::vector<duckdb::row_t> &hints,
	                 const duckdb::vector<idx_t> &positions, duckdb::vector<duckdb::row_t> &ids,
	                 duckdb::vector<idx_t> &missing);
	//! Looks all rows up by their bytes; false when one of them is not there.
	bool Search(Target &target, duckdb::DataChunk &rows, duckdb::vector<duckdb::row_t> &ids);
	Reading &ReadingOf(Target &target);
	//! Rows are appended or deleted, for which memory is needed again at the commit and at a checkpoint.
	void NoteText(Target &target, duckdb::DataChunk &rows);

	Store &store;
	HeldConnection connection;
	//! Whether the running transaction, or the one that was rolled back last, has run a statement.
	bool ran_statement = false;
	bool keeps_checkpoints_away = false;
	//! Whether the next transaction begins with that.
	bool suspects_checkpoint = false;
	//! Of what the transaction has appended and deleted, see `TextBytes`.
	idx_t text_bytes = 0;
	duckdb::ClientContext &context;
	//! The name of the catalog when the connection last made it its default.
	duckdb::string catalog_name;
	duckdb::unordered_map<duckdb::string, duckdb::unique_ptr<Target>> targets;
	duckdb::vector<Found> found;
	//! Ids in `found`, by table, so that no row is taken twice.
	duckdb::unordered_map<Target *, duckdb::unordered_set<duckdb::row_t>> taken;
	duckdb::unordered_map<Target *, Reading> readings;
	duckdb::unique_ptr<Placed> placed;
	//! Tables that the running transaction has inserted into.
	duckdb::unordered_set<Target *> inserted;
	//! Tables that the last transaction had to do with.
	duckdb::unordered_set<duckdb::DataTableInfo *> touched;
	//! Tables whose rows the running transaction has deleted or updated.
	duckdb::unordered_set<duckdb::DataTableInfo *> changed;
	SequenceMoves moves;
	TableList list;
	//! The run of insertions into one table that is under way.
	Target *appending = nullptr;
	duckdb::unique_ptr<duckdb::LocalAppendState> append_state;
};

} // namespace quack
