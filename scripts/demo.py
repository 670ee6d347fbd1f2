"""Shows the main job on the screen: three DuckDB processes that hold one catalog, and lose nothing with their leader.

`make demo` builds everything and runs this. It leaves nothing behind, unless it is given a folder:
`scripts/demo.py FOLDER` keeps the nodes' files there.
"""

import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sql-tests" / "python"))

from quack_testing.cluster import Certificates, free_ports, wait_for  # noqa: E402
from quack_testing.node import stock_process  # noqa: E402
from quack_testing.process import EXTENSION, DatabaseError, Process, ProcessEnded  # noqa: E402

TOKEN = "token-of-the-demo"
NAMES = ["n0", "n1", "n2"]
WRITE_SECONDS = 2
STATUS = "SELECT node_id, role, leader_id, term, commit_index, applied_index, voters, state FROM quack_raft_status()"


class Screen:
    """A process whose SQL and results are printed."""

    def __init__(self, process, prompt):
        self.process, self.prompt = process, prompt

    def sql(self, statement, show=True):
        print(f"{self.prompt}> {statement}")
        answer = self.process.request("execute", sql=statement)
        if show and answer["rows"]:
            table(answer["columns"], answer["rows"])
        return answer["rows"]


class Cluster:
    """Three nodes on this machine."""

    def __init__(self, folder):
        self.folder = folder
        self.certificates = Certificates(folder / "certificates")
        self.ports = dict(zip(NAMES, free_ports(len(NAMES))))
        self.peers = ", ".join(f"'{name}:voter=quack:127.0.0.1:{port}'" for name, port in self.ports.items())
        self.nodes = {}

    def uri(self, name):
        return f"quack:127.0.0.1:{self.ports[name]}"

    def serve(self, name):
        node = Screen(Process(self.folder, name), f"{name}   ")
        node.sql(f"LOAD '{EXTENSION}'")
        files = ", ".join(f"{argument} := {file}" for argument, file in self.certificates.issue(name).items())
        node.sql(
            f"CALL quack_serve('{self.uri(name)}', token := '{TOKEN}', node_id := '{name}', "
            f"data_dir := '{self.folder / name}', peers := [{self.peers}], {files})",
            show=False,
        )
        self.nodes[name] = node

    def attach(self, name):
        self.nodes[name].sql(f"ATTACH '{self.uri(name)}' AS cp (TYPE quack, TOKEN '{TOKEN}')")

    def leader(self):
        return wait_for(lambda: next(iter(self.leaders()), None), "a leader")

    def leaders(self):
        alive = {name: node for name, node in self.nodes.items() if node.process.popen.poll() is None}
        for name, node in alive.items():
            if node.process.sql("SELECT role FROM quack_raft_status()") == [("leader",)]:
                yield name


class Writer(threading.Thread):
    """Writes one row after the other until it is told to stop; notes when each was acknowledged."""

    def __init__(self, process):
        super().__init__()
        self.process = process
        self.stopped = False
        self.acknowledged = []
        self.failed = []

    def run(self):
        number = 100
        while not self.stopped:
            number += 1
            try:
                self.process.sql(f"INSERT INTO cp.events VALUES ({number}, 'from the stock client', now())")
                self.acknowledged.append(time.monotonic())
            except (DatabaseError, ProcessEnded) as error:
                self.failed.append(str(error))
                return


