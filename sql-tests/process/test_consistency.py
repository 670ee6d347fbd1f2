"""How much a read must have seen is a matter of the connection: of its ATTACH and of its setting."""

import pytest

from quack_testing import node as nodes
from quack_testing.process import DatabaseError

# Waits for the leader's word, so that it is refused where there is none; else it reads what this node has.
READ = "SELECT count(*) FROM cp.t"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A node of three whose peers are gone: a linearizable read is refused there, any other one is answered."""
    from conftest import tracking
    from quack_testing.cluster import Cluster

    with tracking() as add:
        cluster = Cluster(tmp_path_factory.mktemp("alone"), 3, add, default_catalog=False).start()
        cluster["n0"].sql("CREATE TABLE cp.t (i INTEGER)")
        cluster.wait_equal()
        cluster["n1"].kill()
        cluster["n2"].kill()
        yield cluster["n0"]


@pytest.fixture(autouse=True)
def settings_as_they_were(alone):
    yield
    alone.sql("RESET GLOBAL quack_consistency")


@pytest.fixture
def connections(request):
    """Names of connections that only this test uses."""
    return [f"{request.node.name}-{number}" for number in range(3)]


def attach(node, options="", condition="", connection="default"):
    node.sql(f"ATTACH {condition} '{node.uri}' AS cp (TYPE quack, TOKEN '{nodes.TOKEN}'{options})", connection)


LINEARIZABLE = ", CONSISTENCY 'linearizable'"


def is_linearizable(node, connection):
    try:
        node.sql(READ, connection)
    except DatabaseError as error:
        assert "quorum" in str(error)
        return True
    return False


def test_a_connections_attach_is_no_other_connections_matter(alone, connections):
    one, other, third = connections
    attach(alone, LINEARIZABLE, connection=one)
    assert is_linearizable(alone, one)
    assert not is_linearizable(alone, other)
    # A later one takes nothing from the first.
    attach(alone, connection=other)
    attach(alone, ", CONSISTENCY 'session'", connection=third)
    assert [is_linearizable(alone, name) for name in connections] == [True, False, False]


def test_attach_if_not_exists_sets_the_level_of_its_connection(alone, connections):
    one, other, third = connections
    attach(alone, LINEARIZABLE, "IF NOT EXISTS", one)
    attach(alone, "", "IF NOT EXISTS", other)
    attach(alone, LINEARIZABLE, "OR REPLACE", third)
    assert [is_linearizable(alone, name) for name in connections] == [True, False, True]


def test_an_attach_without_the_option_leaves_the_level_as_it_is(alone, connections):
    one, *_ = connections
    attach(alone, LINEARIZABLE, connection=one)
    attach(alone, "", connection=one)
    assert is_linearizable(alone, one)


def test_the_setting_counts_for_its_session_and_globally_for_those_that_say_nothing(alone, connections):
    one, other, third = connections
    alone.sql("SET quack_consistency = 'linearizable'", one)
    assert [is_linearizable(alone, name) for name in connections] == [True, False, False]
    alone.sql("SET GLOBAL quack_consistency = 'LINEARIZABLE'", other)
    alone.sql("SET SESSION quack_consistency = 'local'", third)
    assert [is_linearizable(alone, name) for name in connections] == [True, True, False]
    assert alone.value("SELECT current_setting('quack_consistency')", other) == "linearizable"
    # What a connection has not said itself follows the process.
    alone.sql("RESET quack_consistency", third)
    assert is_linearizable(alone, third)
    alone.sql("SET GLOBAL quack_consistency = 'session'", other)
    assert not is_linearizable(alone, other)
    assert is_linearizable(alone, one)


def test_of_an_attach_and_a_setting_the_last_word_counts(alone, connections):
    one, other, _ = connections
    attach(alone, LINEARIZABLE, connection=one)
    alone.sql("SET quack_consistency = 'session'", one)
    assert not is_linearizable(alone, one)
    attach(alone, LINEARIZABLE, "IF NOT EXISTS", one)
    assert is_linearizable(alone, one)
    alone.sql("RESET quack_consistency", one)
    assert not is_linearizable(alone, one)
    attach(alone, ", CONSISTENCY 'local'", connection=other)
    alone.sql("SET GLOBAL quack_consistency = 'linearizable'", one)
    assert not is_linearizable(alone, other)


def test_statements_that_run_in_a_connection_beside_have_the_same_level(alone, connections):
    one, *_ = connections
    alone.sql("SET quack_consistency = 'linearizable'", one)
    for statement in (
        "BEGIN; SELECT count(*) FROM cp.t; COMMIT",
        "INSERT INTO cp.t FROM cp.t",
        "WITH w AS (INSERT INTO cp.t SELECT 1 RETURNING i) SELECT count(*) FROM w, cp.t",
    ):
        with pytest.raises(DatabaseError, match="quorum"):
            alone.sql(statement, one)
        try:
            alone.sql("ROLLBACK", one)
        except DatabaseError:
            pass  # No transaction was open.


@pytest.mark.parametrize("value", ["'strong'", "''", "NULL", "5"])
@pytest.mark.parametrize("scope", ["", "SESSION", "GLOBAL"])
def test_a_level_that_does_not_exist_is_refused(alone, value, scope):
    with pytest.raises(DatabaseError, match="'local', 'session' or 'linearizable'"):
        alone.sql(f"SET {scope} quack_consistency = {value}")
    assert alone.value("SELECT current_setting('quack_consistency')") == "session"


def query(client, sql):
    return client.sql("FROM quack_query_by_name('cp', ?)", parameters=[sql])


def test_a_client_of_the_network_sets_its_own(alone, tmp_path, track):
    client = track(nodes.stock_client(tmp_path, "client", alone.uri))
    other = track(nodes.stock_client(tmp_path, "other", alone.uri))
    assert query(client, "SELECT count(*) FROM t") == [(0,)]
    query(client, "SET quack_consistency = 'linearizable'")
    with pytest.raises(DatabaseError, match="quorum"):
        query(client, "SELECT count(*) FROM t")
    assert query(other, "SELECT count(*) FROM t") == [(0,)]
    assert not is_linearizable(alone, "beside the network")


def test_a_server_has_a_default_for_its_clients(new_node, tmp_path, track):
    node = new_node(options={"consistency": "'linearizable'"}).start()
    client = track(nodes.stock_client(tmp_path, "client", node.uri))
    setting = "SELECT current_setting('quack_consistency')"
    assert query(client, setting) == [("linearizable",)]
    query(client, "SET quack_consistency = 'local'")
    assert query(client, setting) == [("local",)]
    query(client, "RESET quack_consistency")
    assert query(client, setting) == [("linearizable",)]
    # The process itself is no client of the network.
    assert node.value(setting) == "session"
    assert node.stop() == 0


def test_a_default_that_does_not_exist_is_refused(new_node, tmp_path):
    node = new_node(options={"consistency": "'strong'"})
    node.load()
    with pytest.raises(DatabaseError, match="'local', 'session' or 'linearizable'"):
        node.serve()
    assert not (tmp_path / "n0").exists()


def test_attach_of_three_in_one_process_does_not_mix_catalogs(new_node, tmp_path):
    """The level that ATTACH gives is one of a catalog, not of all that the process serves."""
    node = new_node(default_catalog=False).start()
    ((uri, *_),) = node.sql(
        f"CALL quack_serve('quack:127.0.0.1:0', token := 'other-token-of-the-tests', data_dir := '{tmp_path}/other', catalog := 'cp2')"
    )
    node.sql(f"ATTACH '{uri}' AS cp2 (TYPE quack, TOKEN 'other-token-of-the-tests', CONSISTENCY 'linearizable')")
    assert node.value("SELECT current_setting('quack_consistency')") == "session"
    node.sql("CREATE TABLE cp.t AS SELECT 1 AS i")
    node.sql("CREATE TABLE cp2.t AS SELECT 2 AS i")
    assert node.sql("SELECT * FROM cp.t, cp2.t") == [(1, 2)]
    node.sql(f"CALL quack_stop('{uri}')")
    assert node.stop() == 0
