//! Sequences of the replicated catalog: values through the log, states as one with the rows.
#pragma once

#include "bridge.h"
#include "duckdb.hpp"
#include "duckdb/catalog/catalog_entry/sequence_catalog_entry.hpp"
#include "duckdb/main/extension/extension_loader.hpp"

#include <atomic>
#include <thread>

namespace quack {

class QuackCatalog;

//! Leads nextval, currval and setval of replicated catalogs through the log, and adds the setting for ranges.
void RegisterSequences(duckdb::ExtensionLoader &loader);

//! Whether the open transaction of `context` has created the sequence. No other session can draw from it, and no entry of
//! the log can name it: DuckDB gives out its values, and the transaction writes its state to the log.
bool IsOwnSequence(duckdb::ClientContext &context, duckdb::SequenceCatalogEntry &sequence);

//! A state in the words of the log.
QuackSequenceState StateForLog(const duckdb::SequenceData &data);

//! What an entry of the applier does to sequences. DuckDB's own state of a sequence belongs to no transaction: here it
//! waits for the commit, and is forgotten by a rollback.
class SequenceMoves {
public:
	duckdb::SequenceData StateOf(duckdb::SequenceCatalogEntry &sequence) const;
	void Move(duckdb::SequenceCatalogEntry &sequence, const QuackSequenceState &state, bool is_set);
	//! Makes the states visible. The caller holds `SequenceStates::commit_lock`.
	void Publish(QuackCatalog &catalog);
	void Forget();

private:
	struct Moved {
		duckdb::reference<duckdb::SequenceCatalogEntry> sequence;
		duckdb::SequenceData data;
	};
	duckdb::unordered_map<idx_t, Moved> moved;
	bool any_set = false;
};

//! What the threads that work on one catalog must agree on about its sequences.
class SequenceStates {
public:
	//! Held while the applier commits, and by a thread that must see the rows and the sequences as of the same commit.
	duckdb::mutex commit_lock;
	//! How often sequences have been set: values that were reserved before are void then.
	std::atomic<uint64_t> sets {0};

	//! Keeps the states as they are for the calling thread, which writes a checkpoint, while the applier goes on.
	//! The caller holds `commit_lock`. The first call counts, until `Thaw`.
	void Freeze(QuackCatalog &catalog);
	void Thaw();
	//! The state that the calling thread has frozen; null for every other thread.
	duckdb::optional_ptr<const duckdb::SequenceData> Frozen(const duckdb::SequenceCatalogEntry &sequence) const;

private:
	std::atomic<std::thread::id> frozen_by {std::thread::id()};
	duckdb::unordered_map<idx_t, duckdb::SequenceData> frozen;
};

//! A sequence that writes its state into a checkpoint as of the snapshot that the checkpoint holds: the position in the
//! log is of that snapshot, too, and what comes after it is applied again.
class QuackSequenceEntry : public duckdb::SequenceCatalogEntry {
public:
	QuackSequenceEntry(duckdb::Catalog &catalog, duckdb::SchemaCatalogEntry &schema, duckdb::CreateSequenceInfo &info);

	duckdb::unique_ptr<duckdb::CatalogEntry> Copy(duckdb::ClientContext &context) const override;
	duckdb::unique_ptr<duckdb::CreateInfo> GetInfo() const override;
};

//! Calls back for every sequence that is committed.
void ScanSequences(QuackCatalog &catalog, const std::function<void(duckdb::SequenceCatalogEntry &)> &callback);

} // namespace quack
