"""What a client of the network may do to the process that serves it: nothing. Its own session is its own."""

import pytest

from quack_testing import node as nodes
from quack_testing.process import DatabaseError

OF_THE_PROCESS = "served over the network"


def query(client, sql):
    return client.sql("FROM quack_query_by_name('cp', ?)", parameters=[sql])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host")
    (folder / "in.csv").write_text("a,b\n1,treasure\n")
    (folder / "in.txt").write_text("treasure")
    (folder / "in.json").write_text('{"a": "treasure"}')
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory, folder):
    """A node with another database attached, and a client of it."""
    from conftest import tracking

    with tracking() as add:
        node = add(nodes.Node(tmp_path_factory.mktemp("served"), "n0")).start()
        node.sql(f"ATTACH '{folder}/other.duckdb' AS other; CREATE TABLE other.t AS SELECT 1 AS i")
        node.sql("CREATE TABLE memory.t AS SELECT 1 AS i")
        node.sql("CREATE TABLE cp.t AS SELECT 42 AS i")
        node.sql("CREATE SECRET mine (TYPE quack, TOKEN 'a secret token', SCOPE 'quack:treasure')")
        node.sql("SET GLOBAL http_proxy_password = 'treasure'")
        for database in ("other", "memory"):
            for definition in TREASURES:
                node.sql(f"USE {database}; {definition}", "makes")
        node.sql("CALL enable_logging('QueryLog')", "makes")
        node.sql("SELECT 'treasure' AS logged", "makes")
        node.sql(f"COPY (SELECT 'treasure' AS a) TO '{folder}/in.parquet'")
        client = add(nodes.stock_client(node.folder, "client", node.uri))
        yield node, client
        assert node.stop() == 0, node.process.stderr_tail()


