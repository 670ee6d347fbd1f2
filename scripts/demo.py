"""Shows the main job on the screen: a catalog whose acknowledged writes survive kill -9, for any DuckDB client.

`make demo` builds everything and runs this. It leaves nothing behind, unless it is given a folder:
`scripts/demo.py FOLDER` keeps the node's files there.
"""

import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sql-tests" / "python"))

from quack_testing.node import stock_process  # noqa: E402
from quack_testing.process import EXTENSION, DatabaseError, Process, ProcessEnded  # noqa: E402

TOKEN = "demo-token"
WRITE_SECONDS = 2


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


def table(columns, rows):
    shown = [[("NULL" if value is None else value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [columns, *shown]) for i in range(len(columns))]
    for line in [columns, ["-" * width for width in widths], *shown]:
        print("    " + "  ".join(value.ljust(width) for value, width in zip(line, widths)).rstrip())


def heading(text):
    print(f"\n== {text}")


def start_node(folder, port):
    """Starts a DuckDB 2.0 process that serves `folder` and has its catalog attached as `cp`."""
    node = Screen(Process(folder, "node"), "node ")
    node.sql(f"LOAD '{EXTENSION}'")
    ((uri, _url, _token),) = node.sql(
        f"CALL quack_serve('quack:127.0.0.1:{port}', token := '{TOKEN}', node_id := 'n0', data_dir := '{folder}/n0')"
    )
    node.sql(f"ATTACH '{uri}' AS cp (TYPE quack, TOKEN '{TOKEN}')")
    return node, uri


def write_until_the_server_is_gone(stock):
    """Inserts numbered rows, one statement each; returns how many were acknowledged."""
    acknowledged = 0
    try:
        while True:
            stock.process.sql(f"INSERT INTO cp.events VALUES ({100 + acknowledged}, 'from the stock client', now())")
            acknowledged += 1
    except (DatabaseError, ProcessEnded):
        return acknowledged


def run(folder):
    heading("A DuckDB 2.0 process becomes a node: it serves a replicated catalog, and attaches it")
    node, uri = start_node(folder, 0)
    node.sql("CREATE TABLE cp.events (id BIGINT PRIMARY KEY, what VARCHAR, noted TIMESTAMP)")
    node.sql("INSERT INTO cp.events VALUES (1, 'first', now()), (2, 'second', now()) RETURNING *")
    node.sql("SELECT group_name, node_id, role, term, last_index, applied_index, state FROM quack_raft_status()")

    heading("Another process, DuckDB 1.5.5 with its own quack client and nothing of this project, attaches to it")
    stock = Screen(stock_process(folder, "stock"), "stock")
    stock.sql(f"ATTACH '{uri}' AS cp (TYPE quack, TOKEN '{TOKEN}')")
    stock.sql("SELECT id, what FROM cp.events ORDER BY id")

    heading(f"It writes one row after the other for {WRITE_SECONDS} s, until the node is killed with -9")
    counted = []
    writer = threading.Thread(target=lambda: counted.append(write_until_the_server_is_gone(stock)))
    writer.start()
    time.sleep(WRITE_SECONDS)
    print(f"$ kill -9 {node.process.pid}")
    node.process.kill()
    writer.join()
    (acknowledged,) = counted
    print(f"    the client had {acknowledged} rows acknowledged")

    heading("The node is started again on its folder")
    start = time.monotonic()
    node, uri = start_node(folder, uri.rsplit(":", 1)[1])
    print(f"    serving again after {time.monotonic() - start:.2f} s")
    node.sql("SELECT group_name, node_id, role, term, last_index, applied_index, state FROM quack_raft_status()")
    ((stored, distinct),) = node.sql("SELECT count(*) AS rows, count(DISTINCT id) AS keys FROM cp.events")

    heading("And a new stock client sees the same")
    fresh = Screen(stock_process(folder, "stock2"), "stock")
    fresh.sql(f"ATTACH '{uri}' AS cp (TYPE quack, TOKEN '{TOKEN}')")
    ((remote,),) = fresh.sql("SELECT count(*) AS rows FROM cp.events")

    heading("Check")
    expected = 2 + acknowledged
    print(f"    {expected} rows were acknowledged; {stored} are stored, {distinct} different keys; the stock client sees {remote}.")
    print("    One row more than acknowledged is right too: its answer was lost with the process.")
    node.sql(f"CALL quack_stop('{uri}')", show=False)
    for screen in (node, stock, fresh):
        screen.process.close_database()
        assert screen.process.exit() == 0, screen.process.stderr_tail()
    right = int(stored) in (expected, expected + 1) and stored == distinct == remote
    print("\nNothing that was acknowledged is lost." if right else "\nROWS ARE MISSING OR DOUBLED.")
    return right


def main():
    kept = len(sys.argv) > 1
    folder = Path(sys.argv[1] if kept else tempfile.mkdtemp(prefix="quack-demo-"))
    try:
        return 0 if run(folder) else 1
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
