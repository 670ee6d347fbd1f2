"""Tables change their groups under load: no client notices, nothing is lost, nothing is there twice.

Clients at all nodes insert, update and delete rows of their own in two tables, of which one refers to the other by
foreign key, with keys that say nothing about the groups; some of them in transactions over both. All the while the tables
are placed elsewhere. In the end every node holds exactly what the clients were told.
"""

import os
import random
import threading
import time
from contextlib import contextmanager

from quack_testing import placing
from quack_testing.process import DatabaseError

RESHARDS = int(os.environ.get("QUACK_RESHARDS", 25))
CLIENTS = 6
ALTERATIONS = 8
SHARD_KEYS = {"parent": "tenant", "child": "id"}


class Client(threading.Thread):
    """Knows what must be there of its rows. An error of any kind is a failure: it writes where no other client does."""

    def __init__(self, number, node, stop):
        super().__init__(daemon=True)
        self.number, self.node, self.stop = number, node, stop
        self.random = random.Random(number)
        self.rows, self.children = {}, set()
        self.operations, self.failure = 0, None

    def run(self):
        try:
            while not self.stop.is_set():
                self.random.choice([self.insert, self.update, self.both, self.delete])()
                self.operations += 1
        except BaseException as error:
            self.failure = error

    def sql(self, statement):
        return self.node.sql(statement, f"client-{self.number}")

    def fresh(self):
        return self.number * 1_000_000 + self.operations

    def insert(self):
        key = self.fresh()
        self.sql(f"INSERT INTO cp.parent VALUES ({key}, {self.random.randrange(50)}, 0)")
        self.rows[key] = 0

    def update(self):
        if self.rows:
            key = self.random.choice(list(self.rows))
            self.sql(f"UPDATE cp.parent SET n = n + 1, tenant = {self.random.randrange(50)} WHERE id = {key}")
            self.rows[key] += 1

    def both(self):
        key = self.fresh()
        self.sql("BEGIN")
        self.sql(f"INSERT INTO cp.parent VALUES ({key}, {self.random.randrange(50)}, 7)")
        self.sql(f"INSERT INTO cp.child VALUES ({key}, {key})")
        self.sql("COMMIT")
        self.rows[key] = 7
        self.children.add(key)

    def delete(self):
        childless = [key for key in self.rows if key not in self.children]
        if childless:
            key = self.random.choice(childless)
            self.sql(f"DELETE FROM cp.parent WHERE id = {key}")
            del self.rows[key]


@contextmanager
def at_work(cluster, clients, stop):
    """The clients, while a block runs; afterwards none of them has failed, and the nodes hold the same."""
    for client in clients:
        client.start()
    try:
        yield
    finally:
        stop.set()
        for client in clients:
            client.join(120)
    assert [client.failure for client in clients] == [None] * CLIENTS
    cluster.wait_equal()


def create_tables(node):
    placing.enable(node)
    node.sql("CREATE TABLE cp.parent (id BIGINT PRIMARY KEY, tenant INTEGER, n INTEGER)")
    node.sql("CREATE TABLE cp.child (id BIGINT PRIMARY KEY, parent BIGINT REFERENCES parent (id))")


def place_often(cluster, clients):
    """Every statement must work: at the table that has a shard key its number of groups, too."""
    draw, sharded = random.Random("placing"), set()
    for number in range(RESHARDS):
        node = cluster[cluster.names[number % len(cluster.names)]]
        table = draw.choice(list(SHARD_KEYS))
        while True:
            statement = placing.placement(table, SHARD_KEYS[table], draw)
            if "SET GROUPS" not in statement or table in sharded:
                break
        node.sql(statement, "placing", timeout=placing.STATEMENT_SECONDS)
        sharded = sharded | {table} if "SHARD_KEY" in statement.upper() or "GROUPS" in statement else sharded - {table}
        before = [client.operations for client in clients]
        while any(now.operations == past for now, past in zip(clients, before)):
            failures = [client.failure for client in clients if client.failure]
            assert failures == [], failures
            time.sleep(0.005)


