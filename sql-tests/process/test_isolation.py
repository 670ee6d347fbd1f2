"""Transactions of many clients on three nodes are isolated by snapshots, also under faults; DuckDB itself is the measure.

The general checker and its own tests are in `test_isolation_checker.py`.
"""

import os
import random
import threading
import time

import pytest
from quack_testing import chaos, clients, isolation_clients
from quack_testing.history import OK, History
from quack_testing.process import DatabaseError

MINUTES = float(os.environ.get("QUACK_ISOLATION_MINUTES", 1.25))
PLAIN_SECONDS = 6
ATTEMPTS = 6


def test_transactions_are_isolated_under_faults(tmp_path, track):
    seed = int(os.environ.get("QUACK_CHAOS_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"isolation: seed {seed}")
    run = chaos.run(tmp_path, seed, MINUTES * 60, track, workload=isolation_clients)
    assert run.history.outcomes()[OK] > 100, run.summary()
    assert run.counts["faults"] > 0, run.summary()


class Plain:
    """A plain DuckDB with a file attached as `cp`, that clients take for a node."""

    name = "plain"

    def __init__(self, new_process, folder):
        self.process = new_process()
        self.process.sql(f"ATTACH '{folder}/plain.duckdb' AS cp")
        self.sql, self.value = self.process.sql, self.process.value


def run_on_plain(new_process, folder, client_class):
    """Returns what is wrong after some seconds of transactions."""
    node, history, stop = Plain(new_process, folder), History(), threading.Event()
    isolation_clients.create_tables(node)
    ready = {node.name: node.process}
    threads = [client_class(number, "plain", ready, history, stop) for number in range(isolation_clients.CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(PLAIN_SECONDS)
    stop.set()
    for thread in threads:
        thread.join(clients.ANSWER_SECONDS)
    assert [thread.failure for thread in threads if thread.failure] == []
    assert history.outcomes()[OK] > 100
    wrong = isolation_clients.check(history, [node], "linearizable")
    print("\n".join([*isolation_clients.summary(history), *wrong]))
    return wrong


def test_the_same_transactions_on_plain_duckdb_are_isolated(new_process, tmp_path):
    class Client(isolation_clients.Client):
        deletes = False

    assert run_on_plain(new_process, tmp_path, Client) == []


def test_statements_that_are_no_transactions_are_found_not_to_be(new_process, tmp_path):
    class Client(isolation_clients.Client):
        """Its BEGIN, COMMIT and ROLLBACK do nothing."""

        deletes = False

        def sql(self, statement, parameters=None):
            self.begin_first = None
            if statement in ("COMMIT", "ROLLBACK"):
                return []
            return super().sql(statement, parameters)

    wanted, wrong = {"the accounts hold", "isolation: G1a", "isolation: internal", "counter"}, ""
    # Each is a matter of chance, and of how busy the machine is.
    for number in range(ATTEMPTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        wrong += "\n".join(run_on_plain(new_process, folder, Client))
        if all(part in wrong for part in wanted):
            return
    assert [part for part in wanted if part not in wrong] == []


def test_a_row_that_one_deletes_and_another_updates_is_a_conflict(cluster):
    """DuckDB itself commits both, and the update is lost."""
    one, other = cluster["n0"], cluster["n1"]
    one.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
    one.sql("INSERT INTO t VALUES (1, 10)")
    cluster.wait_equal()
    for first, second in (("UPDATE t SET n = n + 1", "DELETE FROM t"), ("DELETE FROM t", "UPDATE t SET n = n + 1")):
        for node, statement in ((one, first), (other, second)):
            node.sql("BEGIN", "a")
            node.sql(statement, "a")
        one.sql("COMMIT", "a")
        with pytest.raises(DatabaseError, match="TransactionContext Error: .*Conflict"):
            other.sql("COMMIT", "a")
        cluster.wait_equal()
    assert one.value("SELECT count(*) FROM t") == 0


def open_two(cluster):
    """Two transactions on two nodes, each of which has read both rows."""
    one, other = cluster["n0"], cluster["n1"]
    one.sql("CREATE TABLE on_call (who VARCHAR PRIMARY KEY, yes BOOLEAN)")
    one.sql("INSERT INTO on_call VALUES ('a', true), ('b', true)")
    cluster.wait_equal()
    for node in (one, other):
        node.sql("BEGIN", "a")
        assert node.value("SELECT count(*) FROM on_call WHERE yes", "a") == 2
    return one, other


def test_write_skew_is_allowed(cluster):
    one, other = open_two(cluster)
    one.sql("UPDATE on_call SET yes = false WHERE who = 'a'", "a")
    other.sql("UPDATE on_call SET yes = false WHERE who = 'b'", "a")
    one.sql("COMMIT", "a")
    other.sql("COMMIT", "a")
    cluster.wait_equal()
    assert {node.value("SELECT count(*) FROM on_call WHERE yes") for node in cluster.alive()} == {0}


def test_a_lost_update_is_not(cluster):
    one, other = open_two(cluster)
    for node in (one, other):
        node.sql("UPDATE on_call SET yes = false WHERE who = 'a'", "a")
    one.sql("COMMIT", "a")
    with pytest.raises(DatabaseError, match="TransactionContext Error: .*Conflict"):
        other.sql("COMMIT", "a")


def test_an_update_of_a_row_that_was_updated_meanwhile_is_a_conflict_and_no_duplicate(cluster):
    one, other = open_two(cluster)
    one.sql("UPDATE on_call SET yes = false WHERE who = 'a'", "b")
    cluster.wait_equal()
    with pytest.raises(DatabaseError, match="TransactionContext Error: .*[Cc]onflict"):
        other.sql("UPDATE on_call SET yes = false WHERE who = 'a'", "a")
        other.sql("COMMIT", "a")


def test_what_is_committed_on_one_node_is_read_on_all(new_cluster):
    cluster = new_cluster(consistency="linearizable").start()
    cluster["n0"].sql("CREATE TABLE t (i INTEGER PRIMARY KEY, v VARCHAR)")
    for number in range(60):
        node, reader = (cluster[f"n{(number + shift) % 3}"] for shift in (0, 1))
        node.sql("BEGIN", "a")
        node.sql(f"INSERT INTO t VALUES ({number}, 'new')", "a")
        node.sql(f"UPDATE t SET v = v || ' and changed' WHERE i = {number}", "a")
        assert node.sql(f"SELECT v FROM t WHERE i = {number}", "a") == [("new and changed",)]
        assert reader.sql(f"SELECT v FROM t WHERE i = {number}", "b") == []
        node.sql("COMMIT", "a")
        assert reader.sql(f"SELECT v FROM t WHERE i = {number}", "b") == [("new and changed",)]
        assert node.sql(f"SELECT v FROM t WHERE i = {number}", "a") == [("new and changed",)]


def test_two_readers_see_independent_writes_in_one_order(cluster):
    """A long fork takes readers whose snapshots are not one after the other."""
    cluster["n0"].sql("CREATE TABLE t (i INTEGER)")
    cluster.wait_equal()
    seen = []
    for number in range(40):
        writes = [
            node.process.start_sql(f"INSERT INTO t VALUES ({2 * number + shift})", "w")
            for shift, node in enumerate((cluster["n0"], cluster["n1"]))
        ]
        reads = [node.process.start_sql("SELECT i FROM t", f"r{number % 3}") for node in cluster.alive()]
        for future in writes:
            future.result(60)
        seen += [frozenset(i for (i,) in future.result(60)) for future in reads]
    ordered = sorted(seen, key=len)
    assert all(less <= more for less, more in zip(ordered, ordered[1:]))
