"""What others notice of transactions that stay open with very much in them, on every node at once.

On each of three nodes a transaction inserts ROWS rows, or changes half as many and deletes half as many that were there,
and stays open. Meanwhile clients at all nodes commit single rows, so many a second in all, at moments fixed beforehand,
as in `reseed.py`. The same clients run for as long without any open transaction, before and after. Then one of the
transactions commits, the others roll back, with the clients still at work.

Of each phase: latencies of the commits, from the moment each was due and from the moment it was begun, and for the
applier of every node the longest time that something committed waited while nothing was applied, and the longest batch
of entries, as an upper bound from `quack_metrics()`.
"""

import argparse
import os
import tempfile
import time

from host import write_json
from reseed import Writing

from quack_testing.cluster import Cluster

WRITES_PER_SECOND = 1000
PHASE_SECONDS = 20
STATEMENT_SECONDS_MAX = 1800
OPEN = "open"

# Looks at the applier as often as it can without being a load itself.
WATCH_CODE = """
import threading, time
class Watch:
    def __init__(self):
        self.stop, self.worst, self.lag, self.looks = threading.Event(), 0.0, 0, 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
    def run(self):
        connection = database.cursor()
        query = "SELECT applied_index, commit_index FROM quack_raft_status() WHERE group_name = 'default'"
        moved, last = time.perf_counter(), None
        while not self.stop.is_set():
            now = time.perf_counter()
            applied, committed = connection.execute(query).fetchone()
            if applied != last or applied >= committed:
                moved, last = now, applied
            self.worst = max(self.worst, now - moved)
            self.lag = max(self.lag, committed - applied)
            self.looks += 1
            time.sleep(0.005)
worker.watch = Watch()
"""
WATCHED_CODE = """
worker.watch.stop.set()
worker.watch.thread.join()
result = [worker.watch.worst, worker.watch.lag, worker.watch.looks]
"""
BATCHES = "SELECT labels['le'], value FROM quack_metrics() WHERE name = 'quack_apply_seconds_bucket'"

LOADS = {
    "inserts": [
        "INSERT INTO t SELECT {rows} * {count} + {first} + range, 0, 'open ' || md5(range::VARCHAR) FROM range({rows})"
    ],
    "updates and deletes": [
        "UPDATE t SET n = n + 1, note = 'open ' || note WHERE id >= {first} AND id < {first} + {rows} // 2",
        "DELETE FROM t WHERE id >= {first} + {rows} // 2 AND id < {first} + {rows}",
    ],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000, help="of each of the three transactions")
    parser.add_argument("--writes", type=int, default=WRITES_PER_SECOND, help="per second, on all connections together")
    parser.add_argument("--seconds", type=float, default=PHASE_SECONDS, help="of each phase")
    parser.add_argument("--json", help="write the results to this file too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quack-bench-", dir=os.environ.get("QUACK_BENCH_DIR")) as folder:
        bench = Bench(folder, arguments)
        try:
            results = bench.run()
        finally:
            bench.close()
    write_json(arguments.json, results)


def batches(node):
    return {float(bound): value for bound, value in node.sql(BATCHES, "watch")}


def longest(before, after):
    """The bound below which all batches of a phase lie."""
    new = {bound: after[bound] - before.get(bound, 0) for bound in sorted(after)}
    total = max(new.values(), default=0)
    return min((bound for bound, count in new.items() if count >= total), default=0)


class Phase:
    """The clients and the watches, from the entry of a block to its end; `results` afterwards."""

    def __init__(self, bench, name):
        self.bench = bench
        self.name = name
        self.writing = Writing(bench.nodes, name, bench.writes)

    def __enter__(self):
        self.before = {node.name: batches(node) for node in self.bench.nodes}
        for node in self.bench.nodes:
            node.process.python(WATCH_CODE)
        self.writing.__enter__()
        return self

    def __exit__(self, *error):
        self.writing.__exit__(*error)
        appliers = {}
        for node in self.bench.nodes:
            worst, lag, looks = node.process.python(WATCHED_CODE)
            batch = longest(self.before[node.name], batches(node))
            seconds = {"standstill_ms": worst * 1000, "batch_ms_max": batch * 1000}
            appliers[node.name] = {**seconds, "lag_entries": lag, "looks": looks}
        self.results = {**self.writing.results, "appliers": appliers}
        self.bench.show(self.name, self.results)


