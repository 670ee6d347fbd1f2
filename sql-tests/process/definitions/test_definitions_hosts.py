"""What the host of one node sets, for its process or before it serves, never stops the node, nor lets nodes differ.

Clients of the other nodes write and define all the time; the node of that host applies it.
"""

import pytest
from quack_testing.node import stock_client
from quack_testing.process import DatabaseError
from quack_testing.scenarios import IN_WORDS, Scenario, filled

# By name: what the host sets in its process while it serves.
LATER = {
    "lock_configuration": ("SET GLOBAL lock_configuration = true",),
    "max_execution_time": ("SET GLOBAL max_execution_time = 1",),
    "max_expression_depth": ("SET GLOBAL max_expression_depth = 10",),
    "memory_limit": ("SET GLOBAL memory_limit = '30MB'",),
    "threads": ("SET GLOBAL threads = 1",),
    "preserve_insertion_order": ("SET GLOBAL preserve_insertion_order = false",),
    "default_collation": ("SET GLOBAL default_collation = 'NOCASE'",),
    "optimizers": ("SET GLOBAL disabled_optimizers = 'filter_pushdown,statistics_propagation,expression_rewriter,deliminator'",),
    "no_optimizer": ("PRAGMA disable_optimizer",),
    "external_access": ("SET GLOBAL enable_external_access = false",),
    "community_extensions": ("SET GLOBAL allow_community_extensions = false",),
    "autoload": ("SET GLOBAL autoload_known_extensions = false", "SET GLOBAL autoinstall_known_extensions = false"),
    "filesystems": ("SET GLOBAL disabled_filesystems = 'LocalFileSystem'",),
    "temp_directory": ("SET GLOBAL temp_directory = '/nowhere'",),
    "compression": ("SET GLOBAL force_compression = 'uncompressed'",),
    "no_compression": ("SET GLOBAL disabled_compression_methods = 'rle,bitpacking,dictionary,fsst,zstd'",),
    "checkpoint_threshold": ("SET GLOBAL checkpoint_threshold = '1KB'",),
    "immediate_transactions": ("SET GLOBAL immediate_transaction_mode = true",),
    "invalidation": ("SET GLOBAL default_transaction_invalidation_policy = 'STANDARD_POLICY'",),
    "errors_as_json": ("SET GLOBAL errors_as_json = true",),
    "logging": ("SET GLOBAL enable_logging = true", "SET GLOBAL logging_level = 'TRACE'"),
    "index_scan": ("SET GLOBAL index_scan_max_count = 0", "SET GLOBAL index_scan_percentage = 0"),
    "joins": ("SET GLOBAL merge_join_threshold = 0", "SET GLOBAL nested_loop_join_threshold = 0", "SET GLOBAL prefer_range_joins = true"),
    "dependencies": ("SET GLOBAL enable_view_dependencies = true", "SET GLOBAL enable_macro_dependencies = true"),
    "warnings": ("SET GLOBAL enable_logging = true", "SET GLOBAL warnings_as_errors = true"),
    "null_type": ("SET GLOBAL legacy_disable_null_type = true",),
    "dialect": ("SET GLOBAL dialect_compatibility_mode = 'SPARK'",),
    "shredding": ("SET GLOBAL variant_minimum_shredding_size = 0",),
    "python": ("SET GLOBAL python_enable_replacements = false",),
    "pins": ("SET GLOBAL pin_threads = 'off'",),
    "catalog_error": ("SET GLOBAL catalog_error_max_schemas = 0",),
    "implicit_casting": ("SET GLOBAL old_implicit_casting = true", "SET GLOBAL integer_division = true"),
    "orders": ("SET GLOBAL default_null_order = 'NULLS_FIRST'", "SET GLOBAL default_order = 'DESC'"),
    "identifier_case": ("SET GLOBAL preserve_identifier_case = 'uppercase'",),
    "lambda_syntax": ("SET GLOBAL lambda_syntax = 'DISABLE_SINGLE_ARROW'",),
    "detached_memory": ("ATTACH ':memory:' AS elsewhere", "USE elsewhere", "DETACH memory"),
}  # fmt: skip
# What a database is opened with.
BEFORE = {
    "lock_configuration": {"lock_configuration": "true"},
    "max_expression_depth": {"max_expression_depth": "10"},
    "memory_limit": {"memory_limit": "30MB"},
    "threads": {"threads": "1", "external_threads": "1"},
    "preserve_insertion_order": {"preserve_insertion_order": "false"},
    "default_collation": {"default_collation": "NOCASE"},
    "compression": {"force_compression": "uncompressed"},
    "implicit_casting": {"old_implicit_casting": "true", "integer_division": "true"},
    "identifier_case": {"preserve_identifier_case": "uppercase"},
    "vectors": {"enable_fsst_vectors": "true"},
    "invalidation": {"default_transaction_invalidation_policy": "STANDARD_POLICY"},
}
WORK = (
    "CREATE TABLE cp.{s}.u (i INTEGER PRIMARY KEY, v VARCHAR, n DOUBLE DEFAULT 7 / 2, CHECK (abs(i) + length(v) > 0 OR ((((((i > 0)))))) OR v = 'A'))",
    "INSERT INTO cp.{s}.u (i, v) SELECT i, 'a' || i FROM range(3000) r(i)",
    "CREATE INDEX by_v ON cp.{s}.u (lower(v), (i + 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 + 10 + 11 + 12))",
    "CREATE VIEW cp.{s}.w AS SELECT v, count(*) AS n FROM cp.{s}.u GROUP BY ALL ORDER BY ALL LIMIT 5",
    "CREATE MACRO cp.{s}.m(i) AS list_transform([i], lambda x: x + 1)",
    "CREATE SEQUENCE cp.{s}.q",
    "UPDATE cp.{s}.u SET v = 'b' || i WHERE i % 3 = 0",
    "DELETE FROM cp.{s}.u WHERE i % 7 = 0",
    "ALTER TABLE cp.{s}.u ADD COLUMN d DOUBLE DEFAULT 5 / 2",
    "CREATE TABLE cp.{s}.z AS SELECT 3 AS n",
    "ALTER TABLE cp.{s}.z ALTER n TYPE VARCHAR USING (n / 2)::VARCHAR",
    "CREATE TABLE cp.{s}.x AS SELECT i, nextval('cp.{s}.q') AS n FROM range(100) r(i)",
    "INSERT INTO cp.{s}.u (i, v) VALUES (1, 'x') ON CONFLICT DO UPDATE SET v = excluded.v",
    "BEGIN",
    "CREATE TABLE cp.{s}.y AS SELECT i FROM cp.{s}.u WHERE v = 'A1' OR v = 'a1'",
    "INSERT INTO cp.{s}.u (i, v) VALUES (-1, 'y')",
    "ALTER TABLE cp.{s}.y ADD COLUMN \"Mixed\" VARCHAR DEFAULT 'z'",
    "COMMIT",
    "CREATE TABLE cp.{s}.large AS SELECT i, hash(i)::VARCHAR || repeat('x', 50) AS t FROM range(150000) r(i)",
    "UPDATE cp.{s}.large SET t = 'u' || t WHERE i % 2 = 0",
    "DROP VIEW cp.{s}.w",
)
# What a client of the process with the settings may be told, besides what any may be.
OF_SETTINGS = (*IN_WORDS, "INTERRUPT Error", "Out of Memory Error", "IO Error", "{", "Interrupted")


