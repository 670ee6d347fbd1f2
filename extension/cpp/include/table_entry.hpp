//! Tables of the replicated catalog: DuckDB's own, which also know where their entries go.
#pragma once

#include "catalog.hpp"
#include "placement.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/parser/parsed_data/comment_on_column_info.hpp"

#include <atomic>

namespace quack {

//! Invariant: every table of a `QuackCatalog` is one of these. They come to be where a table is created
//! (`QuackSchemaEntry::CreateTable`, also while a file is loaded) and where one is altered (`AlterEntry`, `Copy`).
class QuackTableEntry : public duckdb::DuckTableEntry {
public:
	QuackTableEntry(duckdb::Catalog &catalog, duckdb::SchemaCatalogEntry &schema, duckdb::BoundCreateTableInfo &info,
	                duckdb::shared_ptr<duckdb::DataTable> storage = nullptr,
	                duckdb::shared_ptr<duckdb::CatalogSet> triggers = nullptr);

	//! With the options of WITH, for all callers that write the statement that creates this table.
	duckdb::unique_ptr<duckdb::CreateInfo> GetInfo() const override;
	duckdb::unique_ptr<duckdb::CatalogEntry> AlterEntry(duckdb::ClientContext &context,
	                                                    duckdb::AlterInfo &info) override;
	duckdb::unique_ptr<duckdb::CatalogEntry> AlterEntry(duckdb::CatalogTransaction transaction,
	                                                    duckdb::AlterInfo &info) override;
	duckdb::unique_ptr<duckdb::CatalogEntry> Copy(duckdb::ClientContext &context) const override;

	static const Placement &PlacementOf(const duckdb::TableCatalogEntry &table);
	//! `ComputeShape`, which an entry has for good: with large ENUMs it takes a while.
	uint64_t Shape() const;

private:
	//! The entry that DuckDB has made, as one of these, with the given placement, and with the dependencies that a checkpoint
	//! writes: DuckDB keeps those of some changes in its memory only. Of a table that another one comes to refer to, it would
	//! write none.
	duckdb::unique_ptr<duckdb::CatalogEntry> Wrap(duckdb::unique_ptr<duckdb::CatalogEntry> made, const Placement &placement,
	                                              const duckdb::LogicalDependencyList &depends) const;
	const duckdb::LogicalDependencyList &DependenciesAfter(const duckdb::AlterInfo &info) const;

	Placement placement;
	//! 0 until it is asked for.
	mutable std::atomic<uint64_t> shape {0};
};

//! Changes nothing but the placement. DuckDB lets nothing be altered that an index or a view depends on, but for what
//! cannot matter to those: comments. So to DuckDB this is the comment of a column.
struct PlacementChange : public duckdb::SetColumnCommentInfo {
	PlacementChange(const duckdb::AlterInfo &statement, Placement placement);

	Placement placement;
};

//! All tables of a catalog but the applier's own, as the connection's transaction sees them.
void ForEachTable(duckdb::ClientContext &context, QuackCatalog &catalog,
                  const std::function<void(duckdb::SchemaCatalogEntry &, duckdb::DuckTableEntry &)> &callback);

} // namespace quack
