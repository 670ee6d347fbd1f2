"""What the process sets for itself never stops its node: one setting of DuckDB after the other, while it serves."""

import pytest

from quack_testing.cluster import wait_for
from quack_testing.environments.settings import ABSENT
from quack_testing.process import BARE_CONNECTION, DatabaseError

# Values that are as bad for us as they can be. Those of booleans are turned over, those of other types need a line here.
HOSTILE = {
    "Calendar": ["japanese"],
    "TimeZone": ["Pacific/Chatham"],
    "access_mode": ["read_only"],
    "active_grammar_extensions": [],
    "allocator_bulk_deallocation_flush_threshold": ["0B"],
    "allocator_flush_threshold": ["0B"],
    "allow_extension_repositories": ["none"],
    "allow_parser_override_extension": ["strict", "strict_when_supported", "fallback"],
    "allowed_configs": [["threads"]],
    "allowed_directories": [["/nowhere/"]],
    "allowed_paths": [["/nowhere"]],
    "approximate_join_order_threshold": [0],
    "arrow_output_version": ["1.5"],
    "asof_loop_join_threshold": [0],
    "async_threads": [1],
    "auto_checkpoint_skip_wal_threshold": [0],
    "autoinstall_extension_repository": ["nowhere"],
    "block_allocator_memory": ["1MB"],
    "catalog_error_max_schemas": [0],
    "checkpoint_on_detach": ["disabled", "enabled"],
    "checkpoint_threshold": ["0B", "1B"],
    "current_dialect": [],
    "current_transaction_invalidation_policy": ["STRICT_POLICY"],
    "custom_extension_repository": ["nowhere"],
    "custom_user_agent": [],
    "debug_checkpoint_scan_sleep_ms": [1],
    "default_block_size": [16384],
    "default_collation": ["nocase"],
    "default_null_order": ["nulls_first"],
    "default_order": ["desc"],
    "default_secret_storage": ["nowhere"],
    "default_transaction_invalidation_policy": ["ALL_ERRORS_INVALIDATE_TRANSACTION"],
    "dialect_compatibility_mode": ["postgres"],
    "disabled_compression_methods": ["bitpacking,rle,dictionary,fsst,zstd,alp"],
    "disabled_filesystems": ["LocalFileSystem"],
    "disabled_log_types": ["QueryLog"],
    "disabled_optimizers": ["expression_rewriter,filter_pushdown,statistics_propagation,column_lifetime,unused_columns"],
    "duckdb_api": [],
    "dynamic_or_filter_threshold": [0],
    "enable_profiling": ["no_output"],
    "enabled_log_types": ["QueryLog"],
    "explain_output": ["all"],
    "extension_directories": [["/nowhere"]],
    "extension_repository_directory": ["/nowhere"],
    "external_file_cache_local_max_block_size": [1],
    "external_file_cache_remote_max_block_size": [4096],
    "external_file_cache_remote_min_block_size": [1],
    "external_file_cache_request_sizing": [],
    "external_threads": [0, 2],
    "file_search_path": ["/nowhere"],
    "force_compression": ["uncompressed"],
    "fsync_mode": [],
    "geometry_minimum_shredding_size": [-1, 0],
    "home_directory": ["/nowhere"],
    "http_client_pool_capacity": [0],
    "http_retry_throttled_wait_ms": [1],
    "http_proxy": ["nowhere:1"],
    "http_proxy_password": ["x"],
    "http_proxy_username": ["x"],
    "index_scan_max_count": [0],
    "index_scan_percentage": [0.0, 1.0],
    "initial_column_segment_size": [64],
    "json_geometry_format": [],
    "late_materialization_max_rows": [0],
    "log_query_path": [],
    "logging_level": ["TRACE"],
    "logging_mode": ["DISABLE_SELECTED"],
    "logging_sink": [],
    "logging_storage": [],
    "max_execution_time": [1],
    "max_expression_depth": [1, 2],
    "max_streaming_buffer_size": ["1B"],
    "max_temp_directory_size": ["0B"],
    "max_vacuum_tasks": [0],
    "memory_limit": ["30MB"],
    "merge_join_threshold": [0],
    "nested_loop_join_threshold": [0],
    "operator_memory_limit": ["1MB"],
    "ordered_aggregate_threshold": [1],
    "pandas_analyze_sample": [0],
    "parquet_prefetch_column_gap": [],
    "partitioned_write_flush_threshold": [1],
    "partitioned_write_max_open_files": [1],
    "password": ["x"],
    "perfect_ht_threshold": [0],
    "pin_threads": ["on"],
    "pivot_filter_threshold": [0],
    "pivot_limit": [1],
    "preserve_identifier_case": ["lower_case"],
    "profiling_coverage": ["all"],
    "profiling_output": [],
    "profiling_renderer_settings": [],
    "progress_bar_time": [0],
    "read_ahead_depth": [0],
    "regex_match_operator_semantics": ["full"],
    "schema": [],
    "search_path": [],
    "secret_directory": ["/nowhere"],
    "show_behavior": [],
    "standard_vector_size": [],
    "storage_block_prefetch": ["never", "always_prefetch"],
    "storage_compatibility_version": ["v0.10.2"],
    "table_function_identifier_conversion": [],
    "temp_directory": ["/nowhere"],
    "threads": [1],
    "tracked_metrics": [[]],
    "username": ["x"],
    "validate_external_file_cache": ["NO_VALIDATION"],
    "variant_minimum_shredding_size": [-1, 0],
    "wal_autocheckpoint_entries": [1],
    "write_buffer_row_group_count": [0],
    "write_buffer_row_group_memory_limit": ["1B"],
    "zstd_min_string_length": [0],
    "quack_consistency": ["linearizable"],
    "quack_sequence_range": [1000000],
}
# Other names of settings that are here.
ALIASES = {"max_memory", "null_order", "profile_output", "streaming_buffer_size", "user", "wal_autocheckpoint", "worker_threads"}
# They cannot be turned back, so that each has a process of its own.
FINAL = {"lock_configuration", "enable_external_access", "disabled_filesystems"}
# What a connection needs to ask and to set in spite of all that.
SHELTERED = ("SET SESSION max_execution_time = 0", "SET SESSION max_expression_depth = 1000")


