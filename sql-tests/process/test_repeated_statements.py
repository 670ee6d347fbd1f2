"""Statements that meet a conflict run again by themselves, and mean the same."""

import json
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import pytest
from quack_testing.process import EXTENSION, PYTHON, ROOT, DatabaseError

HOST = ROOT / "sql-tests/python/quack_testing/hot_counter_host.py"
ROUNDS = 100
NO_COLUMN = 'Column with name ""v"" does not exist' if version("duckdb") == "2.0.0" else 'not have a column with name "v"'


def test_a_counter_that_all_threads_raise_in_different_ways_is_exact(tmp_path):
    output = subprocess.run(
        [PYTHON, HOST, EXTENSION, tmp_path / "n0", str(ROUNDS)], capture_output=True, text=True, timeout=120, check=True
    )
    report = json.loads(output.stdout)
    assert report["errors"] == []
    assert set(report["raised"].values()) == {ROUNDS}
    assert report["counter"] == [[ROUNDS * len(report["raised"])], [0]]
    assert report["seen_are_different"]


#: Ways to raise the counter of row 1 by one: the statement, and what its connection runs before.
WAYS = {
    "parameters": ("UPDATE c SET n = n + $1 WHERE i = $2", "SELECT 1"),
    "an EXECUTE": ("EXECUTE raise(1, 1)", "PREPARE raise AS UPDATE c SET n = n + ? WHERE i = ?"),
    "named parameters": ("EXECUTE raise(i := 1, step := 1)", "PREPARE raise AS UPDATE c SET n = n + $step WHERE i = $i"),
    "an expression": ("UPDATE c SET n = n + 1 WHERE i = 1", "SELECT 1"),
    "a subquery": ("UPDATE c SET n = (SELECT n + 1 FROM c WHERE i = 1) WHERE i = 1", "SELECT 1"),
    "a temporary table": ("UPDATE c SET n = n + x FROM one WHERE i = x", "CREATE TEMP TABLE one AS SELECT 1 AS x"),
    "a variable": ("UPDATE c SET n = n + getvariable('step') WHERE i = 1", "SET VARIABLE step = 1"),
    "a macro": ("UPDATE c SET n = raised(n) WHERE i = 1", "CREATE TEMP MACRO raised(n) AS n + 1"),
    "an upsert": ("INSERT INTO c VALUES (1, 1) ON CONFLICT (i) DO UPDATE SET n = n + excluded.n", "SELECT 1"),
    "a prepared upsert": (
        "EXECUTE up(1)",
        "PREPARE up AS INSERT INTO c VALUES ($1, 1) ON CONFLICT (i) DO UPDATE SET n = n + 1",
    ),
    "a replacement": ("INSERT OR REPLACE INTO c SELECT i, n + 1 FROM c WHERE i = 1", "SELECT 1"),
    "a MERGE": ("MERGE INTO c USING (SELECT 1 AS i) s USING (i) WHEN MATCHED THEN UPDATE SET n = n + 1", "SELECT 1"),
    "a WITH": ("WITH r AS (UPDATE c SET n = n + 1 WHERE i = 1 RETURNING n) SELECT n FROM r", "SELECT 1"),
    "a WITH that reads": (
        "WITH s AS (SELECT n + 1 AS m FROM c WHERE i = 1) UPDATE c SET n = m FROM s WHERE i = 1",
        "SELECT 1",
    ),
    "RETURNING": ("UPDATE c SET n = n + 1 WHERE i = 1 RETURNING n", "SELECT 1"),
    "a trigger": ("INSERT INTO raises VALUES (1)", "SELECT 1"),
    "several statements": ("SET VARIABLE x = 0; UPDATE c SET n = n + 1 WHERE i = 1", "SELECT 1"),
    "a transaction": ("BEGIN; UPDATE c SET n = n + 1 WHERE i = 1; COMMIT", "SELECT 1"),
    "another schema": ("UPDATE cp.main.c SET n = n + 1 WHERE i = 1", "USE cp.elsewhere"),
    "quoted names": ('UPDATE "cp"."main"."C" SET n = n + 1 WHERE i = 1', "SELECT 1"),
    "an EXPLAIN ANALYZE": ("EXPLAIN ANALYZE UPDATE c SET n = n + 1 WHERE i = 1", "SELECT 1"),
}
RAISES = 5


