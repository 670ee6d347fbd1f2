"""Transactions that stay open: what they do, what they look at, and what others do meanwhile."""

import os
from dataclasses import dataclass

from quack_testing.cluster import wait_for
from quack_testing.process import DatabaseError

ROWS = 3000
# How long a statement of others may take before it counts as held up: much longer than a slow machine needs.
STATEMENT_SECONDS = 60
# Rows of t and bag that only the open transactions change, and those that all clients change.
APART, SHARED = "id BETWEEN {first} AND {first} + 9", "id BETWEEN 100 AND 109"


@dataclass
class Opening:
    """What an open transaction does, what it looks at, and whether it must be able to commit in the end."""

    statements: list
    view: str
    commits: bool = True
    # It works in the store itself, so that checkpoints wait for it for a while.
    native: bool = False


def rows_of(condition, commits):
    """Changes of rows, of tables with and without a key."""
    view = "SELECT count(*), sum(n), sum(hash(note)::HUGEINT) FROM {table}"
    found = {}
    for table in ("t", "bag"):
        look = view.format(table=table)
        for name, statements in {
            "updates": [f"UPDATE {table} SET {change} WHERE {condition}" for change in ("n = n + 1", "note = 'x'")],
            "deletes": [f"DELETE FROM {table} WHERE {condition}"],
            "merges": [
                f"MERGE INTO {table} USING (FROM {table} WHERE {condition}) s ON {table}.id = s.id "
                "WHEN MATCHED THEN UPDATE SET n = s.n + 1"
            ],
            "replaces": [
                f"DELETE FROM {table} WHERE {condition}",
                f"INSERT INTO {table} SELECT {{first}} + range, 7, 'new' FROM range(10)",
                f"UPDATE {table} SET n = 8 WHERE note = 'new'",
            ],
        }.items():
            found[f"{name} {table}"] = Opening(statements, look, commits)
    return found


VIEW = "SELECT count(*), sum(n), sum(hash(note)::HUGEINT) FROM t"
# `{first}` and `{node}` are different on each node.
OPENINGS = {
    "inserts": Opening(["INSERT INTO t SELECT {first} * 1000 + range, 1, 'mine' FROM range(1000)"], VIEW),
    "inserts and changes its own": Opening(
        [
            "INSERT INTO t SELECT {first} * 1000 + range, 1, 'mine' FROM range(1000)",
            "UPDATE t SET n = 2 WHERE id >= {first} * 1000",
            "DELETE FROM t WHERE id >= {first} * 1000 + 500",
            "INSERT INTO t VALUES ({first} * 1000, 3, 'upsert') ON CONFLICT (id) DO UPDATE SET n = excluded.n",
        ],
        VIEW,
    ),
    **{f"{name}, apart": opening for name, opening in rows_of(APART, True).items()},
    **{f"{name}, shared": opening for name, opening in rows_of(SHARED, False).items() if "replaces" not in name},
    "deletes everything": Opening(["DELETE FROM t"], VIEW, commits=False),
    "foreign keys": Opening(
        ["DELETE FROM parent WHERE id = {first}", "UPDATE parent SET id = {first} WHERE id = {first} + 1"],
        "SELECT list(id ORDER BY id) FROM parent",
        native=True,
    ),
    "creates a table": Opening(
        ["CREATE TABLE made_{node} (i INTEGER PRIMARY KEY)", "INSERT INTO made_{node} FROM range(100)"],
        "SELECT count(*) FROM made_{node}",
        native=True,
    ),
    "creates a table as": Opening(
        ["CREATE TABLE made_{node} AS FROM t", "UPDATE made_{node} SET n = -1"],
        "SELECT count(*), sum(n) FROM made_{node}",
        native=True,
    ),
    "creates a schema": Opening(
        ["CREATE SCHEMA s_{node}", "CREATE VIEW s_{node}.v AS SELECT 42 AS answer"], "FROM s_{node}.v", native=True
    ),
    "adds a column": Opening(
        ["ALTER TABLE own_{node} ADD COLUMN added INTEGER DEFAULT 5", "UPDATE own_{node} SET n = added"],
        "SELECT sum(n), sum(added) FROM own_{node}",
        commits=None,
        native=True,
    ),
    "changes a type": Opening(
        ["ALTER TABLE own_{node} ALTER n TYPE VARCHAR"], "SELECT max(n) FROM own_{node}", commits=None, native=True
    ),
    "creates an index": Opening(
        ["CREATE INDEX i_{node} ON own_{node} (n)"], "SELECT count(*) FROM own_{node}", commits=None, native=True
    ),
    "creates an index where all write": Opening(
        ["CREATE INDEX i_{node} ON t (n)"], "SELECT count(*) FROM t", commits=None, native=True
    ),
    "renames": Opening(
        ["ALTER TABLE own_{node} RENAME TO renamed_{node}"], "SELECT count(*) FROM renamed_{node}", commits=None, native=True
    ),
    "drops a table": Opening(
        ["DROP TABLE own_{node}"], "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'own_{node}'", commits=None,
        native=True,
    ),
    "drops the table where all write": Opening(
        ["DROP TABLE bag"], "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'bag'", commits=None, native=True
    ),
    "creates a table and changes rows": Opening(
        [
            "CREATE TABLE made_{node} (i INTEGER)",
            f"UPDATE t SET n = n + 1 WHERE {APART}",
            f"DELETE FROM bag WHERE {APART}",
        ],
        VIEW,
        commits=None,
        native=True,
    ),
    "reads": Opening([], VIEW),
}  # fmt: skip


