"""What a connection remembers of a statement counts for that statement alone, for all parts of it, and until its last write."""

from importlib.metadata import version

import pytest
from quack_testing.node import Node
from quack_testing.process import DatabaseError

SECONDS_MAX = 60
# `seconds` long: conflicting updates beside another connection's; before each, the names of a prepared statement's tables.
ONLY_BOUND = """
import threading
def connect():
    connection = database.cursor()
    connection.execute("USE cp")
    return connection
def add(connection):
    try:
        connection.execute("UPDATE t SET j = j + 1 WHERE i = 5")
        return 1
    except Exception as error:
        assert "onflict" in str(error), error
        return 0
done = threading.Event()
added = [0, 0]
def rival():
    connection = connect()
    while not done.is_set():
        added[1] += add(connection)
thread = threading.Thread(target=rival)
thread.start()
connection = connect()
connection.execute("PREPARE p AS DELETE FROM u")
for _ in range(400):
    connection.get_table_names("EXECUTE p")
    added[0] += add(connection)
done.set()
thread.join()
result = sum(added)
"""
HALF_READ = """
import builtins
reader = database.cursor()
reader.execute("USE cp")
reader.execute('''{statement}''')
result = reader.fetchone() is not None
builtins.kept = reader
"""


@pytest.fixture
def node(tmp_path, track):
    node = track(Node(tmp_path))
    node.start()
    return node


def test_a_statement_that_was_only_bound_does_not_run_in_place_of_the_next(node):
    node.sql("CREATE TABLE t (i INTEGER PRIMARY KEY, j INTEGER)")
    node.sql("INSERT INTO t VALUES (5, 0)")
    node.sql("CREATE TABLE u AS SELECT range AS i FROM range(3)")
    added = node.process.python(ONLY_BOUND)
    assert node.sql("SELECT j, (SELECT count(*) FROM u) FROM t") == [(added, 3)]


@pytest.mark.parametrize(
    "statement",
    [
        "WITH a AS (SELECT * FROM t) SELECT a.i, b.i AS update FROM a, a b",
        "WITH merge AS (SELECT i AS insert, j AS conflict FROM t) SELECT a.* FROM merge a, merge b",
        "(SELECT a.i AS delete FROM t a, t b)",
        "WITH w AS (INSERT INTO u VALUES (7) RETURNING i) SELECT w.i, t.i, f.a FROM w, t, read_csv('{file}') f",
        "WITH w AS (UPDATE u SET i = 8 WHERE i = 1 RETURNING i) SELECT w.i, t.i, f.a FROM w, t, read_csv('{file}') f",
    ],
)
def test_a_result_that_is_read_in_part_keeps_no_write_waiting(tmp_path, node, statement):
    file = tmp_path / "numbers.csv"
    file.write_text("a\n" + "\n".join(map(str, range(200_000))))
    node.sql("CREATE TABLE t (i INTEGER PRIMARY KEY, j INTEGER)")
    node.sql("INSERT INTO t SELECT range, 0 FROM range(100000)")
    node.sql("CREATE TABLE u AS SELECT range AS i FROM range(3)")
    assert node.process.python(HALF_READ.format(statement=statement.format(file=file)))
    for write in (
        "INSERT INTO u VALUES (1)",
        "UPDATE t SET j = 2 WHERE i = 5",
        "UPDATE t SET j = 2 FROM u WHERE u.i = 7",
        "INSERT INTO t VALUES (5, 7) ON CONFLICT DO UPDATE SET j = 9",
        "DELETE FROM t WHERE i = 6",
        "MERGE INTO t USING (SELECT 3 AS i) s USING (i) WHEN MATCHED THEN DELETE",
    ):
        node.sql(write, "writer", timeout=SECONDS_MAX)


@pytest.mark.parametrize("explicit", [False, True], ids=["alone", "in a transaction"])
def test_parts_that_run_at_the_same_time_keep_the_search_path_of_their_connection(node, explicit):
    node.sql("SET threads = 4")
    node.sql("CREATE TABLE t (i BIGINT PRIMARY KEY, j BOOLEAN, CHECK (i >= 0))")
    for number in range(4):
        node.sql("DELETE FROM t")
        if explicit:
            node.sql("BEGIN")
        node.sql(
            "MERGE INTO t USING (SELECT range AS i, in_search_path('cp', 'main') AS k FROM range(300000)) s ON t.i = s.i "
            "WHEN MATCHED THEN UPDATE SET j = s.k WHEN NOT MATCHED THEN INSERT VALUES (s.i, s.k)"
        )
        if explicit:
            node.sql("COMMIT")
        assert node.sql("SELECT count(*), count(*) FILTER (WHERE j) FROM t") == [(300000, 300000)], number


@pytest.mark.skipif(version("duckdb") != "2.0.0", reason="later versions have not these faults")
def test_without_what_keeps_faults_of_duckdb_away_no_replicated_table_is_read(node):
    node.sql("CREATE TABLE t AS SELECT range AS i FROM range(10)")
    node.sql("SET disabled_optimizers = 'extension'")
    with pytest.raises(DatabaseError, match="set disabled_optimizers without it"):
        node.sql("SELECT i FROM t ORDER BY i LIMIT 2")
    node.sql("INSERT INTO t VALUES (10)")
    node.sql("RESET disabled_optimizers")
    assert node.sql("SELECT count(*) FROM t") == [(11,)]
