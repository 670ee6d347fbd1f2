"""What keeps a node's log from being released is named, and does so for a bounded part of it only."""

import os
import threading
import time

import pytest
from quack_testing.cluster import wait_for
from quack_testing.process import DatabaseError

HELD = "SELECT log_held_by FROM quack_raft_status() WHERE group_name = 'default'"
# Several parts, and more than DuckDB reads ahead.
LINE = "1," + "x" * 1000 + "\n"
LINES = 64_000
# Such a statement is no part of a larger one.
INSERT = "INSERT INTO cp.large SELECT repeat('x', 3_500_000)"
# 1 GiB.
ENTRIES = (1 << 30) // 3_500_000 + 1


def log_bytes(node):
    folder = node.data_dir / "log"
    return sum(file.stat().st_size for file in folder.iterdir())


def wait_until_held_by(node, text):
    """What is held is known at each of the node's own checkpoints, which are due after 16 MiB of the log."""
    for _ in range(40):
        held = node.value(HELD) or ""
        if (text in held) if text else not held:
            return
        for _ in range(5):
            node.sql(INSERT)
        time.sleep(0.2)
    raise AssertionError(f"held by {held!r}, not by {text!r}")


def feed(pipe, hangs):
    """Writes into the pipe, and then no more."""
    with open(pipe, "w") as lines:
        try:
            for _ in range(LINES):
                lines.write(LINE)
            lines.flush()
            hangs.wait()
        except BrokenPipeError:
            pass


@pytest.fixture
def pipe(tmp_path):
    """A pipe that brings many rows and then hangs."""
    name, hangs = tmp_path / "pipe", threading.Event()
    os.mkfifo(name)
    thread = threading.Thread(target=feed, args=(name, hangs), daemon=True)
    thread.start()
    yield name, hangs
    hangs.set()
    thread.join(10)


def start_copy(node, pipe):
    columns = "{'i': 'INTEGER', 's': 'VARCHAR'}"
    node.sql("CREATE TABLE cp.t (i INTEGER, s VARCHAR)")
    node.sql("CREATE TABLE cp.large (s VARCHAR)")
    copy = (
        f"INSERT INTO cp.t FROM read_csv('{pipe}', auto_detect = false, header = false, delim = ',', quote = '', "
        f"escape = '', columns = {columns}, buffer_size = 2000000, max_line_size = 10000)"
    )
    return node.process.start_sql(copy, "loader")


def test_a_copy_out_of_a_pipe_that_hangs_is_named_and_given_up(new_node, pipe):
    name, hangs = pipe
    node = new_node().start()
    running = start_copy(node, name)
    wait_until_held_by(node, "an unfinished statement of node 'n0'")
    for _ in range(ENTRIES):
        node.sql(INSERT)
    wait_until_held_by(node, "")
    wait_for(lambda: log_bytes(node) < 600_000_000, "the log to be short")
    assert not running.done()
    hangs.set()
    with pytest.raises(DatabaseError, match="was given up, and nothing of it has happened"):
        running.result(60)
    assert node.value("SELECT count(*) FROM cp.t") == 0
    node.kill_and_start()
    assert node.value("SELECT count(*) FROM cp.t") == 0
    assert node.stop() == 0


def test_a_node_that_dies_within_a_copy_is_named_until_it_is_back(cluster, pipe):
    name, _ = pipe
    first, other, last = cluster.alive()
    running = start_copy(last, name)
    wait_until_held_by(first, f"an unfinished statement of node '{last.name}'")
    last.kill()
    with pytest.raises(Exception, match="ended"):
        running.result(60)
    wait_until_held_by(other, f"an unfinished statement of node '{last.name}'")
    last.start()
    wait_until_held_by(first, "")
    assert [node.value("SELECT count(*) FROM cp.t") for node in cluster.alive()] == [0, 0, 0]