def create_tables(cluster):
    """Makes the tables anew, on a cluster that has had others."""
    node = cluster.alive()[0]
    for (table,) in node.sql("SELECT table_name FROM duckdb_tables() WHERE database_name = 'cp' AND table_name != 'child'"):
        if table == "parent":
            node.sql("DROP TABLE IF EXISTS child")
        node.sql(f"DROP TABLE {table} CASCADE")
    for name in cluster.names:
        node.sql(f"DROP SCHEMA IF EXISTS s_{name} CASCADE")
    for statement in (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n BIGINT, note VARCHAR)",
        f"INSERT INTO t SELECT range, 0, 'note ' || range FROM range({ROWS})",
        "CREATE TABLE bag AS FROM t",
        "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        f"INSERT INTO parent FROM range({ROWS})",
        "CREATE TABLE child (id INTEGER REFERENCES parent (id))",
        *(f"CREATE TABLE own_{name} AS FROM t" for name in cluster.names),
    ):
        node.sql(statement)
    cluster.wait_equal()


class Opened:
    """One open transaction on one node."""

    def __init__(self, node, number, opening):
        self.node = node
        self.opening = opening
        self.names = {"first": 1000 + 500 * number, "node": node.name}
        self.sql("BEGIN")
        # Its snapshot is that of its first statement.
        self.sql("SELECT count(*) FROM t")
        for statement in opening.statements:
            self.sql(statement)
        self.seen = self.look()
        self.doomed = None

    def sql(self, statement):
        return self.node.sql(statement.format(**self.names), "open")

    def look(self):
        return self.sql(self.opening.view)

    def look_again(self):
        """It sees what it saw, or is told of a conflict."""
        try:
            assert self.look() == self.seen
        except DatabaseError as error:
            self.must_be_conflict(error)
            self.doomed = str(error)

    def must_be_conflict(self, error):
        assert self.opening.commits is not True, f"{self.node.name}: {error}"
        assert "onflict" in str(error) and str(error).startswith("TransactionContext Error"), f"{self.node.name}: {error}"

    def commit(self):
        """Returns whether it is committed."""
        if self.doomed:
            self.sql("ROLLBACK")
            return False
        try:
            self.sql("COMMIT")
        except DatabaseError as error:
            self.must_be_conflict(error)
            return False
        assert self.opening.commits is not False
        return True


def commit_on_all(cluster, round_number, foreign_keys=True):
    """Others commit changes of all tables, a statement after the other on each node in turn."""
    for number, node in enumerate(cluster.alive()):
        fresh = 9_000_000 + round_number * 100 + number * 10
        statements = [
            f"UPDATE t SET n = n + 1 WHERE {SHARED}",
            f"UPDATE bag SET n = n + 1 WHERE {SHARED}",
            f"INSERT INTO t SELECT {fresh} + range, 0, 'other' FROM range(10)",
            f"INSERT INTO bag SELECT {fresh} + range, 0, 'other' FROM range(10)",
            f"DELETE FROM t WHERE id = {fresh}",
            f"DELETE FROM bag WHERE id = {fresh}",
            *([f"INSERT INTO parent VALUES ({fresh})", f"INSERT INTO child VALUES ({fresh})"] if foreign_keys else []),
            *(f"UPDATE own_{name} SET n = n + 1 WHERE id = 5" for name in cluster.names),
            *(f"INSERT INTO own_{name} VALUES ({fresh}, 1, 'other')" for name in cluster.names),
        ]
        for statement in statements:
            node.sql(statement, "other", timeout=STATEMENT_SECONDS)


def change_catalog_on_all(cluster):
    for node in cluster.alive():
        for statement in (
            "CREATE TABLE passing (i INTEGER)",
            "ALTER TABLE passing ADD COLUMN j INTEGER",
            "CREATE INDEX by_i ON passing (i)",
            "DROP TABLE passing",
        ):
            node.sql(statement, "other")


def position(node):
    return node.value("SELECT applied_index FROM quack_raft_status()", "other")


def start_with_pipe(node, tmp_path, statement):
    """Starts a statement that reads from a pipe to which no process writes; returns its future and the pipe's end."""
    path = tmp_path / f"{node.name}.pipe"
    os.mkfifo(path)
    source = f"read_csv('{path}', header = false, auto_detect = false, columns = {{'id': 'INTEGER'}})"
    future = node.process.start_sql(statement.format(source=source), "open")

    def opened():
        assert not future.done(), future.exception()
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None

    return future, wait_for(opened, "the statement to read")
