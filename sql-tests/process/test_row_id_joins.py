"""Joins on row ids, which DuckDB makes by itself for a LIMIT, of a table with deleted rows and rows of the transaction.

DuckDB 2.0.0 filters such row ids by a Bloom filter, and writes behind the filter's buffer.
"""

import pytest

ROWS = 30_000
OWN = 5_000
JOINS = {
    "of a limit": "SELECT count(*), count(DISTINCT i) FROM (SELECT * FROM t LIMIT {all} - 100)",
    "of a query": "SELECT count(*), count(DISTINCT i) FROM t JOIN (SELECT rowid AS r FROM t WHERE hash(i) % 10 = 0) x ON t.rowid = x.r",
    "in a condition": "SELECT count(*), count(DISTINCT i) FROM t WHERE rowid IN (SELECT rowid FROM t WHERE hash(i) % 10 = 0)",
}


@pytest.mark.parametrize("name", JOINS)
def test_row_ids_of_a_table_with_holes(node, name):
    node.sql("CREATE TABLE t (i BIGINT, a VARCHAR, b VARCHAR, c VARCHAR)")
    node.sql(f"INSERT INTO t SELECT range, 'a' || range, 'b' || range, 'c' || range FROM range({ROWS})")
    node.sql(f"DELETE FROM t WHERE i % 3 = 0 OR i < {ROWS} // 2")
    node.sql("BEGIN")
    node.sql(f"INSERT INTO t SELECT {ROWS} + range, 'n', 'n', 'n' FROM range({OWN})")
    rows = node.value("SELECT count(*) FROM t")
    expected = rows - 100 if name == "of a limit" else node.value("SELECT count(*) FROM t WHERE hash(i) % 10 = 0")
    for _ in range(20):
        assert node.sql(JOINS[name].format(all=rows)) == [(expected, expected)]
    node.sql("COMMIT")
    assert node.value("SELECT count(DISTINCT a || b || c) FROM t") == rows - OWN + 1


def test_row_ids_of_tables_that_come_and_go(node):
    """What concurrent statements leave of a table has holes; several of them insert what they read."""
    inserts = "INSERT INTO u(i) SELECT i + 1 FROM u LIMIT 20000"
    node.sql("CREATE TABLE u (i BIGINT, v VARCHAR)")
    node.sql("INSERT INTO u SELECT range, 'c' || range FROM range(20000)")
    for number in range(15):
        for statement in (
            "BEGIN",
            "INSERT INTO u(i) SELECT range FROM range(2048)",
            f"UPDATE u SET v = 'u' || i WHERE i % 3 = {number % 3} RETURNING i",
            inserts,
            "COMMIT",
        ):
            node.sql(statement)
        node.sql(inserts, "other")
        if number % 5 == 4:
            node.sql("CREATE OR REPLACE TABLE u AS SELECT range AS i, 'c' || range AS v FROM range(20000)")
    assert node.sql("SELECT state FROM quack_raft_status()") == [("ok",)]
