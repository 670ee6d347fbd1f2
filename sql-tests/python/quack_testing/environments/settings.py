"""Every setting of `duckdb_settings()`, by what it is to a node; a test fails when DuckDB has one that is not here.

MEANING decides what an expression, a name or a type means. Hosts have random values of these, and clients' sessions
the usual one. WORK decides how work is done; hosts have random values. PLANS decides which expressions a statement evaluates,
and so which errors it meets: plain DuckDB has the values of the nodes where clients are. The others are not drawn, for the
reason given.
"""

from importlib.metadata import version

MEANING = {
    "Calendar": ("'gregorian'", ["'buddhist'", "'japanese'"]),
    "TimeZone": ("'UTC'", ["'Asia/Kolkata'", "'America/New_York'", "'Pacific/Apia'"]),
    "default_collation": ("''", ["'NOCASE'", "'NOACCENT'", "'de'"]),
    "default_null_order": ("'NULLS_LAST'", ["'NULLS_FIRST'", "'NULLS_FIRST_ON_ASC_LAST_ON_DESC'"]),
    "default_order": ("'ASC'", ["'DESC'"]),
    "dialect_compatibility_mode": ("'NONE'", ["'SPARK'"]),
    "disable_timestamptz_casts": ("false", ["true"]),
    "error_on_division_by_zero": ("true", ["false"]),
    "ieee_floating_point_ops": ("true", ["false"]),
    "integer_division": ("false", ["true"]),
    "legacy_disable_null_type": ("false", ["true"]),
    "order_by_non_integer_literal": ("false", ["true"]),
    "preserve_identifier_case": ("'preserve_case'", ["'lowercase'", "'uppercase'"]),
    "regex_match_operator_semantics": ("'partial'", ["'full'"]),
    "scalar_subquery_error_on_multiple_rows": ("true", ["false"]),
    # DuckDB takes these and does not list them.
    "old_implicit_casting": ("false", ["true"]),
    "lambda_syntax": ("'DEFAULT'", ["'ENABLE_SINGLE_ARROW'", "'DISABLE_SINGLE_ARROW'"]),
}
UNLISTED = ("old_implicit_casting", "lambda_syntax")
WORK = {
    "allocator_background_threads": ["true", "false"],
    "allocator_bulk_deallocation_flush_threshold": ["'1MB'", "'1GB'"],
    "allocator_flush_threshold": ["'1MB'", "'1GB'"],
    "approximate_join_order_threshold": ["0", "3"],
    "asof_loop_join_threshold": ["0", "1000"],
    "auto_checkpoint_skip_wal_threshold": ["0", "1000000"],
    "autoload_known_extensions": ["false"],
    "catalog_error_max_schemas": ["0", "1"],
    "checkpoint_threshold": ["'1KB'", "'1GB'"],
    "delim_join_as_cte": ["false"],
    "disabled_compression_methods": ["'rle,bitpacking'", "'fsst,dictionary,zstd'"],
    "dynamic_or_filter_threshold": ["0", "1000"],
    "enable_fsst_vectors": ["true"],
    "enable_macro_dependencies": ["false"],
    "enable_optimistic_write": ["false"],
    "enable_view_dependencies": ["false"],
    "experimental_metadata_reuse": ["true", "false"],
    "external_threads": ["1"],
    "force_compression": ["'uncompressed'", "'rle'", "'dictionary'"],
    "immediate_transaction_mode": ["true", "false"],
    "index_scan_max_count": ["0", "100000"],
    "index_scan_percentage": ["0", "1"],
    "initial_column_segment_size": ["2048", "16384"],
    "late_materialization_max_rows": ["0", "1000"],
    "max_temp_directory_size": ["'1GB'"],
    "max_vacuum_tasks": ["0", "1"],
    "max_memory": ["'300MB'", "'1GB'"],
    "merge_join_threshold": ["0", "100000"],
    "nested_loop_join_threshold": ["0", "100"],
    "ordered_aggregate_threshold": ["10"],
    "perfect_ht_threshold": ["0", "20"],
    "pin_threads": ["'off'", "'on'"],
    "pivot_filter_threshold": ["1", "100"],
    "prefer_range_joins": ["true"],
    "preserve_insertion_order": ["true", "false"],
    "scheduler_process_partial": ["true", "false"],
    "threads": ["1", "2", "5"],
    "variant_minimum_shredding_size": ["0", "1000000", "-1"],
    "geometry_minimum_shredding_size": ["0", "1000000", "-1"],
    "wal_autocheckpoint_entries": ["1", "0"],
    "write_buffer_row_group_count": ["1", "20"],
    "zstd_min_string_length": ["1", "100000"],
}
PLANS = {
    "disabled_optimizers": ["'filter_pushdown,statistics_propagation'", "'expression_rewriter,deliminator,top_n'"],
    "enable_optimizer": ["true", "false"],
}
# Another name of a setting above.
SAME = ("memory_limit", "null_order", "wal_autocheckpoint", "worker_threads")
# What a client's own statement is told or shown, or what it costs it: of a host's setting, it would differ from plain
# DuckDB where nothing is wrong. The scenarios of hosts' settings try those that might stop a node.
SHOWN = (
    "arrow_large_buffer_size", "arrow_lossless_conversion", "arrow_output_list_view", "arrow_output_version",
    "current_transaction_invalidation_policy", "custom_user_agent", "default_transaction_invalidation_policy", "duckdb_api",
    "enable_logging", "disabled_log_types", "enable_profiling", "enable_progress_bar", "enable_progress_bar_print",
    "enabled_log_types", "errors_as_json", "explain_output", "log_query_path", "logging_level", "logging_mode",
    "logging_sink", "logging_storage", "max_execution_time", "max_expression_depth", "max_streaming_buffer_size",
    "operator_memory_limit",
    "pandas_analyze_sample", "pivot_limit", "profile_output", "profiling_coverage", "profiling_output",
    "profiling_renderer_settings", "progress_bar_time", "python_enable_replacements", "python_scan_all_frames",
    "show_behavior", "standard_vector_size", "streaming_buffer_size", "table_function_identifier_conversion",
    "tracked_metrics", "warnings_as_errors",
)  # fmt: skip
# Files, extensions, secrets and the network: what a node applies reaches none of them.
OUTSIDE = (
    "access_mode", "allow_community_extensions", "allow_extension_repositories", "allow_extensions_metadata_mismatch",
    "allow_parser_override_extension", "allow_persistent_secrets", "allow_unredacted_secrets", "allow_unsigned_extensions",
    "allowed_configs", "allowed_directories", "allowed_paths", "async_threads", "autoinstall_extension_repository",
    "autoinstall_known_extensions", "binary_as_string", "cache_local_files", "custom_extension_repository",
    "default_secret_storage", "disable_parquet_prefetching", "disabled_filesystems", "enable_external_access",
    "enable_external_file_cache", "enable_geoparquet_conversion", "enable_http_metadata_cache", "extension_directories",
    "extension_repository_directory", "external_file_cache_local_max_block_size",
    "external_file_cache_remote_max_block_size", "external_file_cache_remote_min_block_size",
    "external_file_cache_request_sizing", "external_file_cache_spill", "file_search_path", "home_directory",
    "http_client_pool_capacity", "http_retry_quota_throttled", "http_retry_throttled_wait_ms",
    "http_proxy", "http_proxy_password", "http_proxy_username", "ignore_unknown_crs",
    "json_geometry_format", "parquet_can_have_nan", "parquet_metadata_cache", "parquet_use_page_index",
    "parquet_prefetch_column_gap", "partitioned_write_flush_threshold",
    "partitioned_write_max_open_files", "password", "prefetch_all_parquet_files", "read_ahead_depth", "redact_http_logs",
    "secret_directory", "temp_directory", "temp_file_encryption", "user", "username", "validate_external_file_cache",
)  # fmt: skip
# A database has it from its creation, a session by its own statement, or it is a tool of DuckDB's own developers.
FIXED = (
    "active_grammar_extensions", "block_allocator_memory", "checkpoint_on_detach", "current_dialect",
    "debug_checkpoint_scan_sleep_ms", "default_block_size", "disable_database_invalidation", "force_column_metadata_reuse",
    "fsync_mode", "lock_configuration", "schema", "search_path", "storage_block_prefetch", "storage_compatibility_version",
    "write_buffer_row_group_memory_limit",
)  # fmt: skip


