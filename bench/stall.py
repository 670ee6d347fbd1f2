"""How long a small write waits while checkpoints are made: latencies of a steady stream, and the worst of them.

Several streams run at once. The probes insert, update and read one row at a time, each on its own connection,
and their latencies are what is reported. The filler makes the log grow, at a bounded rate, so that the
checkpoint threshold is passed again and again. The same streams also run with no checkpoint due: the log is
checkpointed outside the measured time, and the stream ends before the next one is due.

Two loads: `inserts` fills with wide rows into a table that is otherwise small; `updates` changes strings
scattered over a large table, the case in which a checkpoint has most to rewrite. Updates wait for each other, so
the probe's updates also wait for the filler's; its inserts do not.
"""

import argparse
import os
import tempfile
import threading
import time

import duckdb
from host import Host, write_json

# What the filler writes between two checkpoints when none may become due: the extension makes one every 16 MiB.
QUIET_BYTES = 10 << 20
FILL_BYTES_PER_SECOND = 20 << 20
FILL_ROWS = 1024
FILL_ROW_BYTES = 1000
# Rows that one statement of the filler updates, each logged with its old and its new image.
UPDATE_ROWS = 2000
UPDATE_ROW_BYTES = 300
PROBES = ("insert", "update", "read")
PROBE_PAUSE_SECONDS = 0.002
# The log is released a moment after a checkpoint.
SETTLE_SECONDS = 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=6, help="how many to wait for in each load")
    parser.add_argument("--rows", type=int, default=5_000_000, help="of the table that is updated")
    parser.add_argument("--json", help="write the results to this file too")
    arguments = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory(prefix="quack-bench-", dir=os.environ.get("QUACK_BENCH_DIR")) as folder:
        bench = Bench(folder, arguments.rows)
        print(f"{'milliseconds':<42}{'count':>8}{'p50':>9}{'p90':>9}{'p99':>9}{'p99.9':>9}{'worst':>9}  checkpoints")
        for load in ("inserts", "updates"):
            for due in (False, True):
                result = bench.run(load, arguments.checkpoints, due)
                name = f"{load}, checkpoints {'due' if due else 'not due'}"
                results[name] = result
                for probe, latencies in result["probes"].items():
                    print_line(f"{name}: {probe}", latencies, result["checkpoints"])
        result = bench.checkpoint_after_updates()
        results["checkpoint after scattered updates"] = result
        print(f"CHECKPOINT after {result['rows']:,} scattered updates: {result['seconds'] * 1000:.0f} ms")
        bench.host.close()
    write_json(arguments.json, results)


def print_line(name, latencies, checkpoints):
    values = "".join(f"{latencies[key]:>9.1f}" for key in ("p50", "p90", "p99", "p99.9", "worst"))
    print(f"{name:<42}{latencies['count']:>8}{values}  {checkpoints}", flush=True)


