"""Rows per second of writes through the log, next to what the disk and DuckDB could do at best.

usage: write.py [SECONDS]

Two ceilings are measured in the same run and on the same disk: DuckDB's appender alone (batches of the same
size, each its own transaction, into a file without a WAL), and fdatasync of the same bytes. A write through
the log needs both, one after the other, so the limit printed is that of the two together. Plain DuckDB with
its own WAL runs the same statements for comparison.
"""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "sql-tests" / "python")]

import duckdb  # noqa: E402
from appender import Appender  # noqa: E402

from quack_testing.process import EXTENSION  # noqa: E402

BATCH_ROWS = 1024
# A row is an id, a tenant and 50 bytes of payload: about 75 bytes in DuckDB's serialization.
PAYLOAD = b"x" * 50
ROW_BYTES = 75
SECONDS_DEFAULT = 3.0
ROWS_BEFORE = 200_000
SYNC_FILE_BYTES = 64 * 2**20


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS_DEFAULT
    with tempfile.TemporaryDirectory(prefix="quack-bench-", dir=os.environ.get("QUACK_BENCH_DIR")) as folder:
        ceilings = Ceilings(folder, seconds)
        bench = Bench(folder, seconds)
        print(f"{'writes, rows/s':<30}{'cluster':>10}{'plain':>10}{'appender':>10}{'fdatasync':>11}{'of limit':>10}")
        for name, rows, clients, statement in WORK:
            cluster = bench.run("cp", rows, clients, statement)
            plain = bench.run("native", rows, clients, statement)
            append, sync = ceilings.append(rows * clients), ceilings.sync(rows * clients)
            limit = 1 / (1 / append + 1 / sync)
            print(
                f"{name:<30}{cluster:>10,.0f}{plain:>10,.0f}{append:>10,.0f}{sync:>11,.0f}{cluster / limit:>10.1%}",
                flush=True,
            )
        bench.close()


INSERT_BATCH = "INSERT INTO {catalog}.t SELECT id + $1, tenant, payload FROM memory.batch"
INSERT_ONE = f"INSERT INTO {{catalog}}.t VALUES ($1, 5, '{PAYLOAD.decode()}')"
UPDATE_ONE = "UPDATE {catalog}.t SET payload = 'changed' || $1 WHERE id = $1"
DELETE_ONE = "DELETE FROM {catalog}.t WHERE id = $1"

# name, rows of a statement, clients, statement; several clients write one batch for the disk.
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


def rate(seconds, work):
    """Calls `work(i)`, which returns a number of rows, for `seconds`; returns rows per second."""
    rows, count, start = 0, 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        rows += work(count)
        count += 1
    return rows / elapsed


class Ceilings:
    """What the appender and the disk do alone, for batches of a number of rows; measured once each."""

    def __init__(self, folder, seconds):
        self.folder, self.seconds = Path(folder), seconds
        self.known = {}

    def append(self, rows):
        def measure():
            # A chunk holds 2048 rows at most; larger batches are as fast as those.
            chunk_rows = min(rows, 2048)
            appender = Appender(self.folder / f"appender-{rows}.duckdb", chunk_rows, PAYLOAD)
            filling = rate(0.3, lambda i: self.fill(appender, i * chunk_rows))
            both = rate(self.seconds, lambda i: self.append_one(appender, i * chunk_rows))
            # Filling the keys from Python is not the appender's work.
            return 1 / max(1 / both - 1 / filling, 1e-9)

        return self.measured(("append", rows), measure)

    def append_one(self, appender, key):
        appender.append(key)
        return appender.rows

    def fill(self, appender, key):
        for row in range(appender.rows):
            appender.keys[row] = key + row
        return appender.rows

    def sync(self, rows):
        def measure():
            data = os.urandom(rows * ROW_BYTES)
            with open(self.folder / "sync", "w+b", buffering=0) as file:
                # Written once before, so that fdatasync has no lengths and block lists to write.
                for _ in range(SYNC_FILE_BYTES // 2**20):
                    file.write(bytes(2**20))
                os.fsync(file.fileno())
                places = SYNC_FILE_BYTES // len(data)

                def write(i):
                    os.pwrite(file.fileno(), data, i % places * len(data))
                    os.fdatasync(file.fileno())
                    return rows

                return rate(self.seconds, write)

        return self.measured(("sync", rows), measure)

    def measured(self, key, measure):
        if key not in self.known:
            self.known[key] = measure()
        return self.known[key]


class Bench:
    """A node, and a plain DuckDB file in the same process, with the same table."""

    def __init__(self, folder, seconds):
        self.seconds = seconds
        self.database = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        self.database.execute(f"LOAD '{EXTENSION}'")
        self.uri = self.database.execute(
            f"CALL quack_serve('quack:127.0.0.1:0', token := 'bench', node_id := 'n0', data_dir := '{folder}/n0')"
        ).fetchone()[0]
        self.database.execute(f"ATTACH '{self.uri}' AS cp (TYPE quack, TOKEN 'bench')")
        self.database.execute(f"ATTACH '{folder}/native.duckdb' AS native")
        self.database.execute(
            f"CREATE TABLE memory.batch AS SELECT i AS id, (i % 17)::INTEGER AS tenant, "
            f"'{PAYLOAD.decode()}' AS payload FROM range({BATCH_ROWS}) r(i)"
        )
        self.next_key = {}
        for catalog in ("cp", "native"):
            self.database.execute(f"CREATE TABLE {catalog}.t (id BIGINT PRIMARY KEY, tenant INTEGER, payload VARCHAR)")
            self.database.execute(
                f"INSERT INTO {catalog}.t SELECT i, i % 17, '{PAYLOAD.decode()}' FROM range({ROWS_BEFORE}) r(i)"
            )
            self.next_key[catalog] = 10**9

    def run(self, catalog, rows, clients, statement):
        """Returns the rows per second that all clients together get acknowledged."""
        statement = statement.format(catalog=catalog)
        insert = statement.startswith("INSERT")
        done, failures = [0] * clients, []
        first, self.next_key[catalog] = self.next_key[catalog], self.next_key[catalog] + 10**9
        stop = threading.Event()

        def client(number):
            connection = self.database.cursor()
            try:
                count = 0
                while not stop.is_set():
                    # Inserts take fresh keys; updates and deletes walk over the rows that are there.
                    key = first + number * 10**7 + count * rows if insert else (number + clients * count) % ROWS_BEFORE
                    connection.execute(statement, [key])
                    count += 1
                    done[number] = count * rows
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
        if failures and catalog == "cp":
            raise failures[0]
        return sum(done) / elapsed

    def close(self):
        self.database.execute(f"CALL quack_stop('{self.uri}')")
        self.database.close()


if __name__ == "__main__":
    main()
