"""Joins that DuckDB 2.0.0 breaks at (extension/cpp/join_faults.cpp).

It joins on row ids by itself for a LIMIT; it filters the row ids of a table with deleted rows by a Bloom filter, and writes
behind the filter's buffer. It gives out the build side of a hash join as a dictionary, and stops the instance where an
operator above forwards it for some chunks only. It loses rows of a join by a LIST after another key.
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


# Of 100,000 facts, those below 50,000 have a name from the dimension in one, and none in the other.
FORWARDED = {
    "by CASE": "CASE WHEN f.k < 50000 THEN d.n ELSE 'other' END",
    "by IF": "if(f.k < 50000, d.n, 'other')",
    "by COALESCE": "coalesce(CASE WHEN f.k < 50000 THEN d.n END, 'other')",
    "as JSON": "CASE WHEN f.k < 50000 THEN d.n::JSON ELSE '1'::JSON END",
}


@pytest.mark.parametrize("consumer", ["build side", "cache"])
@pytest.mark.parametrize("name", FORWARDED)
def test_a_dictionary_that_is_forwarded_for_some_chunks(node, name, consumer):
    node.sql("CREATE TABLE d AS SELECT range AS id, '\"a name ' || range || '\"' AS n FROM range(100)")
    node.sql("CREATE TABLE f AS SELECT range AS k, range % 100 AS did FROM range(100000)")
    node.sql("CREATE TABLE p AS SELECT range AS k FROM range(300000)")
    inner = f"SELECT f.k || '' AS k, {FORWARDED[name]} AS n FROM f JOIN d ON f.did = d.id"
    if consumer == "build side":
        query = f"SELECT count(*), count(DISTINCT b.n) FROM p JOIN ({inner}) b ON p.k || '' = b.k"
    else:
        query = f"SELECT count(*), count(DISTINCT n) FROM ({inner}) WHERE n::VARCHAR != k AND length(n::VARCHAR) < 40 + length(k)"
    assert node.sql(query) == [(100_000, 101)]
    assert node.sql("SELECT state FROM quack_raft_status()") == [("ok",)]


def test_a_cross_product_above_joins(node):
    node.sql("CREATE TABLE d AS SELECT range AS id, 'a name ' || range AS n FROM range(100)")
    node.sql("CREATE TABLE f AS SELECT range AS k, range % 100 AS did FROM range(20000)")
    node.sql("CREATE TABLE x AS SELECT range AS i FROM range(3)")
    node.sql("CREATE TABLE p AS SELECT range AS k FROM range(300000)")
    query = """SELECT count(*), count(DISTINCT n) FROM p JOIN
    (SELECT f.k, d.n, x.i FROM f JOIN d ON f.did = d.id, x, (FROM range(2)) y) b ON p.k = b.k"""
    assert node.sql(query) == [(120_000, 100)]


@pytest.mark.parametrize("list_type", ["BIGINT[]", "BIGINT[2]"])
def test_lists_after_another_key(node, list_type):
    """The first key is constant in a row group once a checkpoint has compressed it."""
    for table in "ab":
        node.sql(f"CREATE TABLE {table} (k BIGINT, l {list_type})")
        node.sql(f"INSERT INTO {table} SELECT 7, [range % 1000, range] FROM range(20000)")
        node.sql(f"INSERT INTO {table} SELECT 7, NULL FROM range(500)")
        node.sql(f"INSERT INTO {table} SELECT 7, [range, range] FROM range(20000, 30000)")
    join = "a JOIN b ON a.k = b.k AND a.l = b.l"
    assert node.value(f"SELECT count(*) FROM {join}") == 30_000
    node.sql("CHECKPOINT cp")
    assert node.value(f"SELECT count(*) FROM {join}") == 30_000
    assert node.sql("DELETE FROM a USING b WHERE a.k = b.k AND a.l = b.l") == [(30_000,)]


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