def literal(value):
    return repr(value) if not isinstance(value, bool) else str(value).lower()


def hostile_values(name, value, of_type):
    if of_type == "BOOLEAN":
        return [value not in ("true", "1", "True")]
    return HOSTILE[name]


def shelter(node):
    for connection in ("default", "setter", "look", BARE_CONNECTION):
        for statement in SHELTERED:
            node.sql(statement, connection)


def write(node, number):
    """What a client does; it may be refused by what is set, but the node must go on."""
    refusals = []
    for statement in (
        f"CREATE TABLE cp.t{number} (i INTEGER PRIMARY KEY, v VARCHAR DEFAULT 'x', CHECK (i >= 0))",
        f"INSERT INTO cp.t{number} (i) FROM range(100)",
        f"UPDATE cp.t{number} SET v = 'y' WHERE i % 2 = 0",
        f"DELETE FROM cp.t{number} WHERE i > 50",
        f"INSERT INTO cp.t{number} VALUES (1, 'z') ON CONFLICT DO UPDATE SET v = 'z'",
        f"CREATE INDEX i{number} ON cp.t{number} (v)",
        f"CREATE VIEW cp.v{number} AS SELECT v, count(*) AS n FROM cp.t{number} GROUP BY v",
        f"BEGIN; INSERT INTO cp.t{number} (i) VALUES (200); DELETE FROM cp.t{number} WHERE i = 0; COMMIT",
        "CHECKPOINT cp",
    ):
        try:
            node.sql(statement, "client")
        except DatabaseError as error:
            refusals.append(f"{statement[:30]}: {str(error)[:100]}")
            try:
                node.sql("ROLLBACK", "client")
            except DatabaseError:
                pass  # No transaction was open.
    return refusals


def state(node):
    """The state by a connection that has nothing of what is set for sessions."""
    return node.sql("SELECT state, reason FROM quack_raft_status() WHERE group_name = 'default'", "look")


def check(node, what):
    assert state(node) == [("ok", None)], f"{what}: {state(node)}"


def settings_of(node):
    return node.sql("SELECT name, value, input_type FROM duckdb_settings() ORDER BY name", "look")


def set_globally(node, name, value):
    """False when DuckDB does not let it be set now."""
    for scope in ("GLOBAL", "SESSION"):
        try:
            node.sql(f'SET {scope} "{name}" = {literal(value)}', "setter" if scope == "GLOBAL" else "client")
            return True
        except DatabaseError:
            continue
    return False


