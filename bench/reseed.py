"""An emptied node comes back while others write: how long it takes, and how long a write waits because of it.

A table of ROWS rows is on all three nodes. One that does not lead is killed, its folder deleted, and it is started
again, while clients at the other two insert rows, so many a second in all, each on its own connection and at moments
fixed beforehand. The same clients then run for as long again with nothing else going on. For comparison the store's
file is copied with a plain copy, synced, on the same disk.

The table of latencies shows both: from the moment a write was due, which includes the wait for the one before it on its
connection, and from the moment it was begun.
"""

import argparse
import os
import shutil
import tempfile
import time

from host import write_json

from quack_testing.cluster import Cluster, wait_for

WRITES_PER_SECOND = 1000
CLIENTS = 16
LOAD_ROWS = 500_000
# At least, so that a short reseeding is compared with something.
COMPARE_SECONDS = 10
RESEED_SECONDS_MAX = 3600
TABLE = "CREATE TABLE cp.t (id BIGINT PRIMARY KEY, tenant INTEGER, amount DOUBLE, note VARCHAR)"
ROWS = (
    "INSERT INTO cp.t SELECT i, i % 1000, hash(i) / 1e15, 'note ' || md5(i::VARCHAR) FROM range({low}, {high}) r(i)"
)

# Runs in a node's process, so that nothing but the write is measured.
CLIENT_CODE = """
import threading, time
class Writers:
    def __init__(self):
        self.stop, self.records, self.errors = threading.Event(), [], []
    def run(self, number, key, interval):
        connection = database.cursor()
        connection.execute("USE cp")
        start = time.perf_counter() + interval * number / {clients}
        written = 0
        while not self.stop.is_set():
            due = start + written * interval
            time.sleep(max(due - time.perf_counter(), 0))
            begun = time.perf_counter()
            try:
                connection.execute("INSERT INTO cp.written VALUES ($1, $2)", [key, written])
                ended = time.perf_counter()
                self.records.append((ended - due, ended - begun))
            except duckdb.Error as error:
                self.errors.append(str(error))
            written += 1
writers = Writers()
worker.writers = writers
writers.threads = [
    threading.Thread(target=writers.run, args=(number, '{node}-{phase}-%d' % number, {interval}), daemon=True)
    for number in range({clients})
]
for thread in writers.threads:
    thread.start()
"""
END_CODE = """
worker.writers.stop.set()
for thread in worker.writers.threads:
    thread.join()
result = [worker.writers.records, worker.writers.errors]
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=int, default=10_000_000)
    parser.add_argument("--writes", type=int, default=WRITES_PER_SECOND, help="per second, on all connections together")
    parser.add_argument("--json", help="write the results to this file too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quack-bench-", dir=os.environ.get("QUACK_BENCH_DIR")) as folder:
        bench = Bench(folder, arguments.rows, arguments.writes)
        try:
            results = bench.run()
        finally:
            bench.close()
    write_json(arguments.json, results)


class Writing:
    """The clients, from the entry of a block to its end; afterwards `results`."""

    def __init__(self, nodes, phase, writes_per_second):
        self.nodes = nodes
        self.phase = phase
        self.clients = CLIENTS // len(nodes)
        self.interval = self.clients * len(nodes) / writes_per_second
        self.results = None

    def __enter__(self):
        self.start = time.perf_counter()
        for node in self.nodes:
            code = CLIENT_CODE.format(clients=self.clients, node=node.name, phase=self.phase, interval=self.interval)
            node.process.python(code)
        return self

    def __exit__(self, *_):
        records, errors = [], []
        for node in self.nodes:
            more_records, more_errors = node.process.python(END_CODE)
            records += more_records
            errors += more_errors
        seconds = time.perf_counter() - self.start
        self.results = {
            "seconds": seconds,
            "writes_per_second": len(records) / seconds,
            "errors": len(errors),
            "error": errors[0] if errors else None,
            "since_due": summary([due for due, _ in records]),
            "since_begun": summary([begun for _, begun in records]),
        }


def summary(seconds):
    ordered = sorted(second * 1000 for second in seconds)
    points = {f"p{share:g}": ordered[min(int(len(ordered) * share / 100), len(ordered) - 1)] for share in (50, 99, 99.9)}
    return {**points, "worst": ordered[-1], "over 200 ms": sum(second > 200 for second in ordered)}


class Bench:
    """The cluster and its table."""

    def __init__(self, folder, rows, writes_per_second):
        self.folder = folder
        self.rows = rows
        self.writes_per_second = writes_per_second
        self.cluster = Cluster(folder).start()

    def run(self):
        self.load()
        leader = self.cluster.leader()
        emptied = next(node for node in self.cluster.alive() if node is not leader)
        others = [node for node in self.cluster.alive() if node is not emptied]
        copied, copy_seconds = self.copy(leader)
        emptied.kill()
        shutil.rmtree(emptied.data_dir)
        with Writing(others, "reseed", self.writes_per_second) as during:
            time.sleep(1)
            times = self.reseed(emptied)
        with Writing(others, "quiet", self.writes_per_second) as quiet:
            time.sleep(max(times["voter"], COMPARE_SECONDS))
        self.cluster.wait_equal()
        results = {
            "rows": self.rows, "store_bytes": copied, "copy_seconds": copy_seconds, "reseed_seconds": times,
            "during": during.results, "quiet": quiet.results,
        }  # fmt: skip
        self.show(results)
        return results

    def load(self):
        start = time.perf_counter()
        self.cluster["n0"].sql(TABLE)
        self.cluster["n0"].sql("CREATE TABLE cp.written (client VARCHAR, number BIGINT, PRIMARY KEY (client, number))")
        for low in range(0, self.rows, LOAD_ROWS):
            statement = ROWS.format(low=low, high=min(low + LOAD_ROWS, self.rows))
            self.cluster["n0"].sql(statement, timeout=RESEED_SECONDS_MAX)
        self.cluster.wait_equal()
        for node in self.cluster.alive():
            node.sql("CHECKPOINT cp", timeout=RESEED_SECONDS_MAX)
        print(f"{self.rows:,} rows loaded on three nodes in {time.perf_counter() - start:.1f} s", flush=True)

    def copy(self, node):
        """Copies the store's file and syncs the copy; returns its bytes and the seconds."""
        (source,) = (path for path in node.data_dir.rglob("*.duckdb") if path.is_file())
        target = os.path.join(self.folder, "copy")
        start = time.perf_counter()
        shutil.copyfile(source, target)
        with open(target, "rb+") as file:
            os.fsync(file.fileno())
        seconds = time.perf_counter() - start
        size = os.path.getsize(target)
        os.remove(target)
        return size, seconds

    def reseed(self, node):
        """Starts the empty node; returns the seconds until it has the rows, and until it votes."""
        start = time.perf_counter()
        node.start(attach=False)

        def attached():
            node.attach()
            return True

        # It may be attached only when it has what the others had when it joined.
        wait_for(attached, "the node", RESEED_SECONDS_MAX)
        wait_for(lambda: node.value("SELECT count(*) FROM cp.t") == self.rows, "the rows", RESEED_SECONDS_MAX)
        rows = time.perf_counter() - start
        role = f"SELECT role FROM quack_nodes('cp') WHERE node_id = '{node.name}'"
        wait_for(lambda: node.sql(role) == [("voter",)], "a vote", RESEED_SECONDS_MAX)
        return {"rows": rows, "voter": time.perf_counter() - start}

    def show(self, results):
        size, seconds = results["store_bytes"], results["reseed_seconds"]
        rate, copy_rate = size / seconds["rows"] / 1e6, size / results["copy_seconds"] / 1e6
        print(f"reseeded {results['rows']:,} rows, a file of {size / 1e6:,.0f} MB, in {seconds['rows']:.1f} s; "
              f"a voter again after {seconds['voter']:.1f} s")  # fmt: skip
        print(f"{rate:,.0f} MB/s of the file; a plain copy {copy_rate:,.0f} MB/s: {rate / copy_rate:.0%}")
        print(f"{'milliseconds':<24}{'writes/s':>10}{'errors':>8}" + "".join(f"{key:>13}" for key in results["quiet"]["since_due"]))
        for phase in ("during", "quiet"):
            result = results[phase]
            for since in ("since_due", "since_begun"):
                values = "".join(f"{value:>13.1f}" for value in result[since].values())
                print(f"{phase + ', ' + since:<24}{result['writes_per_second']:>10.0f}{result['errors']:>8}{values}")
            if result["error"]:
                print(f"  first error: {result['error'][:200]}")

    def close(self):
        for node in self.cluster.alive():
            node.kill()


if __name__ == "__main__":
    main()
