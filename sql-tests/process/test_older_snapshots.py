"""Statements that need all open transactions to see the current rows: making an index, and checks of existing rows.

DuckDB indexes also deleted rows that an open transaction still sees, and refuses to make an index, or to forbid NULL,
while a transaction still sees the values from before an update. The contents and refusals of a node must not depend on the
transactions that happen to read there: the node ends a transaction in the way, and tells its client.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from quack_testing.cluster import wait_for
from quack_testing.process import DatabaseError

NODES = 3
LONG_SELECT = "SELECT count(*) FROM t a, range(30_000_000) b(i), range(1000) c(j) WHERE a.k + b.i + c.j = -1"

# What is changed and then made, and what goes wrong where the index holds what it should not.
CASES = {
    "a key that comes again": (
        ["DELETE FROM t WHERE k = 1", "CREATE UNIQUE INDEX made ON t(k)", "INSERT INTO t VALUES (1, 10)"],
        [(1, 10)],
    ),
    "a key that has come again": (
        ["DELETE FROM t WHERE k = 1", "INSERT INTO t VALUES (1, 11)", "CREATE UNIQUE INDEX made ON t(k)"],
        [(1, 11)],
    ),
    "a key that an update has freed": (
        ["UPDATE t SET k = 100 WHERE k = 1", "CREATE UNIQUE INDEX made ON t(k)", "INSERT INTO t VALUES (1, 12)"],
        [(1, 12)],
    ),
    "a primary key": (
        ["UPDATE t SET k = 100 WHERE k = 1", "ALTER TABLE t ADD PRIMARY KEY (k)", "INSERT INTO t VALUES (1, 13)"],
        [(1, 13)],
    ),
    "a primary key, of deleted rows": (
        ["DELETE FROM t WHERE k = 1", "ALTER TABLE t ADD PRIMARY KEY (k)", "INSERT INTO t VALUES (1, 14)"],
        [(1, 14)],
    ),
    "no more NULL": (
        ["UPDATE t SET n = 15 WHERE k = 1", "ALTER TABLE t ALTER n SET NOT NULL"],
        [(1, 15)],
    ),
    "more deletions": (
        ["DELETE FROM t WHERE k = 2", "CREATE INDEX made ON t(k)", "DELETE FROM t WHERE k > 2"],
        [(1, 1)],
    ),
    "more than that": (
        ["UPDATE t SET n = 9 WHERE k = 2", "BEGIN; DELETE FROM t WHERE k = 1; CREATE UNIQUE INDEX made ON t(k); COMMIT",
         "INSERT INTO t VALUES (1, 16)"],
        [(1, 16)],
    ),
}


@pytest.fixture
def cluster(shared_cluster):
    writer = shared_cluster.alive()[0]
    writer.sql("CREATE OR REPLACE TABLE t AS SELECT i AS k, i AS n FROM range(5) r(i)")
    writer.sql("CREATE OR REPLACE TABLE other AS SELECT 1 AS k")
    shared_cluster.wait_equal()
    yield shared_cluster
    for node in shared_cluster.alive():
        node.process.request("close_connection", connection="open")


def read(node):
    node.sql("BEGIN", "open")
    assert node.value("SELECT sum(n) FROM t", "open") == 10


def read_and_write_elsewhere(node):
    read(node)
    node.sql("INSERT INTO other VALUES (2)", "open")


def stop_reading(node):
    node.process.python(
        "worker.stream = database.cursor()\n"
        "worker.stream.execute('USE cp')\n"
        "worker.stream.execute('BEGIN')\n"
        "worker.stream.execute('SELECT k FROM t, range(1000000)')\n"
        "worker.stream.fetchmany(10)"
    )


OPENINGS = {"reads": read, "reads and writes elsewhere": read_and_write_elsewhere, "has stopped reading": stop_reading}


def change(cluster, statements):
    """Runs them on changing nodes, none of which has anything open; one text is one transaction."""
    for number, statement in enumerate(statements):
        node = cluster.alive()[1 + number % (NODES - 1)]
        node.sql(statement, "changes")
        cluster.wait_equal()


def check(cluster, expected):
    cluster.wait_equal()
    for node in cluster.alive():
        assert node.sql("FROM t WHERE k = 1") == expected
        assert node.value("SELECT state FROM quack_raft_status()") == "ok"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("opening", OPENINGS)
def test_what_is_made_does_not_depend_on_who_reads(cluster, case, opening):
    statements, expected = CASES[case]
    reader = cluster.alive()[0]
    OPENINGS[opening](reader)
    change(cluster, statements)
    check(cluster, expected)
    if opening == "has stopped reading":
        reader.process.python("worker.stream.close()")
    else:
        with pytest.raises(DatabaseError, match="Conflict: .*run it again"):
            reader.sql("FROM t", "open")
        reader.sql("ROLLBACK", "open")
        assert reader.sql("FROM t WHERE k = 1", "open") == reader.sql("FROM t WHERE k = 1")
    # What was left to be cleaned up is cleaned up now.
    change(cluster, ["DELETE FROM t WHERE k = 4", "UPDATE t SET n = n + 1", "INSERT INTO t VALUES (4, 4)"])
    cluster.wait_equal()
    assert {node.value("SELECT count(*) FROM t WHERE k = 4") for node in cluster.alive()} == {1}


def test_who_has_deleted_and_is_ended_cannot_commit(cluster):
    """What it knows of a table is gone with its transaction, and the table may be, too."""
    writer = cluster.alive()[0]
    for number in range(3):
        cluster.alive()[1].sql("CREATE OR REPLACE TABLE other AS SELECT i AS k FROM range(3000) r(i)", "changes")
        cluster.wait_equal()
        writer.sql("BEGIN", "open")
        writer.sql("DELETE FROM other WHERE k % 2 = 0", "open")
        change(cluster, ["UPDATE t SET n = n + 1", f"CREATE INDEX made{number} ON t(k)", "DROP TABLE other"])
        with pytest.raises(DatabaseError, match="Conflict: .*run it again"):
            writer.sql("COMMIT", "open")


def test_a_statement_that_reads_for_long_is_ended(cluster):
    reader = cluster.alive()[0]
    read(reader)
    running = reader.process.start_sql(LONG_SELECT, "open")
    change(cluster, CASES["a key that comes again"][0])
    check(cluster, [(1, 10)])
    with pytest.raises(DatabaseError, match="Conflict: .*run it again"):
        running.result(120)
    reader.sql("ROLLBACK", "open")
    assert reader.value("SELECT count(*) FROM t", "open") == 5


def test_a_statement_of_its_own_is_ended(cluster):
    reader = cluster.alive()[0]
    running = reader.process.start_sql(LONG_SELECT, "open")

    def end():
        # The first time it may not have begun.
        change(cluster, ["UPDATE t SET n = n + 1", "CREATE OR REPLACE TABLE other AS SELECT 1 AS k"])
        change(cluster, ["CREATE INDEX made ON t(k)", "DROP INDEX made"])
        return running.done()

    wait_for(end, "the end of a statement")
    with pytest.raises(DatabaseError, match="Conflict: .*run it again"):
        running.result()
    assert reader.value("SELECT count(*) FROM t", "open") == 5


def test_who_has_seen_the_changes_goes_on(cluster):
    statements, expected = CASES["a key that comes again"]
    change(cluster, statements[:1])
    reader = cluster.alive()[0]
    reader.sql("BEGIN", "open")
    assert reader.value("SELECT sum(n) FROM t", "open") == 9
    change(cluster, statements[1:])
    check(cluster, expected)
    assert reader.value("SELECT sum(n) FROM t", "open") == 9
    reader.sql("COMMIT", "open")


def test_who_waits_for_a_commit_is_not_ended(cluster):
    """Statements that wait for their outcome, which comes after the index in the log, have nothing to lose."""
    cluster.alive()[0].sql("CREATE OR REPLACE TABLE counters AS SELECT i AS id, 0 AS n FROM range(4) r(i)")
    cluster.wait_equal()
    rounds = 40

    def count(number):
        node = cluster.alive()[number % NODES]
        for _ in range(rounds):
            node.sql(f"UPDATE counters SET n = n + 1 WHERE id = {number}", f"counts{number}")

    def make_and_drop():
        node = cluster.alive()[0]
        for _ in range(rounds):
            node.sql("CREATE INDEX counted ON counters(id)", "makes")
            node.sql("DROP INDEX counted", "makes")

    with ThreadPoolExecutor(5) as pool:
        work = [pool.submit(count, number) for number in range(4)] + [pool.submit(make_and_drop)]
        for future in work:
            future.result()
    cluster.wait_equal()
    for node in cluster.alive():
        assert node.sql("SELECT n FROM counters") == [(rounds,)] * 4
