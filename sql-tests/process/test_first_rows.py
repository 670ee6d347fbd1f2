"""The first rows in an order, where the transaction has hidden rows of the table: DuckDB 2.0.0 reads the other columns of what a
LIMIT leaves by its row ids, and cannot where a filter is on these.
"""

import pytest

ROWS = 5000
QUERIES = {
    "limit": "SELECT * FROM t ORDER BY a LIMIT 2",
    "offset": "SELECT * FROM t ORDER BY a LIMIT 2 OFFSET 1000",
    "descending": "SELECT * FROM t ORDER BY a DESC LIMIT 3",
    "first of each": "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY c ORDER BY a) AS rn FROM t) WHERE rn < 3 ORDER BY a",
    "qualify": "SELECT a, b FROM t QUALIFY row_number() OVER (PARTITION BY c ORDER BY a DESC) = 1 ORDER BY a",
    "sample": "SELECT count(*), count(b) FROM (FROM t USING SAMPLE 3 ROWS)",
    "in a subquery": "SELECT sum(a), count(DISTINCT b) FROM (SELECT * FROM t ORDER BY a LIMIT 100)",
    "join": "SELECT t.a, t.b FROM t JOIN (SELECT a FROM t ORDER BY a LIMIT 3) x USING (a) ORDER BY t.a",
    "view": "SELECT * FROM v",
}
CHANGES = ["DELETE FROM t WHERE a < 10 OR a % 7 = 0", "UPDATE t SET b = 'changed' WHERE a % 3 = 0"]
INTO = {
    "a table": "CREATE TABLE made AS SELECT * FROM t ORDER BY a LIMIT 20",
    "a table with a trigger": "INSERT INTO made SELECT * FROM t ORDER BY a LIMIT 20",
    "merge": "MERGE INTO made USING (SELECT * FROM t ORDER BY a LIMIT 20) s ON made.a = s.a WHEN NOT MATCHED THEN INSERT VALUES (s.a, s.b, s.c)",
    "with": "WITH d AS (DELETE FROM t WHERE a = 77 RETURNING a) INSERT INTO made SELECT * FROM t ORDER BY a LIMIT 20",
}


@pytest.fixture
def filled(node):
    node.sql("CREATE TABLE t (a INTEGER, b VARCHAR, c INTEGER)")
    node.sql(f"INSERT INTO t SELECT range, 'text ' || range, range % 5 FROM range({ROWS})")
    node.sql("CREATE VIEW v AS SELECT a, b FROM t ORDER BY a LIMIT 5")
    return node


@pytest.mark.parametrize("query", QUERIES)
def test_in_a_transaction_and_after_it(filled, query):
    filled.sql("BEGIN")
    for change in CHANGES:
        filled.sql(change)
    within = filled.sql(QUERIES[query])
    # The other way to the same rows.
    filled.sql("SET disabled_optimizers = 'late_materialization,top_n_window_elimination'")
    assert filled.sql(QUERIES[query]) == within
    filled.sql("RESET disabled_optimizers")
    filled.sql("COMMIT")
    assert filled.sql(QUERIES[query]) == within
    assert len(within) > 0


@pytest.mark.parametrize("into", INTO)
def test_into_a_table(filled, into):
    if into != "a table":
        filled.sql("CREATE TABLE made (a INTEGER, b VARCHAR, c INTEGER)")
        filled.sql("CREATE TABLE seen (a INTEGER)")
    if into == "a table with a trigger":
        filled.sql("CREATE TRIGGER g AFTER INSERT ON made REFERENCING NEW TABLE AS r INSERT INTO seen SELECT a FROM r")
    for transaction in (True, False):
        if transaction:
            filled.sql("BEGIN")
            filled.sql("DELETE FROM t WHERE a < 10")
        filled.sql(INTO[into])
        assert filled.sql("SELECT min(a), max(a), count(*) FROM made") == [(10, 29, 20)]
        if transaction:
            filled.sql("COMMIT")
            filled.sql("DROP TABLE made" if into == "a table" else "DELETE FROM made")
