//! Writes definitions (CREATE, ALTER, DROP) as bytes for the log, and reads them. It also computes the fingerprints by
//! which the applier finds that an entry or the rows of a table have changed since the origin saw them.

#include "definition_format.hpp"

#include "error.hpp"
#include "rows.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/catalog/dependency_manager.hpp"
#include "duckdb/common/serializer/binary_deserializer.hpp"
#include "duckdb/common/serializer/binary_serializer.hpp"
#include "duckdb/common/serializer/memory_stream.hpp"
#include "duckdb/common/storage_compatibility.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/parser/parsed_data/alter_info.hpp"
#include "duckdb/parser/parsed_data/create_schema_info.hpp"
#include "duckdb/parser/parsed_data/create_trigger_info.hpp"
#include "duckdb/parser/parsed_data/drop_info.hpp"
#include "duckdb/parser/parsed_data/extra_drop_info.hpp"
#include "duckdb/parser/tableref/basetableref.hpp"

#include <set>

using namespace duckdb;

namespace quack {

//! Release whose serialization the log uses: every later DuckDB reads it.
constexpr const char *LOG_VERSION = "v2.0.0";

//! Properties of a definition.
constexpr field_id_t CREATE_PROPERTY = 100;
constexpr field_id_t OTHER_PROPERTY = 101;
constexpr field_id_t SETTING_NAMES_PROPERTY = 102;
constexpr field_id_t SETTING_VALUES_PROPERTY = 103;
constexpr field_id_t SEEN_PROPERTY = 104;
constexpr field_id_t ROWS_SEEN_PROPERTY = 105;

string Write(const DefinitionContent &content) {
	SerializationOptions options;
	options.storage_compatibility = StorageCompatibility::FromString(LOG_VERSION);
	MemoryStream stream;
	BinarySerializer serializer(stream, options);
	vector<string> names, values;
	for (auto &setting : content.settings) {
		names.push_back(setting.first);
		values.push_back(setting.second);
	}
	serializer.Begin();
	serializer.WritePropertyWithDefault(CREATE_PROPERTY, "create", content.create);
	serializer.WritePropertyWithDefault(OTHER_PROPERTY, "other", content.other);
	serializer.WritePropertyWithDefault(SETTING_NAMES_PROPERTY, "setting_names", names);
	serializer.WritePropertyWithDefault(SETTING_VALUES_PROPERTY, "setting_values", values);
	serializer.WritePropertyWithDefault<uint64_t>(SEEN_PROPERTY, "seen", content.seen);
	serializer.WritePropertyWithDefault<uint64_t>(ROWS_SEEN_PROPERTY, "rows_seen", content.rows_seen);
	serializer.End();
	return string(const_char_ptr_cast(stream.GetData()), stream.GetPosition());
}

//! Leads the names of entries into the catalog, under the name that this process has for it.
static void LeadInto(QuackCatalog &catalog, DefinitionContent &content) {
	auto lead = [&](const QualifiedName &name) {
		auto path = name.Path();
		path[0] = catalog.GetName();
		return QualifiedName::FromPath(std::move(path));
	};
	if (content.create) {
		auto &create = *content.create;
		create.SetQualifiedName(lead(create.GetQualifiedName()));
		LogicalDependencyList dependencies;
		for (auto &dependency : create.dependencies.Set()) {
			auto copy = dependency;
			copy.catalog = catalog.GetName();
			dependencies.AddDependency(copy);
		}
		create.dependencies = std::move(dependencies);
		if (create.type == CatalogType::TRIGGER_ENTRY) {
			auto &base_table = *create.Cast<CreateTriggerInfo>().base_table;
			base_table.SetQualifiedName(lead(base_table.GetQualifiedName()));
		}
		return;
	}
	if (content.other->info_type == ParseInfoType::ALTER_INFO) {
		auto &alter = content.other->Cast<AlterInfo>();
		alter.SetQualifiedName(lead(alter.GetQualifiedName()));
		return;
	}
	auto &drop = content.other->Cast<DropInfo>();
	drop.SetQualifiedName(lead(drop.GetQualifiedName()));
	if (drop.extra_drop_info) {
		auto &base_table = drop.extra_drop_info->Cast<ExtraDropTriggerInfo>().base_table->Cast<BaseTableRef>();
		base_table.SetQualifiedName(lead(base_table.GetQualifiedName()));
	}
}

DefinitionContent Read(ClientContext &context, QuackCatalog &catalog, QuackBytes bytes) {
	DefinitionContent content;
	MemoryStream stream(const_cast<data_ptr_t>(bytes.data), bytes.length);
	BinaryDeserializer deserializer(stream);
	deserializer.Set<ClientContext &>(context);
	deserializer.Set<DatabaseInstance &>(*context.db);
	deserializer.Set<Catalog &>(catalog);
	vector<string> names, values;
	deserializer.Begin();
	content.create = deserializer.ReadPropertyWithDefault<unique_ptr<CreateInfo>>(CREATE_PROPERTY, "create");
	content.other = deserializer.ReadPropertyWithDefault<unique_ptr<ParseInfo>>(OTHER_PROPERTY, "other");
	deserializer.ReadPropertyWithDefault(SETTING_NAMES_PROPERTY, "setting_names", names);
	deserializer.ReadPropertyWithDefault(SETTING_VALUES_PROPERTY, "setting_values", values);
	deserializer.ReadPropertyWithDefault<uint64_t>(SEEN_PROPERTY, "seen", content.seen);
	deserializer.ReadPropertyWithDefault<uint64_t>(ROWS_SEEN_PROPERTY, "rows_seen", content.rows_seen);
	deserializer.End();
	auto is_drop_or_alter = content.other && (content.other->info_type == ParseInfoType::ALTER_INFO ||
	                                          content.other->info_type == ParseInfoType::DROP_INFO);
	if (names.size() != values.size() || (content.create != nullptr) == is_drop_or_alter) {
		throw SerializationException("the definition of a change of the catalog is damaged");
	}
	for (idx_t i = 0; i < names.size(); i++) {
		content.settings.emplace_back(names[i], values[i]);
	}
	LeadInto(catalog, content);
	return content;
}

optional_ptr<SchemaCatalogEntry> FindSchema(CatalogTransaction transaction, QuackCatalog &catalog,
                                            const QualifiedName &name) {
	auto path = name.Path();
	path.erase(path.begin());
	if (!path.empty() && path.back().empty()) {
		path.pop_back();
	}
	return catalog.GetSchema(transaction, path, OnEntryNotFound::RETURN_NULL);
}

static void Mix(uint64_t &hash, const string &text) {
	for (auto c : text) {
		hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
	}
	hash = (hash ^ 0xff) * 0x100000001b3ULL;
}

string PlaceOf(CatalogEntry &entry) {
	vector<string> parts = {CatalogTypeToString(entry.type)};
	for (auto &schema : DependencyManager::GetSchemaPath(entry)) {
		parts.push_back(schema.GetIdentifierName());
	}
	parts.push_back(entry.name.GetIdentifierName());
	return StringUtil::Join(parts, string(1, '\x1f'));
}

//! Place and definition of an entry. DuckDB has no text of some, and that of a sequence says how far it is. An
//! entry of this very transaction needs none: the origin makes it as the client wrote it, the applier with whole names.
static string DescriptionOf(CatalogEntry &entry) {
	string definition;
	auto is_own = entry.timestamp >= TRANSACTION_ID_START;
	if (!is_own && entry.type != CatalogType::SEQUENCE_ENTRY) {
		try {
			auto info = entry.GetInfo();
			info->StripCatalogQualification();
			definition = info->ToString();
		} catch (NotImplementedException &) {
			// Then the name must do.
		}
	}
	return PlaceOf(entry) + "\x1e" + definition;
}

//! What lies in a schema, and in those within it. DuckDB keeps no dependencies on schemas.
static void CollectContents(ClientContext &context, SchemaCatalogEntry &schema, vector<reference<CatalogEntry>> &found) {
	constexpr CatalogType SETS[] = {CatalogType::TABLE_ENTRY,           CatalogType::INDEX_ENTRY,
	                                CatalogType::SEQUENCE_ENTRY,        CatalogType::TYPE_ENTRY,
	                                CatalogType::SCALAR_FUNCTION_ENTRY, CatalogType::TABLE_FUNCTION_ENTRY,
	                                CatalogType::SCHEMA_ENTRY};
	vector<reference<SchemaCatalogEntry>> nested;
	for (auto type : SETS) {
		schema.Scan(context, type, [&](CatalogEntry &entry) {
			if (entry.internal) {
				return;
			}
			found.push_back(entry);
			if (entry.type == CatalogType::SCHEMA_ENTRY) {
				nested.push_back(entry.Cast<SchemaCatalogEntry>());
			}
		});
	}
	for (auto &inner : nested) {
		CollectContents(context, inner, found);
	}
}

uint64_t FingerprintOf(ClientContext &context, QuackCatalog &catalog, CatalogEntry &entry) {
	reference_map_t<CatalogEntry, vector<reference<CatalogEntry>>> dependents;
	catalog.GetDependencyManager()->Scan(
	    context, [&](CatalogEntry &object, CatalogEntry &dependent, const DependencyDependentFlags &) {
		    dependents[object].push_back(dependent);
	    });
	std::set<string> descriptions;
	vector<reference<CatalogEntry>> found {entry};
	if (entry.type == CatalogType::SCHEMA_ENTRY) {
		CollectContents(context, entry.Cast<SchemaCatalogEntry>(), found);
	}
	for (idx_t i = 0; i < found.size(); i++) {
		if (!descriptions.insert(DescriptionOf(found[i])).second) {
			continue;
		}
		for (auto &dependent : dependents[found[i]]) {
			found.push_back(dependent);
		}
	}
	uint64_t hash = 0xcbf29ce484222325ULL;
	for (auto &description : descriptions) {
		Mix(hash, description);
	}
	return hash == 0 ? 1 : hash;
}

uint64_t RowsSeen(ClientContext &context, DuckTableEntry &table) {
	auto bag = BagOf(context, table);
	uint64_t hash = 0xcbf29ce484222325ULL;
	Mix(hash, StringUtil::Format("%llu,%llu,%llu", bag.count, bag.sum.lanes[0], bag.sum.lanes[1]));
	return hash == 0 ? 1 : hash;
}

} // namespace quack
