"""The catalog has one name for all connections of a process; the first ATTACH gives it."""

import threading

import pytest

from quack_testing import node as nodes
from quack_testing.cluster import wait_for
from quack_testing.process import DatabaseError


@pytest.fixture
def node(new_node):
    node = new_node(options={"catalog": "'first'"}).start(attach=False)
    yield node
    assert node.stop() == 0, node.process.stderr_tail()


def attach(node, name, condition="", connection="default", token=nodes.TOKEN):
    clause = f" AS {name}" if name else ""
    node.sql(f"ATTACH {condition} '{node.uri}'{clause} (TYPE quack, TOKEN '{token}')", connection)


def names(node):
    return {name for (name,) in node.sql("SELECT database_name FROM duckdb_databases() WHERE NOT internal", "look")}


def test_the_first_attach_names_the_catalog(node):
    node.sql("CREATE TABLE first.t AS SELECT 42 AS i")
    attach(node, "cp")
    assert names(node) == {"memory", "cp"}
    assert node.sql("SELECT catalog FROM quack_server_list()") == [("cp",)]
    assert node.value("SELECT i FROM cp.t", "other") == 42


@pytest.mark.parametrize("condition", ["", "IF NOT EXISTS", "OR REPLACE"])
def test_a_second_name_is_refused_and_takes_nothing_from_other_clients(node, condition):
    attach(node, "cp")
    node.sql("CREATE TABLE cp.t AS SELECT 42 AS i")
    node.sql("USE cp", "other")
    node.sql("PREPARE p AS SELECT i FROM t", "other")
    with pytest.raises(DatabaseError, match='Cannot attach quack:127.0.0.1:[0-9]* as "?foo"?.*already.*"?cp"?'):
        attach(node, "foo", condition)
    assert names(node) == {"memory", "cp"}
    assert node.value("SELECT i FROM t", "other") == 42
    assert node.value("EXECUTE p", "other") == 42


@pytest.mark.parametrize("condition", ["", "IF NOT EXISTS", "OR REPLACE"])
def test_the_same_name_again_is_taken_from_any_connection(node, condition):
    attach(node, "cp")
    for number in range(3):
        attach(node, "cp", condition, f"connection{number}")
        attach(node, "CP", condition, f"connection{number}")
    assert names(node) == {"memory", "cp"}
    node.sql("CREATE TABLE cp.t (i INTEGER)", "connection1")


def test_a_name_of_the_stores_own_is_refused(node):
    with pytest.raises(DatabaseError, match='the name "quack_internal" is reserved'):
        attach(node, "quack_internal")
    with pytest.raises(DatabaseError, match='the name "quack_internal" is reserved'):
        node.sql("CALL quack_serve('quack:127.0.0.1:0', catalog := 'Quack_Internal')")
    attach(node, "cp")


def test_an_attach_under_the_servers_own_name_keeps_it(node):
    attach(node, "first")
    with pytest.raises(DatabaseError, match="already"):
        attach(node, "cp")
    assert names(node) == {"memory", "first"}


def test_without_a_name_it_keeps_the_one_that_it_has(node):
    attach(node, "")
    assert names(node) == {"memory", "first"}


@pytest.mark.parametrize("condition", ["", "IF NOT EXISTS", "OR REPLACE"])
def test_a_name_that_another_database_has_is_refused(node, condition):
    node.sql("CREATE TABLE memory.kept AS SELECT 1 AS i")
    with pytest.raises(DatabaseError, match='database with name "?memory"? already exists'):
        attach(node, "memory", condition)
    assert names(node) == {"memory", "first"}
    assert node.value("SELECT i FROM memory.kept") == 1
    attach(node, "cp")


@pytest.mark.parametrize("condition", ["", "IF NOT EXISTS", "OR REPLACE"])
def test_the_token_is_asked_for_each_time(node, condition):
    attach(node, "cp")
    with pytest.raises(DatabaseError, match="Authentication failed"):
        attach(node, "cp", condition, token="wrong-token")
    with pytest.raises(DatabaseError, match="token"):
        node.sql(f"ATTACH {condition} '{node.uri}' AS cp (TYPE quack)")
    with pytest.raises(DatabaseError, match="wrong"):
        node.sql(f"ATTACH {condition} '{node.uri}' AS cp (TYPE quack, TOKEN '{nodes.TOKEN}', WRONG 1)")


def test_attaches_at_the_same_time_give_one_name(node):
    """Each of many connections wants another name: one of them gets it."""
    refusals = []

    def try_one(number):
        try:
            attach(node, f"name{number}", connection=f"connection{number}")
        except DatabaseError as error:
            refusals.append(str(error))

    threads = [threading.Thread(target=try_one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refusals) == 7 and all("already" in refusal for refusal in refusals), refusals
    assert len(names(node)) == 2


def test_network_sessions_follow_the_name(node, tmp_path, track):
    client = track(nodes.stock_client(tmp_path, "client", node.uri))
    client.sql("CREATE TABLE cp.t AS SELECT 42 AS i")
    attach(node, "renamed")
    assert client.sql("FROM quack_query_by_name('cp', 'SELECT i FROM t')") == [(42,)]


def test_the_process_may_use_what_it_serves_without_a_token(node):
    """It owns the files of the store and the keys: a token would protect nothing."""
    node.sql("CREATE TABLE first.t AS SELECT 42 AS i")
    assert node.value("SELECT i FROM first.t", "other") == 42


def test_a_verification_of_another_node_leaves_a_process_alone_that_has_a_database_of_the_name(new_cluster):
    cluster = new_cluster().start()
    node, other = cluster["n0"], cluster["n1"]
    other.sql("CREATE TABLE cp.t AS SELECT 42 AS i")
    cluster.wait_equal()
    node.sql("ALTER DATABASE cp SET ALIAS TO renamed")
    node.process.request("prepare_connections", statements=[])
    node.sql("ATTACH ':memory:' AS cp", "own")
    assert [state for (state,) in other.sql("SELECT state FROM quack_verify('cp')")] == ["equal"] * 3
    other.sql("INSERT INTO cp.t VALUES (43)")
    node.sql("DETACH cp", "own")
    assert node.sql("SELECT state FROM quack_raft_status()", "own") == [("ok",)]
    wait_for(lambda: node.value("SELECT count(*) FROM renamed.t", "own") == 2, "the row")


def test_a_folder_whose_catalog_has_the_name_of_another_database_is_not_called_damaged(new_node):
    node = new_node(options={"catalog": "'taken'"}).start(attach=False)
    node.sql("CREATE TABLE taken.t AS SELECT 42 AS i")
    node.stop_serving()
    node.sql("ATTACH ':memory:' AS taken")
    with pytest.raises(DatabaseError, match="already exists: DETACH that database, or serve the catalog under another name") as caught:
        node.serve()
    assert "empty folder" not in str(caught.value)
    node.sql("DETACH taken")
    node.serve()
    assert node.value("SELECT i FROM taken.t") == 42