def summary(seconds):
    ordered = sorted(second * 1000 for second in seconds)

    def at(share):
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]

    points = {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p99.9": at(0.999)}
    return {"count": len(ordered), **points, "worst": ordered[-1], "five_worst": ordered[-5:]}


class Bench:
    """The tables, the probes and the fillers."""

    def __init__(self, folder, rows):
        self.host = Host(folder)
        self.rows = rows
        self.fresh_key, self.filled = 0, 0
        for table in ("probe", "filled"):
            self.host.execute(f"CREATE TABLE cp.{table} (id BIGINT PRIMARY KEY, payload VARCHAR)")
        self.host.execute(
            f"CREATE TABLE memory.batch AS SELECT i AS id, "
            f"repeat(md5(i::VARCHAR), {FILL_ROW_BYTES // 32}) AS payload FROM range({FILL_ROWS}) r(i)"
        )
        self.host.execute("CREATE TABLE cp.large (id BIGINT PRIMARY KEY, note VARCHAR, other VARCHAR)")
        self.host.execute(
            f"INSERT INTO cp.large SELECT i, 'note ' || md5(i::VARCHAR), 'other ' || (i % 1000) FROM range({rows}) r(i)"
        )
        self.host.execute("CHECKPOINT cp")

    def run(self, load, checkpoints, due):
        """Runs the streams until enough checkpoints, or as much log without one; returns their latencies."""
        if due:
            parts = [self.stream(load, checkpoints=checkpoints)]
        else:
            parts = []
            for _ in range(max(checkpoints // 2, 1)):
                self.host.execute("CHECKPOINT cp")
                time.sleep(SETTLE_SECONDS)
                parts.append(self.stream(load, bytes_max=QUIET_BYTES))
        probes = {probe: [] for probe in PROBES}
        for latencies, _ in parts:
            for probe, seconds in latencies.items():
                probes[probe] += seconds
        return {
            "probes": {probe: summary(seconds) for probe, seconds in probes.items()},
            "checkpoints": sum(checkpoints for _, checkpoints in parts),
        }

    def stream(self, load, checkpoints=None, bytes_max=None):
        """Runs until enough checkpoints or bytes; returns the latencies of each probe and the checkpoints seen."""
        stop, failures = threading.Event(), []
        latencies = {probe: [] for probe in PROBES}
        positions, sent = set(), [0]

        def probe(name, connection):
            key = len(latencies[name])
            start = time.perf_counter()
            self.probe(name, connection, key)
            latencies[name].append(time.perf_counter() - start)
            time.sleep(PROBE_PAUSE_SECONDS)

        def watch(connection):
            query = "SELECT max(snapshot_index) FROM quack_raft_status()"
            positions.add(connection.execute(query).fetchone()[0])
            if checkpoints is not None and len(positions) > checkpoints:
                stop.set()
            time.sleep(0.01)

        def fill(connection):
            start = time.perf_counter()
            filled = self.fill(connection, load)
            sent[0] += filled
            if bytes_max is not None and sent[0] >= bytes_max:
                stop.set()
            time.sleep(max(filled / FILL_BYTES_PER_SECOND - (time.perf_counter() - start), 0))

        def repeat(work, *arguments):
            connection = self.host.client()
            try:
                while not stop.is_set():
                    work(*arguments, connection)
            except duckdb.Error as error:
                failures.append(error)
                stop.set()

        threads = [threading.Thread(target=repeat, args=(probe, name)) for name in PROBES]
        threads += [threading.Thread(target=repeat, args=(work,)) for work in (watch, fill)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return latencies, len(positions) - 1

    def probe(self, name, connection, number):
        """Writes or reads one row."""
        key = number * 104729 % self.rows
        if name == "insert":
            self.fresh_key += 1
            connection.execute("INSERT INTO cp.probe VALUES ($1, 'probe')", [self.fresh_key])
        elif name == "update":
            connection.execute("UPDATE cp.large SET note = 'probe ' || $1 WHERE id = $1", [key])
        else:
            connection.execute("SELECT note FROM cp.large WHERE id = $1", [key]).fetchall()

    def fill(self, connection, load):
        """One statement of the filler; returns about how many bytes it has added to the log."""
        self.filled += 1
        if load == "inserts":
            connection.execute(
                "INSERT INTO cp.filled SELECT id + $1, payload FROM memory.batch", [self.filled * FILL_ROWS]
            )
            return FILL_ROWS * FILL_ROW_BYTES
        # Every so many rows, so all over the table; the next time the rows beside them.
        step = self.rows // UPDATE_ROWS
        offset = self.filled * 7919 % step
        connection.execute(
            f"UPDATE cp.large SET note = 'filled ' || {self.filled} || md5(note) WHERE id % {step} = {offset}"
        )
        return UPDATE_ROWS * UPDATE_ROW_BYTES

    def checkpoint_after_updates(self):
        """Times one checkpoint with strings changed in every part of the large table and nothing else running."""
        self.host.execute("CHECKPOINT cp")
        rows = 0
        connection = self.host.client()
        for _ in range(20):
            self.fill(connection, "updates")
            rows += UPDATE_ROWS
        start = time.perf_counter()
        self.host.execute("CHECKPOINT cp")
        return {"rows": rows, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main()