# What the process has beside the catalog, for no client to see.
TREASURES = [
    "CREATE SCHEMA treasure_schema",
    "CREATE TABLE treasure (treasure_column INTEGER PRIMARY KEY, CHECK (treasure_column > 0), UNIQUE (treasure_column))",
    "CREATE INDEX treasure_index ON treasure (treasure_column)",
    "CREATE VIEW treasure_view AS FROM treasure",
    "CREATE SEQUENCE treasure_sequence",
    "CREATE TYPE treasure_type AS ENUM ('treasure')",
    "CREATE MACRO treasure_macro() AS 'treasure'",
    "CREATE MACRO treasure_table_macro() AS TABLE SELECT 'treasure'",
    "CREATE TRIGGER treasure_trigger AFTER INSERT ON treasure FOR EACH STATEMENT INSERT INTO t SELECT 1",
    "COMMENT ON TABLE treasure IS 'treasure'",
]
# Statements that change the process, or use what it has beside the catalog. FOLDER stands for a folder of the process.
REFUSED = [
    "SET lock_configuration = true",
    "SET GLOBAL lock_configuration = true",
    "SET threads = 1",
    "SET GLOBAL threads = 1",
    "PRAGMA threads = 1",
    "SET memory_limit = '100MB'",
    "SET max_memory = '100MB'",
    "RESET memory_limit",
    "RESET GLOBAL threads",
    "SET GLOBAL TimeZone = 'Asia/Tokyo'",
    "SET GLOBAL quack_consistency = 'linearizable'",
    "SET GLOBAL quack_sequence_range = 10",
    "SET GLOBAL default_null_order = 'nulls_first'",
    "SET temp_directory = '/tmp/elsewhere'",
    "SET enable_external_access = false",
    "SET allowed_directories = ['/']",
    "SET disabled_filesystems = 'LocalFileSystem'",
    "SET autoload_known_extensions = false",
    "SET autoinstall_known_extensions = true",
    "SET allow_persistent_secrets = false",
    "SET secret_directory = 'FOLDER'",
    "SET extension_directory = 'FOLDER'",
    "SET log_query_path = 'FOLDER/queries'",
    "SET profiling_output = 'FOLDER/profile'",
    "SET profile_output = 'FOLDER/profile'",
    "SET enable_profiling = 'json'",
    "PRAGMA enable_profiling",
    "PRAGMA enable_profiling = 'query_tree'",
    "SET enable_progress_bar = true",
    "PRAGMA enable_progress_bar",
    "CALL enable_profiling()",
    "SET debug_checkpoint_abort = 'before_header'",
    "SET SESSION debug_force_commit_failure = true",
    "SET max_expression_depth = 100000",
    "SET disabled_optimizers = 'filter_pushdown'",
    "SELECT variant_bytes_to_variant('\\x01\\x00\\x00\\x0F'::BLOB)",
    "CREATE TEMP TABLE u (b BLOB, CHECK (variant_bytes_to_variant(b) IS NOT NULL))",
    "PRAGMA force_checkpoint",
    "PRAGMA disable_checkpoint_on_shutdown",
    "CALL enable_logging()",
    "CALL enable_logging('QueryLog', storage := 'stdout')",
    "CALL disable_logging()",
    "CALL truncate_duckdb_logs()",
    "SELECT (SELECT count(*) FROM enable_logging())",
    "ATTACH ':memory:' AS mine",
    "ATTACH 'FOLDER/other2.duckdb' AS mine",
    "ATTACH 'quack:localhost:1' AS mine (TYPE quack, TOKEN 'abcdef')",
    "ATTACH IF NOT EXISTS ':memory:' AS cp",
    "DETACH other",
    "DETACH memory",
    "DETACH cp",
    "USE other",
    "USE memory",
    "USE memory.main",
    "SET schema = 'memory.main'",
    "SET search_path = 'cp.main,memory.main'",
    "ALTER DATABASE cp SET ALIAS TO mine",
    "ALTER DATABASE other SET ALIAS TO mine",
    "CREATE SECRET s (TYPE quack, TOKEN 'abcdef')",
    "CREATE PERSISTENT SECRET s (TYPE quack, TOKEN 'abcdef')",
    "CREATE OR REPLACE SECRET mine (TYPE quack, TOKEN 'abcdef')",
    "DROP SECRET mine",
    "DROP SECRET IF EXISTS mine",
    "LOAD 'FOLDER/x.duckdb_extension'",
    "LOAD httpfs",
    "INSTALL httpfs",
    "FORCE INSTALL httpfs",
    "UPDATE EXTENSIONS",
    "CALL quack_serve('quack:127.0.0.1:0', data_dir := 'FOLDER/n9')",
    "CALL quack_stop('quack:127.0.0.1:1')",
    "FROM quack_stop('quack:127.0.0.1:1')",
    "CALL quack_backup('cp', 'FOLDER/backup')",
    "FROM other.t",
    "FROM memory.t",
    "SELECT (SELECT max(i) FROM other.t) FROM t",
    "FROM query('FROM memory.t')",
    "FROM query_table('other.main.t')",
    "INSERT INTO other.t VALUES (2)",
    "INSERT INTO t FROM other.t",
    "UPDATE other.t SET i = 2",
    "DELETE FROM memory.t",
    "DROP TABLE other.t",
    "CREATE TABLE other.u (i INTEGER)",
    "CREATE TABLE memory.u AS FROM t",
    "CREATE SCHEMA memory.s",
    "CREATE VIEW memory.v AS SELECT 1",
    "CREATE MACRO memory.m() AS 1",
    "ALTER TABLE other.t ADD COLUMN j INTEGER",
    "COMMENT ON TABLE other.t IS 'x'",
    "COPY FROM DATABASE other TO cp",
    "COPY FROM DATABASE other TO cp (SCHEMA)",
    "COPY FROM DATABASE cp TO memory",
    "CHECKPOINT other",
    "FORCE CHECKPOINT memory",
    "CALL checkpoint('other')",
    "FROM 'FOLDER/in.csv'",
    "FROM 'FOLDER/in.parquet'",
    "FROM 'FOLDER/*.json'",
    "FROM read_csv('FOLDER/in.csv')",
    "FROM read_csv('/etc/passwd')",
    "FROM read_text('FOLDER/in.txt')",
    "FROM read_blob('FOLDER/*')",
    "FROM read_json('FOLDER/in.json')",
    "FROM read_parquet('FOLDER/in.parquet')",
    "FROM parquet_metadata('FOLDER/in.parquet')",
    "FROM sniff_csv('FOLDER/in.csv')",
    "FROM glob('FOLDER/*')",
    "FROM read_duckdb('FOLDER/other.duckdb')",
    "FROM 'FOLDER/other.duckdb'",
    "SELECT (SELECT content FROM read_text('FOLDER/in.txt'))",
    "FROM query('FROM read_text(''FOLDER/in.txt'')')",
    "WITH w AS (FROM 'FOLDER/in.csv') FROM w",
    "COPY t FROM 'FOLDER/in.csv'",
    "COPY t TO 'FOLDER/out.csv'",
    "COPY (SELECT 1) TO 'FOLDER/out.parquet'",
    "COPY (SELECT 1) TO '/dev/stdout'",
    "EXPORT DATABASE 'FOLDER/export'",
    "EXPORT DATABASE other TO 'FOLDER/export'",
    "IMPORT DATABASE 'FOLDER/export'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO 'FOLDER/out.csv'",
    "PREPARE p AS FROM read_text('FOLDER/in.txt')",
    "PREPARE p AS FROM other.t",
    "EXPLAIN FROM other.t",
    "FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''FOLDER/in.txt'')'))",
    "FROM json_execute_serialized_sql(json_serialize_sql('FROM memory.t'))",
    # What others do, and have.
    "FROM duckdb_logs",
    "FROM duckdb_logs()",
    "FROM duckdb_logs_parsed('QueryLog')",
    "SELECT (SELECT max(message) FROM duckdb_logs)",
    "FROM duckdb_log_contexts()",
    "SELECT write_log('forged')",
    "SELECT write_log('forged', level := 'error', log_type := 'QueryLog')",
    "INSERT INTO t SELECT 1 WHERE write_log('forged') IS NULL",
    "CREATE TEMP TABLE u (i INTEGER DEFAULT (write_log('forged')::INTEGER))",
    "FROM duckdb_secrets()",
    "FROM duckdb_secrets(redact := false)",
    "FROM which_secret('quack:x', 'quack')",
    "FROM duckdb_external_file_cache()",
    "FROM duckdb_temporary_files()",
    "SELECT current_setting('http_proxy_password')",
    "SELECT current_setting('HTTP_PROXY_PASSWORD') FROM t",
    "SET http_proxy_password = 'x'",
    "FROM pragma_table_info('other.main.t')",
    "PRAGMA table_info('memory.t')",
    "FROM pragma_storage_info('other.t')",
    "PRAGMA storage_info('memory.main.t')",
    "FROM pragma_metadata_info('other')",
    "DESCRIBE other.t",
    "SHOW memory.t",
    "SUMMARIZE other.t",
    "SELECT nextval('other.treasure_sequence')",
    "SELECT currval('memory.treasure_sequence')",
    "SELECT other.treasure_macro()",
    "FROM memory.treasure_table_macro()",
    "CREATE TEMP TABLE u (t other.treasure_type)",
    "SELECT 'treasure'::memory.treasure_type",
    "FROM query_table('memory.treasure')",
    "SELECT enum_range(NULL::other.treasure_type)",
    "CREATE TEMP VIEW v AS FROM other.t",
    "CREATE TEMP MACRO m() AS TABLE FROM memory.t",
    "CREATE TEMP MACRO m() AS other.treasure_macro()",
    "FROM query('SELECT other.treasure_macro()')",
    "PREPARE p AS SELECT other.treasure_macro()",
    "CREATE TRIGGER x AFTER INSERT ON other.treasure FOR EACH STATEMENT INSERT INTO other.t SELECT 1",
    "MERGE INTO other.t USING t ON true WHEN MATCHED THEN DELETE",
    "TRUNCATE memory.t",
    "CREATE INDEX i ON other.t (i)",
    "DROP SCHEMA memory.treasure_schema",
    "DROP VIEW other.treasure_view",
    "DROP SEQUENCE other.treasure_sequence",
    "DROP TYPE other.treasure_type",
    "DROP MACRO other.treasure_macro",
    "ALTER VIEW other.treasure_view RENAME TO v",
    "COMMENT ON COLUMN other.t.i IS 'x'",
    "VACUUM other.t",
    "ANALYZE memory.t",
    "CHECKPOINT system",
    "FORCE CHECKPOINT system",
    "CALL checkpoint('system')",
    "FROM force_checkpoint('SYSTEM')",
    "CHECKPOINT temp",
    "FROM pragma_metadata_info('system')",
    "FROM range(nextval('other.treasure_sequence'))",
    "FROM range(setval('other.treasure_sequence', 1000000))",
    "SELECT 1 LIMIT nextval('memory.treasure_sequence')",
    "SET default_transaction_invalidation_policy = 'SYNTACTIC_ERRORS_DO_NOT_INVALIDATE'",
    "SET profiling_mode = 'standard'",
    "SET progress_bar_time = 0",
    "RESET search_path",
    "RESET schema",
    "SET schema = NULL",
    "SET search_path = NULL",
    "SET search_path = ''",
    "FROM duckdb_extensions()",
    "PRAGMA extension_versions",
    "SELECT current_setting('http_proxy')",
    # Errors would tell of what is there.
    "SELECT x FROM other.treasure",
    "INSERT INTO other.treasure (x) VALUES (1)",
    "INSERT INTO memory.treasure VALUES (1, 2, 3, 4)",
    "SELECT a FROM other.treasure_table_macro()",
    "FROM range(enum_range(NULL::other.treasure_type)[1]::INT)",
    "FROM range('x'::other.treasure_type::INT)",
    "FROM query(other.treasure_macro())",
    "FROM read_text(other.treasure_macro())",
    "SELECT 1 LIMIT other.treasure_macro()::INT",
    # Extensions that DuckDB would load by itself.
    "FROM dbgen(sf = 0.01)",
    "CALL dsdgen(sf = 0.01)",
    "PRAGMA tpch(1)",
    "SELECT ST_Point(1, 2)",
    "SELECT h3_latlng_to_cell(1, 2, 3), ST_Area(NULL)",
    "FROM sql_auto_complete('SEL')",
    "FROM check_peg_parser('SELECT 1')",
    "SELECT json_serialize_plan('SELECT 1')",
    "SELECT count(json_serialize_plan('DELETE FROM t WHERE i = ' || i)) FROM range(100000) r(i)",
    "FROM sqlite_scan('FOLDER/x', 't')",
    "FROM mysql_query('x', 'SELECT 1')",
    "FROM iceberg_scan('FOLDER')",
    "FROM delta_scan('FOLDER')",
    "FROM read_xlsx('FOLDER/x.xlsx')",
    "FROM st_read('FOLDER/x.shp')",
    "FROM read_avro('FOLDER/x.avro')",
    "FROM 'FOLDER/x.xlsx'",
    "FROM 'FOLDER/x.avro'",
    "FROM 's3://bucket/x.parquet'",
    "FROM 'https://127.0.0.1:1/x.csv'",
    "FROM 'hf://datasets/x/y.csv'",
    "FROM read_text('https://127.0.0.1:1/x')",
    "FROM read_parquet('az://container/x.parquet')",
    "COPY t TO 's3://bucket/x.parquet'",
    "SET s3_region = 'x'",
    "SET SESSION s3_secret_access_key = 'x'",
    "RESET s3_region",
    "SELECT current_setting('s3_region')",
    "SELECT current_setting('s3_secret_access_key')",
    "PRAGMA create_fts_index('t', 'i')",
    "SELECT stem('running', 'english')",
    "CREATE TABLE u (g VARCHAR, CHECK (ST_Area(g) > 0))",
    "CREATE MACRO m() AS TABLE FROM dbgen(sf = 0.01)",
    "CREATE VIEW v AS FROM sqlite_scan('FOLDER/x', 't')",
    "PREPARE p AS FROM dbgen(sf = 0.01)",
    "FROM query('FROM dbgen(sf = 0.01)')",
    "EXPLAIN FROM dbgen(sf = 0.01)",
]  # fmt: skip


