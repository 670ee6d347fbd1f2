"""Clients that get no session, in any number, and for any reason, change nothing of the node that refuses them."""

import contextlib
import http.client
import resource
import socket
import time

import pytest
from quack_testing import wire
from quack_testing.cluster import wait_for
from quack_testing.node import TOKEN
from quack_testing.process import DatabaseError

# As many files as a process may open, which is less than the places for clients.
FILES = 256
PAUSE = 3
REFUSED = b'this process has a database "cp" of'


def knock(node, source=None):
    """The answer to a client's first request, if there is one."""
    client = http.client.HTTPConnection("127.0.0.1", node.port, timeout=PAUSE, source_address=source)
    try:
        client.request("POST", "/quack", wire.connection_request(TOKEN), {"Content-Type": "application/duckdb"})
        return client, client.getresponse().read()
    except (OSError, http.client.HTTPException):
        client.close()
        return None, b""


def test_sessions_that_fail_to_open_end_no_server(new_node):
    """The server ends by itself when only its own connections are left: those that have failed are none."""
    node = new_node(default_catalog=False).start()
    node.sql("CREATE TABLE cp.t AS SELECT 42 AS i")
    node.sql("ALTER DATABASE cp SET ALIAS TO other", "owner")
    node.sql("ATTACH ':memory:' AS cp", "owner")
    for _ in range(12):
        client, answer = knock(node)
        assert REFUSED in answer or not answer, answer
        if client:
            client.close()
    # It looks twice a second.
    time.sleep(2)
    assert node.sql("SELECT state FROM quack_raft_status()", "owner") == [("ok",)]
    node.sql("DETACH cp", "owner")
    node.sql("ALTER DATABASE other SET ALIAS TO cp", "owner")
    assert node.value("SELECT i FROM cp.t", "owner") == 42
    client, answer = knock(node)
    assert client and REFUSED not in answer
    client.close()


@pytest.mark.parametrize("kind", ["silent", "with a session"])
def test_connections_leave_files_for_the_node(new_node, kind):
    node = new_node(default_catalog=False).start()
    node.sql("CREATE TABLE cp.t AS SELECT range AS i FROM range(200000)")
    resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with contextlib.ExitStack() as open_connections:
        for number in range(2 * FILES):
            source = (f"127.0.0.{2 + number % 8}", 0)
            if kind == "silent":
                connection = open_connections.enter_context(socket.socket())
                connection.settimeout(PAUSE)
                connection.bind(source)
                with contextlib.suppress(OSError):
                    connection.connect(("127.0.0.1", node.port))
            elif number < FILES:
                connection, _ = knock(node, source)
                if connection:
                    open_connections.callback(connection.close)
        for number in range(3):
            node.sql(f"INSERT INTO cp.t SELECT range FROM range({number * 200_000}, {number * 200_000 + 200_000})")
            node.sql("CHECKPOINT cp")
        assert node.sql("SELECT state, reason FROM quack_raft_status()") == [("ok", None)]

    def comes_in():
        client, answer = knock(node)
        if client:
            client.close()
        return client and answer

    wait_for(comes_in, "a client that gets a session")


def test_a_checkpoint_that_can_open_no_file_is_postponed(new_node):
    node = new_node(default_catalog=False).start()
    node.sql("CREATE TABLE cp.t AS SELECT range AS i FROM range(200000)")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (3, most))
    with pytest.raises(DatabaseError, match="cannot open its files.*ulimit -n"):
        node.sql("CHECKPOINT cp")
    assert node.sql("SELECT state, reason FROM quack_raft_status()") == [("ok", None)]
    resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (FILES, most))
    node.sql("INSERT INTO cp.t VALUES (-1)")
    node.sql("CHECKPOINT cp")
    node.kill_and_start()
    assert node.value("SELECT count(*) FROM cp.t") == 200_001


def test_a_log_that_can_open_no_file_waits_until_it_can(new_node):
    node = new_node(default_catalog=False).start()
    node.sql("CREATE TABLE cp.t (i BIGINT, s VARCHAR)")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (3, most))
    rows, more = "SELECT r, md5(r::VARCHAR) || md5(random()::VARCHAR) FROM range(100000) g(r)", 0
    with pytest.raises(DatabaseError, match="ulimit -n"):
        for _ in range(40):
            node.sql(f"INSERT INTO cp.t {rows}")
            more += 100_000
    resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (FILES, most))

    def goes_on():
        with contextlib.suppress(DatabaseError):
            node.sql("INSERT INTO cp.t VALUES (-1, 'last')")
            return True

    wait_for(goes_on, "a write")
    count = "SELECT count(*) FILTER (i >= 0), count(*) FILTER (i = -1) FROM cp.t"
    ((inserted, last),) = node.sql(count)
    # The INSERT that was told of the want of files may have been taken behind it, and so may one of the last.
    assert inserted in (more, more + 100_000) and last >= 1
    node.kill_and_start()
    assert node.sql(count) == [(inserted, last)]
