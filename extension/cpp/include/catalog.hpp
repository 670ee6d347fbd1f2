//! The replicated catalog: DuckDB's own catalog, with every write led through the log.
#pragma once

#include "bridge.h"
#include "host.hpp"
#include "sequence.hpp"
#include "table_numbers.hpp"
#include "duckdb/catalog/duck_catalog.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/main/client_context_state.hpp"

namespace quack {

//! Marks the applier's connection: the catalog lets its writes pass to the store.
class ApplierMark : public duckdb::ClientContextState {
public:
	static constexpr const char *KEY = "quack_applier";
	static bool IsSet(duckdb::ClientContext &context);
	static duckdb::shared_ptr<ApplierMark> Get(duckdb::ClientContext &context);

	//! The table that the running statement has made, where that is all that it does to tables.
	duckdb::optional_ptr<duckdb::DuckTableEntry> made;
	//! Why the store has refused to commit: DuckDB turns every such error into a TransactionException.
	duckdb::ErrorData commit_error;
};

//! The schema that holds the applier's position, in the same file as the tables.
constexpr const char *INTERNAL_SCHEMA = "quack_internal";
//! Refuses to change anything in that schema on behalf of a client.
void RequireNotReserved(const duckdb::Identifier &name);

//! The catalog of a store. Reads are DuckDB's own; writes are captured and proposed.
class QuackCatalog : public duckdb::DuckCatalog {
public:
	QuackCatalog(duckdb::AttachedDatabase &db, const void *node);
	~QuackCatalog() override;

	duckdb::string GetCatalogType() override {
		return "quack";
	}

	duckdb::optional_ptr<duckdb::CatalogEntry> CreateSchema(duckdb::CatalogTransaction transaction,
	                                                        duckdb::CreateSchemaInfo &info) override;
	duckdb::PhysicalOperator &PlanCreateTableAs(duckdb::ClientContext &context, duckdb::PhysicalPlanGenerator &planner,
	                                            duckdb::LogicalCreateTable &op,
	                                            duckdb::PhysicalOperator &plan) override;
	duckdb::PhysicalOperator &PlanInsert(duckdb::ClientContext &context, duckdb::PhysicalPlanGenerator &planner,
	                                     duckdb::LogicalInsert &op,
	                                     duckdb::optional_ptr<duckdb::PhysicalOperator> plan) override;
	duckdb::PhysicalOperator &PlanDelete(duckdb::ClientContext &context, duckdb::PhysicalPlanGenerator &planner,
	                                     duckdb::LogicalDelete &op, duckdb::PhysicalOperator &plan) override;
	duckdb::PhysicalOperator &PlanUpdate(duckdb::ClientContext &context, duckdb::PhysicalPlanGenerator &planner,
	                                     duckdb::LogicalUpdate &op, duckdb::PhysicalOperator &plan) override;
	duckdb::PhysicalOperator &PlanMergeInto(duckdb::ClientContext &context, duckdb::PhysicalPlanGenerator &planner,
	                                        duckdb::LogicalMergeInto &op, duckdb::PhysicalOperator &plan) override;
	duckdb::unique_ptr<duckdb::LogicalOperator> BindCreateIndex(duckdb::Binder &binder, duckdb::CreateStatement &stmt,
	                                                            duckdb::TableCatalogEntry &table,
	                                                            duckdb::unique_ptr<duckdb::LogicalOperator> plan) override;
	duckdb::unique_ptr<duckdb::LogicalOperator>
	BindAlterAddIndex(duckdb::Binder &binder, duckdb::TableCatalogEntry &table_entry,
	                  duckdb::unique_ptr<duckdb::LogicalOperator> plan,
	                  duckdb::unique_ptr<duckdb::CreateIndexInfo> create_info,
	                  duckdb::unique_ptr<duckdb::AlterTableInfo> alter_info) override;
	duckdb::ErrorData SupportsCreateTable(duckdb::BoundCreateTableInfo &info) override;
	void OnDetach(duckdb::ClientContext &context) override;
	//! Listings leave out the schema in which the applier keeps its position.
	void ScanSchemas(duckdb::ClientContext &context,
	                 std::function<void(duckdb::SchemaCatalogEntry &)> callback) override;
	duckdb::optional_ptr<duckdb::SchemaCatalogEntry> LookupSchema(duckdb::CatalogTransaction transaction,
	                                                              const duckdb::EntryLookupInfo &schema_lookup,
	                                                              duckdb::OnEntryNotFound if_not_found) override;

