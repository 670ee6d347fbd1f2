"""Rows that a bulk statement names by their places are the same ones on every node, or the statement runs again."""

import threading

import duckdb
import pytest

from quack_testing.process import DatabaseError

# More than a row group.
ROWS = 150_000
TABLES = {
    "without a key": "i BIGINT, n BIGINT, x DOUBLE, v VARCHAR",
    "with a key": "i BIGINT PRIMARY KEY, n BIGINT, x DOUBLE, v VARCHAR",
}
# In this order: they depend on each other's rows, and on the places of rows that others have left.
STATEMENTS = [
    "DELETE FROM t WHERE i % 3 = 0",
    "UPDATE t SET n = n + i WHERE i % 2 = 0",
    "DELETE FROM t WHERE i BETWEEN {rows} // 4 AND {rows} // 2",
    "INSERT INTO t SELECT range + {rows}, 0, 0.0, 'late ' || range FROM range({rows} // 10)",
    "UPDATE t SET n = n * 2, v = v || '!' WHERE i % 5 < 3",
    # DuckDB would drop the second one where a checkpoint comes between them.
    "UPDATE t SET x = x * 2",
    "UPDATE t SET x = -x",
    "UPDATE t SET n = s.m FROM (SELECT range AS j, range * 7 AS m FROM range({rows}, 0, -1)) s WHERE t.i = s.j",
    "DELETE FROM t USING (SELECT range * 4 AS j FROM range({rows})) s WHERE t.i = s.j",
    "UPDATE t SET n = n + 1",
]
# The order of the rows counts, and the bytes of zeros.
SUMS = (
    "SELECT count(*), sum(p * i), sum(p * n), sum(p * (1 / x < 0)::INTEGER), sum(hash(v, p)) "
    "FROM (SELECT *, row_number() OVER () AS p FROM t)"
)


def fill(node, columns, rows=ROWS):
    node.sql(f"CREATE OR REPLACE TABLE t ({columns})")
    node.sql(f"INSERT INTO t SELECT range, range % 1000, (range % 3)::DOUBLE, 'row ' || range FROM range({rows})")


def state_hash(node):
    return node.sql("FROM quack_state_hash()")[0][2]


def logged_bytes(node):
    return node.value("SELECT sum(value) FROM quack_metrics() WHERE name = 'quack_log_append_bytes_sum'")


@pytest.mark.parametrize("table", TABLES)
def test_wherever_checkpoints_have_left_them(shared_cluster, table):
    """One node moves its rows after every statement, another one now and then, one never; the statements come from all."""
    nodes = shared_cluster.alive()
    fill(nodes[0], TABLES[table])
    shared_cluster.wait_equal()
    for number, statement in enumerate(STATEMENTS):
        nodes[number % len(nodes)].sql(statement.format(rows=ROWS))
        shared_cluster.wait_equal()
        for node in nodes[: 1 + number % 2]:
            node.sql("CHECKPOINT cp", "checkpoint")
        sums = [node.sql(SUMS) for node in nodes]
        assert sums[0] == sums[1] == sums[2], statement
    assert {node.value("SELECT state FROM quack_raft_status()") for node in nodes} == {"ok"}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("rows", [3, ROWS])
def test_after_a_kill(node, table, rows):
    fill(node, TABLES[table], rows)
    plain = duckdb.connect()
    plain.execute(f"CREATE TABLE t ({TABLES[table]})")
    plain.execute(f"INSERT INTO t SELECT range, range % 1000, (range % 3)::DOUBLE, 'row ' || range FROM range({rows})")
    for statement in STATEMENTS:
        statement = statement.format(rows=rows)
        assert node.sql(statement) == plain.execute(statement).fetchall(), statement
        assert node.sql("FROM t ORDER BY ALL") == plain.execute("FROM t ORDER BY ALL").fetchall(), statement
        before = node.sql(SUMS), state_hash(node)
        node.kill_and_start()
        assert (node.sql(SUMS), state_hash(node)) == before, statement


@pytest.mark.parametrize("table", TABLES)
def test_their_text_does_not_travel(node, table):
    fill(node, TABLES[table])
    node.sql("UPDATE t SET v = repeat(v, 30)")
    text = node.value("SELECT sum(length(v)) FROM t")
    for statement in ("UPDATE t SET n = n + 1", "DELETE FROM t WHERE i % 4 = 0", "DELETE FROM t"):
        before = logged_bytes(node)
        node.sql(statement)
        assert logged_bytes(node) - before < text / 4


