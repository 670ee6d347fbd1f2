"""Tables that change their groups again and again, while others work with them."""

import random
import threading

from quack_testing.process import DatabaseError, ProcessEnded

NAMES = ("one", "two", "three")
SHARDS_MAX = 8
STATEMENT_SECONDS = 60


def enable(node):
    assert node.value("SELECT quack_multiraft_sql_set_enabled(true)")


def placement(table, key, random):
    """A statement that puts a table somewhere else, or where it is. SET GROUPS is refused where there is no shard key."""
    options = f"quack_shard_key = '{key}', quack_initial_groups = {random.randint(1, SHARDS_MAX)}"
    return random.choice(
        [
            f"ALTER TABLE cp.{table} SET ({options})",
            f"ALTER TABLE cp.{table} SET GROUPS {random.randint(1, SHARDS_MAX)}",
            f"ALTER TABLE cp.{table} SET GROUP '{random.choice(NAMES)}'",
            f"ALTER TABLE cp.{table} SET GROUP DEFAULT",
        ]
    )


class Placer(threading.Thread):
    """Places tables anew on nodes of its choice among those that are `ready`, until it is told to stop."""

    def __init__(self, tables, seed, ready, stop, pause_seconds):
        super().__init__(daemon=True)
        # Column by which each table is sharded, by the table's name.
        self.tables = tables
        self.random = random.Random(f"{seed} placing")
        self.ready, self.stop, self.pause_seconds = ready, stop, pause_seconds
        self.done, self.refused, self.failure = 0, {}, None

    def run(self):
        try:
            while not self.stop.wait(self.random.uniform(0, 2 * self.pause_seconds)):
                self.place()
        except BaseException as error:
            self.failure = error

    def place(self):
        table = self.random.choice(list(self.tables))
        process = self.ready[self.random.choice(list(self.ready))]
        statement = placement(table, self.tables[table], self.random)
        if process is None:
            return
        try:
            process.sql(statement, "placing", timeout=STATEMENT_SECONDS)
            self.done += 1
        except (DatabaseError, ProcessEnded, TimeoutError) as error:
            text = str(error).split("\n")[0][:100]
            self.refused[text] = self.refused.get(text, 0) + 1
