"""Three nodes whose processes differ in all that a host may set or have, and what they must do: what plain DuckDB does."""

import random
from contextlib import suppress

from quack_testing.environments import settings
from quack_testing.fuzz.worlds import SECONDS_MAX, Three
from quack_testing.process import DatabaseError, ProcessEnded

# A database of each of these names is attached where no client runs a statement: a client there could not tell it from a
# schema of the name either, in plain DuckDB.
COLLIDING = ("app", "main2", "test", "other", "s", "s1", "s2", "s3", "a", "b", "t", "quack", "store", "origin")
ALIASES = ("foo", "bar", "CP2")
# Functions in Python that hide DuckDB's own and those of macros, where no client runs a statement.
FUNCTIONS = """
import duckdb.sqltypes as types
for name in ("abs", "upper", "lower", "length", "md5", "concat", "hash", "nextval", "m", "m1", "m2", "f", "twice"):
    for of in (types.INTEGER, types.VARCHAR):
        try:
            database.create_function(name, lambda x: None, [of], of, null_handling="special", side_effects=True)
        except Exception:
            pass
"""
# What a node does while the next statements run.
BESIDE = ("CHECKPOINT {catalog}", "CHECKPOINT {catalog}", "FROM quack_state_hash()", "FROM quack_outcomes()")
BESIDE_EVERY = 5


class Differing(Three):
    """The first node has settings alone, and runs all statements of a script, or none of its names collide.

    `seed` decides everything; what was done to each node is in `story`."""

    name = "environments"

    def __init__(self, folder, seed, certificates=None):
        super().__init__(folder, certificates)
        self.draw = random.Random(f"environments {seed}")
        self.at_one_node = self.draw.random() < 0.6
        self.taken = 0
        self.beside = None
        self.story = []
        nodes = list(self.cluster.nodes.values())
        self.plans = settings.set_some(self.draw, settings.PLANS)
        # With the C API there are no functions in Python.
        self.foreign = nodes[1:] if self.at_one_node else []
        for node in self.foreign:
            node.c_api = self.draw.random() < 0.5
            node.catalog = self.draw.choice(("cp", *ALIASES))

    def start(self):
        self.cluster.start()
        for node in self.cluster.nodes.values():
            self.differ(node)
        return self

    def differ(self, node):
        """Gives a node's process what its host has."""
        hosts, sessions = settings.drawn(self.draw)
        hosts += settings.set_some(self.draw, settings.PLANS) if node in self.foreign else self.plans
        folder = f"{node.name}-{self.draw.randrange(1 << 30)}"
        node.process.python(f"import os\nos.makedirs('{folder}')\nos.chdir('{folder}')")
        if node in self.foreign:
            hosts += [f"ATTACH ':memory:' AS \"{name}\"" for name in COLLIDING if self.draw.random() < 0.7]
            hosts += [f'CREATE TABLE "{name}".main."{name}" AS SELECT 1 AS i' for name in ("a", "b", "t")]
            if not node.c_api:
                node.process.python(FUNCTIONS)
        for statement in hosts:
            try:
                node.sql(statement, "host")
                self.story.append(f"{node.name}: {statement}")
            except DatabaseError as error:
                # What an earlier one forbids; a table of a database that is not attached.
                self.story.append(f"{node.name}: {statement} -- {str(error)[:80]}")
        use = [] if node in self.foreign else ["USE cp"]
        node.process.request("prepare_connections", statements=[*use, *sessions])

    def process_for(self, step):
        if self.at_one_node:
            process = next(iter(self.cluster.nodes.values())).process
        else:
            process = super().process_for(step)
        self.taken += 1
        if self.taken % BESIDE_EVERY == 0:
            self.begin_beside()
        return process

    def begin_beside(self):
        """On any node."""
        self.end_beside()
        node = self.draw.choice(list(self.cluster.nodes.values()))
        statement = self.draw.choice(BESIDE).format(catalog=node.catalog)
        if node.c_api:
            self.beside = node.process.submit("query", connection="beside", sql=statement, rows=True, whole_types=True)
        else:
            self.beside = node.process.start_sql(statement, "beside")

    def end_beside(self):
        """A transaction that is open may be in the way of a checkpoint."""
        beside, self.beside = self.beside, None
        if beside is None:
            return
        try:
            beside.result(SECONDS_MAX)
        except DatabaseError as error:
            assert not str(error).startswith(("INTERNAL", "FATAL")), error

    def restart(self, kill=False):
        self.in_transaction, self.pinned = {}, {}
        if kill:
            self.kill()
            with suppress(ProcessEnded):
                self.end_beside()
        else:
            self.end_beside()
            self.cluster.stop()
        self.start()

    def check(self):
        """Equal, and again after a kill and replay by processes that differ anew."""
        self.end_beside()
        found = super().check()
        if found:
            return found
        before = self.cluster.wait_equal()
        self.restart(kill=True)
        found = super().check()
        after = self.cluster.wait_equal()
        return found or ("" if before == after else f"the state was {before}, and is {after} after a kill and replay")
