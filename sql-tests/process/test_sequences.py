"""Values of sequences, drawn on all nodes of a cluster at the same time: none is given out twice, also under faults."""

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from quack_testing.cluster import wait_for
from quack_testing.process import DatabaseError, ProcessEnded

CLIENTS_PER_NODE = 4
ROUNDS = 15
TABLE = "CREATE TABLE cp.t (id BIGINT DEFAULT nextval('cp.s') PRIMARY KEY, node VARCHAR, n INTEGER)"


def create(cluster, options=""):
    cluster["n0"].sql(f"CREATE SEQUENCE cp.s {options}")
    cluster["n0"].sql(TABLE)
    cluster.wait_equal()


def draw(node, connection, number, bulk=300):
    """What a client does in one round; returns the values that it was given."""
    if number % 3 == 0:
        return [node.value("SELECT nextval('cp.s')", connection)]
    rows = bulk if number % 3 == 1 else 1
    insert = f"INSERT INTO cp.t (node, n) SELECT '{node.name}', range FROM range({rows}) RETURNING id"
    return [value for (value,) in node.sql(insert, connection)]


def draw_everywhere(cluster, ranges, rounds=ROUNDS):
    """All clients of all nodes draw at the same time; returns what each of them was given, in order."""
    def client(node, number):
        connection = f"c{number}"
        node.sql(f"SET quack_sequence_range = {ranges[node.name]}", connection)
        return [value for turn in range(rounds) for value in draw(node, connection, number + turn)]

    clients = [(node, number) for node in cluster.alive() for number in range(CLIENTS_PER_NODE)]
    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(lambda arguments: client(*arguments), clients))


def everyone(cluster, value):
    return {node.name: value for node in cluster.alive()}


def assert_same(cluster):
    """All nodes hold the same, sequences included, and say so."""
    cluster.wait_equal()
    verified = cluster.alive()[0].sql("SELECT state FROM quack_verify('cp')")
    assert verified == [("equal",)] * len(cluster.alive())


class Refusals:
    """While its `with` block runs, entries are refused all the time, beside those that draw."""

    def __init__(self, cluster):
        cluster["n0"].sql("CREATE TABLE cp.taken AS SELECT 1 AS i")
        cluster["n0"].sql("ALTER TABLE cp.taken ADD PRIMARY KEY (i)")
        cluster.wait_equal()
        self.count, self.stop = 0, threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(node,)) for node in cluster.alive()]

    def run(self, node):
        while not self.stop.is_set():
            with pytest.raises(DatabaseError, match="Constraint Error"):
                node.sql("INSERT INTO cp.taken VALUES (1)", "refused")
            self.count += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(150)


def test_one_at_a_time_all_nodes_together_give_out_every_value_in_turn(cluster):
    create(cluster)
    with Refusals(cluster) as refusals:
        given = draw_everywhere(cluster, everyone(cluster, 1))
    assert refusals.count > 20
    values = [value for client in given for value in client]
    assert sorted(values) == list(range(1, len(values) + 1))
    # A client is never given a smaller value than before.
    assert all(client == sorted(client) for client in given)
    assert_same(cluster)
    for node in cluster.alive():
        assert node.value("SELECT currval('cp.s')") == len(values)
        assert node.value("SELECT count(DISTINCT node) FROM cp.t") == 3
    # The next value is the next one on every node.
    for turn, node in enumerate(cluster.alive()):
        assert node.value("SELECT nextval('cp.s')") == len(values) + 1 + turn


@pytest.mark.parametrize("ranges", [(100, 100, 100), (1, 10, 1000)])
def test_in_ranges_all_values_are_different(cluster, ranges):
    create(cluster, "START 7 INCREMENT 3")
    given = draw_everywhere(cluster, dict(zip(cluster.names, ranges)))
    values = [value for client in given for value in client]
    assert len(set(values)) == len(values)
    assert all(value % 3 == 1 for value in values)
    assert_same(cluster)
    node = cluster["n2"]
    node.sql("SET quack_sequence_range = 100", "one")
    # Where a node keeps values, the last one is the last that it gave out.
    assert node.value("SELECT nextval('cp.s')", "one") == node.value("SELECT currval('cp.s')", "one")