def test_a_counter_that_clients_of_all_nodes_raise_is_what_they_were_told(shared_cluster):
    nodes = shared_cluster.alive()
    nodes[0].sql("CREATE TABLE c (i INTEGER PRIMARY KEY, n BIGINT)")
    nodes[0].sql("CREATE TABLE raises (i INTEGER)")
    nodes[0].sql("CREATE SCHEMA elsewhere")
    nodes[0].sql("CREATE TRIGGER raise AFTER INSERT ON raises UPDATE c SET n = n + 1 WHERE i = 1")
    nodes[0].sql("INSERT INTO c VALUES (1, 0)")
    shared_cluster.wait_equal()
    acknowledged, errors = [], []

    def run(node, way):
        statement, before = WAYS[way]
        node.sql(before, way)
        for _ in range(RAISES):
            try:
                node.process.sql(statement, way, [1, 1] if "$2" in statement else None)
                acknowledged.append(way)
            except DatabaseError as error:
                errors.append((way, str(error)))
                if not str(error).startswith("TransactionContext Error: Failed to commit"):
                    node.sql("ROLLBACK", way)

    with ThreadPoolExecutor(len(nodes) * len(WAYS)) as threads:
        for done in [threads.submit(run, node, way) for node in nodes for way in WAYS]:
            done.result()
    shared_cluster.wait_equal()
    assert [node.value("SELECT n FROM c") for node in nodes] == [len(acknowledged)] * len(nodes)
    # A transaction cannot run again by itself.
    assert [(way, error) for way, error in errors if way != "a transaction" or "Conflict" not in error] == []
    for table in ("raises", "c"):
        nodes[0].sql(f"DROP TABLE {table}")
    nodes[0].sql("DROP SCHEMA elsewhere")


def test_what_an_appender_writes_is_not_looked_for_in_its_text(new_node):
    node = new_node(c_api=True).start()
    node.sql("CREATE TABLE plain (a INTEGER PRIMARY KEY, b VARCHAR)")
    node.sql("CREATE TABLE log (n INTEGER)")
    node.sql("CREATE TABLE logged (a INTEGER PRIMARY KEY, b VARCHAR)")
    node.sql("CREATE TRIGGER count AFTER INSERT ON logged INSERT INTO log VALUES (1)")
    for table in ("plain", "logged"):
        node.process.append(("cp", "main", table), [["1", "one"], ["2", "two"]])
        assert node.sql(f"FROM {table} ORDER BY a") == [("1", "one"), ("2", "two")]
    assert node.sql("FROM log") == [("1",)]


UPSERT = "INSERT INTO k VALUES ({key}, {text}) ON CONFLICT (i) DO UPDATE SET s = excluded.s"
UPSERTS = {
    "dollar quotes": UPSERT.format(key="{key}", text="$$it's$$"),
    "tagged dollar quotes": UPSERT.format(key="{key}", text="$a$it's $$ so$a$"),
    "escapes": UPSERT.format(key="{key}", text="E'it\\'s'"),
    "a comment": "/* it's */ " + UPSERT.format(key="{key}", text="'x'"),
    "prepared": "EXECUTE Ups({key})",
    "prepared by a quoted name": 'EXECUTE "my upsert"({key})',
}
KEYS = 30


