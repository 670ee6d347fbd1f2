"""CREATE TABLE … AS beside other statements: none of them loses what it has acknowledged."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from quack_testing.process import DatabaseError

CLIENTS, ROUNDS = 4, 15
# Takes a second or so, and gives nothing away.
SLOW = "(SELECT sum(sin(x)) IS NULL AS c FROM range(20000000) r(x)) WHERE NOT c"


def test_tables_that_replace_themselves_lose_no_round(cluster):
    nodes = list(cluster.nodes.values())
    nodes[0].sql("CREATE TABLE cp.t AS SELECT 1 AS k, 0 AS v")
    cluster.wait_equal()

    def client(number):
        done = 0
        for _ in range(ROUNDS):
            try:
                nodes[number % 3].sql("CREATE OR REPLACE TABLE cp.t AS SELECT k, v + 1 AS v FROM cp.t", f"c{number}")
                done += 1
            except DatabaseError as error:
                assert "Conflict" in str(error) or "conflict" in str(error), error
        return done

    with ThreadPoolExecutor() as pool:
        done = sum(pool.map(client, range(CLIENTS)))
    cluster.wait_equal()
    assert done > 0
    assert [node.value("SELECT v FROM cp.t") for node in nodes] == [done] * 3


@pytest.mark.parametrize(
    ("statement", "look", "expected"),
    [
        ("INSERT INTO t VALUES (7, 7)", "SELECT count(*) FROM t WHERE k = 7", 1),
        ("UPDATE t SET v = 100 WHERE k = 1", "SELECT v FROM t WHERE k = 1", 101),
        ("DELETE FROM t WHERE k = 1", "SELECT count(*) FROM t WHERE k = 1", 0),
        ("CREATE OR REPLACE TABLE t AS SELECT k, v + 10 AS v FROM t", "SELECT v FROM t WHERE k = 1", 11),
        ("ALTER TABLE t RENAME k TO key", None, None),
        ("ALTER TABLE t RENAME TO t2", None, None),
        ("DROP TABLE t", None, None),
    ],
)
def test_what_others_do_to_a_table_meanwhile_is_not_lost(node, statement, look, expected):
    """The one that comes later is done over, or refused."""
    node.sql("CREATE TABLE t AS SELECT x AS k, 0 AS v FROM range(3) r(x)")
    replacing = node.process.start_sql(f"CREATE OR REPLACE TABLE t AS SELECT k, v + 1 AS v FROM t, {SLOW}", "slow")
    node.sql("SELECT sum(sin(x)) FROM range(3000000) r(x)", "other")
    node.sql(statement, "other")
    assert not replacing.done(), "the slow statement is too fast for this test"
    try:
        replacing.result(120)
        is_replaced = True
    except DatabaseError as error:
        lost = ("onflict", "another transaction has", "does not exist", "Referenced column")
        assert any(words in str(error) for words in lost), error
        is_replaced = False
    if look:
        assert node.value(look) == expected
        assert is_replaced
    elif not is_replaced:
        names = {name for (name,) in node.sql("SELECT table_name FROM duckdb_tables() WHERE database_name = 'cp'")}
        assert names == {"ALTER TABLE t RENAME TO t2": {"t2"}, "DROP TABLE t": set()}.get(statement, {"t"})


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t VALUES (7, 7)",
        "UPDATE t SET v = 100 WHERE k = 1",
        "DELETE FROM t WHERE k = 1",
        "CREATE OR REPLACE TABLE t AS SELECT k, v + 10 AS v FROM t",
    ],
)
def test_a_transaction_that_replaces_a_table_does_not_undo_what_others_did_meanwhile(node, statement, order):
    """One of both is refused, whether the other one came before the statement that replaces the table or behind it."""
    node.sql("CREATE TABLE t AS SELECT x AS k, 0 AS v FROM range(3) r(x)")
    node.sql("BEGIN", "replaces")
    assert node.value("SELECT count(*) FROM t", "replaces") == 3
    node.sql("UPDATE t SET v = v WHERE k = 0", "replaces")
    done = []

    def run(statement, connection):
        try:
            node.sql(statement, connection)
            done.append(statement)
        except DatabaseError as error:
            assert "onflict" in str(error) or "has been ended" in str(error), error

    if order == "before":
        run(statement, "other")
    replacing = "CREATE OR REPLACE TABLE t AS SELECT k, v + 1 AS v FROM t"
    run(replacing, "replaces")
    if order == "after":
        run(statement, "other")
    run("COMMIT", "replaces")
    assert statement in done
    # The COMMIT of a transaction in which a statement has failed rolls it back.
    assert not {replacing, "COMMIT"} <= set(done)
    assert node.sql("SELECT k, v FROM t ORDER BY k") != [(0, 1), (1, 1), (2, 1)]


def test_a_transaction_replaces_a_table_that_only_it_has_changed(node):
    node.sql("CREATE TABLE t AS SELECT x AS k, x / 7 AS v FROM range(3000) r(x)")
    node.sql("BEGIN; INSERT INTO t VALUES (3000, NULL); UPDATE t SET v = -v WHERE k % 2 = 0; DELETE FROM t WHERE k % 3 = 0")
    node.sql("CREATE OR REPLACE TABLE t AS SELECT * FROM t WHERE k < 2000")
    node.sql("CREATE OR REPLACE TABLE t AS SELECT * FROM t WHERE k < 1000; INSERT INTO t VALUES (-1, 0)")
    node.sql("CREATE OR REPLACE TABLE t AS SELECT * FROM t UNION ALL FROM t; COMMIT")
    node.kill_and_start()
    assert node.sql("SELECT count(*), min(k), max(k) FROM t") == [(2 * 667, -1, 998)]


def test_rows_of_a_table_that_another_client_has_made_meanwhile_are_not_reported(node):
    making = node.process.start_sql(f"CREATE TABLE IF NOT EXISTS t AS SELECT 'a' AS who FROM range(3), {SLOW}", "slow")
    node.sql("SELECT sum(sin(x)) FROM range(3000000) r(x)", "other")
    node.sql("CREATE TABLE t (who VARCHAR)", "other")
    assert not making.done(), "the slow statement is too fast for this test"
    assert making.result(120) in ([], [(0,)])
    assert node.sql("FROM t") == []