@pytest.mark.parametrize("name", LATER)
def test_what_a_host_sets_stops_nothing(play, stage, name):
    scenario = Scenario(f"host_{name}", WORK, around=LATER[name])
    play(scenario) if stage.count > 1 else work_there(stage, scenario)


@pytest.mark.parametrize("name", BEFORE)
def test_a_host_that_is_set_before_it_serves_stops_nothing(play, stage, name):
    scenario = Scenario(f"before_{name}", WORK, config=BEFORE[name])
    play(scenario) if stage.count > 1 else work_there(stage, scenario)


def work_there(stage, scenario):
    """In the process that has the settings: a statement may fail by them, but the node goes on, and keeps what it says."""
    try:
        stage.enter(scenario)
        stage.around(scenario)
        tables, transaction = [], None
        for text in WORK:
            answer = stage.ask("a", filled(text, scenario))
            assert not answer.error or answer.error.startswith(OF_SETTINGS), f"{text}: {answer}"
            made = [text.split(" ")[2].split(".")[2]] if text.startswith("CREATE TABLE") and not answer.error else []
            if text == "BEGIN":
                transaction = []
            elif text == "COMMIT":
                tables += [] if answer.error else transaction
                transaction = None
            elif transaction is not None:
                transaction += made
            else:
                tables += made
        answer = stage.ask("a", "SELECT DISTINCT state FROM quack_raft_status()")
        assert answer.rows == ("('ok',)",) or answer.error.startswith(OF_SETTINGS), answer
        stage.kill()
        stage.start()
        assert not stage.unwell()
        # A setting may have changed the case of names.
        of_schema = f"database_name = '{stage.nodes[0].catalog}' AND lower(schema_name) = '{scenario.schema}'"
        found = {name for (name,) in stage.nodes[0].sql(f"SELECT lower(table_name) FROM duckdb_tables() WHERE {of_schema}")}
        assert found >= set(tables), (found, tables)
    finally:
        stage.leave()