@pytest.mark.parametrize("text", UPSERTS)
def test_an_upsert_is_known_however_it_is_written(shared_cluster, text):
    """One that another node has come before runs again, and finds the row."""
    nodes = shared_cluster.alive()
    nodes[0].sql("CREATE TABLE k (i INTEGER PRIMARY KEY, s VARCHAR)")
    shared_cluster.wait_equal()
    errors, together = [], threading.Barrier(2 * len(nodes))

    def run(node, connection):
        for name in ("ups", '"my upsert"'):
            node.sql(f"PREPARE {name} AS {UPSERT.format(key='$1', text=chr(39) * 2)}", connection)
        for key in range(KEYS):
            together.wait(60)
            try:
                node.sql(UPSERTS[text].format(key=key), connection)
            except DatabaseError as error:
                errors.append(str(error))

    threads = [threading.Thread(target=run, args=(node, f"upserts {n}")) for node in nodes for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    shared_cluster.wait_equal()
    assert nodes[0].sql("SELECT count(*) FROM k") == [(KEYS,)]
    nodes[0].sql("DROP TABLE k")


LONG = "FROM range(1000000) x, range(1000) y"


UPSERT_OF_K = "INSERT INTO k VALUES ({key}, 'x') ON CONFLICT (i) DO UPDATE SET s = excluded.s"
#: Upserts of one key from several connections, and what each connection runs before.
HIDDEN_UPSERTS = {
    "within WITH": ("WITH a AS (" + UPSERT_OF_K + " RETURNING i) SELECT i FROM a", "SELECT 1"),
    "prepared within WITH": (
        "EXECUTE up({key})",
        "PREPARE up AS WITH a AS (" + UPSERT_OF_K.format(key="$1") + " RETURNING i) SELECT i FROM a",
    ),
    "in a trigger": ("INSERT INTO r VALUES ({key})", "SELECT 1"),
    "prepared": ("EXECUTE up({key})", "PREPARE up AS " + UPSERT_OF_K.format(key="$1")),
    "explained": ("EXPLAIN ANALYZE EXECUTE up({key})", "PREPARE up AS " + UPSERT_OF_K.format(key="$1")),
}


@pytest.mark.parametrize("name", HIDDEN_UPSERTS)
def test_an_upsert_within_another_statement_finds_what_others_have_written(shared_cluster, name):
    nodes = shared_cluster.alive()
    nodes[0].sql("CREATE TABLE k (i INTEGER PRIMARY KEY, s VARCHAR)")
    nodes[0].sql("CREATE TABLE r (i INTEGER)")
    nodes[0].sql(
        "CREATE TRIGGER up AFTER INSERT ON r REFERENCING NEW TABLE AS new "
        "INSERT INTO k SELECT i, 't' FROM new ON CONFLICT (i) DO UPDATE SET s = excluded.s"
    )
    shared_cluster.wait_equal()
    statement, before = HIDDEN_UPSERTS[name]
    together = threading.Barrier(2 * len(nodes))

    def run(node, connection):
        node.sql(before, connection)
        for key in range(KEYS):
            together.wait(60)
            node.sql(statement.format(key=key), connection)

    with ThreadPoolExecutor(2 * len(nodes)) as threads:
        for done in [threads.submit(run, node, f"{name} {number}") for node in nodes for number in range(2)]:
            done.result()
    shared_cluster.wait_equal()
    assert nodes[0].sql("SELECT count(*) FROM k") == [(KEYS,)]
    for table in ("r", "k"):
        nodes[0].sql(f"DROP TABLE {table}")
    for node in nodes:
        for number in range(2):
            if before != "SELECT 1":
                node.sql("DEALLOCATE up", f"{name} {number}")


def test_a_table_that_is_replaced_from_itself_keeps_its_parameters(node):
    node.sql("CREATE TABLE t AS SELECT 0 AS n")

    def run(connection):
        for _ in range(20):
            node.process.sql("CREATE OR REPLACE TABLE t AS SELECT n + $1 AS n FROM t", connection, [1])

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(run, f"replaces {number}") for number in range(4)]:
            done.result()
    assert node.sql("FROM t") == [(80,)]


OWN_RELATION = """
connection = database.cursor()
connection.execute("USE cp")
rel = connection.sql("SELECT 1 AS i")
for statement in (
    "WITH a AS (INSERT INTO r FROM rel RETURNING i) SELECT i FROM a",
    "INSERT INTO logged SELECT i FROM rel",
):
    for _ in range(50):
        connection.execute(statement).fetchall()
"""


def test_a_relation_of_the_program_is_read_where_it_is_known(node):
    """Another thread, in which a statement may run apart, sees no variable of the program."""
    node.sql("CREATE TABLE r (i INTEGER)")
    node.sql("CREATE TABLE logged (i INTEGER)")
    node.sql("CREATE TRIGGER count AFTER INSERT ON logged INSERT INTO r VALUES (2)")
    node.process.python(OWN_RELATION)
    assert node.sql("SELECT i, count(*) FROM r GROUP BY i ORDER BY i") == [(1, 50), (2, 50)]


SLOW_FUNCTION = """
import time
def slow(i):
    time.sleep(0.3)
    return i
database.create_function("slow", slow, ["INTEGER"], "INTEGER", side_effects=True)
"""