def state_of(node, folder):
    """All that a client could have changed."""
    return {
        "settings": node.sql("SELECT name, value, scope FROM duckdb_settings() ORDER BY ALL", "look"),
        "databases": node.sql("SELECT database_name FROM duckdb_databases() ORDER BY ALL", "look"),
        "tables": node.sql("SELECT database_name, table_name FROM duckdb_tables() ORDER BY ALL", "look"),
        "views": node.sql("SELECT database_name, view_name FROM duckdb_views() WHERE NOT internal ORDER BY ALL", "look"),
        "secrets": node.sql("SELECT name, secret_string FROM duckdb_secrets() ORDER BY ALL", "look"),
        "rows": node.sql("SELECT (SELECT sum(i) FROM other.t), (SELECT sum(i) FROM memory.t), (FROM cp.t)", "look"),
        "sequences": node.sql("SELECT database_name, last_value FROM duckdb_sequences() ORDER BY ALL", "look"),
        "extensions": node.sql("SELECT extension_name FROM duckdb_extensions() WHERE loaded ORDER BY ALL", "look"),
        "servers": node.sql("SELECT listen_uri FROM quack_server_list()", "look"),
        "files": sorted(path.name for path in folder.iterdir()),
    }


@pytest.mark.parametrize("statement", REFUSED)
def test_the_process_is_not_the_clients(served, folder, statement):
    node, client = served
    before = state_of(node, folder)
    with pytest.raises(DatabaseError) as refused:
        query(client, statement.replace("FOLDER", str(folder)))
    assert state_of(node, folder) == before
    # DuckDB shows the statement.
    assert "treasure" not in str(refused.value).split("\n\nLINE 1:")[0]
    assert OF_THE_PROCESS in str(refused.value), refused.value
    # The session goes on.
    assert query(client, "FROM t") == [(42,)]


