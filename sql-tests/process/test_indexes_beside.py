"""Indexes hold what plain DuckDB's hold, also beside checkpoints, and beside indexes that come and go.

While a checkpoint is written, DuckDB puts aside what comes to an index and what goes. And a statement may have been evaluated
before there was the index that it meets when it is applied.
"""

import os
import random
import threading
import time
from contextlib import suppress

import duckdb
import pytest
from quack_testing.process import DatabaseError, pause, resume

# For so long each checkpoint stays open before it writes anything.
CHECKPOINT_MS = 100
TABLES = 12
# Within so long a statement is evaluated and proposed; a leader that is away for longer than both is replaced.
PROPOSED_SECONDS = 0.12
STATEMENTS = 20
ROWS_MAX = 5000
UPDATES = 40
# Every id is inserted below this. A statement adds a multiple of it that no statement before has added, so that no new id is
# another row's id of before: such an UPDATE is right, and DuckDB refuses it or not by how the rows lie in their chunks.
IDS_MAX = 100_000_000

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
    "UPDATE t SET id = id + {shift}",
    "INSERT INTO t SELECT 1000000 * {n} + range, {n}, 'i' FROM range({rows})",
    "INSERT INTO t SELECT 1000000 * {n} + range, nullif(range % 9, 3), 'i' FROM range({rows})",
    "INSERT INTO t (id, x) VALUES ({n}, 'alone')",
    "INSERT INTO t (k) VALUES ({n}), (NULL), ({n})",
    "DELETE FROM t WHERE id % 11 = {n} % 11",
    "DELETE FROM t WHERE k = {n} OR k IS NULL",
    "DELETE FROM t WHERE id > 2000",
]


class Beside:
    """Checkpoints, and a reader whose open transaction lets writers go on meanwhile, beside what a test does."""

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


@pytest.mark.parametrize("shift", [1, 2048, 4480])
def test_an_update_takes_the_keys_of_other_rows_that_change(node, shift):
    node.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    node.sql("INSERT INTO t FROM range(4481)")
    node.sql(f"UPDATE t SET id = id + {shift}")
    assert node.sql("SELECT min(id), max(id), count(DISTINCT id) FROM t") == [(shift, 4480 + shift, 4481)]
    with pytest.raises(DatabaseError, match="uplicate key"):
        node.sql(f"UPDATE t SET id = id - {shift} WHERE id > {shift}")
    node.kill_and_start()
    assert node.sql("SELECT min(id), max(id), count(DISTINCT id) FROM t") == [(shift, 4480 + shift, 4481)]


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
            both(f"CREATE OR REPLACE TABLE t AS SELECT range AS id, {draw.randrange(100)} AS k, 'x' AS x FROM range({rows})")
            for index in draw.sample(INDEXES, draw.randrange(1, 4)):
                both(index)
            for done_before in range(STATEMENTS):
                numbers = {"n": draw.randrange(100), "rows": draw.choice([3, 3000]), "shift": IDS_MAX << done_before}
                both(draw.choice(CHANGES).format(**numbers))
            compare()
    assert beside.checkpoints > 3
    node.kill_and_start()
    compare()
    # What the indexes hold decides about new keys, too.
    for n in range(20):
        both(f"INSERT INTO t (id, k) VALUES ({n}, {n})")
    compare()


# Tables of which an update changes rows where they are, for what refers to them, or not.
REFERRING = ["CREATE TABLE referring (id INTEGER REFERENCES t (id))", None]


@pytest.mark.parametrize("referring", REFERRING, ids=["referred to", "alone"])
def test_indexes_that_come_and_go_beside_updates(shared_cluster, referring):
    nodes = shared_cluster.alive()
    first = nodes[0]
    first.sql("CREATE OR REPLACE TABLE t (id INTEGER PRIMARY KEY, k INTEGER, x VARCHAR)")
    first.sql("INSERT INTO t SELECT range, NULL, 'x' FROM range(3000)")
    if referring:
        first.sql(referring)
    shared_cluster.wait_equal()
    wrong, ends = [], threading.Event()

    def run(node, connection, statement):
        try:
            node.sql(statement, connection)
        except DatabaseError as error:
            text = str(error)
            if "degraded" in text or "INTERNAL" in text:
                wrong.append(f"{node.name}: {statement}: {text[:300]}")
                ends.set()

    def make_indexes(node):
        while not ends.is_set():
            run(node, "indexes", "CREATE INDEX by_k ON t (k)")
            run(node, "indexes", "DROP INDEX by_k")
            run(node, "indexes", "BEGIN; CREATE INDEX by_x ON t (x)")
            run(node, "indexes", "ROLLBACK")

    makers = [threading.Thread(target=make_indexes, args=(node,)) for node in nodes[:2]]
    for maker in makers:
        maker.start()
    for n in range(UPDATES):
        run(nodes[n % len(nodes)], "updates", f"UPDATE t SET k = {n}")
        run(nodes[(n + 1) % len(nodes)], "updates", f"UPDATE t SET x = 'x{n}', k = k + 1 WHERE id % 3 = {n} % 3")
        run(nodes[(n + 2) % len(nodes)], "updates", f"INSERT INTO t VALUES ({3000 + n}, {n}, 'more')")
        run(nodes[(n + 2) % len(nodes)], "updates", f"DELETE FROM t WHERE id > 3000 AND id % 7 = {n} % 7")
    ends.set()
    for maker in makers:
        maker.join()
    assert not wrong, f"{wrong[0]}\nthe first difference: {shared_cluster.first_difference()}"
    shared_cluster.wait_equal()
    for node in nodes:
        assert node.sql("SELECT DISTINCT state FROM quack_raft_status()") == [("ok",)]
    if referring:
        first.sql("DROP TABLE referring")
    first.sql("DROP TABLE t")


def test_an_index_holds_what_was_evaluated_before_it_was_made(shared_cluster):
    """The entry of the update follows that of the index in the log; its origin had applied neither."""
    first = shared_cluster.alive()[0]
    first.sql("CREATE OR REPLACE TABLE t (id INTEGER PRIMARY KEY, k INTEGER)")
    first.sql("INSERT INTO t SELECT range, 0 FROM range(3000)")
    first.sql("CREATE TABLE referring (id INTEGER REFERENCES t (id))")
    for attempt in range(1, 6):
        shared_cluster.wait_equal()
        leader = shared_cluster.leader()
        origin = shared_cluster.others(leader)[0]
        pause(leader.process)
        index = origin.process.start_sql("CREATE INDEX by_k ON t (k)", "index")
        time.sleep(PROPOSED_SECONDS)
        update = origin.process.start_sql(f"UPDATE t SET k = {attempt}", "update")
        time.sleep(PROPOSED_SECONDS)
        resume(leader.process)
        index.result(60)
        assert update.result(60) == [(3000,)]
        shared_cluster.wait_equal()
        for node in shared_cluster.alive():
            assert node.sql(f"SELECT count(*) FROM t WHERE k = {attempt} AND id < 9") == [(9,)]
        first.sql(f"DELETE FROM t WHERE id = 3000 - {attempt}")
        first.sql(f"INSERT INTO t VALUES (3000 - {attempt}, 0)")
        first.sql("DROP INDEX by_k")
    for node in shared_cluster.alive():
        assert node.sql("SELECT DISTINCT state FROM quack_raft_status()") == [("ok",)]
    first.sql("DROP TABLE referring")
    first.sql("DROP TABLE t")