def test_no_setting_stops_a_node_that_serves(new_node):
    node = new_node(default_catalog=False).start()
    shelter(node)
    known = set()
    taken = []
    for number, (name, value, of_type) in enumerate(settings_of(node)):
        known.add(name)
        if name in ALIASES or name in FINAL:
            continue
        assert of_type == "BOOLEAN" or name in HOSTILE, f"a new setting of DuckDB: say what would be bad for it: {name}"
        for turn, bad in enumerate(hostile_values(name, value, of_type)):
            if not set_globally(node, name, bad):
                continue
            taken.append(name)
            refusals = write(node, f"{number}_{turn}")
            print(f"{name} = {bad!r}: {refusals}")
            check(node, f"{name} = {bad!r}")
            for scope, connection in (("GLOBAL", "setter"), ("SESSION", "client")):
                try:
                    node.sql(f'RESET {scope} "{name}"', connection)
                except DatabaseError:
                    pass  # It has no value of this scope.
    assert set(HOSTILE) - ABSENT <= known, set(HOSTILE) - ABSENT - known
    assert len(set(taken)) > 100, len(set(taken))
    # All that was taken is there, and is still there after a replay.
    hashed = node.sql("SELECT hash FROM quack_state_hash()", "look")
    node.sql("INSERT INTO cp.t0_0 (i) VALUES (1000)", "fresh")
    node.kill_and_start()
    check(node, "after a replay")
    assert node.value("SELECT count(*) FROM cp.t0_0 WHERE i = 1000", "look") == 1
    assert hashed and node.stop() == 0


@pytest.mark.parametrize(
    "statements",
    [
        ["SET GLOBAL lock_configuration = true"],
        ["SET GLOBAL enable_external_access = false"],
        ["SET GLOBAL allowed_paths = ['/nowhere']", "SET GLOBAL enable_external_access = false"],
        ["SET GLOBAL max_execution_time = 1", "SET GLOBAL lock_configuration = true"],
        ["SET GLOBAL max_expression_depth = 1", "SET GLOBAL lock_configuration = true"],
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_is_locked_serves(new_node, statements, when):
    node = new_node(default_catalog=False)
    node.load()
    shelter(node)
    if when == "before":
        for statement in statements:
            node.sql(statement, "setter")
    node.serve()
    node.attach()
    if when == "after":
        write(node, "first")
        for statement in statements:
            node.sql(statement, "setter")
    write(node, "second")
    check(node, statements)
    node.sql("FROM quack_state_hash()", "look")
    assert node.stop() == 0, node.process.stderr_tail()
    # Nothing that it has taken is lost.
    node.start()
    node.sql("CREATE TABLE cp.after AS SELECT 1 AS i")
    assert node.stop() == 0


def test_a_process_without_a_file_system_says_that_it_cannot_serve(new_node):
    node = new_node(default_catalog=False)
    node.load()
    node.sql("SET GLOBAL disabled_filesystems = 'LocalFileSystem'")
    with pytest.raises(DatabaseError, match="LocalFileSystem has been disabled"):
        node.serve()


def test_a_process_whose_own_file_is_read_only_serves(new_node, new_process, tmp_path):
    plain = new_process("file", path=str(tmp_path / "main.duckdb"))
    plain.sql("CREATE TABLE t AS SELECT 1 AS i")
    plain.close_database()
    assert plain.exit() == 0
    node = new_node(config={"access_mode": "READ_ONLY"}, default_catalog=False)
    node.path = str(tmp_path / "main.duckdb")
    node.start()
    assert write(node, "first") == []
    check(node, "READ_ONLY")
    assert node.stop() == 0


def test_a_cluster_is_compared_regardless_of_its_nodes_settings(cluster):
    cluster["n0"].sql("CREATE TABLE cp.t AS SELECT i, 'x' || i AS v FROM range(1000) r(i)")
    for node in cluster.alive():
        shelter(node)
    cluster["n0"].sql("SET GLOBAL max_expression_depth = 1; SET GLOBAL lock_configuration = true", "setter")
    cluster["n1"].sql("SET GLOBAL max_execution_time = 1; SET GLOBAL lock_configuration = true", "setter")
    cluster["n2"].sql("SET GLOBAL threads = 1; SET GLOBAL enable_external_access = false", "setter")
    cluster["n2"].sql("INSERT INTO cp.t VALUES (5000, 'y')")
    for node in cluster.alive():
        node.sql("FORCE CHECKPOINT cp", "setter" if node.name == "n2" else "default")
        wait_for(lambda node=node: state(node) == [("ok", None)], "an applier that goes on")
    states = {state for _, state in cluster["n2"].sql("SELECT node_id, state FROM quack_verify('cp')")}
    assert states == {"equal"}
