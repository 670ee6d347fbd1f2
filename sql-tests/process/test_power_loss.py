"""Losses of power: what a node has not synced is gone, names of files too, and nothing that was acknowledged with it."""

import os
import random

import pytest
from quack_testing import chaos, disks
from quack_testing.cluster import Cluster
from quack_testing.node import Node
from quack_testing.preload import preloaded
from quack_testing.quackd import quackctl

MINUTES = float(os.environ.get("QUACK_POWER_MINUTES", 0.5))
# What survives of what was not synced, in percent.
LUCK = (0, 50, 100)

pytestmark = pytest.mark.skipif(bool(disks.why_not()), reason=disks.why_not())


class Outages(chaos.Chaos):
    """Mostly losses of power, of one node, of two and of all."""

    FAULTS = {
        chaos.Chaos.kill_all: 10, chaos.Chaos.kill_two: 4, chaos.Chaos.kill_one: 4, chaos.Chaos.kill_in_quick_succession: 4,
        chaos.Chaos.roll: 2, chaos.Chaos.wipe_unattached: 1, chaos.Chaos.restore: 1, chaos.Chaos.move: 1,
    }  # fmt: skip


def lose_power(mounted, names, percent):
    for name in names:
        mounted.lose_power(name, percent, random.SystemRandom().randrange(1 << 32))


def cluster_on(mounted, folder, track):
    cluster = Cluster(folder, 3, track)
    for node in cluster.nodes.values():
        mounted.hold(node)
    return cluster


def held(node):
    return {i for (i,) in node.sql("FROM cp.t")}


@pytest.mark.parametrize("groups", [False, True])
def test_what_was_acknowledged_survives_losses_of_power(tmp_path, track, groups):
    seed = int(os.environ.get("QUACK_CHAOS_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"power: seed {seed}, groups {groups}")
    with disks.Disks(chaos.node_names()) as mounted:
        run = chaos.run(tmp_path, seed, MINUTES * 60, track, kind=Outages, disks=mounted, groups=groups)
    assert run.counts["power losses"] > 0, run.summary()


@pytest.mark.parametrize("percent", LUCK)
def test_a_new_cluster_is_there_after_a_loss_of_power(tmp_path, track, percent):
    with disks.Disks(chaos.node_names()) as mounted:
        cluster = cluster_on(mounted, tmp_path, track).start()
        cluster["n0"].sql("CREATE TABLE cp.t AS SELECT 1 AS i")
        for node in cluster.nodes.values():
            node.kill()
        lose_power(mounted, cluster.names, percent)
        cluster.start()
        cluster.wait_equal()
        assert [held(node) for node in cluster.nodes.values()] == [{1}] * 3
        cluster.stop()


@pytest.mark.parametrize("percent", LUCK)
def test_one_node_keeps_what_it_acknowledges_whenever_the_power_is_lost(tmp_path, track, percent):
    """Before and after checkpoints, and right after a start that has replayed."""
    with disks.Disks(["n0"]) as mounted:
        node = mounted.hold(track(Node(tmp_path)))
        node.start()
        node.sql("CREATE TABLE cp.t (i BIGINT)")
        expected = set()
        for i, ends in enumerate(["kill", "checkpoint", "stop", "kill", "checkpoint", "stop"]):
            node.sql(f"INSERT INTO cp.t VALUES ({i})")
            node.sql(f"INSERT INTO cp.t SELECT range FROM range({1000 * (i + 1)}, {1000 * (i + 1) + 500})")
            expected |= {i, *range(1000 * (i + 1), 1000 * (i + 1) + 500)}
            if ends == "stop":
                assert node.stop() == 0
            else:
                if ends == "checkpoint":
                    node.sql("CHECKPOINT cp")
                node.kill()
            lose_power(mounted, ["n0"], percent)
            node.start()
            assert held(node) == expected
        assert node.stop() == 0


def test_a_sync_that_is_missing_is_found(tmp_path, track):
    """The same losses, on a system whose fsync does nothing, lose what was acknowledged."""
    with disks.Disks(["n0"]) as mounted:
        node = mounted.hold(track(Node(tmp_path)))
        node.start()
        node.sql("CREATE TABLE cp.t (i BIGINT)")
        node.kill()
        node.environment = {"LD_PRELOAD": preloaded("no_sync_shim")}
        node.start()
        node.sql("INSERT INTO cp.t VALUES (1)")
        node.kill()
        lose_power(mounted, ["n0"], 0)
        node.environment = {}
        node.start()
        assert held(node) == set()
        assert node.stop() == 0


@pytest.mark.parametrize("percent", LUCK)
def test_a_backup_and_what_is_restored_from_it_survive_a_loss_of_power(tmp_path, track, percent):
    with disks.Disks(["n0", "backups", "n1"]) as mounted:
        node = mounted.hold(track(Node(tmp_path)))
        node.start()
        node.sql("CREATE TABLE cp.t AS SELECT range AS i FROM range(10000)")
        backup = mounted.place("backups") / "first"
        node.sql(f"CALL quack_backup('cp', '{backup}')")
        lose_power(mounted, ["backups"], percent)
        restored = mounted.hold(track(Node(tmp_path, "n1")))
        node_options = ("--node-id", "n1", "--endpoint", "quack:127.0.0.1:9494")
        code, printed = quackctl("restore", "--from", backup, "--data-dir", restored.data_dir, *node_options)
        assert code == 0, printed
        lose_power(mounted, ["n1"], percent)
        restored.start()
        assert held(restored) == set(range(10000))
        assert restored.stop() == 0
        assert node.stop() == 0