def test_nothing_that_duckdb_lists_shows_what_the_process_has_beside_the_catalog(served):
    """Every table function that needs no argument, every view of the system, and each SHOW."""
    node, client = served
    functions = node.sql(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'table' AND len(parameters) = 0", "look"
    )
    views = node.sql(
        "SELECT DISTINCT schema_name, view_name FROM duckdb_views() WHERE internal AND database_name = 'system'", "look"
    )
    queries = [f"FROM {name}()" for (name,) in functions if name not in ("repeat_row", "quack_stop")]
    queries += [f"FROM system.{schema}.{view}" for schema, view in views]
    queries += ["SHOW DATABASES", "SHOW ALL TABLES", "SHOW TABLES", "SHOW TABLES FROM other", "PRAGMA database_list"]
    queries += ["PRAGMA show_tables_expanded", "PRAGMA database_size", "SELECT (SELECT list(t) FROM duckdb_tables() t)"]
    queries += ["WITH w AS (FROM duckdb_columns()) FROM w", "SELECT name, value FROM duckdb_settings()"]
    queries += ["PREPARE p AS FROM duckdb_databases(); EXECUTE p"]
    answered, seen = 0, []
    for text in queries:
        try:
            rows = query(client, text)
        except DatabaseError as error:
            rows = str(error)
        else:
            answered += 1
        seen += [(text, word) for word in ("treasure", "other.duckdb", "'other'") if word in str(rows)]
    assert not seen
    assert answered > 40
    # What fails behind its binding says why.
    with pytest.raises(DatabaseError, match="seen cp"):
        query(client, "SELECT error('seen ' || database_name) FROM duckdb_tables()")
    query(client, "PIVOT (SELECT schema_name, database_name FROM duckdb_tables()) ON schema_name IN ('main') USING count(*)")
    assert [row[0] for row in query(client, "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main'")] == ["t"]
    assert query(client, "SELECT value FROM duckdb_settings() WHERE name = 'threads'") == node.sql(
        "SELECT value FROM duckdb_settings() WHERE name = 'threads'", "look"
    )