def test_writes_under_way_are_neither_lost_nor_doubled_nor_refused(cluster):
    create_tables(cluster["n0"])
    cluster.wait_equal()
    stop = threading.Event()
    nodes = cluster.alive()
    clients = [Client(number, nodes[number % len(nodes)], stop) for number in range(CLIENTS)]
    with at_work(cluster, clients, stop):
        place_often(cluster, clients)
    rows = {key: n for client in clients for key, n in client.rows.items()}
    children = {key for client in clients for key in client.children}
    assert len(rows) > RESHARDS and len(children) > RESHARDS // 5
    for node in nodes:
        assert dict(node.sql("SELECT id, n FROM cp.parent")) == rows
        assert node.value("SELECT count(*) FROM cp.parent") == len(rows)
        assert [key for (key,) in node.sql("SELECT id FROM cp.child ORDER BY id")] == sorted(children)
    hashes = {str(node.sql("SELECT hash FROM quack_state_hash()")) for node in nodes}
    assert len(hashes) == 1
    print(f"{RESHARDS} placements under {sum(client.operations for client in clients)} operations")


def test_keys_and_references_hold_across_groups(cluster):
    create_tables(cluster["n0"])
    node, other = cluster["n0"], cluster["n1"]
    node.sql("ALTER TABLE cp.parent SET (quack_shard_key = 'tenant', quack_initial_groups = 4)")
    node.sql("ALTER TABLE cp.child SET GROUP 'children'")
    cluster.wait_equal()
    node.sql("INSERT INTO cp.parent SELECT range, range, 0 FROM range(100)")
    cluster.wait_equal()
    for statement, error in [
        # The key of a row that may lie in another lane than this one takes.
        ("INSERT INTO cp.parent VALUES (5, 77, 1)", "Duplicate key"),
        ("INSERT INTO cp.child VALUES (1, 1000)", "foreign key"),
    ]:
        for one in (node, other):
            try:
                one.sql(statement)
            except DatabaseError as refused:
                assert error in str(refused)
            else:
                raise AssertionError(f"{statement} was not refused")
    node.sql("INSERT INTO cp.child VALUES (1, 5)")
    cluster.wait_equal()
    try:
        other.sql("DELETE FROM cp.parent WHERE id = 5")
    except DatabaseError as refused:
        assert "foreign key" in str(refused)
    else:
        raise AssertionError("a row that another one refers to was deleted")


class Inserter(threading.Thread):
    """Inserts one row after the other, by the names of the columns."""

    def __init__(self, number, node, stop):
        super().__init__(daemon=True)
        self.number, self.node, self.stop = number, node, stop
        self.done, self.failure = 0, None

    def run(self):
        try:
            while not self.stop.is_set():
                key = self.number * 1_000_000 + self.done
                self.node.sql(f"INSERT INTO cp.events (id, tenant) VALUES ({key}, {key % 97})", f"client-{self.number}")
                self.done += 1
        except BaseException as error:
            self.failure = error


def test_a_sharded_table_is_altered_while_all_nodes_write_to_it(cluster):
    placing.enable(cluster["n0"])
    options = "WITH (quack_shard_key = 'tenant', quack_initial_groups = 4)"
    cluster["n0"].sql(f"CREATE TABLE cp.events (id BIGINT PRIMARY KEY, tenant INTEGER) {options}")
    cluster.wait_equal()
    stop = threading.Event()
    nodes = cluster.alive()
    clients = [Inserter(number, nodes[number % len(nodes)], stop) for number in range(CLIENTS)]
    with at_work(cluster, clients, stop):
        for number in range(ALTERATIONS):
            node = nodes[number % len(nodes)]
            for statement in (
                f"ALTER TABLE cp.events ADD COLUMN c{number} INTEGER DEFAULT {number}",
                f"CREATE INDEX i{number} ON cp.events (tenant)",
                f"DROP INDEX cp.i{number}",
                *([f"ALTER TABLE cp.events DROP COLUMN c{number}"] if number % 2 else []),
            ):
                node.sql(statement, "alters", timeout=placing.STATEMENT_SECONDS)
    kept = [f"c{number}" for number in range(ALTERATIONS) if not number % 2]
    for node in nodes:
        assert node.value("SELECT count(*) FROM cp.events") == sum(client.done for client in clients)
        columns = [name for (name,) in node.sql("SELECT column_name FROM (DESCRIBE cp.events)")]
        assert columns == ["id", "tenant", *kept]
        (sums,) = node.sql(f"SELECT {', '.join(f'count({column})' for column in kept)} FROM cp.events")
        assert set(sums) == {sum(client.done for client in clients)}
    assert len({str(node.sql("SELECT hash FROM quack_state_hash()")) for node in nodes}) == 1
