"""`quack_metrics()`: what nodes measure agrees with what was done to them."""

import shutil
import threading

import pytest

from quack_testing import node as nodes
from quack_testing import wire
from quack_testing.cluster import wait_for
from quack_testing.process import DatabaseError

ROWS = 30


def measured(node, name, **labels):
    """The value of the series with this name and these labels."""
    wanted = " AND ".join(["true", *(f"labels['{key}'] = '{value}'" for key, value in labels.items())])
    return node.value(f"SELECT value FROM quack_metrics() WHERE name = '{name}' AND {wanted}")


def test_each_statement_is_one_proposal_and_everything_on_its_way_is_counted(node):
    applied = {"name": "quack_proposal_seconds_count", "outcome": "applied"}
    node.sql("CREATE TABLE cp.t (i INTEGER PRIMARY KEY)")
    names = ["quack_log_append_entries_sum", "quack_apply_entries_sum", "quack_apply_seconds_count"]
    before = [measured(node, name) for name in names] + [measured(node, **applied)]
    for i in range(ROWS):
        node.sql(f"INSERT INTO cp.t VALUES ({i})")
    node.sql("SELECT count(*) FROM cp.t")
    # It reaches the log, and is applied: every node refuses it alike.
    with pytest.raises(DatabaseError, match="Duplicate key"):
        node.sql("INSERT INTO cp.t VALUES (0)")
    # It does not: nothing is proposed.
    with pytest.raises(DatabaseError, match="does not exist"):
        node.sql("INSERT INTO cp.nothing VALUES (0)")
    after = [measured(node, name) for name in names] + [measured(node, **applied)]
    assert [now - then for now, then in zip(after, before)] == [ROWS + 1] * 4
    assert measured(node, "quack_proposals_pending") == 0
    for outcome in ["refused", "busy", "unknown"]:
        assert measured(node, "quack_proposal_seconds_count", outcome=outcome) == 0
    assert measured(node, "quack_log_append_bytes_sum") > 0


def test_many_writers_are_counted_too_and_the_buckets_agree(node):
    node.sql("CREATE TABLE cp.t (i INTEGER)")
    before = measured(node, "quack_proposal_seconds_count", outcome="applied")

    def write(connection):
        for i in range(ROWS):
            node.sql(f"INSERT INTO cp.t VALUES ({i})", connection=connection)

    threads = [threading.Thread(target=write, args=(f"writer{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert node.value("SELECT count(*) FROM cp.t") == 4 * ROWS
    series = node.sql(
        "SELECT labels['le'], value FROM quack_metrics() WHERE name = 'quack_proposal_seconds_bucket' "
        "AND labels['outcome'] = 'applied' ORDER BY labels['le']::DOUBLE"
    )
    values = [value for _, value in series]
    assert values == sorted(values)
    assert series[-1] == ("+Inf", before + 4 * ROWS)
    batches = measured(node, "quack_apply_seconds_count")
    assert 0 < batches <= measured(node, "quack_apply_entries_sum") == before + 4 * ROWS


def test_a_checkpoint_is_measured(node):
    node.sql("CREATE TABLE cp.t AS SELECT range AS i, repeat('x', 100) || range AS text FROM range(400_000)")
    wait_for(lambda: measured(node, "quack_checkpoint_seconds_count", result="made") >= 1, "a checkpoint")
    assert measured(node, "quack_checkpoint_seconds_sum", result="made") > 0


def test_sessions_that_were_opened_and_refused_are_counted(node, new_stock, tmp_path):
    new_stock().sql("SELECT 1")
    opened = measured(node, "quack_sessions_opened_total")
    assert opened >= 1
    with pytest.raises(DatabaseError, match="Authentication failed"):
        nodes.stock_client(tmp_path, "thief", node.uri, token="a wrong token, but long")
    assert measured(node, "quack_sessions_refused_total", reason="token") == 1
    assert measured(node, "quack_sessions_refused_total", reason="limit") == 0


def test_a_new_leader_and_a_snapshot_are_seen_on_both_sides(cluster):
    leader = cluster.leader()
    leader.sql("CREATE TABLE cp.t AS SELECT range AS i, hash(range) AS h FROM range(300_000)")
    cluster.wait_equal()
    changes = {name: measured(node, "quack_raft_leader_changes_total") for name, node in cluster.nodes.items()}
    assert all(count >= 1 for count in changes.values())
    leader.kill()
    left = cluster.alive()
    other = cluster.leader()
    assert measured(other, "quack_raft_candidacies_total") >= 1
    for node in left:
        wait_for(
            lambda node=node: measured(node, "quack_raft_leader_changes_total") > changes[node.name],
            "the news of the leader",
        )

    shutil.rmtree(leader.data_dir)
    leader.start()
    cluster.wait_equal()
    sent = "quack_snapshot_bytes_total", {"direction": "sent"}
    bytes_sent = sum(measured(node, sent[0], **sent[1]) for node in left)
    assert bytes_sent >= measured(leader, sent[0], direction="received") > 1 << 20
    assert measured(leader, "quack_snapshot_seconds_count", direction="received") == 1
    assert wait_for(
        lambda: sum(measured(node, "quack_snapshot_seconds_count", direction="sent") for node in left) == 1,
        "the end of the sending",
    )


def test_the_url_says_whether_the_server_speaks_tls_and_local_clients_may_speak_plain_http(
    cluster, new_node, tmp_path, track
):
    for server, scheme in [(new_node("alone").start(), "http"), (cluster["n0"], "https")]:
        address = server.uri.removeprefix("quack:")
        assert server.url == f"{scheme}://{address}"
        assert server.value("SELECT listen_url FROM quack_server_list()") == server.url
        # The stock client finds out by itself what to speak.
        client = track(nodes.stock_client(tmp_path, f"stock-{scheme}", server.uri))
        client.sql("CREATE TABLE cp.by_stock AS SELECT 1 AS i")
        assert server.value("SELECT count(*) FROM cp.by_stock") == 1
        wire.Endpoint(f"http://{address}").connect(nodes.TOKEN)