class Bench:
    """The cluster, its table, and the phases."""

    def __init__(self, folder, arguments):
        self.rows, self.writes, self.seconds = arguments.rows, arguments.writes, arguments.seconds
        self.cluster = Cluster(folder).start()
        self.nodes = self.cluster.alive()
        self.results = {}

    def run(self):
        self.load()
        print(f"{'milliseconds':<38}{'writes/s':>9}{'errors':>7}{'p50':>8}{'p99':>8}{'p99.9':>8}{'worst':>8}  appliers")
        self.quiet("no open transaction")
        for name in LOADS:
            self.open(name)
        self.quiet("no open transaction, afterwards")
        return self.results

    def load(self):
        first = self.nodes[0]
        first.sql("CREATE TABLE cp.t (id BIGINT PRIMARY KEY, n BIGINT, note VARCHAR)")
        first.sql("CREATE TABLE cp.written (client VARCHAR, number BIGINT, PRIMARY KEY (client, number))")
        count = self.rows * len(self.nodes)
        rows = f"SELECT range, 0, 'note ' || md5(range::VARCHAR) FROM range({count})"
        first.sql(f"INSERT INTO cp.t {rows}", timeout=STATEMENT_SECONDS_MAX)
        self.cluster.wait_equal()
        for node in self.nodes:
            node.sql("CHECKPOINT cp", timeout=STATEMENT_SECONDS_MAX)

    def quiet(self, name):
        with Phase(self, name) as phase:
            time.sleep(self.seconds)
        self.results[name] = phase.results

    def open(self, name):
        """Opens one on each node, lets them stay, and ends them."""
        with Phase(self, f"{name}: while they come") as coming:
            started = time.perf_counter()
            for number, node in enumerate(self.nodes):
                node.sql("BEGIN", OPEN)
                numbers = {"rows": self.rows, "count": len(self.nodes), "first": number * self.rows}
                for statement in LOADS[name]:
                    node.sql(statement.format(**numbers), OPEN, timeout=STATEMENT_SECONDS_MAX)
            seconds = time.perf_counter() - started
        with Phase(self, f"{name}: open") as still:
            time.sleep(self.seconds)
        with Phase(self, f"{name}: one commits") as ending:
            started = time.perf_counter()
            self.nodes[0].sql("COMMIT", OPEN, timeout=STATEMENT_SECONDS_MAX)
            commit_seconds = time.perf_counter() - started
            for node in self.nodes[1:]:
                node.sql("ROLLBACK", OPEN, timeout=STATEMENT_SECONDS_MAX)
        self.cluster.wait_equal()
        print(f"  {name}: {self.rows:,} rows on each node came in {seconds:.1f} s, one committed in {commit_seconds:.1f} s",
              flush=True)  # fmt: skip
        self.results[name] = {
            "coming": coming.results, "open": still.results, "ending": ending.results,
            "coming_seconds": seconds, "commit_seconds": commit_seconds,
        }  # fmt: skip

    def show(self, name, results):
        worst = max(results["appliers"].values(), key=lambda applier: applier["standstill_ms"])
        batch = max(applier["batch_ms_max"] for applier in results["appliers"].values())
        for since in ("since_due", "since_begun"):
            points = results[since]
            values = "".join(f"{points[key]:>8.1f}" for key in ("p50", "p99", "p99.9", "worst"))
            title = f"{name}, {since.replace('_', ' ')}"
            print(f"{title:<38}{results['writes_per_second']:>9.0f}{results['errors']:>7}{values}"
                  f"  stood still {worst['standstill_ms']:.0f} at most, batches below {batch:.0f}", flush=True)  # fmt: skip
        if results["error"]:
            print(f"  first error: {results['error'][:200]}")

    def close(self):
        for node in self.nodes:
            node.kill()


if __name__ == "__main__":
    main()