def table(columns, rows):
    shown = [[("NULL" if value is None else value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [columns, *shown]) for i in range(len(columns))]
    for line in [columns, ["-" * width for width in widths], *shown]:
        print("    " + "  ".join(value.ljust(width) for value, width in zip(line, widths)).rstrip())


def heading(text):
    print(f"\n== {text}")


def run(folder):
    heading("Three DuckDB 2.0 processes load the extension and become the nodes of a cluster")
    cluster = Cluster(folder)
    for name in NAMES:
        cluster.serve(name)
    for name in NAMES:
        cluster.attach(name)
    cluster.nodes["n0"].sql(STATUS)

    heading("A table is made on one node, a row is written on another; a quorum has it on disk before it counts")
    first, second, third = NAMES
    cluster.nodes[first].sql("CREATE TABLE cp.events (id BIGINT PRIMARY KEY, what VARCHAR, noted TIMESTAMP)")
    wait_for(lambda: cluster.nodes[second].process.sql("SELECT 1 FROM cp.events") == [], "the table on another node")
    cluster.nodes[second].sql("INSERT INTO cp.events VALUES (1, 'first', now()), (2, 'second', now()) RETURNING id, what")
    wait_for(lambda: cluster.nodes[third].process.sql("SELECT 1 FROM cp.events") != [], "the row on the third node")
    cluster.nodes[third].sql("SELECT id, what FROM cp.events ORDER BY id")

    leader = cluster.leader()
    survivor = next(name for name in NAMES if name != leader)
    heading("Another process, DuckDB 1.5.5 with its own quack client and nothing of this project, attaches to a follower")
    stock = Screen(stock_process(folder, "stock"), "stock")
    stock.sql(f"ATTACH '{cluster.uri(survivor)}' AS cp (TYPE quack, TOKEN '{TOKEN}')")

    heading(f"It writes one row after the other; after {WRITE_SECONDS} s the leader, {leader}, is killed")
    writer = Writer(stock.process)
    writer.start()
    time.sleep(WRITE_SECONDS)
    print(f"$ kill -9 {cluster.nodes[leader].process.pid}")
    killed = time.monotonic()
    cluster.nodes[leader].process.kill()
    time.sleep(WRITE_SECONDS)
    writer.stopped = True
    writer.join()
    before = [at for at in writer.acknowledged if at < killed]
    after = [at for at in writer.acknowledged if at >= killed]
    assert after, f"no write was acknowledged after the leader was killed: {writer.failed}"
    print(f"    {len(before)} rows were acknowledged before, {len(after)} after")
    # The leader may have sent an acknowledgement that was still on its way.
    gap = max(later - earlier for earlier, later in zip([killed, *after], after))
    print(f"    longest time without one: {gap * 1000:.0f} ms")
    cluster.nodes[survivor].sql(STATUS)

    heading("The dead node comes back on its folder")
    start = time.monotonic()
    cluster.serve(leader)
    cluster.attach(leader)
    print(f"    ready after {time.monotonic() - start:.2f} s")

    def hashes():
        found = {name: node.process.sql("FROM quack_state_hash()")[0] for name, node in cluster.nodes.items()}
        return found if len(set(found.values())) == 1 else None

    states = wait_for(hashes, "equal states")
    cluster.nodes[leader].sql("FROM quack_nodes('cp')")

    heading("Check")
    acknowledged = 2 + len(writer.acknowledged)
    stored = [node.process.sql("SELECT count(*), count(DISTINCT id) FROM cp.events")[0] for node in cluster.nodes.values()]
    print(f"    {acknowledged} rows were acknowledged; the nodes hold {', '.join(str(rows) for rows, _ in stored)}")
    print(f"    state hash on all nodes: {next(iter(states.values()))[2]}")
    right = not writer.failed and all(rows == keys == acknowledged for rows, keys in stored)
    stock.process.close_database()
    assert stock.process.exit() == 0, stock.process.stderr_tail()
    for name, node in cluster.nodes.items():
        node.sql(f"CALL quack_stop('{cluster.uri(name)}')", show=False)
        node.process.close_database()
        assert node.process.exit() == 0, node.process.stderr_tail()
    print("\nNothing that was acknowledged is lost." if right else f"\nROWS ARE MISSING OR DOUBLED. {writer.failed}")
    return right


def main():
    kept = len(sys.argv) > 1
    folder = Path(sys.argv[1] if kept else tempfile.mkdtemp(prefix="quack-demo-")).resolve()
    try:
        return 0 if run(folder) else 1
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