@pytest.mark.parametrize("statement", [
    "UPDATE t SET m = m + slow(1) WHERE i = 1",
    "WITH a AS (UPDATE t SET m = m + slow(1) WHERE i = 1 RETURNING m) SELECT m FROM a",
])
def test_a_statement_that_runs_again_has_no_more_time_than_its_client_has_given_it(node, statement):
    node.process.python(SLOW_FUNCTION)
    node.sql("CREATE TABLE t (i INTEGER PRIMARY KEY, n INTEGER, m INTEGER)")
    node.sql("INSERT INTO t VALUES (1, 0, 0)")
    ended = threading.Event()

    def change():
        while not ended.is_set():
            try:
                node.sql("BEGIN; UPDATE t SET n = n + 1 WHERE i = 1; COMMIT", "rival")
            except DatabaseError as error:
                if "Failed to commit: Conflict" not in str(error):
                    node.sql("ROLLBACK", "rival")
            time.sleep(0.05)

    with ThreadPoolExecutor(1) as threads:
        rival = threads.submit(change)
        try:
            node.sql("SET max_execution_time = 1000", "limited")
            with pytest.raises(DatabaseError, match="maximum execution time"):
                node.sql(statement, "limited", timeout=15)
        finally:
            ended.set()
        rival.result()


def test_a_statement_with_several_writes_heeds_its_interruption(node):
    """It runs in a session of its own."""
    node.sql("CREATE TABLE t (i INTEGER PRIMARY KEY, v INTEGER)")
    node.sql("INSERT INTO t SELECT range, 0 FROM range(100)")
    running = node.process.start_sql(
        f"WITH a AS (UPDATE t SET v = 10 WHERE i < 3 RETURNING i) SELECT sum(x.range * y.range) {LONG}, a", "long"
    )
    time.sleep(0.5)
    node.process.submit("interrupt", connection="long")
    with pytest.raises(DatabaseError, match="^INTERRUPT Error: Interrupted!"):
        running.result(10)
    assert node.sql("SELECT sum(v) FROM t") == [(0,)]


def test_a_seed_gives_a_statement_with_several_writes_its_random_numbers(node):
    """It runs in a session of its own."""
    for catalog in ("memory", "cp"):
        node.sql(f"CREATE TABLE {catalog}.main.t (r DOUBLE)")
    drawn = {}
    for catalog in ("memory", "cp"):
        node.sql("SELECT setseed(0.25)")
        drawn[catalog] = [
            node.sql("SELECT random()"),
            node.sql(f"WITH a AS (INSERT INTO {catalog}.main.t SELECT random() FROM range(3) RETURNING r) SELECT r FROM a"),
            node.sql("SELECT random()"),
        ]
    assert drawn["cp"] == drawn["memory"]


def test_a_statement_that_waits_for_another_one_heeds_its_time(node):
    node.sql("CREATE TABLE t (i INTEGER PRIMARY KEY, v BIGINT)")
    node.sql("INSERT INTO t SELECT range, 0 FROM range(100)")
    running = node.process.start_sql(f"UPDATE t SET v = (SELECT max(x.range * y.range) {LONG}) WHERE i = 1", "long")
    time.sleep(0.5)
    node.sql("SET max_execution_time = 200", "short")
    with pytest.raises(DatabaseError, match="maximum execution time"):
        node.sql("UPDATE t SET v = (SELECT 1) WHERE i = 2", "short", timeout=20)
    node.process.submit("interrupt", connection="long")
    with pytest.raises(DatabaseError, match="Interrupted!"):
        running.result(10)


def test_a_statement_whose_column_is_renamed_beside_ends_alone(node):
    """The planner of DuckDB 2.0.0 asserts that the column is there. That ends a statement; of one that runs again it would end
    the database."""
    node.sql("CREATE TABLE u (i BIGINT PRIMARY KEY, v VARCHAR)")
    ended = threading.Event()
    others = []

    def write(connection):
        while not ended.is_set():
            try:
                node.sql("INSERT OR REPLACE INTO u (i, v) SELECT range, 'r' FROM range(50)", connection)
            except DatabaseError as error:
                if NO_COLUMN not in str(error) and "onflict" not in str(error):
                    others.append(str(error))

    threads = [threading.Thread(target=write, args=(f"writer{number}",)) for number in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(150):
        for rename in ("ALTER TABLE u RENAME v TO w", "ALTER TABLE u RENAME w TO v"):
            node.sql(rename, "renames")
    ended.set()
    for thread in threads:
        thread.join()
    assert others == []
    assert node.sql("SELECT state FROM quack_raft_status()") == [("ok",)]
    node.sql("INSERT OR REPLACE INTO u (i, v) SELECT range, 'last' FROM range(50)")
    assert node.sql("SELECT count(*), min(v), max(v) FROM u") == [(50, "last", "last")]
