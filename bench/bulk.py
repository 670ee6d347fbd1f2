"""Bulk loads through the log with DuckDB's memory limited: time, memory, and that they are whole or not at all.

Each load runs in a process of its own, so that the peak of its resident memory is the load's. After it the
process is killed with SIGKILL and started again, and the table must hold what the source holds. A load whose
last row violates a constraint must leave nothing, before and after such a restart. Plain DuckDB does the same
load in the same kind of process for comparison. The bench fails when a check does not hold.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from host import write_json

from quack_testing.node import Node
from quack_testing.process import DatabaseError

SECONDS_MAX = 1800
SUM = "SELECT count(*), sum(id), sum(hash(id, tenant, payload)) FROM {}"
# name, table's columns, statement
COLUMNS = "id BIGINT{}, tenant INTEGER, payload VARCHAR"
COPY = "COPY {table} FROM '{source}'"
SELECT = "INSERT INTO {table} SELECT * FROM '{source}'"
CASES = [
    ("COPY", COLUMNS.format(""), COPY, True),
    ("COPY, PRIMARY KEY", COLUMNS.format(" PRIMARY KEY"), COPY, True),
    ("INSERT SELECT", COLUMNS.format(""), SELECT, True),
    ("INSERT SELECT, PRIMARY KEY", COLUMNS.format(" PRIMARY KEY"), SELECT, True),
    ("COPY, last row a duplicate", COLUMNS.format(" PRIMARY KEY"), COPY, False),
    ("COPY, last row breaks a CHECK", COLUMNS.format(" CHECK (id >= 0)"), COPY, False),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=int, default=20_000_000)
    parser.add_argument("--memory-limit", default="1GB")
    parser.add_argument("--only", help="run the cases whose name begins so")
    parser.add_argument("--json", help="write the results to this file too")
    arguments = parser.parse_args()
    results, failures = {}, []
    with tempfile.TemporaryDirectory(prefix="quack-bench-", dir=os.environ.get("QUACK_BENCH_DIR")) as folder:
        bench = Bench(Path(folder), arguments.rows, arguments.memory_limit)
        print(f"{'load':<34}{'':>8}{'seconds':>9}{'rows/s':>12}{'peak MiB':>10}{'restart s':>10}  after it")
        for name, columns, statement, good in CASES:
            if not name.startswith(arguments.only or ""):
                continue
            for place in ("plain", "cluster"):
                result = bench.run(place, columns, statement, good)
                results[f"{name}, {place}"] = result
                print(
                    f"{name:<34}{place:>8}{result['seconds']:>9.1f}{result['rows_per_second']:>12,.0f}"
                    f"{result['peak_bytes'] / 2**20:>10,.0f}{result['restart_seconds']:>10.1f}  {result['words']}",
                    flush=True,
                )
                if place == "cluster" and not result["right"]:
                    failures.append(f"{name}: {result['words']}")
    write_json(arguments.json, {"rows": arguments.rows, "memory_limit": arguments.memory_limit, "loads": results})
    if failures:
        sys.exit("\n".join(failures))


class Bench:
    """Makes the source files once, and does a load in a fresh process each time."""

    def __init__(self, folder, rows, memory_limit):
        self.folder, self.rows = folder, rows
        self.config = {"memory_limit": memory_limit, "temp_directory": f"{folder}/spill"}
        self.runs = 0
        node = self.node()
        query = f"SELECT i AS id, (i * 7919) % 1000 AS tenant, 'payload ' || i AS payload FROM range({rows}) r(i)"
        # Each last row breaks one constraint: a key that is there (True: the table has one), and a negative id.
        bad = {True: f"SELECT {rows // 2}, 0, 'duplicate'", False: "SELECT -1, 0, 'negative'"}
        node.sql(f"COPY ({query}) TO '{folder}/good.parquet'", timeout=SECONDS_MAX)
        for key, last in bad.items():
            node.sql(f"COPY ({query} UNION ALL {last}) TO '{folder}/bad-{key}.parquet'", timeout=SECONDS_MAX)
        self.expected = node.sql(SUM.format(f"'{folder}/good.parquet'"), timeout=SECONDS_MAX)
        node.kill()

    def node(self):
        self.runs += 1
        return Node(self.folder / f"run-{self.runs}", config=self.config).start()

    def run(self, place, columns, statement, good):
        node = self.node()
        try:
            table = "cp.t" if place == "cluster" else "nv.t"
            plain = f"ATTACH '{node.folder}/plain.duckdb' AS nv"
            node.sql(plain)
            node.sql(f"CREATE TABLE {table} ({columns})")
            before = peak_bytes(node)
            source = self.folder / ("good.parquet" if good else f"bad-{'PRIMARY' in columns}.parquet")
            start = time.monotonic()
            error = None
            try:
                node.sql(statement.format(table=table, source=source), timeout=SECONDS_MAX)
            except DatabaseError as refused:
                error = str(refused)
            seconds, peak = time.monotonic() - start, peak_bytes(node)
            now = node.sql(SUM.format(table), timeout=SECONDS_MAX)
            start = time.monotonic()
            node.kill_and_start()
            node.sql(plain)
            then = node.sql(SUM.format(table), timeout=SECONDS_MAX)
            restart_seconds = time.monotonic() - start
        finally:
            node.kill()
        expected = self.expected if good else [(0, None, None)]
        right = now == then == expected and (error is None) == good
        words = ("all rows" if good else f"nothing ({error.splitlines()[0][:60]}...)") if right else (
            f"WRONG: {now[0][0]} rows, {then[0][0]} after a restart, {error}"
        )
        return {
            "seconds": seconds,
            "rows_per_second": self.rows / seconds,
            "peak_bytes": peak,
            "peak_bytes_before": before,
            "restart_seconds": restart_seconds,
            "right": right,
            "words": words,
        }


def peak_bytes(node):
    """Returns the largest resident memory that the node's process has had."""
    with open(f"/proc/{node.process.pid}/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
