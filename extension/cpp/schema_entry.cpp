//! Catalog changes inside a schema: to the log, or, for the applier and while the file is loaded, to DuckDB.

#include "schema_entry.hpp"

#include "catalog.hpp"
#include "ddl.hpp"
#include "definition.hpp"
#include "exported_entry.hpp"
#include "sequence.hpp"
#include "table_entry.hpp"
#include "transaction_manager.hpp"
#include "duckdb/catalog/catalog_entry/duck_index_entry.hpp"
#include "duckdb/catalog/catalog_entry/view_catalog_entry.hpp"
#include "duckdb/parser/constraints/foreign_key_constraint.hpp"
#include "duckdb/parser/parsed_data/alter_table_info.hpp"
#include "duckdb/parser/parsed_data/comment_on_column_info.hpp"
#include "duckdb/parser/parsed_data/create_collation_info.hpp"
#include "duckdb/parser/parsed_data/create_coordinate_system_info.hpp"
#include "duckdb/parser/parsed_data/create_function_info.hpp"
#include "duckdb/parser/parsed_data/create_index_info.hpp"
#include "duckdb/parser/parsed_data/create_schema_info.hpp"
#include "duckdb/parser/parsed_data/create_sequence_info.hpp"
#include "duckdb/parser/parsed_data/create_table_function_info.hpp"
#include "duckdb/parser/parsed_data/create_table_info.hpp"
#include "duckdb/parser/parsed_data/create_type_info.hpp"
#include "duckdb/parser/parsed_data/create_view_info.hpp"
#include "duckdb/parser/parsed_data/drop_info.hpp"
#include "duckdb/planner/parsed_data/bound_create_table_info.hpp"
#include "duckdb/storage/data_table.hpp"

using namespace duckdb;

