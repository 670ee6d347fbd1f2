//! Knows the class of every DuckDB setting, pins those that decide what a definition means, and opens the closed scope in
//! which names and settings mean what they mean to the applier.

#include "settings.hpp"

#include "duckdb/catalog/catalog.hpp"
#include "duckdb/common/vector_operations/unary_executor.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/main/client_data.hpp"
#include "duckdb/main/config.hpp"
#include "duckdb/main/extension/extension_loader.hpp"
#include "duckdb/main/settings.hpp"
#include "duckdb/transaction/duck_transaction.hpp"

using namespace duckdb;

namespace quack {

namespace {

//! Settings that change the value of an expression over given rows.
constexpr const char *TRAVELLING[] = {
    "TimeZone",
    "Calendar",
    "default_collation",
    "default_null_order",
    "default_order",
    "disable_timestamptz_casts",
    "error_on_division_by_zero",
    "ieee_floating_point_ops",
    "integer_division",
    "legacy_disable_null_type",
    "old_implicit_casting",
    "order_by_non_integer_literal",
    "regex_match_operator_semantics",
    "scalar_subquery_error_on_multiple_rows",
};

//! Settings whose value is what the process has and may use. DuckDB reads them from the process, or to look after files.
constexpr const char *OF_THE_HOST[] = {
    "access_mode",
    "allocator_background_threads",
    "allocator_bulk_deallocation_flush_threshold",
    "allocator_flush_threshold",
    "allow_community_extensions",
    "allow_extension_repositories",
    "allow_extensions_metadata_mismatch",
    "allow_parser_override_extension",
    "allow_persistent_secrets",
    "allow_unredacted_secrets",
    "allow_unsigned_extensions",
    "allowed_configs",
    "allowed_directories",
    "allowed_paths",
    "async_threads",
    "auto_checkpoint_skip_wal_threshold",
    "autoinstall_extension_repository",
    "autoinstall_known_extensions",
    "autoload_known_extensions",
    "block_allocator_memory",
    "cache_local_files",
    "checkpoint_on_detach",
    "checkpoint_threshold",
    "custom_extension_repository",
    "custom_user_agent",
    "debug_checkpoint_scan_sleep_ms",
    "default_block_size",
    "default_secret_storage",
    "disable_database_invalidation",
    "disabled_compression_methods",
    "disabled_filesystems",
    "disabled_log_types",
    "disabled_optimizers",
    "duckdb_api",
    "enable_external_access",
    "enable_external_file_cache",
    "enable_http_metadata_cache",
    "enable_logging",
    "enabled_log_types",
    "extension_directories",
    "extension_repository_directory",
    "external_file_cache_local_max_block_size",
    "external_file_cache_remote_max_block_size",
    "external_file_cache_remote_min_block_size",
    "external_file_cache_request_sizing",
    "external_file_cache_spill",
    "external_threads",
    "file_search_path",
    "fsync_mode",
    "home_directory",
    "http_client_pool_capacity",
    "http_retry_quota_throttled",
    "http_retry_throttled_wait_ms",
    "http_proxy",
    "http_proxy_password",
    "http_proxy_username",
    "lock_configuration",
    "log_query_path",
    "logging_level",
    "logging_mode",
    "logging_sink",
    "logging_storage",
    "max_memory",
    "max_temp_directory_size",
    "memory_limit",
    "password",
    "pin_threads",
    "redact_http_logs",
    "secret_directory",
    "standard_vector_size",
    "storage_block_prefetch",
    "storage_compatibility_version",
    "temp_directory",
    "temp_file_encryption",
    "threads",
    "user",
    "username",
    "wal_autocheckpoint",
    "wal_autocheckpoint_entries",
    "worker_threads",
    "write_buffer_row_group_memory_limit",
};

constexpr const char *OF_THE_CONNECTION[] = {
    "active_grammar_extensions", "current_dialect",     "enable_profiling",      "enable_progress_bar",
    "enable_progress_bar_print", "max_streaming_buffer_size", "operator_memory_limit", "profile_output",
    "profiling_coverage",        "profiling_output",    "profiling_renderer_settings", "progress_bar_time",
    "schema",                    "search_path",         "streaming_buffer_size", "tracked_metrics",
};

//! Settings of `duckdb_settings()` that a statement or its plan may depend on, and no row.
constexpr const char *OF_THE_PLAN[] = {
    "approximate_join_order_threshold", "arrow_large_buffer_size", "arrow_lossless_conversion",
    "arrow_output_list_view", "arrow_output_version", "asof_loop_join_threshold", "binary_as_string",
    "catalog_error_max_schemas", "current_transaction_invalidation_policy",
    "default_transaction_invalidation_policy", "delim_join_as_cte", "dialect_compatibility_mode",
    "disable_parquet_prefetching", "dynamic_or_filter_threshold", "enable_fsst_vectors",
    "enable_geoparquet_conversion", "enable_macro_dependencies", "enable_optimistic_write", "enable_optimizer",
    "enable_view_dependencies", "errors_as_json", "experimental_metadata_reuse", "explain_output",
    "force_column_metadata_reuse", "force_compression", "geometry_minimum_shredding_size", "ignore_unknown_crs",
    "immediate_transaction_mode", "index_scan_max_count", "index_scan_percentage", "initial_column_segment_size",
    "json_geometry_format", "late_materialization_max_rows", "max_execution_time", "max_expression_depth",
    "max_vacuum_tasks", "merge_join_threshold", "nested_loop_join_threshold", "null_order",
    "ordered_aggregate_threshold", "pandas_analyze_sample", "parquet_can_have_nan", "parquet_metadata_cache",
    "parquet_prefetch_column_gap", "parquet_use_page_index",
    "partitioned_write_flush_threshold", "partitioned_write_max_open_files", "perfect_ht_threshold",
    "pivot_filter_threshold", "pivot_limit", "prefer_range_joins", "prefetch_all_parquet_files",
    "preserve_identifier_case", "preserve_insertion_order", "python_enable_replacements", "python_scan_all_frames",
    "read_ahead_depth", "scheduler_process_partial", "show_behavior", "table_function_identifier_conversion",
    "validate_external_file_cache", "variant_minimum_shredding_size", "warnings_as_errors",
    "write_buffer_row_group_count", "zstd_min_string_length",
};

template <idx_t COUNT>
bool IsIn(const char *const (&names)[COUNT], const string &setting) {
	for (auto name : names) {
		if (StringUtil::CIEquals(name, setting)) {
			return true;
		}
	}
	return false;
}

//! Values that are not DuckDB's defaults: those of a process may depend on where it runs.
Value PinnedValue(const string &setting, const Value &default_value) {
	if (StringUtil::CIEquals(setting, "TimeZone")) {
		return Value("UTC");
	}
	if (StringUtil::CIEquals(setting, "Calendar")) {
		return Value("gregorian");
	}
	return default_value;
}

//! A setting that DuckDB looks up by its number, first in the connection, then in the process.
struct KnownSetting {
	string name;
	idx_t index;
	Value pinned;
};

bool IsPinned(const string &setting) {
	auto setting_class = ClassOf(setting);
	return setting_class == SettingClass::PINNED || setting_class == SettingClass::TRAVELS ||
	       setting_class == SettingClass::UNKNOWN;
}

//! DuckDB's own settings that are pinned.
const vector<KnownSetting> &OwnSettings() {
	static const auto SETTINGS = []() {
		vector<KnownSetting> result;
		for (idx_t i = 0; i < DBConfig::GetOptionCount(); i++) {
			auto option = DBConfig::GetOptionByIndex(i);
			Value default_value;
			if (option->setting_idx.IsValid() && IsPinned(option->name) &&
			    DBConfig::TryGetDefaultValue(option, default_value)) {
				result.push_back(KnownSetting {option->name, option->setting_idx.GetIndex(), std::move(default_value)});
			}
		}
		return result;
	}();
	return SETTINGS;
}

//! Calls back for all settings that are pinned, those of extensions included.
void ForEachPinned(ClientContext &context, const std::function<void(const KnownSetting &setting)> &callback) {
	for (auto &setting : OwnSettings()) {
		callback(setting);
	}
	for (auto &entry : DBConfig::GetConfig(context).user_settings.GetExtensionSettings()) {
		auto &option = entry.second;
		auto &name = entry.first.GetIdentifierName();
		if (option.setting_index.IsValid() && IsPinned(name)) {
			callback(KnownSetting {name, option.setting_index.GetIndex(), PinnedValue(name, option.default_value)});
		}
	}
}

bool IsSame(const string &setting, const Value &current, const Value &pinned) {
	auto value = current.ToString();
	return StringUtil::CIEquals(value, pinned.ToString()) ||
	       (StringUtil::CIEquals(setting, "TimeZone") && StringUtil::CIEquals(value, "Etc/UTC"));
}

} // namespace

SettingClass ClassOf(const string &setting) {
	if (IsIn(TRAVELLING, setting)) {
		return SettingClass::TRAVELS;
	}
	if (IsIn(OF_THE_HOST, setting)) {
		return SettingClass::HOST;
	}
	if (IsIn(OF_THE_CONNECTION, setting)) {
		return SettingClass::CONNECTION;
	}
	return IsIn(OF_THE_PLAN, setting) ? SettingClass::PINNED : SettingClass::UNKNOWN;
}

const char *NameOf(SettingClass setting_class) {
	switch (setting_class) {
	case SettingClass::PINNED:
		return "pinned";
	case SettingClass::TRAVELS:
		return "travels";
	case SettingClass::HOST:
		return "host";
	case SettingClass::CONNECTION:
		return "connection";
	default:
		return "unknown";
	}
}

void PinSettings(ClientContext &context) {
	ForEachPinned(context, [&](const KnownSetting &setting) {
		Settings::Set(context, setting.index, SetScope::SESSION, setting.pinned);
	});
}

SettingValues TravellingSettings(ClientContext &context) {
	SettingValues result;
	ForEachPinned(context, [&](const KnownSetting &setting) {
		Value current;
		if (ClassOf(setting.name) == SettingClass::TRAVELS &&
		    context.TryGetCurrentUserSetting(setting.index, current) &&
		    !IsSame(setting.name, current, setting.pinned)) {
			result.emplace_back(setting.name, current.ToString());
		}
	});
	return result;
}

ClosedScope::ClosedScope(ClientContext &context, const SettingValues &travelling)
    : context(context), settings(ClientConfig::GetConfig(context).user_settings),
      system(DuckTransaction::Get(context, Catalog::GetSystemCatalog(context))), system_bound(system.view.visibility_bound) {
	system.view.visibility_bound = VisibilityBound::Through(SYSTEM_TRANSACTION_TIMESTAMP);
	vector<CatalogSearchEntry> own_names {CatalogSearchEntry(Identifier::SystemCatalog(), Identifier::DefaultSchema())};
	search_path = make_uniq<CatalogSearchPath>(context, std::move(own_names));
	std::swap(ClientData::Get(context).catalog_search_path, search_path);
	PinSettings(context);
	for (auto &value : travelling) {
		ForEachPinned(context, [&](const KnownSetting &setting) {
			if (StringUtil::CIEquals(setting.name, value.first)) {
				Settings::Set(context, setting.index, SetScope::SESSION, Value(value.second).DefaultCastAs(setting.pinned.type()));
			}
		});
		// One that DuckDB's extension icu has added decides nothing for a process that has not loaded it, and therefore
		// has none of the functions that look at it.
	}
}

ClosedScope::~ClosedScope() {
	std::swap(ClientData::Get(context).catalog_search_path, search_path);
	ClientConfig::GetConfig(context).user_settings = std::move(settings);
	system.view.visibility_bound = system_bound;
}

static void SettingClassOf(DataChunk &args, ExpressionState &, Vector &result) {
	UnaryExecutor::Execute<string_t, string_t>(args.data[0], result, args.size(), [&](string_t name) {
		return StringVector::AddString(result, NameOf(ClassOf(name.GetString())));
	});
}

void RegisterSettings(ExtensionLoader &loader) {
	loader.RegisterFunction(
	    ScalarFunction("quack_setting_class", {LogicalType::VARCHAR}, LogicalType::VARCHAR, SettingClassOf));
}

} // namespace quack
