"""A program that serves, and changes two tables from several threads in every way there is.

usage: mixed_load_host.py EXTENSION DATA_DIR SECONDS SEED

It prints one line of JSON: the state hash, the sum of the counters, how often they were raised, how many rows the
table with a key has and how many keys, and the errors that the statements met. With 0 seconds it only looks.
"""

import json
import random
import sys
import threading
import time

import duckdb

THREADS = 8
KEYS = 3000


def main():
    extension, data_dir, seconds, seed = sys.argv[1:]
    database = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    database.execute(f"LOAD '{extension}'")
    database.execute(f"CALL quack_serve('quack:127.0.0.1:0', data_dir := '{data_dir}')")
    database.execute("CREATE TABLE IF NOT EXISTS cp.keyed (id BIGINT PRIMARY KEY, n BIGINT, pad VARCHAR)")
    database.execute("CREATE TABLE IF NOT EXISTS cp.bag (a INTEGER, pad VARCHAR, l INTEGER[])")
    clients = [Client(database.cursor(), f"{seed}-{number}", float(seconds)) for number in range(THREADS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    ((_, index, state),) = database.execute("FROM quack_state_hash()").fetchall()
    counted, rows, keys = database.execute("SELECT sum(n), count(*), count(DISTINCT id) FROM cp.keyed").fetchone()
    errors = sorted(set().union(*(client.errors for client in clients)))
    raised = sum(client.raised for client in clients)
    report = {"index": index, "state": state, "counted": int(counted or 0), "raised": raised, "rows": rows, "keys": keys}
    print(json.dumps(report | {"errors": errors}), flush=True)
    sys.stdin.read()


class Client(threading.Thread):
    """Runs random statements, each a transaction of its own, until its time is over."""

    def __init__(self, connection, seed, seconds):
        super().__init__()
        self.connection = connection
        self.random = random.Random(seed)
        self.end = time.monotonic() + seconds
        self.raised = 0
        self.errors = set()

    def run(self):
        statements = [
            self.insert_keys, self.insert_key, self.raise_counter, self.raise_counter, self.change_strings,
            self.delete_keys, self.insert_rows, self.delete_rows, self.change_rows, self.merge,
        ]
        while time.monotonic() < self.end:
            try:
                self.random.choice(statements)(self.random.randrange(KEYS))
            except duckdb.ConstraintException:
                pass  # A key that is there already.
            except duckdb.Error as error:
                self.errors.add(str(error))

    def insert_keys(self, key):
        sql = "INSERT INTO cp.keyed SELECT range, 0, repeat('x', 50) FROM range(?, ?) ON CONFLICT DO NOTHING"
        self.connection.execute(sql, [key, key + self.random.randrange(1, 300)])

    def insert_key(self, key):
        self.connection.execute("INSERT INTO cp.keyed VALUES (?, 0, 'one')", [key])

    def raise_counter(self, key):
        # Few keys, so that the clients meet.
        result = self.connection.execute("UPDATE cp.keyed SET n = n + 1 WHERE id = ?", [key % 50])
        self.raised += result.fetchone()[0]

    def change_strings(self, key):
        sql = "UPDATE cp.keyed SET pad = repeat('y', 200) WHERE id BETWEEN ? AND ?"
        self.connection.execute(sql, [key, key + 200])

    def delete_keys(self, key):
        # Not those that count.
        sql = "DELETE FROM cp.keyed WHERE id BETWEEN ? AND ? AND id >= 50 RETURNING id"
        self.connection.execute(sql, [key, key + 50]).fetchall()

    def insert_rows(self, key):
        self.connection.execute("INSERT INTO cp.bag SELECT range % 7, repeat('z', 100), [1, range] FROM range(?)", [key])

    def delete_rows(self, key):
        self.connection.execute("DELETE FROM cp.bag WHERE a = ? AND l[2] > ?", [key % 7, key])

    def change_rows(self, key):
        # Equal rows by the dozen: any of them is the right one, but each only once.
        self.connection.execute("UPDATE cp.bag SET a = a + 1, l = [7], pad = 'q' WHERE a = ? AND l[2] < 20", [key % 7])

    def merge(self, key):
        self.connection.execute(
            "MERGE INTO cp.keyed USING (SELECT ? AS id) source ON keyed.id = source.id "
            "WHEN MATCHED THEN UPDATE SET pad = 'm' WHEN NOT MATCHED THEN INSERT VALUES (source.id, 0, 'm')",
            [key],
        )


if __name__ == "__main__":
    main()
