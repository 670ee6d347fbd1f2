"""Bulk UPDATE and DELETE on a cluster of one, next to plain DuckDB with a file and its write-ahead log.

For tables of numbers and of text that a checkpoint has compressed, without and with a primary key: an UPDATE of one column
of every fourth row, one of all rows of a range, one of all rows, a DELETE of every fourth row, and a DELETE of all rows. Each
starts from the same rows; the time is that of the statement, the best of ROUNDS, and begins and ends at the client.
Of that, `apply` is what every node does with the entry, those that have not run the statement, too.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from host import write_json

from quack_testing.node import Node
from quack_testing.process import Process

ROUNDS = 3
STATEMENT_SECONDS_MAX = 1800
TABLES = {
    "numbers": ("id BIGINT, n BIGINT, m INTEGER", "range, range % 1000, range::INTEGER"),
    "numbers, key": ("id BIGINT PRIMARY KEY, n BIGINT, m INTEGER", "range, range % 1000, range::INTEGER"),
    "text": ("id BIGINT, n BIGINT, note VARCHAR, more VARCHAR",
             "range, 0, 'a note about ' || md5(range::VARCHAR), 'group ' || range % 1000"),
    "text, key": ("id BIGINT PRIMARY KEY, n BIGINT, note VARCHAR, more VARCHAR",
                  "range, 0, 'a note about ' || md5(range::VARCHAR), 'group ' || range % 1000"),
}  # fmt: skip
STATEMENTS = {
    "UPDATE every fourth": "UPDATE t SET n = n + 1 WHERE id % 4 = 0",
    "UPDATE a sixth": "UPDATE t SET n = n + 1 WHERE id < {rows} // 6",
    "UPDATE all": "UPDATE t SET n = n + 1",
    "DELETE every fourth": "DELETE FROM t WHERE id % 4 = 0",
    "DELETE all": "DELETE FROM t",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", help="write the results to this file too")
    arguments = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory(prefix="quack-bench-", dir=os.environ.get("QUACK_BENCH_DIR")) as folder:
        print(f"{'milliseconds':<32}{'plain':>10}{'cluster':>10}{'times':>8}{'apply':>10}{'times':>8}")
        for table in TABLES:
            results[table] = {}
            for name, statement in STATEMENTS.items():
                plain, _ = best(Plain(Path(folder), f"plain-{len(results)}-{len(results[table])}"), table, statement, arguments)
                one, apply = best(One(Path(folder), f"n-{len(results)}-{len(results[table])}"), table, statement, arguments)
                results[table][name] = {"plain_ms": plain, "cluster_ms": one, "apply_ms": apply}
                times = f"{plain:>10.1f}{one:>10.1f}{one / plain:>8.1f}{apply:>10.1f}{apply / plain:>8.1f}"
                print(f"{table + ': ' + name:<32}{times}", flush=True)
    write_json(arguments.json, results)


class Plain:
    """A DuckDB file."""

    def __init__(self, folder, name):
        self.process = Process(folder, name)
        self.process.sql(f"ATTACH '{folder / name}.db' AS cp")
        self.process.request("prepare_connections", statements=["USE cp"])

    def sql(self, statement, **options):
        return self.process.sql(statement, **options)

    def apply_ms(self):
        return 0

    def kill(self):
        self.process.kill()


class One:
    """A cluster of one node."""

    def __init__(self, folder, name):
        self.node = Node(folder, name).start()

    def sql(self, statement, **options):
        return self.node.sql(statement, **options)

    def apply_ms(self):
        """How long the node has applied entries so far."""
        rows = self.node.sql("SELECT sum(value) FROM quack_metrics() WHERE name = 'quack_apply_seconds_sum'")
        return float(rows[0][0]) * 1000

    def kill(self):
        self.node.kill()


def best(place, table, statement, arguments):
    """The shortest time of the statement, in milliseconds, and what of it was spent on applying it."""
    columns, values = TABLES[table]
    times = []
    try:
        for _ in range(arguments.rounds):
            place.sql(f"CREATE OR REPLACE TABLE t ({columns})")
            place.sql(f"INSERT INTO t SELECT {values} FROM range({arguments.rows})", timeout=STATEMENT_SECONDS_MAX)
            place.sql("CHECKPOINT cp", timeout=STATEMENT_SECONDS_MAX)
            applied = place.apply_ms()
            started = time.perf_counter()
            place.sql(statement.format(rows=arguments.rows), timeout=STATEMENT_SECONDS_MAX)
            elapsed = (time.perf_counter() - started) * 1000
            times.append((elapsed, place.apply_ms() - applied))
    finally:
        place.kill()
    return min(times)


if __name__ == "__main__":
    main()