NETWORK = (
    "SET GLOBAL lock_configuration = true", "SET lock_configuration = true", "SET GLOBAL memory_limit = '30MB'", "SET threads = 1",
    "SET GLOBAL max_execution_time = 1", "SET GLOBAL max_expression_depth = 10", "SET GLOBAL old_implicit_casting = true",
    "SET GLOBAL enable_external_access = false", "SET GLOBAL default_collation = 'NOCASE'", "PRAGMA disable_optimizer",
    "ATTACH ':memory:' AS left_behind", "DETACH cp", "DETACH memory", "CREATE TABLE memory.main.left_behind (i INTEGER)",
    "CREATE SECRET left_behind (TYPE http, BEARER_TOKEN 'x')", "RESET GLOBAL threads", "CALL enable_logging()",
    "SET GLOBAL search_path = 'memory'", "SET GLOBAL disabled_filesystems = 'LocalFileSystem'", "FORCE CHECKPOINT memory",
)  # fmt: skip


@pytest.mark.parametrize("statement", NETWORK)
def test_a_network_session_changes_nothing_of_its_host(stage, track, tmp_path, statement):
    scenario = Scenario("network", ("",))
    stage.enter(scenario)
    node = stage.nodes[0]
    looks = (
        "SELECT name, value FROM duckdb_settings() ORDER BY ALL",
        "SELECT database_name FROM duckdb_databases() ORDER BY ALL",
        "SELECT name FROM duckdb_secrets() ORDER BY ALL",
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'memory' ORDER BY ALL",
    )
    before = [node.sql(look, "looks") for look in looks]
    for each in stage.nodes:
        client = track(stock_client(tmp_path, f"client-{each.name}", each.uri))
        try:
            client.sql(f"FROM quack_query('{each.uri}', '{statement.replace(chr(39), chr(39) * 2)}', token := 'token-of-the-tests')")
        except DatabaseError as error:
            assert any(words in str(error) for words in (*IN_WORDS, "HTTP", "IO Error", "Permission")), error
        client.kill()
    try:
        assert [node.sql(look, "looks") for look in looks] == before
        if stage.count > 1:
            node.sql("SELECT node_id, state FROM quack_verify('cp')", "looks")
        assert not stage.unwell()
    except BaseException:
        stage.leave()
        raise