def test_a_transaction_that_has_listed_all_databases_goes_on_without_the_others(served):
    """DuckDB's lists read all databases, and a transaction knows those that it has read."""
    _, client = served
    query(client, "BEGIN")
    for _ in range(2):
        assert query(client, "SELECT DISTINCT database_name FROM duckdb_tables()") == [("cp",)]
        assert query(client, "FROM t") == [(42,)]
    with pytest.raises(DatabaseError, match=OF_THE_PROCESS):
        query(client, "SELECT other.treasure_macro()")
    query(client, "ROLLBACK")
    assert query(client, "FROM t") == [(42,)]


def test_no_expression_of_a_client_is_evaluated_for_a_row_that_it_may_not_see(served):
    """It would tell of the row by what it does: draw from a sequence, take its time, fail."""
    _, client = served
    query(client, "CREATE SEQUENCE draws; SELECT nextval('draws')")
    lists = {"duckdb_settings()": "value", "duckdb_tables()": "table_name", "duckdb_functions()": "macro_definition"}
    for name, column in lists.items():
        for leak in ("nextval('draws') > 0", f"error({column}) IS NULL"):
            condition = f"CASE WHEN {column} LIKE '%treasure%' THEN {leak} ELSE false END"
            assert query(client, f"SELECT 1 FROM {name} WHERE {condition}") == []
            assert query(client, "SELECT currval('draws')") == [(1,)]
    query(client, "DROP SEQUENCE draws")