# What only one of the supported versions has.
ONLY_IN = {
    "2.0.0": (
        "delim_join_as_cte", "error_on_division_by_zero", "experimental_metadata_reuse", "force_column_metadata_reuse",
        "legacy_disable_null_type", "logging_storage", "regex_match_operator_semantics", "table_function_identifier_conversion",
    ),
    "2.0.1": (
        "http_retry_quota_throttled", "http_retry_throttled_wait_ms", "logging_sink", "parquet_can_have_nan",
        "parquet_use_page_index",
    ),
}  # fmt: skip
ABSENT = {name for only, names in ONLY_IN.items() if only != version("duckdb") for name in names}


def known():
    return {*MEANING, *WORK, *PLANS, *SAME, *SHOWN, *OUTSIDE, *FIXED} - {*UNLISTED} - ABSENT


def drawn(draw):
    """What a host sets, and what its clients' sessions set against it."""
    hosts, sessions = [], []
    for name, (usual, values) in MEANING.items():
        if draw.random() < 0.5 and name not in ABSENT:
            hosts.append(f"SET GLOBAL {name} = {draw.choice(values)}")
            sessions.append(f"SET SESSION {name} = {usual}")
    return hosts + set_some(draw, WORK), sessions


def set_some(draw, settings):
    drawn = [name for name in settings if draw.random() < 0.3 and name not in ABSENT]
    return [f"SET GLOBAL {name} = {draw.choice(settings[name])}" for name in drawn]
