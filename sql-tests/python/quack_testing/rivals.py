"""Clients on all nodes of a cluster that contradict one another all the time: transactions of changes of the catalog and
of rows, at the same few names; on request also while nodes are killed, and in hosts with settings of their own.

The nodes must hold the same in the end, regardless of the answers that clients get. What a client did is known only to its
own node until it commits, so a node that lets it decide what becomes of an entry differs from the others soon.
"""

import argparse
import random
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress

from quack_testing.clients import MAY_BE_THERE
from quack_testing.cluster import Cluster, wait_for
from quack_testing.environments import settings as environments
from quack_testing.history import FAILED, OK
from quack_testing.linearizability import UNKNOWN
from quack_testing.process import DatabaseError, ProcessEnded

CLIENTS_OF_NODE = 3
ROUND_SECONDS = 2
KILLS_ROUND_SECONDS = 12
# What no statement may ever say of the node itself.
NEVER = ("INTERNAL Error", "FATAL Error", "differs from", "degraded")

TABLES = ("a", "b", "c")
CATALOG = [
    "CREATE TABLE {t} (id INTEGER, k INTEGER, x VARCHAR)",
    "CREATE TABLE {t} (id INTEGER PRIMARY KEY, k INTEGER, x VARCHAR)",
    "CREATE TABLE {t} (id INTEGER, k INTEGER REFERENCES {other} (id), x VARCHAR)",
    "CREATE OR REPLACE TABLE {t} AS SELECT range::INTEGER AS id, {n} AS k, 'x' AS x FROM range({many})",
    "CREATE TABLE {t} AS FROM {other}",
    "DROP TABLE {t}",
    "ALTER TABLE {t} RENAME TO {other}",
    "ALTER TABLE {t} ADD COLUMN y INTEGER DEFAULT {n}",
    "ALTER TABLE {t} DROP COLUMN y",
    "ALTER TABLE {t} RENAME k TO l",
    "ALTER TABLE {t} RENAME l TO k",
    "ALTER TABLE {t} ALTER k TYPE BIGINT",
    "ALTER TABLE {t} ALTER k TYPE INTEGER",
    "ALTER TABLE {t} ALTER x SET NOT NULL",
    "ALTER TABLE {t} ALTER x DROP NOT NULL",
    "CREATE OR REPLACE VIEW v AS FROM {t}",
    "DROP VIEW v",
    "CREATE SEQUENCE q",
    "DROP SEQUENCE q",
    "SELECT nextval('q')",
    "CREATE SCHEMA s",
    "CREATE TABLE s.d AS FROM {t}",
    "DROP SCHEMA s CASCADE",
    "CREATE TYPE mood AS ENUM ('a', 'b')",
    "DROP TYPE mood",
    "CREATE OR REPLACE MACRO m(i) AS i + {n}",
    "COMMENT ON TABLE {t} IS '{n}'",
    "ALTER TABLE {t} ADD PRIMARY KEY (id)",
    "CREATE INDEX by_k ON {t} (k)",
    "CREATE UNIQUE INDEX by_id ON {t} (id)",
    "DROP INDEX by_k",
    "DROP INDEX by_id",
    "COMMENT ON INDEX by_k IS '{n}'",
]
ROWS = [
    "INSERT INTO {t} (id, x) SELECT {n} + range, 'i' FROM range({few})",
    "INSERT INTO {t} (id, x) SELECT 1000 * {n} + range, 'many' FROM range({many})",
    "INSERT INTO {t} (id, x) SELECT id + {n}, x FROM {t} LIMIT 20000",
    "INSERT OR REPLACE INTO {t} (id, x) SELECT range, 'replaced' FROM range(50)",
    "INSERT INTO {t} (id, x) VALUES ({n}, 'conflict') ON CONFLICT DO NOTHING",
    "INSERT INTO {t} (id, x) VALUES ({n}, 'upsert') ON CONFLICT (id) DO UPDATE SET x = 'again'",
    "INSERT INTO {t} (id, k, x) SELECT {n}, id, 'referring' FROM {other} LIMIT 1",
    "UPDATE {t} SET x = 'u{n}' WHERE id % 7 = {n} % 7",
    "UPDATE {t} SET k = {n}",
    "UPDATE {t} SET x = 'r{n}' WHERE id % 3 = {n} % 3 RETURNING id",
    "SELECT count(*), min(x) FROM (FROM {t} LIMIT 10000)",
    "UPDATE {t} SET id = id + 1 WHERE id > {n}",
    "DELETE FROM {t} WHERE id % 11 = {n} % 11",
    "DELETE FROM {t} WHERE id > 2000",
    "MERGE INTO {t} USING (SELECT {n} AS id) n USING (id) WHEN MATCHED THEN UPDATE SET x = 'm' "
    "WHEN NOT MATCHED THEN INSERT (id, x) VALUES (n.id, 'm')",
    "TRUNCATE {t}",
    "SELECT count(*) FROM {t}",
]
GROUPS = [
    "ALTER TABLE {t} SET GROUPS {groups}",
    "ALTER TABLE {t} SET GROUP 'apart'",
    "ALTER TABLE {t} SET GROUP DEFAULT",
    "CREATE TABLE {t} (id INTEGER PRIMARY KEY, k INTEGER, x VARCHAR) WITH (quack_shard_key = 'id')",
]


