//! Implementation of pinned settings.

#include "settings.hpp"

#include "duckdb/catalog/catalog_search_path.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/main/client_data.hpp"

using namespace duckdb;

namespace quack {

namespace {

struct Setting {
	const char *name;
	//! What the node's own connections use: DuckDB's default, and UTC.
	const char *pinned;
};

//! Of the list in `duckdb_settings()` of 2.0.0 those that change the value of an expression over given rows.
constexpr Setting SETTINGS[] = {
    {"TimeZone", "UTC"},
    {"Calendar", "gregorian"},
    {"default_collation", ""},
    {"default_null_order", "NULLS_LAST"},
    {"default_order", "ASCENDING"},
    {"disable_timestamptz_casts", "false"},
    {"error_on_division_by_zero", "true"},
    {"ieee_floating_point_ops", "true"},
    {"integer_division", "false"},
    {"legacy_disable_null_type", "false"},
    {"order_by_non_integer_literal", "false"},
    {"regex_match_operator_semantics", "partial"},
    {"scalar_subquery_error_on_multiple_rows", "true"},
};

//! Not DuckDB's own: that one names catalogs, and each node has its own name for the replicated one.
constexpr const char *SCHEMA_IN_USE = "schema";
constexpr const char *PREFIX = "SET SESSION ";
constexpr const char *END = ";\n";

string SetText(const string &name, const string &value) {
	return PREFIX + name + " = " + SQLString::ToString(value) + END;
}

bool IsPinned(const Setting &setting, const string &value) {
	if (StringUtil::CIEquals(value, setting.pinned)) {
		return true;
	}
	return string(setting.name) == "TimeZone" && StringUtil::CIEquals(value, "Etc/UTC");
}

} // namespace

void PinSettings(Connection &connection) {
	for (auto &setting : SETTINGS) {
		// A process without DuckDB's extension icu does not know all of them, and has no expressions that use them.
		Value current;
		if (connection.context->TryGetCurrentSetting(Identifier(setting.name), current)) {
			connection.Query(SetText(setting.name, setting.pinned))->ThrowIfError();
		}
	}
}

//! The schema of the catalog that is looked into for names without one; empty when it is the default one.
static string SchemaInUse(ClientContext &context, const Identifier &catalog) {
	for (auto &entry : ClientData::Get(context).catalog_search_path->GetSetPaths()) {
		if (entry.GetCatalog() == catalog) {
			return entry.GetSchema() == Identifier::DefaultSchema() ? string() : entry.GetSchema().GetIdentifierName();
		}
	}
	return string();
}

static void UseSchema(ClientContext &context, const Identifier &catalog, const Identifier &schema) {
	CatalogSearchEntry entry(catalog, schema);
	ClientData::Get(context).catalog_search_path->Set(std::move(entry), CatalogSetPathType::SET_DIRECTLY);
}

string WithSettings(ClientContext &context, const Identifier &catalog, const string &sql) {
	string result;
	auto schema = SchemaInUse(context, catalog);
	if (!schema.empty()) {
		result += SetText(SCHEMA_IN_USE, schema);
	}
	for (auto &setting : SETTINGS) {
		Value current;
		if (context.TryGetCurrentSetting(Identifier(setting.name), current) && !IsPinned(setting, current.ToString())) {
			result += SetText(setting.name, current.ToString());
		}
	}
	return result + sql;
}

void RunWithSettings(Connection &connection, const Identifier &catalog, const string &sql) {
	auto rest = sql;
	auto changed = false;
	auto &context = *connection.context;
	auto schema_text = string(PREFIX) + SCHEMA_IN_USE + " = ";
	while (StringUtil::StartsWith(rest, PREFIX)) {
		auto end = rest.find(END);
		if (end == string::npos) {
			break;
		}
		if (StringUtil::StartsWith(rest, schema_text)) {
			auto quoted = rest.substr(schema_text.size(), end - schema_text.size());
			auto schema = StringUtil::Replace(quoted.substr(1, quoted.size() - 2), "''", "'");
			UseSchema(context, catalog, Identifier(schema));
			changed = true;
			rest = rest.substr(end + strlen(END));
			continue;
		}
		auto name = rest.substr(strlen(PREFIX), rest.find(" = ") - strlen(PREFIX));
		Value current;
		if (connection.context->TryGetCurrentSetting(Identifier(name), current)) {
			connection.Query(rest.substr(0, end))->ThrowIfError();
			changed = true;
		}
		rest = rest.substr(end + strlen(END));
	}
	connection.Query(rest)->ThrowIfError();
	if (changed) {
		RestoreSettings(connection, catalog);
	}
}

void RestoreSettings(Connection &connection, const Identifier &catalog) {
	UseSchema(*connection.context, catalog, Identifier::DefaultSchema());
	PinSettings(connection);
}

} // namespace quack
