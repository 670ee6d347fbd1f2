"""Rows per second of writes through the log, next to what the disk and DuckDB could do at best.

Two ceilings are measured in the same run and on the same disk: DuckDB's appender alone (batches of the same
size, each its own transaction, into a file without a WAL), and fdatasync of the same bytes. A write through
the log needs both, one after the other, so the limit is that of the two together. Several clients could share
one batch and one fdatasync, and the limit supposes that they do.

Plain DuckDB with its own WAL runs the same statements for comparison, and so does a table in memory: what SQL
costs when nothing is kept. Each number is the best of several rounds, in which all are measured in turn.
"""

import argparse
import os
import tempfile
import threading
import time
from collections import defaultdict

import ceilings
from ceilings import PAYLOAD
from host import PLAIN, REPLICATED, TOKEN, Host, write_json
from stock import StockClients

import duckdb

BATCH_ROWS = 1024
ROUNDS = 3
SECONDS_DEFAULT = 3.0
ROWS_BEFORE = 500_000

INSERT_BATCH = "INSERT INTO {table} SELECT id + $1, tenant, payload FROM memory.batch"
INSERT_ONE = f"INSERT INTO {{table}} VALUES ($1, 5, '{PAYLOAD.decode()}')"
UPDATE_ONE = "UPDATE {table} SET payload = 'changed' || $1 WHERE id = $1"
DELETE_ONE = "DELETE FROM {table} WHERE id = $1"

# name, rows of a statement, clients, statement
WORK = [
    ("INSERT 1024 rows, 1 client", BATCH_ROWS, 1, INSERT_BATCH),
    ("INSERT 1024 rows, 16 clients", BATCH_ROWS, 16, INSERT_BATCH),
    ("INSERT 1 row, 1 client", 1, 1, INSERT_ONE),
    ("INSERT 1 row, 16 clients", 1, 16, INSERT_ONE),
    ("UPDATE by key, 1 client", 1, 1, UPDATE_ONE),
    ("UPDATE by key, 16 clients", 1, 16, UPDATE_ONE),
    ("DELETE by key, 1 client", 1, 1, DELETE_ONE),
    ("DELETE by key, 16 clients", 1, 16, DELETE_ONE),
]
COLUMNS = ("cluster", "plain", "memory", "appender", "fdatasync")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", nargs="?", type=float, default=SECONDS_DEFAULT, help="for each number")
    parser.add_argument("--json", help="write the results to this file too")
    parser.add_argument("--no-stock", action="store_true", help="leave out the stock clients in processes of their own")
    arguments = parser.parse_args()
    seconds = arguments.seconds / ROUNDS
    results = {}
    with tempfile.TemporaryDirectory(prefix="quack-bench-", dir=os.environ.get("QUACK_BENCH_DIR")) as folder:
        bench = Bench(folder, seconds)
        print(f"{'rows/s':<36}" + "".join(f"{name:>11}" for name in COLUMNS) + f"{'of limit':>10}{'of memory':>11}")
        for name, rows, clients, statement in WORK:
            results[name] = best_of_rounds(bench, rows, clients, statement)
            print_line(name, results[name])
        if not arguments.no_stock:
            for clients in (1, 16):
                with StockClients(folder, bench.host.uri, TOKEN, clients) as stock:
                    for name, rows, statement in StockClients.WORK:
                        name = f"stock: {name}, {clients} client{'s' if clients > 1 else ''}"
                        measured = stock.run(rows, statement, arguments.seconds)
                        results[name] = {"cluster": measured}
                        print_line(name, results[name])
        bench.host.close()
    write_json(arguments.json, {"rows_per_second": results})


def best_of_rounds(bench, rows, clients, statement):
    """Measures everything for one line, in turn, several times; returns the best of each."""
    best = defaultdict(float)
    for _ in range(ROUNDS):
        measured = {
            "cluster": bench.run(f"{REPLICATED}.t", rows, clients, statement),
            "plain": bench.run(f"{PLAIN}.t", rows, clients, statement),
            "memory": bench.run("memory.t", rows, clients, statement),
            "appender": ceilings.append(bench.host.folder, rows * clients, bench.seconds),
            "fdatasync": ceilings.sync(bench.host.folder, rows * clients, clients, bench.seconds),
        }
        for column, value in measured.items():
            best[column] = max(best[column], value)
    best["limit"] = 1 / (1 / best["appender"] + 1 / best["fdatasync"])
    for column in ("appender", "fdatasync", "limit", "plain", "memory"):
        best[f"ratio_to_{column}"] = best["cluster"] / best[column]
    return dict(best)


def print_line(name, result):
    line = f"{name:<36}" + "".join(f"{result[column]:>11,.0f}" for column in COLUMNS if column in result)
    if "limit" in result:
        line += f"{result['ratio_to_limit']:>10.1%}{result['ratio_to_memory']:>11.1%}"
    print(line, flush=True)


class Bench:
    """The tables to write to: replicated, plain and in memory, all with the same rows."""

    def __init__(self, folder, seconds):
        self.seconds = seconds
        self.host = Host(folder)
        rows = f"SELECT i AS id, (i % 17)::INTEGER AS tenant, '{PAYLOAD.decode()}' AS payload FROM range({{}}) r(i)"
        self.host.execute(f"CREATE TABLE memory.batch AS {rows.format(BATCH_ROWS)}")
        for catalog in (REPLICATED, PLAIN, "memory"):
            self.host.execute(f"CREATE TABLE {catalog}.t (id BIGINT PRIMARY KEY, tenant INTEGER, payload VARCHAR)")
            self.host.execute(f"INSERT INTO {catalog}.t {rows.format(ROWS_BEFORE)}")
        # Where the next run over a table goes on: inserts take fresh keys, updates and deletes walk over the rows.
        self.fresh_key = 10**9
        self.walked = defaultdict(int)

    def run(self, table, rows, clients, statement):
        """Returns the rows per second that all clients together get acknowledged."""
        insert = statement.startswith("INSERT")
        walk = (table, statement)
        first, self.fresh_key = self.fresh_key, self.fresh_key + 10**9
        statement = statement.format(table=table)
        done, failures, stop = [0] * clients, [], threading.Event()

        def client(number):
            connection = self.host.client()
            try:
                while not stop.is_set():
                    count = done[number]
                    if insert:
                        key = first + number * 10**7 + count * rows
                    else:
                        key = (self.walked[walk] + number + clients * count) % ROWS_BEFORE
                    connection.execute(statement, [key])
                    done[number] += 1
            except duckdb.Error as error:
                failures.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        time.sleep(self.seconds)
        stop.set()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - start
        if failures:
            raise failures[0]
        self.walked[walk] += clients * max(done)
        if self.walked[walk] > ROWS_BEFORE and statement.startswith("DELETE"):
            raise RuntimeError("every row has been deleted: give less seconds")
        return sum(done) * rows / elapsed


if __name__ == "__main__":
    main()
