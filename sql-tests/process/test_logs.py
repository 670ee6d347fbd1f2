"""The extension's logs on the host's standard error: when they are asked for, what is in them, and what never is."""

import json

import pytest
import test_lifecycle as lifecycle

from quack_testing import node as nodes
from quack_testing.cluster import wait_for
from quack_testing.process import EXTENSION, DatabaseError

ROUNDS = 2
CHILDREN = 20


def lines_of(node):
    """What a node has logged; the last line may be on its way."""
    complete = node.process.stderr_path.read_text().rsplit("\n", 1)[0]
    return [json.loads(line) for line in complete.splitlines()]


def test_without_being_asked_the_extension_says_nothing(new_node, monkeypatch):
    monkeypatch.delenv("QUACK_LOG", raising=False)
    monkeypatch.setenv("QUACK_LOG_FORMAT", "json")
    node = new_node().start()
    node.sql("CREATE TABLE cp.t (i INTEGER)")
    assert node.stop() == 0
    assert node.process.stderr_path.read_text() == ""


@pytest.mark.parametrize(
    "variables, message",
    [
        ({"QUACK_LOG": "inof"}, "QUACK_LOG is not valid: 'inof' does not say what to log: write off, error"),
        ({"QUACK_LOG": "info,quack_node=loud"}, "'quack_node=loud' does not say what to log"),
        ({"QUACK_LOG": "info", "QUACK_LOG_FORMAT": "yaml"}, "QUACK_LOG_FORMAT is not valid: 'yaml' is no format"),
    ],
)
def test_what_cannot_be_understood_is_told_when_the_extension_is_loaded(new_process, monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    process = new_process()
    with pytest.raises(DatabaseError, match=message):
        process.sql(f"LOAD '{EXTENSION}'")
    assert process.value("SELECT 42") == 42
    assert process.exit() == 0


def test_the_lines_of_each_node_name_it_and_tell_of_a_new_leader(new_cluster, monkeypatch):
    monkeypatch.setenv("QUACK_LOG", "info")
    monkeypatch.setenv("QUACK_LOG_FORMAT", "json")
    cluster = new_cluster().start()
    leader = cluster.leader()
    leader.kill()
    other = cluster.leader()
    term = other.value("SELECT term FROM quack_raft_status()")

    def roles(node):
        return [line for line in lines_of(node) if line["message"] == "role"]

    for node in cluster.alive():
        role = "leader" if node is other else "follower"
        wait_for(
            lambda node=node, role=role: [line for line in roles(node) if (line["role"], line["term"]) == (role, str(term))],
            f"{node.name} to log that it is a {role}",
        )
    leader.start()
    cluster.stop()
    for name, node in cluster.nodes.items():
        lines = lines_of(node)
        assert {line["node_id"] for line in lines} == {name}
        assert {line["level"] for line in lines} <= {"ERROR", "WARN", "INFO"}
        assert {"log opened", "role", "peer"} <= {line["message"] for line in lines}


@pytest.fixture
def cluster_with_trace(new_cluster, monkeypatch):
    """Three nodes that log everything: the libraries below say something about each message."""
    monkeypatch.setenv("QUACK_LOG", "trace")
    return new_cluster().start()


def test_no_line_of_any_level_holds_a_token_or_a_key(cluster_with_trace, tmp_path, track):
    cluster = cluster_with_trace
    wrong = "wrong-token-of-a-client"
    client = track(nodes.stock_client(tmp_path, "stock", cluster["n0"].uri))
    client.sql("CREATE TABLE cp.t AS SELECT 42 AS i")
    with pytest.raises(DatabaseError, match="Authentication failed"):
        nodes.stock_client(tmp_path, "thief", cluster["n0"].uri, token=wrong)
    with pytest.raises(DatabaseError, match="Authentication failed"):
        cluster["n1"].sql(f"ATTACH '{cluster['n1'].uri}' AS other (TYPE quack, TOKEN '{wrong}')")
    cluster.leader().kill()
    cluster.leader()
    keys = [path.read_text().split("\n")[1] for path in tmp_path.glob("certificates/**/*.key")]
    assert len(keys) == 4
    for node in cluster.nodes.values():
        text = node.process.stderr_path.read_text()
        assert " TRACE " in text and f"node_id={node.name}" in text
        for secret in [nodes.TOKEN, wrong, "PRIVATE KEY", *keys]:
            assert secret not in text
    assert "a client has shown a wrong token" in cluster["n0"].process.stderr_path.read_text()


def test_a_child_of_the_process_can_log_while_its_parent_does(cluster_with_trace, tmp_path):
    """The child serves a folder of its own and logs that, regardless of the locks that its parent held at the fork."""
    node = cluster_with_trace["n0"]
    code = f"""
import duckdb, os, signal
ends = []
for number in range({CHILDREN}):
    child = os.fork()
    if child == 0:
        # A child that hangs ends all the same.
        signal.alarm(30)
        try:
            connection = duckdb.connect(config={{"allow_unsigned_extensions": "true"}})
            connection.execute("LOAD '{EXTENSION}'")
            folder = "{tmp_path}/child" + str(number)
            connection.execute("CALL quack_serve('quack:127.0.0.1:0', node_id := 'c', data_dir := '" + folder + "')")
            os._exit(0)
        finally:
            os._exit(1)
    ends.append(os.waitpid(child, 0)[1])
result = ends
"""
    assert node.process.python(code, timeout=60) == [0] * CHILDREN
    text = node.process.stderr_path.read_text()
    assert text.count(": log opened ") == 1 + CHILDREN
    assert text.count(" TRACE ") > 1000


@pytest.mark.parametrize("ending", lifecycle.ENDINGS)
def test_a_process_ends_with_everything_logged_as_it_does_without(ending, tmp_path, monkeypatch):
    monkeypatch.setenv("QUACK_LOG", "trace")
    for number in range(ROUNDS):
        lifecycle.one_round(tmp_path, ending, number)
        assert ": role group=1" in (tmp_path / f"round-{number}.stderr").read_text()


def test_a_process_works_on_after_the_reader_of_its_standard_error_is_gone(cluster_with_trace):
    node = cluster_with_trace["n0"]
    node.sql("CREATE TABLE cp.t (i INTEGER)")
    code = """
import os
reader, writer = os.pipe()
os.dup2(writer, 2)
os.close(writer)
os.close(reader)
result = None
"""
    node.process.python(code)
    node.sql("INSERT INTO cp.t VALUES (1)")
    assert node.value("SELECT count(*) FROM cp.t") == 1
    assert node.stop() == 0