@pytest.mark.parametrize("table", TABLES)
def test_none_is_lost_between_statements_about_the_same_table(shared_cluster, table):
    """Each statement adds one to every row, and finds the table changed by the others."""
    nodes = shared_cluster.alive()
    fill(nodes[0], TABLES[table], 20_000)
    shared_cluster.wait_equal()
    before = nodes[0].value("SELECT sum(n) FROM t")
    failures = []

    def add(node):
        for _ in range(5):
            try:
                node.sql("UPDATE t SET n = n + 1", "adds")
            except DatabaseError as error:
                failures.append(error)

    threads = [threading.Thread(target=add, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for _ in range(10):
        nodes[0].sql("INSERT INTO t SELECT max(i) + 1, 0, 0.0, 'new' FROM t")
    for thread in threads:
        thread.join()
    shared_cluster.wait_equal()
    assert not failures
    sums = [node.sql(SUMS) for node in nodes]
    assert sums[0] == sums[1] == sums[2]
    assert nodes[0].value("SELECT sum(n) FROM t WHERE v != 'new'") == before + 15 * 20_000


def test_equal_rows_of_which_one_was_deleted_elsewhere(shared_cluster):
    """Which of several rows that are the same goes is each node's own matter; what comes later is not."""
    nodes = shared_cluster.alive()
    nodes[0].sql("CREATE OR REPLACE TABLE t (i BIGINT, n BIGINT, x DOUBLE, v VARCHAR)")
    nodes[0].sql(f"INSERT INTO t SELECT range % 10, 0, 0.0, 'same' FROM range({ROWS})")
    nodes[0].sql("DELETE FROM t WHERE rowid < 130000 AND rowid % 7 > 0")
    shared_cluster.wait_equal()
    nodes[1].sql("CHECKPOINT cp", "checkpoint")
    for statement in ("BEGIN", "DELETE FROM t WHERE rowid > 140000 AND rowid % 2 = 0", "COMMIT"):
        nodes[0].sql(statement)
    shared_cluster.wait_equal()
    # The new values depend on the place.
    nodes[0].sql("UPDATE t SET n = rowid")
    nodes[0].sql("DELETE FROM t WHERE n % 3 = 0")
    shared_cluster.wait_equal()
    count = "SELECT count(*), sum(i), sum(n) FROM t"
    assert nodes[0].sql(count) == nodes[1].sql(count) == nodes[2].sql(count)
    assert {node.value("SELECT state FROM quack_raft_status()") for node in nodes} == {"ok"}
    # Of none at all the order is known.
    nodes[2].sql("DELETE FROM t")
    nodes[2].sql(f"INSERT INTO t SELECT range, 0, 0.0, repeat('new', 50) FROM range({ROWS})")
    before = logged_bytes(nodes[2])
    nodes[2].sql("UPDATE t SET n = i")
    assert logged_bytes(nodes[2]) - before < ROWS * 50
    shared_cluster.wait_equal()


@pytest.mark.parametrize("origin", [0, 1])
def test_all_rows_of_a_table_go_whose_order_is_each_node_s_own(shared_cluster, origin):
    nodes = shared_cluster.alive()
    nodes[0].sql("CREATE OR REPLACE TABLE t (who BIGINT, what VARCHAR)")
    nodes[0].sql("INSERT INTO t SELECT hash(range) % 40000, 'x' || range % 3 FROM range(300000)")
    nodes[0].sql("DELETE FROM t WHERE who % 7 > 0 AND rowid < 260000")
    shared_cluster.wait_equal()
    # It moves its rows to other places.
    nodes[1].sql("CHECKPOINT cp", "checkpoint")
    for statement in ("BEGIN", "DELETE FROM t WHERE rowid NOT IN (SELECT min(rowid) FROM t GROUP BY who)", "COMMIT"):
        nodes[0].sql(statement)
    shared_cluster.wait_equal()
    rows = nodes[0].value("SELECT count(*) FROM t")
    assert nodes[origin].sql("DELETE FROM t") == [(rows,)]
    shared_cluster.wait_equal()
    assert [node.value("SELECT count(*) FROM t") for node in nodes] == [0, 0, 0]
    assert {node.value("SELECT state FROM quack_raft_status()") for node in nodes} == {"ok"}


def test_what_is_not_allowed_changes_nothing(node):
    node.sql("CREATE TABLE t (i BIGINT PRIMARY KEY, n BIGINT NOT NULL, m BIGINT, CHECK (n < m))")
    node.sql("CREATE TABLE referenced (i BIGINT PRIMARY KEY, n BIGINT)")
    node.sql("CREATE TABLE refers (i BIGINT REFERENCES referenced(i))")
    node.sql(f"INSERT INTO t SELECT range, 0, 1 FROM range({ROWS})")
    node.sql("INSERT INTO referenced SELECT i, n FROM t")
    node.sql("INSERT INTO refers VALUES (77)")
    for statement, word in {
        "UPDATE t SET n = NULL": "NOT NULL",
        "UPDATE t SET n = n + (i > 100000)::BIGINT": "CHECK",
        "DELETE FROM referenced": "foreign key",
    }.items():
        with pytest.raises(DatabaseError, match=word):
            node.sql(statement)
    assert node.sql("SELECT count(*), sum(n), sum(m) FROM t") == [(ROWS, 0, ROWS)]
    assert node.value("SELECT count(*) FROM referenced") == ROWS
    node.sql("UPDATE t SET m = m + 1")
    node.sql("UPDATE referenced SET n = n + 1")
    for table, values in {"t": "range, 0, 1", "referenced": "range, 1"}.items():
        node.sql(f"DELETE FROM {table} WHERE i != 77")
        node.sql(f"INSERT INTO {table} SELECT {values} FROM range({ROWS}) WHERE range != 77")
        assert node.value(f"SELECT count(*) FROM {table} WHERE i = 5") == 1
    assert node.sql("SELECT sum(n), sum(m) FROM t") == [(0, ROWS + 1)]
    assert node.sql("SELECT sum(n), count(*) FROM referenced") == [(ROWS, ROWS)]


def test_a_change_of_columns_comes_between(node):
    """The statement that is evaluated before it counts for nothing."""
    fill(node, TABLES["without a key"])
    node.sql("CREATE INDEX of_n ON t (n)")
    node.sql("UPDATE t SET n = n + 1")
    node.sql("DELETE FROM t WHERE n % 2 = 0")
    node.sql("DROP INDEX of_n")
    node.sql("ALTER TABLE t ALTER n SET DATA TYPE BIGINT USING n * 10")
    node.sql("ALTER TABLE t ADD COLUMN more INTEGER DEFAULT 3")
    node.sql("UPDATE t SET n = n + more, more = NULL")
    assert node.value("SELECT count(*) FROM t WHERE n % 20 != 13 OR more IS NOT NULL") == 0
    assert node.value("SELECT count(*) FROM t") == ROWS // 2
