"""Data folders that were put back from a copy: their nodes have promised more than the folders know of."""

import shutil

import pytest
from quack_testing.cluster import wait_for
from quack_testing.node import Node
from quack_testing.process import DatabaseError


def copy(node):
    """Copies the folder of a node that does not run; returns what puts the copy back."""
    backup = node.folder / f"{node.name}-backup"
    shutil.copytree(node.data_dir, backup)

    def put_back():
        shutil.rmtree(node.data_dir)
        shutil.copytree(backup, node.data_dir)

    return put_back


def insert(node, first, count=20):
    for number in range(first, first + count):
        node.sql(f"INSERT INTO cp.t VALUES ({number}, '{node.name}')")
    return set(range(first, first + count))


def held(node):
    return {number for (number,) in node.sql("SELECT i FROM cp.t")}


def incarnation(node):
    for line in (node.data_dir / "identity").read_text().splitlines():
        if line.startswith("incarnation="):
            return int(line.split("=")[1])
    return None


def create(cluster):
    cluster["n0"].sql("CREATE TABLE cp.t (i BIGINT PRIMARY KEY, v VARCHAR)")
    cluster.wait_equal()


def check_rebuilt(cluster, node, acknowledged):
    """It works as another life, and all nodes hold what was acknowledged, now too."""
    assert incarnation(node) == 1
    acknowledged = acknowledged | insert(node, 1000)
    cluster.wait_equal()
    assert [held(node) for node in cluster.alive()] == [acknowledged] * 3


@pytest.mark.parametrize("starts", [1, 3])
@pytest.mark.parametrize("peers_start_again", [False, True])
def test_a_restored_node_is_rebuilt_and_loses_nothing(cluster, starts, peers_start_again):
    create(cluster)
    third = cluster["n2"]
    assert third.stop() == 0
    put_back = copy(third)
    acknowledged = set()
    for life in range(starts):
        third.start()
        acknowledged |= insert(third, 100 * life)
        assert third.stop() == 0
    if peers_start_again:
        for name in ("n0", "n1"):
            cluster[name].kill()
        for name in ("n0", "n1"):
            cluster[name].start(attach=False)
        cluster["n0"].attach()
        cluster["n1"].attach()
    put_back()
    third.start()
    check_rebuilt(cluster, third, acknowledged)


def test_a_restored_node_that_is_there_first_is_recognised_as_soon_as_its_peers_are(cluster):
    create(cluster)
    third = cluster["n2"]
    assert third.stop() == 0
    put_back = copy(third)
    third.start()
    acknowledged = insert(third, 0)
    for node in cluster.nodes.values():
        node.kill()
    put_back()
    third.start(attach=False)
    for name in ("n0", "n1"):
        cluster[name].start(attach=False)

    def reason():
        ((state, reason),) = third.sql("SELECT state, reason FROM quack_raft_status()")
        return reason if state == "degraded" else None

    assert "its folder is older than what it has promised" in wait_for(reason, "the word of its peers")
    for name in ("n0", "n1"):
        cluster[name].attach()
    third.kill()
    third.start()
    check_rebuilt(cluster, third, acknowledged)


def test_two_restored_nodes_do_not_outvote_the_third(cluster):
    create(cluster)
    restored = [cluster["n1"], cluster["n2"]]
    for node in restored:
        assert node.stop() == 0
    put_back = [copy(node) for node in restored]
    for node in restored:
        node.start(attach=False)
    for node in restored:
        node.attach()
    acknowledged = insert(restored[0], 0) | insert(restored[1], 100)
    cluster.wait_equal()
    for node in restored:
        node.kill()
    kept = {node: node.folder / f"{node.name}-kept" for node in restored}
    for node, put in zip(restored, put_back):
        shutil.copytree(node.data_dir, kept[node])
        put()
        node.start(attach=False)
    with pytest.raises(DatabaseError, match="the node is not ready"):
        restored[0].attach()
    assert incarnation_files(restored) == [False, False], "both wait to be rebuilt by a cluster that has no quorum"
    # The folders that the nodes had last are what the cluster goes on with.
    for node in restored:
        node.kill()
        shutil.rmtree(node.data_dir)
        shutil.copytree(kept[node], node.data_dir)
        node.start(attach=False)
    for node in restored:
        node.attach()
    acknowledged |= insert(restored[0], 1000)
    cluster.wait_equal()
    assert [held(node) for node in cluster.alive()] == [acknowledged] * 3


def incarnation_files(nodes):
    return [(node.data_dir / "identity").exists() for node in nodes]


def test_a_restored_cluster_of_one_goes_on_from_its_copy(tmp_path, track):
    node = track(Node(tmp_path))
    node.start()
    node.sql("CREATE TABLE cp.t (i BIGINT PRIMARY KEY, v VARCHAR)")
    kept = insert(node, 0)
    assert node.stop() == 0
    put_back = copy(node)
    node.start()
    insert(node, 100)
    assert node.stop() == 0
    put_back()
    node.start()
    assert held(node) == kept
    kept |= insert(node, 100) | insert(node, 200)
    assert node.restart() and held(node) == kept
    assert node.stop() == 0