def test_one_that_cycles_goes_round_and_round(cluster):
    create(cluster, "MAXVALUE 5 CYCLE")

    def client(node):
        return [value for (value,) in node.sql("SELECT nextval('cp.s') FROM range(50)")]

    with ThreadPoolExecutor(3) as pool:
        given = list(pool.map(client, cluster.alive()))
    values = sorted(value for client in given for value in client)
    assert values == [value for value in range(1, 6) for _ in range(30)]
    assert_same(cluster)


def test_setval_on_one_node_voids_what_others_have_reserved(cluster):
    create(cluster)
    for node in cluster.alive():
        node.sql("SET quack_sequence_range = 100")
    assert [node.value("SELECT nextval('cp.s')") for node in cluster.alive()] == [1, 101, 201]
    assert [node.value("SELECT nextval('cp.s')") for node in cluster.alive()] == [2, 102, 202]
    assert cluster["n1"].value("SELECT setval('cp.s', 50)") == 50
    cluster.wait_equal()
    assert {node.value("SELECT currval('cp.s')") for node in cluster.alive()} == {50}
    assert [node.value("SELECT nextval('cp.s')") for node in cluster.alive()] == [51, 151, 251]
    assert_same(cluster)


def test_what_was_reserved_of_a_sequence_does_not_outlive_it(cluster):
    create(cluster)
    reader = cluster["n1"]
    reader.sql("SET quack_sequence_range = 100")
    cluster["n0"].sql("CREATE SEQUENCE cp.gone")
    cluster.wait_equal()
    assert [reader.value("SELECT nextval('cp.gone')") for _ in range(3)] == [1, 2, 3]
    cluster["n0"].sql("CREATE OR REPLACE SEQUENCE cp.gone START 1000 INCREMENT -1 MINVALUE 1 MAXVALUE 1000")
    cluster.wait_equal()
    assert [reader.value("SELECT nextval('cp.gone')") for _ in range(3)] == [1000, 999, 998]
    cluster["n2"].sql("DROP SEQUENCE cp.gone")
    cluster.wait_equal()
    with pytest.raises(DatabaseError, match="Catalog Error: Sequence with name gone does not exist"):
        reader.sql("SELECT nextval('cp.gone')")
    cluster["n2"].sql("CREATE SEQUENCE cp.gone")
    cluster.wait_equal()
    assert reader.value("SELECT nextval('cp.gone')") == 1