# What is the session's own, with a statement that shows it; each in a session of its own.
OWN = [
    ("SET SESSION TimeZone = 'Asia/Tokyo'", "SELECT current_setting('TimeZone')", "Asia/Tokyo"),
    ("SET TimeZone = 'Asia/Tokyo'", "SELECT current_setting('TimeZone')", "Asia/Tokyo"),
    ("SET default_null_order = 'nulls_first'", "SELECT current_setting('default_null_order')", "NULLS_FIRST"),
    ("PRAGMA default_null_order = 'nulls_first'", "SELECT current_setting('default_null_order')", "NULLS_FIRST"),
    ("SET preserve_insertion_order = false", "SELECT current_setting('preserve_insertion_order')", False),
    ("SET old_implicit_casting = true", "SELECT current_setting('old_implicit_casting')", True),
    ("SET quack_sequence_range = 10", "SELECT current_setting('quack_sequence_range')", 10),
    ("SET max_expression_depth = 100", "SELECT current_setting('max_expression_depth')", 100),
    ("SET integer_division = true", "SELECT 5 / 2", 2),
    ("SET VARIABLE v = 5", "SELECT getvariable('v')", 5),
    ("CREATE TEMP TABLE mine AS SELECT 7 AS i", "FROM mine", 7),
    ("CREATE TEMP MACRO seven() AS 7", "SELECT seven()", 7),
    ("PREPARE p AS SELECT 7", "EXECUTE p", 7),
    ("USE cp.main", "FROM t", 42),
    ("USE main", "FROM t", 42),
    ("SET search_path = 'main'", "FROM t", 42),
    ("CHECKPOINT", "FROM t", 42),
    ("CHECKPOINT cp", "FROM t", 42),
    ("FORCE CHECKPOINT cp", "FROM t", 42),
    ("CALL checkpoint('cp')", "FROM t", 42),
    ("VACUUM", "FROM t", 42),
    ("ANALYZE", "FROM t", 42),
    ("PRAGMA disable_profiling", "FROM t", 42),
    ("PRAGMA show_tables", "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'cp'", 1),
    ("SELECT setseed(0.5)", "FROM t", 42),
    ("EXPLAIN ANALYZE FROM t", "FROM t", 42),
]


