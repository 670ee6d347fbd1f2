"""Unique indexes that a transaction makes after it has rows of its own, which DuckDB's check of those rows does not see."""

import pytest

from quack_testing.process import DatabaseError

CREATE = "CREATE UNIQUE INDEX u ON t (b)"
OWN = "INSERT INTO t VALUES (4, 4, 0)"
# What runs after BEGIN, and the rows that the table has after COMMIT.
TAKEN = {
    "a column is updated": ([OWN, CREATE, "UPDATE t SET e = 7 WHERE a IN (1, 3)"], [(1, 1, 7), (2, 2, 1), (3, 3, 7), (4, 4, 0)]),
    "all rows are updated": ([OWN, CREATE, "UPDATE t SET e = 7"], [(1, 1, 7), (2, 2, 7), (3, 3, 7), (4, 4, 7)]),
    "keys change places": ([OWN, CREATE, "UPDATE t SET b = 4 - b"], [(1, 3, 1), (2, 2, 1), (3, 1, 1), (4, 0, 0)]),
    "a row is updated twice": (
        [OWN, CREATE, "UPDATE t SET e = 7 WHERE a = 1", "UPDATE t SET e = 8 WHERE a = 1"],
        [(1, 1, 8), (2, 2, 1), (3, 3, 1), (4, 4, 0)],
    ),
    "a row gives way": ([OWN, CREATE, "DELETE FROM t WHERE a = 1", "INSERT INTO t VALUES (5, 1, 0)"], [(2, 2, 1), (3, 3, 1), (4, 4, 0), (5, 1, 0)]),
    "an own row gives way": ([OWN, CREATE, "DELETE FROM t WHERE a = 4", "INSERT INTO t VALUES (5, 4, 0)"], [(1, 1, 1), (2, 2, 1), (3, 3, 1), (5, 4, 0)]),
    "a MERGE": (
        [OWN, CREATE, "MERGE INTO t USING (SELECT 1 AS k UNION ALL SELECT 9) s ON t.a = s.k "
         "WHEN MATCHED THEN UPDATE SET e = 7 WHEN NOT MATCHED THEN INSERT VALUES (s.k, s.k, 9)"],
        [(1, 1, 7), (2, 2, 1), (3, 3, 1), (4, 4, 0), (9, 9, 9)],
    ),
    "a key is left alone": (
        [OWN, CREATE, "INSERT INTO t VALUES (5, 5, 5) ON CONFLICT DO NOTHING", "INSERT OR IGNORE INTO t VALUES (6, 5, 5)"],
        [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 4, 0), (5, 5, 5)],
    ),
    "own rows have gone before": (
        [OWN, "INSERT INTO t VALUES (5, 5, 0)", "DELETE FROM t WHERE a = 4", CREATE, "UPDATE t SET e = 7 WHERE a = 5", "INSERT INTO t VALUES (6, 4, 0)"],
        [(1, 1, 1), (2, 2, 1), (3, 3, 1), (5, 5, 7), (6, 4, 0)],
    ),
}  # fmt: skip
REFUSED = {
    "rows of one statement": [OWN, CREATE, "INSERT INTO t VALUES (5, 77, 1), (6, 77, 2)"],
    "an own row": [OWN, CREATE, "INSERT INTO t VALUES (5, 4, 1)"],
    "a stored row": [OWN, CREATE, "INSERT INTO t VALUES (5, 1, 1)"],
    "an own row, by an UPDATE": [OWN, CREATE, "UPDATE t SET b = 4 WHERE a = 1"],
    "all rows": [OWN, CREATE, "UPDATE t SET b = 1"],
    "all rows after DROP INDEX": [OWN, CREATE, "DROP INDEX u", "UPDATE t SET b = 1"],
    "a row before the index": ["INSERT INTO t VALUES (4, 1, 0)", CREATE, "UPDATE t SET b = 1 WHERE a = 1"],
    "two rows before the index": ["INSERT INTO t VALUES (4, 4, 0), (5, 4, 0)", CREATE, "UPDATE t SET e = 1 WHERE a = 1"],
}  # fmt: skip


@pytest.fixture
def table(cluster):
    n0 = cluster["n0"]
    n0.sql("CREATE TABLE t (a INTEGER PRIMARY KEY, b BIGINT, e INTEGER)")
    n0.sql("INSERT INTO t SELECT i, i, 1 FROM range(1, 4) r(i)")
    return cluster


def check(cluster, rows):
    cluster.wait_equal()
    for node in cluster.alive():
        assert node.sql("FROM t ORDER BY ALL") == rows
        assert node.sql("SELECT state FROM quack_raft_status()") == [("ok",)]


def test_rows_are_replaced_below_an_index_of_the_transaction(table):
    n0 = table["n0"]
    for statements, rows in TAKEN.values():
        n0.sql("DROP INDEX IF EXISTS u")
        n0.sql("TRUNCATE t")
        n0.sql("INSERT INTO t SELECT i, i, 1 FROM range(1, 4) r(i)")
        n0.sql("BEGIN")
        for statement in statements:
            n0.sql(statement)
        assert n0.sql("FROM t ORDER BY ALL") == rows, statements
        n0.sql("COMMIT")
        check(table, rows)
        with pytest.raises(DatabaseError, match="Duplicate key|duplicate key"):
            n0.sql(f"INSERT INTO t VALUES (10, {rows[0][1]}, 0)")
    n0.kill_and_start()
    check(table, rows)


@pytest.mark.parametrize("name", REFUSED)
def test_the_statement_that_brings_a_second_key_is_refused(table, name):
    """Not the COMMIT, nor the entry: what two of the keys would do to the index ends the store."""
    n0 = table["n0"]
    n0.sql("BEGIN")
    for statement in REFUSED[name][:-1]:
        n0.sql(statement)
    with pytest.raises(DatabaseError, match="Duplicate key|duplicate key"):
        n0.sql(REFUSED[name][-1])
    n0.sql("ROLLBACK")
    check(table, [(1, 1, 1), (2, 2, 1), (3, 3, 1)])
