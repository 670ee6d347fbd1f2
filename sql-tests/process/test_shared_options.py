"""Options that all nodes of a cluster share: compared when nodes meet, refused with the difference in words."""

import time

import pytest

from quack_testing import node as nodes
from quack_testing.cluster import wait_for
from quack_testing.process import DatabaseError

QUICK_SECONDS = 10


def attach(node, token=nodes.TOKEN):
    node.sql(f"ATTACH '{node.uri}' AS cp (TYPE quack, TOKEN '{token}')")


def waits_for(node, text):
    """The node's status says what it waits for."""

    def look():
        reasons = [str(row) for row in node.sql("SELECT state, reason FROM quack_raft_status()")]
        return any(text in reason for reason in reasons)

    wait_for(look, f"{node.name} to say {text!r}")


def serve(node, token=nodes.TOKEN):
    options = "".join(f", {name} := {value}" for name, value in node.options.items())
    node.sql(
        f"CALL quack_serve('quack:127.0.0.1:{node.port}', token := '{token}', node_id := '{node.name}', "
        f"data_dir := '{node.data_dir}'{options})"
    )


@pytest.mark.parametrize("kind", ["catalog", "token"])
def test_nodes_that_differ_found_no_cluster_and_say_why_on_both_sides(new_cluster, kind):
    cluster = new_cluster(2)
    for node in cluster.nodes.values():
        node.load()
        node.uri = f"quack:127.0.0.1:{node.port}"
    n0, n1 = cluster["n0"], cluster["n1"]
    serve(n0)
    if kind == "catalog":
        n1.options["catalog"] = "'other'"
    serve(n1, "another token of the tests" if kind == "token" else nodes.TOKEN)
    if kind == "catalog":
        waits_for(n0, "catalog := 'other', this node with catalog := 'cp'")
        waits_for(n1, "catalog := 'cp', this node with catalog := 'other'")
    else:
        for node in (n0, n1):
            waits_for(node, "started with another token than this node")
    assert not (n0.data_dir / "identity").exists() and not (n1.data_dir / "identity").exists()
    # Mended, they found it.
    n1.sql(f"CALL quack_stop('{n1.uri}')")
    n1.options.pop("catalog", None)
    serve(n1)
    for node in (n0, n1):
        attach(node)
    n1.sql("CREATE TABLE cp.t AS SELECT 42 AS i")
    cluster.wait_equal()


@pytest.mark.parametrize("kind", ["catalog", "token"])
def test_a_node_that_is_started_otherwise_does_not_serve_and_the_others_go_on(cluster, tmp_path, track, kind):
    cluster["n0"].sql("CREATE TABLE cp.t AS SELECT 42 AS i")
    cluster.wait_equal()
    node = cluster["n2"]
    node.kill()
    node.load()
    token = "another token of the tests" if kind == "token" else nodes.TOKEN
    if kind == "catalog":
        node.options["catalog"] = "'other'"
    serve(node, token)
    waits_for(node, "serves this cluster already")
    begin = time.monotonic()
    with pytest.raises(DatabaseError, match=f"does not serve: node 'n[01]' serves this cluster already.*{kind}"):
        attach(node, token)
    assert time.monotonic() - begin < QUICK_SECONDS
    with pytest.raises(DatabaseError, match="serves this cluster already|not ready|waits"):
        client = track(nodes.stock_process(tmp_path, "client"))
        client.sql(f"ATTACH '{node.uri}' AS cp (TYPE quack, TOKEN '{token}')")
    for other in cluster.others(node):
        other.sql(f"INSERT INTO cp.t VALUES ({len(other.name)})")
    wait_for(lambda: cluster["n0"].value("SELECT count(*) FROM cp.t") == 3, "what others have inserted")
    assert nodes.TOKEN not in node.process.stderr_path.read_text()
    # Started as the others are, it serves.
    node.sql(f"CALL quack_stop('{node.uri}')")
    node.options.pop("catalog", None)
    serve(node)
    attach(node)
    wait_for(lambda: node.value("SELECT count(*) FROM cp.t") == 3, "all rows")


def test_all_nodes_may_be_started_with_a_new_token_one_after_the_other(cluster):
    cluster["n0"].sql("CREATE TABLE cp.t AS SELECT 42 AS i")
    cluster.wait_equal()
    for name in cluster.names:
        node = cluster[name]
        assert node.stop() == 0
        node.load()
        serve(node, "a new token of the tests")
    for name in cluster.names:
        attach(cluster[name], "a new token of the tests")
        assert cluster[name].value("SELECT i FROM cp.t") == 42


def test_an_empty_disk_is_not_filled_for_a_node_with_another_token(cluster):
    node = cluster["n2"]
    cluster["n0"].sql("CREATE TABLE cp.t AS SELECT 42 AS i")
    node.kill()
    node.data_dir.rename(node.data_dir.with_name("lost"))
    node.load()
    serve(node, "another token of the tests")
    waits_for(node, "it was started with another token")
    assert not (node.data_dir / "store.duckdb").exists()
    node.sql(f"CALL quack_stop('{node.uri}')")
    serve(node)
    attach(node)
    assert node.value("SELECT i FROM cp.t") == 42


def test_a_cluster_without_a_token_is_refused(new_cluster):
    cluster = new_cluster(2)
    node = cluster["n0"]
    node.load()
    options = "".join(f", {name} := {value}" for name, value in node.options.items())
    with pytest.raises(DatabaseError, match="token := .*the same on all nodes"):
        node.sql(
            f"CALL quack_serve('quack:127.0.0.1:{node.port}', node_id := 'n0', data_dir := '{node.data_dir}'{options})"
        )
    assert not node.data_dir.exists()
