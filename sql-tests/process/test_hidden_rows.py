"""Rows that a transaction has deleted or replaced are seen by no expression of its later statements: what would fail for them,
or draw for them, does what it does in plain DuckDB."""

import duckdb
import pytest
from quack_testing.node import Node

SETUP = [
    "CREATE TABLE cp.t (x VARCHAR, y INTEGER)",
    "INSERT INTO cp.t VALUES ('a', 1), ('1', 2), ('b', 0), ('2', 3)",
    "INSERT INTO cp.t SELECT range::VARCHAR, range + 1 FROM range(10, 3000)",
    "CREATE SEQUENCE cp.q",
]
CHANGES = {
    "deleted": "DELETE FROM cp.t WHERE x IN ('a', 'b')",
    "replaced": "UPDATE cp.t SET x = '7' WHERE x IN ('a', 'b')",
    "in a part": "WITH w AS (DELETE FROM cp.t WHERE x IN ('a', 'b') RETURNING x) SELECT count(*) FROM w",
}
# Rows that are there, and that filters before them keep from what would fail.
BAD = [
    "INSERT INTO cp.t VALUES ('bad', -5)",
    "SELECT count(*) FROM cp.t WHERE x NOT IN ('a', 'b', 'bad') AND x::INTEGER > 45",
    "SELECT count(*) FROM cp.t WHERE x = 'bad' OR x = 'a' OR x = 'b' OR x::INTEGER > 45",
    "SELECT count(*) FROM cp.t WHERE CASE WHEN x = 'bad' THEN false ELSE x::INTEGER > 45 END",
    "UPDATE cp.t SET y = y + 1 WHERE x NOT IN ('a', 'b', 'bad') AND x::INTEGER > 40 RETURNING x",
    "DELETE FROM cp.t WHERE x = 'bad'",
]
LATER = [
    "SELECT count(*) FROM cp.t WHERE x::INTEGER > 0",
    "SELECT count(*) FROM cp.t WHERE y > 0 AND x::INTEGER > 0",
    "SELECT count(*) FROM cp.t WHERE x::INTEGER > 0 AND y > 0 OR x::INTEGER < 0",
    "SELECT count(*) FROM cp.t WHERE x <> '1' AND x::INTEGER > 0 AND x::INTEGER < 40 OR x = '50'",
    "SELECT count(*) FROM cp.t WHERE x::INTEGER BETWEEN y - 1 AND y",
    "SELECT count(*) FROM cp.t a JOIN cp.t b ON a.x::INTEGER = b.y",
    "SELECT count(*) FROM cp.t a JOIN cp.t b ON a.y = b.y AND a.x::INTEGER > 100 WHERE b.x::INTEGER < 200",
    "SELECT count(*) FROM cp.t a LEFT JOIN cp.t b ON a.y = b.y AND b.x::INTEGER > 100",
    "SELECT count(*) FROM cp.t WHERE CASE WHEN x IN ('a', 'b') THEN error('seen') ELSE true END",
    "SELECT count(*) FROM cp.t WHERE x::INTEGER IN (SELECT y FROM cp.t WHERE x::INTEGER < 50)",
    "SELECT count(*) FROM (SELECT y, x::INTEGER AS i FROM cp.t) WHERE i > 3",
    "SELECT min(x::INTEGER), max(x::INTEGER) FROM cp.t",
    "SELECT x::INTEGER FROM cp.t ORDER BY x::INTEGER LIMIT 3",
    "SELECT y FROM cp.t QUALIFY row_number() OVER (ORDER BY x::INTEGER, y) = 2",
    "SELECT count(*) FROM cp.t WHERE nextval('cp.q') > 0",
    "SELECT nextval('cp.q')",
    "UPDATE cp.t SET y = x::INTEGER WHERE x::INTEGER < 3 RETURNING x",
    "MERGE INTO cp.t AS t USING (SELECT 11 AS i) s ON (t.x::INTEGER = s.i) WHEN MATCHED THEN UPDATE SET y = -1",
    "DELETE FROM cp.t WHERE x::INTEGER = 2 RETURNING y",
    "SELECT count(*), sum(y) FROM cp.t",
]


def answer(sql, statement):
    try:
        return sorted(sql(statement), key=str)
    except Exception as error:
        return str(error).split("\n")[0]


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_no_expression_sees_what_the_transaction_has_deleted(tmp_path, track, change):
    plain = duckdb.connect()
    plain.execute("ATTACH ':memory:' AS cp")
    node = track(Node(tmp_path))
    node.start()
    for statement in [*SETUP, "BEGIN", change, *BAD, *LATER, "COMMIT", *BAD, *LATER]:
        expected = answer(lambda text: plain.execute(text).fetchall(), statement)
        assert answer(node.sql, statement) == expected, statement
