//! Implementation of pinned settings.

#include "settings.hpp"

#include "duckdb/main/client_context.hpp"

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

string WithSettings(ClientContext &context, const string &sql) {
	string result;
	for (auto &setting : SETTINGS) {
		Value current;
		if (context.TryGetCurrentSetting(Identifier(setting.name), current) && !IsPinned(setting, current.ToString())) {
			result += SetText(setting.name, current.ToString());
		}
	}
	return result + sql;
}

void RunWithSettings(Connection &connection, const string &sql) {
	auto rest = sql;
	auto changed = false;
	while (StringUtil::StartsWith(rest, PREFIX)) {
		auto end = rest.find(END);
		if (end == string::npos) {
			break;
		}
		auto name = rest.substr(strlen(PREFIX), rest.find(" = ") - strlen(PREFIX));
		Value current;
		if (connection.context->TryGetCurrentSetting(Identifier(name), current)) {
			connection.Query(rest.substr(0, end))->ThrowIfError();
			changed = true;
		}
		rest = rest.substr(end + strlen(END));
	}
	auto result = connection.Query(rest);
	if (changed) {
		PinSettings(connection);
	}
	result->ThrowIfError();
}

} // namespace quack
