"""Indexes of tables that change while checkpoints are written: they hold what plain DuckDB's hold, on a node that goes on.

While a checkpoint is written, DuckDB puts aside what comes to an index and what goes. A reader keeps a transaction open all
the time, so that checkpoints do not keep writers away.
"""

import os
import random
import threading
from contextlib import suppress

import duckdb
import pytest
from quack_testing.process import DatabaseError

# For so long each checkpoint stays open before it writes anything.
CHECKPOINT_MS = 100
TABLES = 12
STATEMENTS = 20
ROWS_MAX = 5000

INDEXES = [
    "CREATE INDEX by_k ON t(k)",
    "CREATE INDEX by_two ON t(k, x)",
    "CREATE INDEX by_value ON t((nullif(k, 7)))",
    "CREATE UNIQUE INDEX by_id ON t(id)",
]
CHANGES = [
    "UPDATE t SET k = {n}",
    "UPDATE t SET k = NULL WHERE id % 5 = {n} % 5",
    "UPDATE t SET k = {n}, x = NULL WHERE id % 3 = 0",
    "UPDATE t SET x = 'u{n}' WHERE id % 7 = {n} % 7",
    "UPDATE t SET id = id + 100000",
    "INSERT INTO t SELECT 1000000 * {n} + range, {n}, 'i' FROM range({rows})",
    "INSERT INTO t SELECT 1000000 * {n} + range, nullif(range % 9, 3), 'i' FROM range({rows})",
    "INSERT INTO t (id, x) VALUES ({n}, 'alone')",
    "INSERT INTO t (k) VALUES ({n}), (NULL), ({n})",
    "DELETE FROM t WHERE id % 11 = {n} % 11",
    "DELETE FROM t WHERE k = {n} OR k IS NULL",
    "DELETE FROM t WHERE id > 2000",
]


class Beside:
    """Checkpoints, and a reader, beside what a test does."""

    def __init__(self, node):
        self.node = node
        self.ends = threading.Event()
        self.checkpoints = 0
        self.threads = [threading.Thread(target=work) for work in (self.checkpoint, self.read)]

    def checkpoint(self):
        while not self.ends.is_set():
            with suppress(DatabaseError):
                self.node.sql("CHECKPOINT cp", "checkpoints")
                self.checkpoints += 1

    def read(self):
        while not self.ends.is_set():
            with suppress(DatabaseError):
                self.node.sql("BEGIN; FROM cp.quack_read", "reader")
            self.ends.wait(0.05)
            with suppress(DatabaseError):
                self.node.sql("COMMIT", "reader")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        for thread in self.threads:
            thread.join()


def outcome(run, statement):
    """None, or of which kind the error is."""
    try:
        run(statement)
    except (DatabaseError, duckdb.Error) as error:
        return "key" if "uplicate key" in str(error) else str(error)
    return None


@pytest.mark.parametrize("attempt", range(2))
def test_indexes_are_as_in_plain_duckdb_while_checkpoints_are_written(node, attempt):
    seed = int(os.environ.get("QUACK_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}")
    draw = random.Random(f"{seed} {attempt}")
    plain = duckdb.connect()
    node.sql("CREATE TABLE quack_read (i INTEGER)")
    node.sql(f"SET GLOBAL debug_checkpoint_sleep_ms = {CHECKPOINT_MS}")
    done = []

    def both(statement):
        done.append(statement)
        expected = outcome(plain.sql, statement)
        assert outcome(node.sql, statement) == expected, done

    def compare():
        for query in ["SELECT * FROM t ORDER BY ALL", *(f"SELECT count(*) FROM t WHERE k = {k}" for k in range(0, 100, 7))]:
            assert node.sql(query) == plain.sql(query).fetchall(), (query, done)

    with Beside(node) as beside:
        for _ in range(TABLES):
            done.clear()
            rows = draw.randrange(1, ROWS_MAX)
            both(f"CREATE OR REPLACE TABLE t AS SELECT range::INTEGER AS id, {draw.randrange(100)} AS k, 'x' AS x FROM range({rows})")
            for index in draw.sample(INDEXES, draw.randrange(1, 4)):
                both(index)
            for _ in range(STATEMENTS):
                numbers = {"n": draw.randrange(100), "rows": draw.choice([3, 3000])}
                both(draw.choice(CHANGES).format(**numbers))
            compare()
    assert beside.checkpoints > 3
    node.kill_and_start()
    compare()
    # What the indexes hold decides about new keys, too.
    for n in range(20):
        both(f"INSERT INTO t (id, k) VALUES ({n}, {n})")
    compare()
