"""Nodes that stand still, and wall clocks that jump: neither makes a node believe that it still leads, nor the others
that it does not."""

import time

import pytest
from quack_testing.clock import DAY, HOUR, Clock
from quack_testing.cluster import Certificates, wait_for
from quack_testing.load import LINEARIZABLE, Load
from quack_testing.process import DatabaseError, pause, resume

ROUNDS = 3
READERS = 8
# What a jump may differ from what was asked for: the test itself takes its time.
TOLERANCE_SECONDS = HOUR / 2


def test_a_leader_that_stood_still_reads_nothing_old(new_cluster):
    """The reads wait in the leader's input while it stands still: they are the first that it does afterwards, when it
    has noticed nothing yet."""
    cluster = new_cluster(**LINEARIZABLE).start()
    cluster["n0"].sql("CREATE TABLE cp.x (v BIGINT)")
    cluster["n0"].sql("INSERT INTO cp.x VALUES (0)")
    cluster.wait_equal()
    answered = refused = 0
    for number in range(1, ROUNDS + 1):
        leader = cluster.leader()
        # A connection takes its time when it is new.
        for reader in range(READERS):
            leader.sql("SELECT v FROM cp.x", connection=f"r{reader}")
        pause(leader.process)
        try:
            other = cluster.others(leader)[0]
            write = f"UPDATE cp.x SET v = {number} WHERE v < {number}"
            wait_for(lambda: other.sql(write) and other.value("SELECT v FROM cp.x") == number, "a write of the others")
            reads = [leader.process.start_sql("SELECT v FROM cp.x", f"r{reader}") for reader in range(READERS)]
        finally:
            resume(leader.process)
        for read in reads:
            try:
                assert read.result(60) == [(number,)]
                answered += 1
            except DatabaseError as error:
                assert "quorum" in str(error)
                refused += 1
        wait_for(lambda: leader.value("SELECT v FROM cp.x") == number, "a read of the former leader")
        cluster.wait_equal()
    print(f"{answered} reads answered, {refused} refused")


def test_clients_see_one_register_while_leaders_stand_still(new_cluster):
    cluster = new_cluster(**LINEARIZABLE).start()
    with Load(cluster, count=8) as load:
        for _ in range(ROUNDS):
            leader = cluster.leader()
            others = [node.name for node in cluster.others(leader)]
            load.wait_for_writes(10, leader.name)
            pause(leader.process)
            # Its own statements go on afterwards; no other client waits for them.
            load.leave(leader)
            try:
                load.wait_for_writes(30, *others)
            finally:
                resume(leader.process)
            load.use(leader)
            load.wait_for_writes(10, leader.name)
    load.check()


@pytest.fixture
def clocks(new_cluster, tmp_path):
    """A cluster whose nodes have wall clocks of their own, and certificates that were issued yesterday."""
    certificates = Certificates(tmp_path / "yesterday", Clock(tmp_path, "yesterday", -DAY).environment)
    cluster = new_cluster(certificates=certificates, **LINEARIZABLE)
    clocks = {name: Clock(tmp_path, name) for name in cluster.names}
    for name, clock in clocks.items():
        cluster[name].environment = clock.environment
    cluster.start()
    return cluster, clocks


def jump(node, clock, seconds):
    clock.set(seconds)
    ahead = node.value("SELECT epoch(now())") - time.time()
    assert abs(ahead - seconds) < TOLERANCE_SECONDS, "the clock has not jumped"


@pytest.mark.parametrize("seconds", [5 * HOUR, -5 * HOUR])
def test_a_clock_that_jumps_changes_nothing(clocks, seconds):
    cluster, clocks = clocks
    with Load(cluster) as load:
        load.wait_for_writes(10)
        leader = cluster.leader()
        follower = cluster.others(leader)[0]
        for node in (leader, follower):
            jump(node, clocks[node.name], seconds)
            for name in cluster.names:
                load.wait_for_writes(5, name)
        # To and fro, faster than anything that times out.
        for number in range(21):
            clocks[leader.name].set(seconds * (-1) ** number)
        load.wait_for_writes(10, leader.name)
        # A failover, among nodes that do not agree about the time.
        leader = cluster.leader()
        others = [node.name for node in cluster.others(leader)]
        load.leave(leader)
        leader.kill()
        load.wait_for_writes(20, *others)
        leader.start()
        load.use(leader)
        load.wait_for_writes(5, leader.name)
    load.check()


def test_elections_do_not_look_at_the_wall_clock(clocks):
    """A machine may be slow enough for an election without a reason; but not each time that a clock jumps."""
    cluster, clocks = clocks
    cluster["n0"].sql("CREATE TABLE cp.t (i INTEGER)")

    def term():
        return cluster.leader().sql("SELECT node_id, term FROM quack_raft_status()")

    calm = 0
    for number in range(ROUNDS):
        before = term()
        for name, clock in clocks.items():
            for hours in (12, -12, 0):
                jump(cluster[name], clock, hours * HOUR)
                cluster[name].sql(f"INSERT INTO cp.t VALUES ({number})")
        calm += term() == before
    assert calm, "every jump of a clock led to an election"
    cluster.wait_equal()


def test_a_node_that_starts_a_year_ago_says_that_its_certificate_is_not_valid_yet(new_cluster, tmp_path):
    """The one thing that the wall clock decides."""
    cluster = new_cluster()
    node = cluster["n2"]
    node.environment = Clock(tmp_path, "n2", -365 * DAY).environment
    node.load()
    with pytest.raises(DatabaseError, match="n2.crt.*valid only in .* seconds; check the clocks"):
        node.serve()
