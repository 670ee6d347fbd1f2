//! The entry of a table of the replicated catalog. It keeps the table's placement and its dependencies through every
//! ALTER.

#include "table_entry.hpp"

#include "catalog.hpp"
#include "compat.hpp"
#include "exported_entry.hpp"
#include "statement.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/parser/constraints/check_constraint.hpp"
#include "duckdb/parser/constraints/foreign_key_constraint.hpp"
#include "duckdb/parser/parsed_data/alter_info.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/parsed_data/bound_create_table_info.hpp"
#include "duckdb/storage/data_table.hpp"

using namespace duckdb;

namespace quack {

namespace {

//! The statement that creates a table, with its options. In the file only the tags are written, so that any DuckDB can
//! read it: its own catalog would refuse the options.
struct QuackTableInfo : public ExportedInfo<CreateTableInfo> {
	using ExportedInfo<CreateTableInfo>::ExportedInfo;

	void Serialize(Serializer &serializer) const override {
		auto copy = CreateTableInfo::Copy();
		copy->Cast<CreateTableInfo>().options.clear();
		copy->Serialize(serializer);
	}
};

} // namespace

PlacementChange::PlacementChange(const AlterInfo &statement, Placement placement_p) : placement(std::move(placement_p)) {
	catalog_entry_type = CatalogType::TABLE_ENTRY;
	SetQualifiedName(statement.GetQualifiedName());
	if_not_found = statement.if_not_found;
}

QuackTableEntry::QuackTableEntry(Catalog &catalog, SchemaCatalogEntry &schema, BoundCreateTableInfo &info,
                                 shared_ptr<DataTable> storage, shared_ptr<CatalogSet> triggers)
    : DuckTableEntry(catalog, schema, info, std::move(storage), std::move(triggers)), placement(Placement::OfTags(tags)) {
	if (!placement.IsDefault()) {
		reinterpret_cast<QuackCatalog &>(catalog).places_tables = true;
	}
}

const Placement &QuackTableEntry::PlacementOf(const TableCatalogEntry &table) {
	static const Placement in_default_group;
	auto own = dynamic_cast<const QuackTableEntry *>(&table);
	return own ? own->placement : in_default_group;
}

unique_ptr<CreateInfo> QuackTableEntry::GetInfo() const {
	auto info = DuckTableEntry::GetInfo();
	auto &plain = info->Cast<CreateTableInfo>();
	auto placed = make_uniq<QuackTableInfo>(reinterpret_cast<const QuackCatalog &>(catalog).SharedName());
	plain.CopyProperties(*placed);
	placed->SetQualifiedName(plain.GetQualifiedName());
	placed->columns = std::move(plain.columns);
	placed->constraints = std::move(plain.constraints);
	if (!placement.IsDefault()) {
		placed->options = placement.ToOptions();
	}
	return std::move(placed);
}

uint64_t QuackTableEntry::Shape() const {
	auto known = shape.load();
	if (known == 0) {
		known = ComputeShape(*this);
		shape = known;
	}
	return known;
}

unique_ptr<CatalogEntry> QuackTableEntry::Wrap(unique_ptr<CatalogEntry> made, const Placement &after,
                                               const LogicalDependencyList &depends) const {
	if (!made || made->type != CatalogType::TABLE_ENTRY) {
		return made;
	}
	auto &table = made->Cast<DuckTableEntry>();
	auto info = table.GetInfo();
	after.ToTags(info->tags);
	info->dependencies = depends;
	auto bound = Binder::BindCreateTableCheckpoint(std::move(info), schema);
	return make_uniq<QuackTableEntry>(catalog, schema, *bound, table.GetStorage().shared_from_this(), TriggersOf(table));
}

//! Follows what an ALTER does to the shard key's column.
static Placement Following(const Placement &before, const Identifier &table, AlterInfo &info) {
	auto after = before;
	if (before.shard_key.empty() || info.type != AlterType::ALTER_TABLE) {
		return after;
	}
	auto &alter = info.Cast<AlterTableInfo>();
	if (alter.alter_table_type == AlterTableType::RENAME_COLUMN) {
		auto &rename = alter.Cast<RenameColumnInfo>();
		if (rename.old_name == Identifier(before.shard_key)) {
			after.shard_key = rename.new_name.GetIdentifierName();
		}
	} else if (alter.alter_table_type == AlterTableType::REMOVE_COLUMN) {
		if (alter.Cast<RemoveColumnInfo>().removed_column == Identifier(before.shard_key)) {
			throw BinderException("Cannot drop column \"%s\": it is the shard key of table \"%s\". First choose another one with "
			                      "ALTER TABLE ... SET (%s = 'column'), or none with ALTER TABLE ... SET GROUP DEFAULT",
			                      before.shard_key, table.GetIdentifierName(), SHARD_KEY_OPTION);
		}
	}
	return after;
}

//! An ALTER that gives a table new dependencies keeps those on the tables that its foreign keys refer to. DuckDB 2.0.0
//! forgets them until it reads its file again, and lets those tables be renamed meanwhile, to names that the foreign keys
//! do not know.
static void KeepReferences(ClientContext &context, const CatalogEntry &altered, AlterInfo &info) {
	auto &table = altered.Cast<TableCatalogEntry>();
	for (auto &constraint : table.GetConstraints()) {
		if (constraint->type != ConstraintType::FOREIGN_KEY) {
			continue;
		}
		auto &key = constraint->Cast<ForeignKeyConstraint>().info;
		if (key.type != ForeignKeyType::FK_TYPE_FOREIGN_KEY_TABLE) {
			continue;
		}
		auto &schema = const_cast<SchemaCatalogEntry &>(table.ParentSchema());
		auto referenced = schema.GetEntry(schema.GetCatalogTransaction(context), CatalogType::TABLE_ENTRY, key.table);
		if (referenced) {
			info.new_dependencies->AddDependency(*referenced);
		}
	}
}

const LogicalDependencyList &QuackTableEntry::DependenciesAfter(const AlterInfo &info) const {
	return info.new_dependencies ? *info.new_dependencies : dependencies;
}

unique_ptr<CatalogEntry> QuackTableEntry::AlterEntry(ClientContext &context, AlterInfo &info) {
	auto change = dynamic_cast<PlacementChange *>(&info);
	if (change) {
		return Wrap(DuckTableEntry::Copy(context), change->placement, dependencies);
	}
	auto after = Following(placement, name, info);
	auto altered = DuckTableEntry::AlterEntry(context, info);
	if (altered && info.new_dependencies) {
		KeepReferences(context, *altered, info);
	}
	return Wrap(std::move(altered), after, DependenciesAfter(info));
}

unique_ptr<CatalogEntry> QuackTableEntry::AlterEntry(CatalogTransaction transaction, AlterInfo &info) {
	if (transaction.HasContext()) {
		return AlterEntry(transaction.GetContext(), info);
	}
	auto altered = DuckTableEntry::AlterEntry(transaction, info);
	return Wrap(std::move(altered), placement, DependenciesAfter(info));
}

unique_ptr<CatalogEntry> QuackTableEntry::Copy(ClientContext &context) const {
	return Wrap(DuckTableEntry::Copy(context), placement, dependencies);
}

void ForEachTable(ClientContext &context, QuackCatalog &catalog,
                  const std::function<void(SchemaCatalogEntry &, DuckTableEntry &)> &callback) {
	catalog.DuckCatalog::ScanSchemas(context, [&](SchemaCatalogEntry &schema) {
		if (schema.name == INTERNAL_SCHEMA) {
			return;
		}
		schema.Scan(context, CatalogType::TABLE_ENTRY, [&](CatalogEntry &entry) {
			if (entry.type == CatalogType::TABLE_ENTRY) {
				callback(schema, entry.Cast<DuckTableEntry>());
			}
		});
	});
}

} // namespace quack