namespace quack {

QuackSchemaEntry::QuackSchemaEntry(Catalog &catalog, CreateSchemaInfo &info, optional_ptr<SchemaCatalogEntry> parent)
    : DuckSchemaEntry(catalog, info, parent) {
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateNested(CatalogTransaction transaction, CreateSchemaInfo &info) {
	LogicalDependencyList dependencies;
	dependencies.AddDependency(*this);
	auto entry = make_uniq<QuackSchemaEntry>(catalog, info, *this);
	auto result = entry.get();
	auto &schemas = GetCatalogSet(CatalogType::SCHEMA_ENTRY);
	if (!schemas.CreateEntry(transaction, info.SchemaName(), std::move(entry), dependencies)) {
		return nullptr;
	}
	return result;
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateTable(CatalogTransaction transaction, BoundCreateTableInfo &info) {
	return CreateTableAs(transaction, info, 0);
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateTableAs(CatalogTransaction transaction, BoundCreateTableInfo &info,
                                                           uint64_t rows_seen) {
	auto replaced = ReplacedBy(transaction, info.Base());
	// In a transaction that goes on the table is made of what travels, as it is by the applier.
	unique_ptr<BoundCreateTableInfo> closed;
	return ChangeCatalog(
	    transaction, catalog,
	    [&](DefinitionScope scope) {
		    auto &base = info.Base();
		    auto placement = Placement::OfCreate(base);
		    RequirePlacementPermitted(scope.catalog, Placement(), placement);
		    base.options = placement.ToOptions();
		    scope.rows_seen = rows_seen;
		    auto definition = DefineCreate(scope, *this, base);
		    closed = BindTable(scope.context, scope.catalog, definition.bytes);
		    return definition;
	    },
	    [&]() {
		    Reserve(transaction, replaced);
		    return CreateTableEntry(transaction, closed ? *closed : info);
	    },
	    replaced);
}

optional_ptr<CatalogEntry> QuackSchemaEntry::ReplacedBy(CatalogTransaction transaction, const CreateInfo &info) {
	auto replaces = info.on_conflict == OnCreateConflict::REPLACE_ON_CONFLICT;
	return replaces ? TableNamed(transaction, info.type, info.GetQualifiedName().Name()) : nullptr;
}

//! The changes that a table's foreign keys make to the tables that they refer to, which know it by `name`.
static vector<unique_ptr<AlterForeignKeyInfo>> ReferencesOf(TableCatalogEntry &table, const Identifier &name,
                                                            AlterForeignKeyType type) {
	vector<unique_ptr<AlterForeignKeyInfo>> result;
	for (auto &constraint : table.GetConstraints()) {
		if (constraint->type != ConstraintType::FOREIGN_KEY) {
			continue;
		}
		auto &key = constraint->Cast<ForeignKeyConstraint>();
		if (key.info.type == ForeignKeyType::FK_TYPE_FOREIGN_KEY_TABLE) {
			AlterEntryData data(table.ParentSchema().GetQualifiedName(key.info.table), OnEntryNotFound::THROW_EXCEPTION);
			result.push_back(make_uniq<AlterForeignKeyInfo>(std::move(data), name, key.pk_columns, key.fk_columns,
			                                                key.info.pk_keys, key.info.fk_keys, type));
		}
	}
	return result;
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateTableEntry(CatalogTransaction transaction,
                                                              BoundCreateTableInfo &info) {
	auto &base = info.Base();
	Placement::OfCreate(base).ToTags(base.tags);
	auto on_conflict = base.on_conflict;
	auto dependencies = base.dependencies;
	auto table = make_uniq<QuackTableEntry>(catalog, *this, info);
	auto references = ReferencesOf(*table, table->name, AlterForeignKeyType::AFT_ADD);
	for (auto &reference : references) {
		auto &name = reference->GetQualifiedName().Name();
		auto referenced = GetCatalogSet(CatalogType::TABLE_ENTRY).GetEntry(transaction, name);
		if (!referenced) {
			throw CatalogException::MissingEntry(CatalogType::TABLE_ENTRY, name, string());
		}
		dependencies.AddDependency(*referenced);
	}
	for (auto &dependency : dependencies.Set()) {
		table->dependencies.AddDependency(dependency);
	}
	auto entry = AddEntryInternal(transaction, std::move(table), on_conflict, dependencies);
	auto applier = transaction.HasContext() ? ApplierMark::Get(transaction.GetContext()) : nullptr;
	if (applier && entry && on_conflict != OnCreateConflict::REPLACE_ON_CONFLICT) {
		applier->made = entry->Cast<DuckTableEntry>();
	}
	if (entry) {
		for (auto &reference : references) {
			Alter(transaction, *reference);
		}
	}
	return entry;
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateFunction(CatalogTransaction transaction, CreateFunctionInfo &info) {
	return ChangeCatalog(
	    transaction, catalog, [&](const DefinitionScope &scope) { return DefineCreate(scope, *this, info); },
	    [&]() {
		    if (info.type == CatalogType::MACRO_ENTRY || info.type == CatalogType::TABLE_MACRO_ENTRY) {
			    return AddEntry(transaction, MakeMacroEntry(catalog, *this, info.Cast<CreateMacroInfo>()), info.on_conflict);
		    }
		    return DuckSchemaEntry::CreateFunction(transaction, info);
	    });
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateIndex(CatalogTransaction transaction, CreateIndexInfo &info,
                                                         TableCatalogEntry &table) {
	return ChangeCatalog(
	    transaction, catalog, [&](const DefinitionScope &scope) { return DefineCreateIndex(scope, table, info); },
	    [&]() {
		    Reserve(transaction, table);
		    // Like DuckDB's own, which makes an entry of another class.
		    info.dependencies.AddDependency(table, DependencyDependentFlags());
		    auto index = MakeIndexEntry(catalog, *this, info, table);
		    auto dependencies = index->dependencies;
		    return AddEntryInternal(transaction, std::move(index), info.on_conflict, dependencies);
	    },
	    table);
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateView(CatalogTransaction transaction, CreateViewInfo &info) {
	return ChangeCatalog(
	    transaction, catalog, [&](const DefinitionScope &scope) { return DefineCreate(scope, *this, info); },
	    [&]() { return DuckSchemaEntry::CreateView(transaction, info); });
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateSequence(CatalogTransaction transaction, CreateSequenceInfo &info) {
	return ChangeCatalog(
	    transaction, catalog, [&](const DefinitionScope &scope) { return DefineCreate(scope, *this, info); },
	    [&]() { return AddEntry(transaction, make_uniq<QuackSequenceEntry>(catalog, *this, info), info.on_conflict); });
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateType(CatalogTransaction transaction, CreateTypeInfo &info) {
	return ChangeCatalog(
	    transaction, catalog, [&](const DefinitionScope &scope) { return DefineCreate(scope, *this, info); },
	    [&]() { return DuckSchemaEntry::CreateType(transaction, info); });
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateTableFunction(CatalogTransaction transaction,
                                                                 CreateTableFunctionInfo &info) {
	return ChangeCatalog(
	    transaction, catalog, [&](const DefinitionScope &scope) { return DefineCreate(scope, *this, info); },
	    [&]() { return DuckSchemaEntry::CreateTableFunction(transaction, info); });
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateCollation(CatalogTransaction transaction,
                                                             CreateCollationInfo &info) {
	if (PassesThrough(transaction)) {
		return DuckSchemaEntry::CreateCollation(transaction, info);
	}
	throw NotImplementedException("CREATE COLLATION is not supported in the replicated catalog %s",
	                              catalog.GetName().GetIdentifierName());
}

optional_ptr<CatalogEntry> QuackSchemaEntry::CreateCoordinateSystem(CatalogTransaction transaction,
                                                                    CreateCoordinateSystemInfo &info) {
	if (PassesThrough(transaction)) {
		return DuckSchemaEntry::CreateCoordinateSystem(transaction, info);
	}
	throw NotImplementedException("CREATE COORDINATE SYSTEM is not supported in the replicated catalog %s",
	                              catalog.GetName().GetIdentifierName());
}

optional_ptr<CatalogEntry> QuackSchemaEntry::TableNamed(CatalogTransaction transaction, CatalogType type,
                                                        const Identifier &name) {
	return type == CatalogType::TABLE_ENTRY ? GetCatalogSet(type).GetEntry(transaction, name) : nullptr;
}

void QuackSchemaEntry::Alter(CatalogTransaction transaction, AlterInfo &info) {
	if (IsPlacementChange(info)) {
		ChangePlacement(transaction, info);
		return;
	}
	ChangeCatalog(
	    transaction, catalog, [&](const DefinitionScope &scope) { return DefineAlter(scope, *this, info); },
	    [&]() {
		    AlterNatively(transaction, info);
		    return true;
	    },
	    TableNamed(transaction, info.GetCatalogType(), info.GetQualifiedName().Name()));
}

static bool IsCommentOn(const AlterInfo &info, CatalogType type) {
	return info.type == AlterType::SET_COMMENT && info.Cast<SetCommentInfo>().entry_catalog_type == type;
}

void QuackSchemaEntry::Reserve(CatalogTransaction transaction, optional_ptr<CatalogEntry> table) {
	if (!table || table->type != CatalogType::TABLE_ENTRY || PassesThrough(transaction)) {
		return;
	}
	auto &context = transaction.GetContext();
	auto &storage = table->Cast<DuckTableEntry>().GetStorage();
	QuackTransactionManager::Get(reinterpret_cast<QuackCatalog &>(catalog))
	    .BeginAlter(context, *StatementState::Get(context).open, *storage.GetDataTableInfo());
}

void QuackSchemaEntry::BeginApplying(CatalogTransaction transaction, optional_ptr<CatalogEntry> table,
                                     const AlterInfo &info) {
	if (!table || table->type != CatalogType::TABLE_ENTRY || !transaction.HasContext() ||
	    !ApplierMark::IsSet(transaction.GetContext())) {
		return;
	}
	auto &transactions = QuackTransactionManager::Get(reinterpret_cast<QuackCatalog &>(catalog));
	transactions.BeginWriting(table->Cast<DuckTableEntry>());
	auto looks_at_rows = info.type == AlterType::ALTER_TABLE &&
	                     info.Cast<AlterTableInfo>().alter_table_type == AlterTableType::SET_NOT_NULL;
	if (looks_at_rows) {
		transactions.RequireSettled(table->Cast<DuckTableEntry>());
	}
}

vector<unique_ptr<AlterForeignKeyInfo>> QuackSchemaEntry::ReferencesToRename(CatalogTransaction transaction,
                                                                             const AlterInfo &info) {
	if (info.type != AlterType::ALTER_TABLE ||
	    info.Cast<AlterTableInfo>().alter_table_type != AlterTableType::RENAME_TABLE) {
		return {};
	}
	auto entry = TableNamed(transaction, CatalogType::TABLE_ENTRY, info.GetQualifiedName().Name());
	if (!entry || entry->type != CatalogType::TABLE_ENTRY) {
		return {};
	}
	auto &table = entry->Cast<TableCatalogEntry>();
	auto result = ReferencesOf(table, table.name, AlterForeignKeyType::AFT_DELETE);
	auto &new_name = info.Cast<RenameTableInfo>().new_table_name;
	for (auto &added : ReferencesOf(table, new_name, AlterForeignKeyType::AFT_ADD)) {
		result.push_back(std::move(added));
	}
	return result;
}

void QuackSchemaEntry::AlterNatively(CatalogTransaction transaction, AlterInfo &info) {
	auto &name = info.GetQualifiedName().Name();
	if (IsCommentOn(info, CatalogType::SEQUENCE_ENTRY) && !PassesThrough(transaction) &&
	    GetCatalogSet(CatalogType::SEQUENCE_ENTRY).GetEntry(transaction, name)) {
		// The comment would make a new entry, which a session that draws from the sequence would take for another one.
		return;
	}
	auto table = TableNamed(transaction, info.GetCatalogType(), name);
	Reserve(transaction, table);
	BeginApplying(transaction, table, info);
	auto references = ReferencesToRename(transaction, info);
	if (IsCommentOn(info, CatalogType::INDEX_ENTRY)) {
		CommentOnIndex(transaction, info);
		return;
	}
	if (info.type == AlterType::SET_COLUMN_COMMENT && transaction.HasContext() &&
	    ApplierMark::IsSet(transaction.GetContext())) {
		auto view = GetCatalogSet(CatalogType::VIEW_ENTRY).GetEntry(transaction, name);
		if (view && view->type == CatalogType::VIEW_ENTRY) {
			CommentOnViewColumn(transaction, view->Cast<ViewCatalogEntry>(), info.Cast<SetColumnCommentInfo>());
			return;
		}
	}
	AlterRows(transaction, table, info);
	for (auto &reference : references) {
		AlterNatively(transaction, *reference);
	}
}

void QuackSchemaEntry::AlterRows(CatalogTransaction transaction, optional_ptr<CatalogEntry> entry, AlterInfo &info) {
	auto is_of_rows = entry && entry->type == CatalogType::TABLE_ENTRY && info.type == AlterType::ALTER_TABLE &&
	                  transaction.HasContext();
	auto type = is_of_rows ? info.Cast<AlterTableInfo>().alter_table_type : AlterTableType::INVALID;
	if (type == AlterTableType::ALTER_COLUMN_TYPE) {
		auto &change = info.Cast<ChangeColumnTypeInfo>();
		auto altered = ForLiveRows(transaction.GetContext(), entry->Cast<DuckTableEntry>(), change);
		DuckSchemaEntry::Alter(transaction, *altered);
		return;
	}
	if (type == AlterTableType::ADD_COLUMN) {
		RequireDefault(transaction.GetContext(), info.Cast<AddColumnInfo>().new_column);
	}
	DuckSchemaEntry::Alter(transaction, info);
}

void QuackSchemaEntry::CommentOnViewColumn(CatalogTransaction transaction, ViewCatalogEntry &view,
                                           const SetColumnCommentInfo &comment) {
	auto create = view.GetInfo();
	create->Cast<CreateViewInfo>().column_comments_map[comment.column_name] = comment.comment_value;
	create->on_conflict = OnCreateConflict::REPLACE_ON_CONFLICT;
	DuckSchemaEntry::CreateView(transaction, create->Cast<CreateViewInfo>());
}

void QuackSchemaEntry::CommentOnIndex(CatalogTransaction transaction, AlterInfo &info) {
	auto current = [&]() {
		return GetCatalogSet(CatalogType::INDEX_ENTRY).GetEntry(transaction, info.GetQualifiedName().Name());
	};
	auto before = current();
	auto note = [&]() {
		auto entry = current();
		if (entry && entry != before) {
			QuackTransactionManager::Get(reinterpret_cast<QuackCatalog &>(catalog))
			    .NoteComment(transaction.transaction->Cast<DuckTransaction>(), entry->Cast<DuckIndexEntry>());
		}
	};
	try {
		DuckSchemaEntry::Alter(transaction, info);
	} catch (...) {
		// DuckDB compares dependencies last: the new version may be there, and is rolled back with the transaction.
		note();
		throw;
	}
	note();
}

void QuackSchemaEntry::ChangePlacement(CatalogTransaction transaction, AlterInfo &info) {
	auto &name = info.GetQualifiedName().Name();
	auto entry = GetCatalogSet(CatalogType::TABLE_ENTRY).GetEntry(transaction, name);
	if (!entry || entry->type != CatalogType::TABLE_ENTRY) {
		throw CatalogException("\"%s\" is not a table: only tables are placed in groups", name.GetIdentifierName());
	}
	auto &table = entry->Cast<DuckTableEntry>();
	auto &before = QuackTableEntry::PlacementOf(table);
	PlacementChange change(info, ChangedPlacement(before, info, table.GetColumns()));
	ChangeCatalog(
	    transaction, catalog,
	    [&](const DefinitionScope &scope) {
		    // Even what changes nothing is a statement that an older member does not know.
		    scope.catalog.RequireGroups();
		    RequirePlacementPermitted(scope.catalog, before, change.placement);
		    return DefineAlter(scope, *this, info);
	    },
	    [&]() {
		    Reserve(transaction, table);
		    DuckSchemaEntry::Alter(transaction, change);
		    return true;
	    },
	    table);
}

void QuackSchemaEntry::DropEntry(ClientContext &context, DropInfo &info) {
	auto transaction = GetCatalogTransaction(context);
	auto table = TableNamed(transaction, info.type, info.GetQualifiedName().Name());
	ChangeCatalog(
	    transaction, catalog, [&](const DefinitionScope &scope) { return DefineDrop(scope, *this, info); },
	    [&]() {
		    Reserve(transaction, table);
		    DuckSchemaEntry::DropEntry(context, info);
		    return true;
	    },
	    table);
}

unique_ptr<CatalogEntry> QuackSchemaEntry::Copy(ClientContext &context) const {
	auto info_copy = GetInfo();
	auto &info = info_copy->Cast<CreateSchemaInfo>();
	return make_uniq<QuackSchemaEntry>(catalog, info, parent_schema);
}

} // namespace quack