class Drawers:
    """Clients that draw while their `with` block runs, on each node that runs, and keep the values that they were given."""

    def __init__(self, cluster, ranges):
        self.cluster, self.ranges = cluster, ranges
        self.values, self.failed = [], 0
        # The processes that have been set up; a node that starts is not to be asked for anything else.
        self.ready = {name: cluster[name].process for name in cluster.names}
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.threads = [
            threading.Thread(target=self.run, args=(name, number))
            for name in cluster.names
            for number in range(2)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(150)
        assert not any(thread.is_alive() for thread in self.threads), "a client hangs"

    def run(self, name, number):
        turn, process = number, None
        while not self.stop.is_set():
            node, ready = self.cluster[name], self.ready[name]
            if ready is None:
                time.sleep(0.02)
                continue
            try:
                if ready is not process:
                    ready.sql(f"SET quack_sequence_range = {self.ranges[number]}", f"d{number}")
                    process = ready
                values = draw(node, f"d{number}", turn, bulk=10)
            except (DatabaseError, ProcessEnded):
                with self.lock:
                    self.failed += 1
                time.sleep(0.05)
                continue
            turn += 1
            with self.lock:
                self.values += values

    def kill(self, node):
        """Kills the node in the middle of the work of its clients."""
        node.kill()
        self.ready[node.name] = None

    def start(self, node):
        node.start()
        self.ready[node.name] = node.process

    def wait_for_more(self, count):
        with self.lock:
            wanted = len(self.values) + count
        wait_for(lambda: len(self.values) >= wanted, f"{count} more values")


def test_nodes_are_killed_and_no_value_is_given_out_twice(cluster):
    create(cluster)
    with Drawers(cluster, ranges=(1, 100)) as drawers:
        for turn in range(9):
            drawers.wait_for_more(60)
            victim = cluster[f"n{turn % 3}"]
            # Different moments in the life of a checkpoint.
            checkpoint = victim.process.submit("execute", connection="checkpoint", sql="CHECKPOINT cp")
            if turn % 2:
                wait_for(checkpoint.done, "a checkpoint")
                drawers.wait_for_more(10)
            drawers.kill(victim)
            drawers.wait_for_more(20)
            drawers.start(victim)
        drawers.wait_for_more(60)
    assert len(set(drawers.values)) == len(drawers.values)
    assert drawers.failed > 0, "no client has noticed the kills"
    assert_same(cluster)
    # Rows of statements that got no answer count as well.
    stored = {value for (value,) in cluster["n0"].sql("SELECT id FROM cp.t")}
    after = [node.value("SELECT nextval('cp.s')") for node in cluster.alive()]
    assert not set(after) & (stored | set(drawers.values))


def test_all_nodes_are_killed_and_go_on_without_a_gap(cluster):
    create(cluster)
    drawn = 0
    for turn in range(3):
        given = draw_everywhere(cluster, everyone(cluster, 1), rounds=3)
        values = sorted(value for client in given for value in client)
        assert values == list(range(drawn + 1, drawn + len(values) + 1))
        drawn += len(values)
        for node in cluster.alive():
            if turn != 1:
                node.sql("CHECKPOINT cp")
            node.kill()
        cluster.start()
        assert_same(cluster)


def test_a_checkpoint_holds_sequences_as_of_its_rows(cluster):
    """A node that comes back from a checkpoint which was written while values were drawn counts like the others."""
    create(cluster)
    node = cluster["n2"]
    for _ in range(3):
        # DuckDB waits so long between the snapshot of a checkpoint and its first byte.
        node.sql("SET GLOBAL debug_checkpoint_sleep_ms = 100")
        with Drawers(cluster, ranges=(1, 1)) as drawers:
            drawers.wait_for_more(50)
            node.sql("CHECKPOINT cp", "checkpoint")
            drawers.kill(node)
        node.start()
        assert_same(cluster)
    highest = max(node.value("SELECT nextval('cp.s')") for node in cluster.alive())
    wait_for(lambda: cluster["n0"].value("SELECT currval('cp.s')") == highest, "the last value on another node")


def test_a_node_that_has_lost_its_disk_knows_how_far_sequences_are(cluster):
    create(cluster)
    before = draw_everywhere(cluster, everyone(cluster, 1), rounds=3)
    drawn = sum(len(client) for client in before)
    node = cluster["n1"]
    node.kill()
    shutil.rmtree(node.data_dir)
    node.start()
    assert_same(cluster)
    assert node.value("SELECT nextval('cp.s')") == drawn + 1


def test_an_open_transaction_that_has_drawn_keeps_no_client_waiting(cluster):
    create(cluster)
    for node in cluster.alive():
        node.sql("BEGIN", "open")
        node.sql("SELECT nextval('cp.s')", "open")
        node.sql("SELECT setval('cp.s', 100)", "open")
    for node in cluster.alive():
        node.sql("CHECKPOINT cp", "other")
        assert node.value("SELECT nextval('cp.s')", "other") > 100
    for node in cluster.alive():
        node.sql("ROLLBACK", "open")
    assert cluster["n0"].value("SELECT nextval('cp.s')") == 104
    assert_same(cluster)


def test_who_waits_for_a_value_can_be_interrupted(cluster):
    create(cluster)
    node = cluster["n0"]
    cluster["n1"].kill()
    cluster["n2"].kill()
    waiting = node.process.start_sql("SELECT nextval('cp.s')", "waiting")
    time.sleep(0.3)
    assert not waiting.done()
    node.process.request("interrupt", connection="waiting")
    with pytest.raises(DatabaseError, match="Interrupted"):
        waiting.result(5)
    with pytest.raises(DatabaseError, match="no leader.*quack_raft_status"):
        node.sql("SELECT nextval('cp.s')")
    cluster["n1"].start()
    cluster["n2"].start()
    wait_for(lambda: node.value("SELECT nextval('cp.s')"), "a quorum")
    assert_same(cluster)
