"""Clients that are killed leave sessions behind: they keep neither other clients out nor checkpoints away."""

import pytest

from quack_testing.cluster import wait_for
from quack_testing.node import Node, stock_client
from quack_testing.process import DatabaseError

CLIENTS = 4


def of_server(node, column):
    return node.value(f"SELECT {column} FROM quack_server_list()")


def killed(track, tmp_path, node, name, *statements):
    """A stock client that is killed after some statements."""
    client = track(stock_client(tmp_path, name, node.uri))
    for statement in statements:
        client.sql(f"FROM quack_query_by_name('cp', $${statement}$$)")
    client.kill()


@pytest.fixture
def small(tmp_path, track):
    """A node that takes few clients, and has little patience with transactions."""
    options = {"max_connections": CLIENTS, "idle_transaction_timeout_secs": 2}
    node = track(Node(tmp_path, "small", options=options).start())
    node.sql("CREATE TABLE t (i INTEGER)")
    return node


def test_their_places_go_to_those_that_come_after_them(small, tmp_path, track):
    for number in range(CLIENTS):
        killed(track, tmp_path, small, f"killed-{number}")
        if of_server(small, "active_connections") == CLIENTS:
            break
    assert small.sql("SELECT active_connections, max_connections, accepts_connections FROM quack_server_list()") == [
        (CLIENTS, CLIENTS, False)
    ]
    with pytest.raises(DatabaseError, match="Too many connections: the server has its maximum of 4"):
        stock_client(tmp_path, "too-early", small.uri)
    wait_for(lambda: of_server(small, "accepts_connections"), "a place")
    client = track(stock_client(tmp_path, "late", small.uri))
    client.sql("FROM quack_query_by_name('cp', $$INSERT INTO t VALUES (7)$$)")
    assert small.sql("FROM t") == [(7,)]
    closed = "SELECT value FROM quack_metrics() WHERE name = 'quack_sessions_closed_total' AND labels['reason'] = 'room'"
    assert small.value(closed) > 0


def test_their_transactions_end_and_keep_no_checkpoint_away(small, tmp_path, track):
    small.sql("INSERT INTO t VALUES (1)")
    killed(track, tmp_path, small, "killed", "BEGIN", "UPDATE t SET i = 2", "ALTER TABLE t ADD COLUMN j INTEGER")
    wait_for(lambda: small.sql("CHECKPOINT cp", "other") == [], "a checkpoint")
    assert small.sql("FROM t") == [(1,)]
    silent = "SELECT value FROM quack_metrics() WHERE name = 'quack_sessions_closed_total' AND labels['reason'] = 'silent'"
    wait_for(lambda: small.value(silent) == 1, "the end of the session")


@pytest.mark.parametrize("argument", ["max_connections", "idle_connection_timeout_secs", "idle_transaction_timeout_secs"])
@pytest.mark.parametrize("value", ["0", "-1", "100000000"])
def test_a_number_out_of_range_is_refused(tmp_path, track, argument, value):
    with pytest.raises(DatabaseError, match=f"{argument} := {value} is not allowed: give a number from 1 to "):
        track(Node(tmp_path, "n", options={argument: value})).start()