	//! The node that orders writes; throws when the server has been stopped.
	const void *Node() const;
	//! Refuses every further write with `reason`.
	void Seal(const duckdb::string &reason);
	bool IsSealed() const;
	//! Whether the server is letting go of the store, so that DETACH may pass.
	void AllowDetach() {
		detachable = true;
	}

	//! Keeps the file known to DuckDB as open, for as long as the catalog is there.
	void HoldFile(duckdb::unique_ptr<duckdb::StoredDatabasePath> path) {
		file = std::move(path);
	}

	//! Whether an ATTACH has given the catalog its name. Changed by one ATTACH at a time.
	bool is_named = false;
	//! Tells the node of an error that its store does not survive.
	void Fail(const duckdb::string &reason) const;
	//! Whether the node has met no error of its own, and has room on its disk.
	bool Serves() const;
	//! Whether an error has latched the node.
	bool HasFailed() const;
	//! Throws where the disk has no room for a checkpoint. DuckDB does not survive one that breaks off.
	void RequireRoom() const;
	//! Whether it has room for one.
	bool HasRoom() const;
	//! Counts a checkpoint, see quack_rs_node_begin_checkpoint.
	void BeginCheckpoint(uint64_t count) const;
	void EndCheckpoint(uint64_t count) const;
	//! A commit has failed half-way: what is in memory is not what the log says.
	void Spoil() {
		spoilt = true;
	}
	//! Whether a checkpoint would store what the log says. Where not, the store that is on disk is good, and a restart
	//! applies to it what follows in the log.
	bool IsSound() const {
		return !spoilt && !HasFailed();
	}
	//! Throws where it would not.
	void RequireSound() const;
	//! Whether tables may be placed in groups, by the cluster's switch.
	bool GroupsEnabled() const;
	//! Refuses what places a table when a member of the cluster could not apply it.
	void RequireGroups() const;
	//! Refuses what needs one of DuckDB's extensions when a member of the cluster does not have it.
	void RequireExtension(const duckdb::string &name) const;
	//! The id of a group by its name; 0 when there is no such lane.
	uint64_t GroupId(const duckdb::string &name) const;
	//! Set with the first table that is not in the default group: until then no statement need look for such tables.
	duckdb::atomic<bool> places_tables {false};

	SequenceStates sequences;
	TableNumbers numbers;

	//! The name that all nodes have given the catalog. Within definitions it stands for the catalog, also where a process has
	//! attached it under another one.
	const duckdb::Identifier &SharedName() const {
		return shared_name;
	}

	static bool Is(duckdb::Catalog &catalog);

private:
	duckdb::optional_ptr<duckdb::CatalogEntry> CreateSchemaEntry(duckdb::CatalogTransaction transaction,
	                                                             duckdb::CreateSchemaInfo &info);
	//! Null when there is such a schema.
	duckdb::optional_ptr<duckdb::CatalogEntry> AddSchemaEntry(duckdb::CatalogTransaction transaction,
	                                                          duckdb::CreateSchemaInfo &info);
	void DropSchemaEntry(duckdb::CatalogTransaction transaction, duckdb::DropInfo &info);
	//! Whether an index is built by the connection's own plan: the applier's, or that of a transaction that goes on.
	bool BuildsIndexNatively(duckdb::ClientContext &context, duckdb::TableCatalogEntry &table, bool is_unique);
	void DropSchema(duckdb::ClientContext &context, duckdb::DropInfo &info) override;

private:
	const void *node;
	const duckdb::Identifier shared_name;
	mutable duckdb::mutex seal_lock;
	duckdb::string seal_reason;
	duckdb::atomic<bool> detachable {false};
	duckdb::atomic<bool> spoilt {false};
	duckdb::unique_ptr<duckdb::StoredDatabasePath> file;
};

} // namespace quack
