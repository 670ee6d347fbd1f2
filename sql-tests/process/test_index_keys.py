"""Keys of an index over an expression that cannot be evaluated refuse the row, and end nothing.

DuckDB evaluates those of an index that is not unique when the transaction is committed, and a commit that breaks off there
cannot be taken back.
"""

import pytest

from quack_testing.process import DatabaseError

# Columns, key, a row, a row whose key cannot be evaluated, and why.
KEYS = {
    "a cast": ("s VARCHAR, i INTEGER", "(s::INTEGER)", "('1', 1)", "('y', 2)", "Could not convert"),
    "a sum": ("a INTEGER, b INTEGER", "(a + b)", "(1, 2)", "(2147483647, 1)", "Overflow"),
    "a part of a date": ("s VARCHAR, d DATE", "(date_part(s, d))", "('year', '2024-01-01')", "('x', '2024-01-01')", "specifier"),
    "a format": ("s VARCHAR, i INTEGER", "(format(s))", "('a', 1)", "('{} {}', 1)", "out of range"),
    "a VARIANT": ("v VARIANT, i INTEGER", "(v::INTEGER)", "(1::VARIANT, 1)", "('a'::VARIANT, 1)", "convert"),
}


def refuse(node, name, is_empty):
    """Rows whose key cannot be evaluated are refused, alone and in a transaction; returns how many rows the table has."""
    columns, key, good, bad, reason = KEYS[name]
    node.sql(f"CREATE OR REPLACE TABLE t ({columns})")
    if not is_empty:
        node.sql(f"INSERT INTO t VALUES {good}")
    node.sql(f"CREATE INDEX x ON t ({key})")
    statements = [f"INSERT INTO t VALUES {bad}", f"INSERT INTO t SELECT * FROM (VALUES {good}, {bad})"]
    if not is_empty:
        column, value = columns.split()[0], bad[1:].split(", ")[0]
        statements.append(f"UPDATE t SET {column} = {value}")
    for statement in statements:
        with pytest.raises(DatabaseError, match=reason):
            node.sql(statement)
        with pytest.raises(DatabaseError, match=reason):
            for one in ("BEGIN", f"INSERT INTO t VALUES {good}", statement, "COMMIT"):
                node.sql(one, "open")
        with pytest.raises(DatabaseError, match="no transaction is active"):
            node.sql("ROLLBACK", "open")
    node.sql(f"INSERT INTO t VALUES {good}")
    return 1 if is_empty else 2


@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "filled"])
@pytest.mark.parametrize("name", KEYS)
def test_a_key_that_cannot_be_evaluated_on_three_nodes(shared_cluster, name, is_empty):
    rows = refuse(shared_cluster.alive()[0], name, is_empty)
    shared_cluster.wait_equal()
    for node in shared_cluster.alive():
        assert node.value("SELECT count(*) FROM t") == rows
        assert node.value("SELECT state FROM quack_raft_status()") == "ok"


def test_keys_that_cannot_be_evaluated_and_a_replay(node):
    for name in KEYS:
        rows = refuse(node, name, False)
        node.kill_and_start()
        assert node.value("SELECT count(*) FROM t") == rows


def test_a_key_with_a_lambda_is_refused(node):
    node.sql("CREATE TABLE t (l INTEGER[])")
    for key in ("(list_transform(l, lambda e: e + 1)[1])", "([e + 1 FOR e IN l][1])"):
        with pytest.raises(DatabaseError, match="Index keys cannot contain lambda functions"):
            node.sql(f"CREATE INDEX x ON t ({key})")
    node.sql("INSERT INTO t VALUES ([1])")
    assert node.value("SELECT state FROM quack_raft_status()") == "ok"
