"""Bulk UPDATE and DELETE on a cluster of one, next to plain DuckDB with a file and its write-ahead log.

For two tables, of numbers and of text that a checkpoint has compressed: an UPDATE of every fourth row, one of all rows
of a range, a DELETE of every fourth row, and a DELETE of all rows. Each starts from the same rows; the time is that of the
statement, the best of ROUNDS.
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
    "text": ("id BIGINT, n BIGINT, note VARCHAR, more VARCHAR",
             "range, 0, 'a note about ' || md5(range::VARCHAR), 'group ' || range % 1000"),
}  # fmt: skip
STATEMENTS = {
    "UPDATE every fourth": "UPDATE t SET n = n + 1 WHERE id % 4 = 0",
    "UPDATE a sixth": "UPDATE t SET n = n + 1 WHERE id < {rows} // 6",
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
        print(f"{'milliseconds':<32}{'plain':>10}{'cluster':>10}{'times':>8}")
        for table in TABLES:
            results[table] = {}
            for name, statement in STATEMENTS.items():
                plain = best(Plain(Path(folder), f"plain-{len(results)}-{len(results[table])}"), table, statement, arguments)
                one = best(One(Path(folder), f"n-{len(results)}-{len(results[table])}"), table, statement, arguments)
                results[table][name] = {"plain_ms": plain, "cluster_ms": one}
                print(f"{table + ': ' + name:<32}{plain:>10.1f}{one:>10.1f}{one / plain:>8.1f}", flush=True)
    write_json(arguments.json, results)


class Plain:
    """A DuckDB file."""

    def __init__(self, folder, name):
        self.process = Process(folder, name)
        self.process.sql(f"ATTACH '{folder / name}.db' AS cp")
        self.process.request("prepare_connections", statements=["USE cp"])

    def sql(self, statement, **options):
        return self.process.sql(statement, **options)

    def kill(self):
        self.process.kill()


class One:
    """A cluster of one node."""

    def __init__(self, folder, name):
        self.node = Node(folder, name).start()

    def sql(self, statement, **options):
        return self.node.sql(statement, **options)

    def kill(self):
        self.node.kill()


def best(place, table, statement, arguments):
    """The shortest time of the statement, in milliseconds."""
    columns, values = TABLES[table]
    times = []
    try:
        for _ in range(arguments.rounds):
            place.sql(f"CREATE OR REPLACE TABLE t ({columns})")
            place.sql(f"INSERT INTO t SELECT {values} FROM range({arguments.rows})", timeout=STATEMENT_SECONDS_MAX)
            place.sql("CHECKPOINT cp", timeout=STATEMENT_SECONDS_MAX)
            started = time.perf_counter()
            place.sql(statement.format(rows=arguments.rows), timeout=STATEMENT_SECONDS_MAX)
            times.append((time.perf_counter() - started) * 1000)
    finally:
        place.kill()
    return min(times)


if __name__ == "__main__":
    main()
