"""Values of an ENUM travel as its codes: not all of its values with every row, and never as those of another ENUM."""

import pytest

from quack_testing.process import DatabaseError

VALUES = 100_000
LOG_BYTES_MAX = 4 << 20


def log_bytes(node):
    return node.value("SELECT value FROM quack_metrics() WHERE name = 'quack_log_append_bytes_sum'")


def text(number):
    return f"('v' || ({number}))"


def test_a_large_enum_does_not_travel_with_its_values(new_node):
    node = new_node().start()
    node.sql(f"CREATE TYPE e AS ENUM (SELECT {text('range')} FROM range({VALUES}))")
    node.sql("CREATE TABLE t (a INTEGER, e e)")
    before = log_bytes(node)
    for number in range(20):
        node.sql(f"INSERT INTO t SELECT {number}, {text(number)}")
        node.sql(f"UPDATE t SET e = {text(number + 1000)} WHERE a = {number}")
        node.sql("INSERT INTO t VALUES (-1, NULL)")
        node.sql("DELETE FROM t WHERE a = -1")
    node.sql(f"INSERT INTO t SELECT range, {text('range')} FROM range(20, 30000)")
    node.sql(f"UPDATE t SET e = {text('a + 10')} WHERE a % 2 = 0")
    node.sql(f"UPDATE t SET e = {text('a + 20')} WHERE a = 77")
    node.sql("DELETE FROM t WHERE a % 3 = 0")
    assert log_bytes(node) - before < LOG_BYTES_MAX
    expected = [(20_000, 1, 30_008)]
    found = "SELECT count(*), min(a), max(replace(e::VARCHAR, 'v', '')::INTEGER) FROM t"
    assert node.sql(found) == expected
    node.kill_and_start()
    assert node.sql(found) == expected


@pytest.mark.parametrize("values", [3, 300, 70_000])
@pytest.mark.parametrize("rows", [1, 2049, 12_000])
def test_codes_of_every_width_in_every_place(new_node, values, rows):
    node = new_node().start()
    node.sql(f"CREATE TYPE e AS ENUM (SELECT {text('range')} FROM range({values}))")
    node.sql("CREATE TABLE t (a INTEGER, e e, l e[], s STRUCT(x e, y e[2]), m MAP(e, e), u UNION(n INTEGER, e e))")
    value = f"CASE WHEN r % 5 = 0 THEN NULL ELSE {text(f'r % {values}')} END::e"
    row = f"r, {value}, [{value}, NULL], {{x: {value}, y: [{value}, {value}]}}, MAP {{{text(f'r % {values}')}::e: {value}}}, {value}"
    node.sql(f"INSERT INTO t SELECT {row} FROM range({rows}) x(r)")
    plain = f"SELECT {row} FROM range({rows}) x(r)"
    changed = "UPDATE t SET e = l[1], l = [e, e], s = {x: s.y[1], y: [e, s.x]} WHERE a % 2 = 0"
    assert node.sql(f"SELECT count(*) FROM (FROM t EXCEPT ALL ({plain}))") == [(0,)]
    node.sql("CREATE TABLE before AS FROM t")
    assert node.sql(changed) == [((rows + 1) // 2,)]
    node.sql("BEGIN")
    node.sql(changed)
    node.sql("DELETE FROM t WHERE a % 3 = 1")
    node.sql("COMMIT")
    node.kill_and_start()
    others = "SELECT count(*) FROM (SELECT * FROM before WHERE a % 2 = 1 AND a % 3 != 1 EXCEPT ALL SELECT * FROM t)"
    assert node.sql(others) == [(0,)]
    assert node.value("SELECT count(*) FROM t") == rows - (rows + 1) // 3 if rows > 1 else 1


@pytest.mark.parametrize("change", ["INSERT INTO t VALUES (2, 'b')", "UPDATE t SET e = 'b'", "DELETE FROM t WHERE e = 'a'"])
def test_another_enum_of_the_same_name(cluster, change):
    """The transaction has meant the values, not their codes."""
    node, other = cluster["n0"], cluster["n1"]
    node.sql("CREATE TYPE e AS ENUM ('a', 'b', 'c')")
    node.sql("CREATE TABLE t (a INTEGER, e e)")
    node.sql("INSERT INTO t VALUES (1, 'a')")
    cluster.wait_equal()
    node.sql("BEGIN")
    node.sql(change)
    other.sql("ALTER TABLE t ALTER e TYPE VARCHAR")
    other.sql("DROP TYPE e")
    other.sql("CREATE TYPE e AS ENUM ('c', 'b', 'a')")
    other.sql("ALTER TABLE t ALTER e TYPE e")
    with pytest.raises(DatabaseError, match="Conflict|conflict|has changed|have changed|altered"):
        node.sql("COMMIT")
    cluster.wait_equal()
    assert [row for each in cluster.alive() for row in each.sql("FROM t")] == [(1, "a")] * 3