# Without a key, so that a row that is inserted twice is there twice. No client contradicts what others write to it.
MARKS = "CREATE TABLE marks (mark BIGINT)"
MARK = "INSERT INTO marks VALUES ({mark})"
MARKS_IN_GROUPS = ["ALTER TABLE marks SET GROUPS {groups}", "ALTER TABLE marks SET GROUP DEFAULT"]


class Marks:
    """Rows of a table that nothing but a client's own transaction writes, each with what the client knows of it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.next_mark = 0
        self.told = {}

    def new(self):
        with self.lock:
            self.next_mark += 1
            return self.next_mark

    def note(self, mark, told):
        """`told` is OK, FAILED or UNKNOWN."""
        with self.lock:
            self.told[mark] = told

    def wrong(self, node):
        """What the node holds otherwise than the clients were told, in words."""
        held = dict(node.sql("SELECT mark, count(*) FROM marks GROUP BY mark"))
        expected = {OK: (1,), FAILED: (0,), UNKNOWN: (0, 1)}
        return [
            f"{node.name} holds mark {mark} {held.get(mark, 0)} times, but its client was told: {told}"
            for mark, told in self.told.items()
            if held.get(mark, 0) not in expected[told]
        ]


class Rivals:
    """A running cluster and its clients. `answers` counts what they were told, by the first words; with `kills`, nodes
    end by SIGKILL and start again all the time, one at a time, and write checkpoints; with `settings`, each host has other
    settings of DuckDB with each start."""

    def __init__(self, cluster, seed, groups=False, kills=False, settings=False):
        self.cluster = cluster
        self.seed = seed
        self.kills = kills
        self.settings = random.Random(f"{seed} settings") if settings else None
        self.kinds = [CATALOG, ROWS, *([GROUPS + MARKS_IN_GROUPS] if groups else [])]
        self.answers = Counter()
        self.marks = Marks()
        self.wrong = []
        self.ready = {name: threading.Event() for name in cluster.names}
        for event in self.ready.values():
            event.set()
        if groups:
            cluster.alive()[0].sql("SELECT quack_multiraft_sql_set_enabled(true)")
        cluster.alive()[0].sql(MARKS)
        for node in cluster.alive():
            self.set_host(node)

    def set_host(self, node):
        """Gives the node's host settings, if they are to differ."""
        if self.settings:
            for setting in environments.drawn(self.settings)[0]:
                node.sql(setting, "host")

    def statement(self, draw):
        name, other = draw.sample(TABLES, 2)
        text = draw.choice(draw.choice(self.kinds))
        numbers = {"n": draw.randrange(100), "few": draw.randrange(1, 9), "many": draw.randrange(100, 5000)}
        return text.format(t=name, other=other, groups=draw.randrange(1, 4), **numbers)

    def run(self, node, connection, statement):
        """OK, FAILED, or UNKNOWN, which it can be if the statement commits."""
        try:
            node.sql(statement, connection)
        except ProcessEnded:
            self.answers["process ended"] += 1
            if not self.kills:
                self.wrong.append(f"{node.name} ended: {statement}")
            return UNKNOWN
        except TimeoutError:
            self.wrong.append(f"{node.name} gave no answer: {statement}")
            return UNKNOWN
        except DatabaseError as error:
            text = str(error)
            self.answers[text.split(":")[0]] += 1
            if any(word in text for word in NEVER):
                self.wrong.append(f"{node.name}: {statement}: {text[:500]}")
            return UNKNOWN if any(words in text for words in MAY_BE_THERE) else FAILED
        self.answers["ok"] += 1
        return OK

    def transaction(self, node, connection, draw):
        """A transaction with a mark in its midst."""
        mark = self.marks.new()
        statements = [self.statement(draw) for _ in range(draw.randrange(1, 5))]
        statements.insert(draw.randrange(len(statements) + 1), MARK.format(mark=mark))
        told = FAILED
        if all(self.run(node, connection, statement) == OK for statement in ["BEGIN", *statements]):
            if draw.random() < 0.25:
                self.run(node, connection, "ROLLBACK")
            else:
                told = self.run(node, connection, "COMMIT")
        if told != OK:
            # There is none, unless it was not the transaction's own end that was refused.
            with suppress(DatabaseError, ProcessEnded):
                node.sql("ROLLBACK", connection)
        self.marks.note(mark, told)

    def operate(self, node, connection, draw, until):
        while time.monotonic() < until and not self.wrong:
            if not self.ready[node.name].wait(0.1):
                continue
            choice = draw.random()
            if choice < 0.4:
                self.run(node, connection, self.statement(draw))
            elif choice < 0.5:
                mark = self.marks.new()
                self.marks.note(mark, self.run(node, connection, MARK.format(mark=mark)))
            else:
                self.transaction(node, connection, draw)

    def kill(self, draw, until):
        while time.monotonic() < until and not self.wrong:
            time.sleep(draw.uniform(0, 2))
            node = draw.choice(list(self.cluster.nodes.values()))
            if draw.random() < 0.3:
                self.run(node, "keeper", draw.choice(["CHECKPOINT cp", "FORCE CHECKPOINT cp"]))
                continue
            self.ready[node.name].clear()
            node.kill()
            self.answers["kills"] += 1
            time.sleep(draw.uniform(0, 1))
            node.start()
            self.set_host(node)
            self.ready[node.name].set()

    def same(self):
        """Whether the nodes hold the same. The position that goes with a hash may differ: not every entry is stored."""
        return len({node.sql("FROM quack_state_hash()")[0][2] for node in self.cluster.alive()}) == 1

    def round(self, number):
        """All clients do what they want for a while; then the nodes are to be equal, and to hold what clients were told."""
        until = time.monotonic() + (KILLS_ROUND_SECONDS if self.kills else ROUND_SECONDS)
        threads = []
        for node in self.cluster.alive():
            for client in range(CLIENTS_OF_NODE):
                draw = random.Random(f"{self.seed} {number} {node.name} {client}")
                arguments = (node, f"rival {client}", draw, until)
                threads.append(threading.Thread(target=self.operate, args=arguments))
        if self.kills:
            threads.append(threading.Thread(target=self.kill, args=(random.Random(f"{self.seed} {number}"), until)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self.wrong, f"{self.wrong[0]}\nthe first difference: {self.cluster.first_difference()}"
        assert len(self.cluster.alive()) == len(self.cluster.names), "a node has ended by itself, or does not start"
        wait_for(self.same, "equal state hashes")
        for node in self.cluster.alive():
            # A group may have lost its leader just now.
            wait_for(lambda node=node: node.sql("SELECT DISTINCT state FROM quack_raft_status()") == [("ok",)], "well nodes")
            assert not (wrong := self.marks.wrong(node)), wrong[:10]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--groups", action="store_true")
    parser.add_argument("--kills", action="store_true")
    parser.add_argument("--settings", action="store_true")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(folder).start()
        try:
            rivals = Rivals(cluster, arguments.seed, arguments.groups, arguments.kills, arguments.settings)
            number, end = 0, time.monotonic() + 60 * arguments.minutes
            while time.monotonic() < end:
                rivals.round(number)
                number += 1
            print(f"{number} rounds, {len(rivals.marks.told)} marks: {dict(rivals.answers)}")
        finally:
            for node in cluster.alive():
                node.kill()


if __name__ == "__main__":
    main()
