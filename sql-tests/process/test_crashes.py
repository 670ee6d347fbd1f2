"""kill -9 again and again while four stock clients write: no acknowledged row is lost, none is there twice."""

import os
import shutil
import threading
import time

from quack_testing import node as nodes
from quack_testing.process import DatabaseError, ProcessEnded

KILLS = int(os.environ.get("QUACK_KILLS", "30"))
CLIENTS = 4
# A table without a key shows a row that was applied twice; one with a key would hide it.
TABLES = "CREATE TABLE bag (client INTEGER, round INTEGER, n INTEGER, pad VARCHAR)"


class Writer:
    """A stock client that inserts numbered rows until its server is gone.

    It keeps the numbers that were acknowledged and the one that was not: that one may be there or not, but
    not twice.
    """

    def __init__(self, client, number, uri):
        self.client, self.number, self.uri = client, number, uri
        self.acknowledged, self.unknown = set(), set()
        self.thread = None

    def start(self, round_number):
        self.thread = threading.Thread(target=self.run, args=(round_number,))
        self.thread.start()

    def run(self, round_number):
        name = f"cp{round_number}"
        try:
            self.client.sql(f"ATTACH '{self.uri}' AS {name} (TYPE quack, TOKEN '{nodes.TOKEN}')")
        except DatabaseError:
            return
        for n in range(10**6):
            key = (self.number, round_number, n)
            try:
                self.client.sql(f"INSERT INTO {name}.bag VALUES ({self.number}, {round_number}, {n}, 'x')")
            except (DatabaseError, ProcessEnded):
                self.unknown.add(key)
                return
            self.acknowledged.add(key)


def test_no_acknowledged_row_is_lost_and_none_is_twice(new_node, tmp_path, track):
    node = new_node().start()
    node.sql(TABLES)
    writers = [
        Writer(track(nodes.stock_process(tmp_path, f"stock{number}")), number, node.uri)
        for number in range(CLIENTS)
    ]
    for round_number in range(KILLS):
        before = sum(len(writer.acknowledged) for writer in writers)
        for writer in writers:
            writer.start(round_number)
        # Different moments in the life of a log and of a checkpoint.
        limit = time.monotonic() + 60
        while sum(len(writer.acknowledged) for writer in writers) < before + 20:
            assert time.monotonic() < limit, "four clients wrote fewer than 20 rows in 60 s"
            time.sleep(0.01)
        if round_number % 5 == 4:
            node.process.submit("execute", connection="checkpoint", sql="CHECKPOINT cp")
        time.sleep(0.05 + 0.01 * round_number)
        node.kill()
        for writer in writers:
            writer.thread.join(60)
            assert not writer.thread.is_alive(), "a client waits for a server that is gone"
        node.start()
        check(node, writers)
    check_replay(node, track(nodes.Node(tmp_path / "replay")))
    assert node.restart()
    check(node, writers)
    assert node.stop() == 0


def check_replay(node, copy):
    """The log alone, without the store, leads to the same state."""
    ((_, index, state),) = node.sql("FROM quack_state_hash()")
    node.kill()
    shutil.copytree(node.data_dir, copy.data_dir)
    for file in copy.data_dir.glob("store.duckdb*"):
        file.unlink()
    copy.start()
    ((_, copy_index, copy_state),) = copy.sql("FROM quack_state_hash()")
    assert copy_index >= index > 0
    assert copy_state == state
    copy.sql("DELETE FROM bag WHERE n = 0")
    ((_, _, changed_state),) = copy.sql("FROM quack_state_hash()")
    assert changed_state != state, "the hash does not see a change"
    copy.kill()
    node.start()


def check(node, writers):
    stored = node.sql("SELECT client, round, n FROM bag")
    twice = len(stored) - len(set(stored))
    assert twice == 0, f"{twice} rows are there more than once"
    acknowledged = set().union(*(writer.acknowledged for writer in writers))
    unknown = set().union(*(writer.unknown for writer in writers))
    lost = acknowledged - set(stored)
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged rows are gone, such as {min(lost)}"
    strange = set(stored) - acknowledged - unknown
    assert not strange, f"{len(strange)} rows were never sent, such as {min(strange)}"
