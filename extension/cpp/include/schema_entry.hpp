//! A schema of the replicated catalog.
#pragma once

#include "duckdb/catalog/catalog_entry/duck_schema_entry.hpp"

namespace duckdb {
class ViewCatalogEntry;
struct SetColumnCommentInfo;
}

namespace quack {

//! DuckDB's own schema; a statement that changes it is proposed, unless the applier runs it or the file is being
//! loaded.
class QuackSchemaEntry : public duckdb::DuckSchemaEntry {
public:
	QuackSchemaEntry(duckdb::Catalog &catalog, duckdb::CreateSchemaInfo &info,
	                 duckdb::optional_ptr<duckdb::SchemaCatalogEntry> parent = nullptr);

	//! A schema within this one. `QuackCatalog` leads the change to the log.
	duckdb::optional_ptr<duckdb::CatalogEntry> CreateNested(duckdb::CatalogTransaction transaction,
	                                                        duckdb::CreateSchemaInfo &info);
	duckdb::optional_ptr<duckdb::CatalogEntry> CreateTable(duckdb::CatalogTransaction transaction,
	                                                       duckdb::BoundCreateTableInfo &info) override;
	//! A table that a query fills, which has seen these rows of the one that is replaced (`DefinitionScope::rows_seen`).
	duckdb::optional_ptr<duckdb::CatalogEntry> CreateTableAs(duckdb::CatalogTransaction transaction,
	                                                         duckdb::BoundCreateTableInfo &info, uint64_t rows_seen);
	duckdb::optional_ptr<duckdb::CatalogEntry> CreateFunction(duckdb::CatalogTransaction transaction,
	                                                          duckdb::CreateFunctionInfo &info) override;
	duckdb::optional_ptr<duckdb::CatalogEntry> CreateIndex(duckdb::CatalogTransaction transaction,
	                                                       duckdb::CreateIndexInfo &info,
	                                                       duckdb::TableCatalogEntry &table) override;
	duckdb::optional_ptr<duckdb::CatalogEntry> CreateView(duckdb::CatalogTransaction transaction,
	                                                      duckdb::CreateViewInfo &info) override;
	duckdb::optional_ptr<duckdb::CatalogEntry> CreateSequence(duckdb::CatalogTransaction transaction,
	                                                          duckdb::CreateSequenceInfo &info) override;
	duckdb::optional_ptr<duckdb::CatalogEntry> CreateType(duckdb::CatalogTransaction transaction,
	                                                      duckdb::CreateTypeInfo &info) override;
	duckdb::optional_ptr<duckdb::CatalogEntry>
	CreateTableFunction(duckdb::CatalogTransaction transaction, duckdb::CreateTableFunctionInfo &info) override;
	duckdb::optional_ptr<duckdb::CatalogEntry> CreateCollation(duckdb::CatalogTransaction transaction,
	                                                           duckdb::CreateCollationInfo &info) override;
	duckdb::optional_ptr<duckdb::CatalogEntry>
	CreateCoordinateSystem(duckdb::CatalogTransaction transaction,
	                       duckdb::CreateCoordinateSystemInfo &info) override;
	void Alter(duckdb::CatalogTransaction transaction, duckdb::AlterInfo &info) override;
	void DropEntry(duckdb::ClientContext &context, duckdb::DropInfo &info) override;
	duckdb::unique_ptr<duckdb::CatalogEntry> Copy(duckdb::ClientContext &context) const override;
	//! What a CREATE OR REPLACE of a table replaces.
	duckdb::optional_ptr<duckdb::CatalogEntry> ReplacedBy(duckdb::CatalogTransaction transaction,
	                                                      const duckdb::CreateInfo &info);

private:
	//! As DuckDB creates a table, but for the class of its entry.
	duckdb::optional_ptr<duckdb::CatalogEntry> CreateTableEntry(duckdb::CatalogTransaction transaction,
	                                                            duckdb::BoundCreateTableInfo &info);
	//! As DuckDB does it, but for comments that would do more than comment.
	void AlterNatively(duckdb::CatalogTransaction transaction, duckdb::AlterInfo &info);
	void CommentOnIndex(duckdb::CatalogTransaction transaction, duckdb::AlterInfo &info);
	//! For the applier: DuckDB looks the column up where this node has bound the view, if it has. The origin has done that.
	void CommentOnViewColumn(duckdb::CatalogTransaction transaction, duckdb::ViewCatalogEntry &view,
	                         const duckdb::SetColumnCommentInfo &comment);
	//! DuckDB's own ALTER, whose outcome follows from the rows that are there.
	void AlterRows(duckdb::CatalogTransaction transaction, duckdb::optional_ptr<duckdb::CatalogEntry> entry,
	               duckdb::AlterInfo &info);
	//! The table, or the view, that a statement about a table is about; null when it is about anything else.
	duckdb::optional_ptr<duckdb::CatalogEntry> TableNamed(duckdb::CatalogTransaction transaction,
	                                                      duckdb::CatalogType type, const duckdb::Identifier &name);
	//! A client's transaction is about to make another version of a table's entry, or of its data.
	void Reserve(duckdb::CatalogTransaction transaction, duckdb::optional_ptr<duckdb::CatalogEntry> table);
	//! For the applier, before it alters a table: throws while a transaction has altered it, or does not see its rows as the
	//! change would look at them.
	void BeginApplying(duckdb::CatalogTransaction transaction, duckdb::optional_ptr<duckdb::CatalogEntry> table,
	                   const duckdb::AlterInfo &info);
	//! The changes of other tables that go with the new name of one with foreign keys. DuckDB 2.0.0 makes none: it looks
	//! for the old name when rows of those tables change, and ends in a fatal error when that is another table.
	duckdb::vector<duckdb::unique_ptr<duckdb::AlterForeignKeyInfo>>
	ReferencesToRename(duckdb::CatalogTransaction transaction, const duckdb::AlterInfo &info);
	//! ALTER TABLE ... SET and RESET, which DuckDB's own tables do not have.
	void ChangePlacement(duckdb::CatalogTransaction transaction, duckdb::AlterInfo &info);
};

} // namespace quack
