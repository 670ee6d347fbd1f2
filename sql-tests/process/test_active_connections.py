"""The sessions of clients: who is there, what they run, and how they are closed."""

import pytest

from quack_testing.cluster import wait_for
from quack_testing.process import DatabaseError


def connections(node):
    return node.sql("SELECT connection_id, state, query FROM quack_active_connections() ORDER BY connection_id")


def test_clients_are_listed_with_what_they_run(node, stock):
    uri, client = node.sql("SELECT server_id, client FROM quack_active_connections() LIMIT 1")[0]
    assert (uri, client) == (node.uri, "127.0.0.1")
    stock.sql("FROM quack_query_by_name('cp', 'SELECT 42')")
    queries = [query for _, _, query in connections(node)]
    assert "SELECT 42" in queries
    (fresh,) = node.sql(
        "SELECT bool_and(opened_at <= query_started_at AND query_started_at < now()::TIMESTAMP + INTERVAL 1 MINUTE AND silent_for_s < 60) "
        "FROM quack_active_connections() WHERE query IS NOT NULL"
    )
    assert fresh == (True,)


def test_a_running_statement_is_ended_with_its_connection(node, stock):
    running = stock.start_sql("FROM quack_query_by_name('cp', 'SELECT count(*) FROM range(100000000000) a')")
    runs = lambda row: row[1] == "active" and "range(100000000000)" in row[2]  # noqa: E731
    ((number, _, _),) = wait_for(lambda: [row for row in connections(node) if runs(row)] or None, "an active connection")
    node.sql(f"CALL quack_close_connection('{node.uri}', {number})")
    with pytest.raises(DatabaseError, match="Interrupt|INTERRUPT"):
        running.result(60)
    wait_for(lambda: number not in [row[0] for row in connections(node)] or None, "a closed connection")
    with pytest.raises(DatabaseError, match="an administrator has closed this connection"):
        stock.sql("FROM quack_query_by_name('cp', 'SELECT 42')")


def test_what_is_closed_is_rolled_back(node, stock):
    node.sql("CREATE TABLE t (i INTEGER)")
    stock.sql("FROM quack_query_by_name('cp', 'BEGIN')")
    stock.sql("FROM quack_query_by_name('cp', 'INSERT INTO t VALUES (1)')")
    ((number,),) = node.sql("SELECT connection_id FROM quack_active_connections() WHERE state = 'idle in transaction'")
    node.sql(f"CALL quack_close_connection('{node.uri}', {number})")
    wait_for(lambda: number not in [row[0] for row in connections(node)] or None, "a closed connection")
    assert node.sql("FROM t") == []


def test_what_is_not_there_is_not_closed(node):
    with pytest.raises(DatabaseError, match="has no connection 77: see FROM quack_active_connections"):
        node.sql(f"CALL quack_close_connection('{node.uri}', 77)")
    with pytest.raises(DatabaseError, match="no server of this process listens"):
        node.sql("CALL quack_close_connection('quack:127.0.0.1:1', 1)")
    with pytest.raises(DatabaseError, match="cannot be NULL"):
        node.sql(f"CALL quack_close_connection('{node.uri}', NULL)")


@pytest.mark.parametrize("call", ["FROM quack_active_connections()", "CALL quack_close_connection('quack:localhost', 1)"])
def test_clients_do_not_see_or_close_one_another(stock, call):
    text = call.replace("'", "''")
    with pytest.raises(DatabaseError, match="Call it in that process"):
        stock.sql(f"FROM quack_query_by_name('cp', '{text}')")