@pytest.mark.parametrize("number", range(len(OWN)))
def test_the_session_is_the_clients(served, folder, tmp_path, track, number):
    node, _ = served
    statement, look, expected = OWN[number]
    before = state_of(node, folder)
    client = track(nodes.stock_client(tmp_path, "own", node.uri))
    query(client, statement)
    ((value,),) = query(client, look)
    assert value == expected
    assert state_of(node, folder) == before


def test_what_repeats_a_statement_is_of_the_network_too(served, folder):
    """Statements that go on after a write run in a connection beside the client's."""
    _, client = served
    for statement in (
        f"WITH w AS (INSERT INTO t SELECT 1 RETURNING i) SELECT (SELECT content FROM read_text('{folder}/in.txt')) FROM w",
        "WITH w AS (INSERT INTO t SELECT 1 RETURNING i) SELECT * FROM w, other.t",
    ):
        with pytest.raises(DatabaseError, match=OF_THE_PROCESS):
            query(client, statement)
    assert query(client, "FROM t") == [(42,)]


def test_a_server_may_let_its_clients_use_files_and_databases(new_node, tmp_path, track):
    node = new_node(options={"allow_host_access": "true"}).start()
    node.sql("CREATE TABLE memory.t AS SELECT 1 AS i")
    client = track(nodes.stock_client(tmp_path, "client", node.uri))
    query(client, f"COPY (SELECT 42 AS i) TO '{tmp_path}/out.csv'")
    assert query(client, f"FROM '{tmp_path}/out.csv'") == [(42,)]
    assert query(client, "FROM memory.t") == [(1,)]
    query(client, "CHECKPOINT memory")
    query(client, "USE memory")
    # What is the process's own stays its own.
    for statement in ("SET threads = 1", "ATTACH ':memory:' AS mine", "CREATE SECRET s (TYPE quack, TOKEN 'abcdef')"):
        with pytest.raises(DatabaseError, match=OF_THE_PROCESS):
            query(client, statement)
    assert node.stop() == 0


def test_the_process_itself_may_do_all_of_it(served, folder):
    node, _ = served
    assert node.sql(f"FROM '{folder}/in.csv'") == [(1, "treasure")]
    node.sql("CALL enable_logging(); CALL disable_logging(); CHECKPOINT other")
    node.sql("SET threads = 2; RESET threads; SET max_expression_depth = 2000; RESET max_expression_depth")
    assert node.sql("FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))") == [(1,)]


def test_clients_cannot_stop_a_cluster_by_settings(cluster, tmp_path, track):
    cluster["n0"].sql("CREATE TABLE cp.t AS SELECT 42 AS i")
    for node in cluster.alive():
        client = track(nodes.stock_client(tmp_path, f"client-{node.name}", node.uri))
        for statement in ("SET lock_configuration = true", "SET GLOBAL max_execution_time = 1"):
            with pytest.raises(DatabaseError, match=OF_THE_PROCESS):
                query(client, statement)
    assert {state for _, state in cluster["n1"].sql("SELECT node_id, state FROM quack_verify('cp')")} == {"equal"}
    cluster["n2"].sql("INSERT INTO cp.t VALUES (43)")
    cluster.wait_equal()
