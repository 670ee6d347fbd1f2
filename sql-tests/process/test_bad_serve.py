"""Arguments of quack_serve and of ATTACH that cannot work: each is refused with a text that says what to do."""

import re
import socket

import pytest

from quack_testing import node as nodes
from quack_testing.process import EXTENSION, DatabaseError

CLASSES = r"^(Binder|Invalid Input|IO|Connection|Parser|Catalog|Not implemented|Permission|HTTP|TransactionContext) Error: "


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A node for all cases: none of them may harm it."""
    node = nodes.Node(tmp_path_factory.mktemp("bad-serve")).start()
    node.sql("CREATE TABLE t AS SELECT 42 AS answer")
    try:
        yield node
        assert node.value("SELECT answer FROM t") == 42
        assert node.stop() == 0, node.process.stderr_tail()
    finally:
        if node.process.popen.poll() is None:
            node.process.kill()


@pytest.fixture
def loaded(new_process):
    """A process with the extension that serves nothing yet."""
    process = new_process("loaded")
    process.sql(f"LOAD '{EXTENSION}'")
    yield process
    process.close_database()
    assert process.exit() == 0, process.stderr_tail()


def refused(process, statement, text):
    with pytest.raises(DatabaseError) as caught:
        process.sql(statement)
    message = str(caught.value)
    assert re.match(CLASSES, message), message
    assert re.search(text, message, re.IGNORECASE), message


def serve(uri="quack:127.0.0.1:0", **arguments):
    defaults = {"token": "'token-of-the-tests'", "node_id": "'n0'", "data_dir": "'FOLDER/data'"}
    named = {name: value for name, value in {**defaults, **arguments}.items() if value is not None}
    return f"CALL quack_serve('{uri}', {', '.join(f'{name} := {value}' for name, value in named.items())})"


# name: (statement with FOLDER for a fresh folder, text of the refusal)
SERVE = {
    "unknown_argument": (serve(tokn="'x'"), "tokn"),
    "argument_of_the_wrong_type": (serve(peers="[1, 2]"), "peers|peer"),
    "port_too_large": (serve("quack:127.0.0.1:70000"), "port|70000"),
    "port_negative": (serve("quack:127.0.0.1:-1"), "port|-1"),
    "port_not_a_number": (serve("quack:127.0.0.1:http"), "port|http"),
    "uri_of_another_kind": (serve("https://127.0.0.1:5001"), "uri|quack:"),
    "uri_empty": (serve(""), "uri|address|quack:"),
    "host_unknown": (serve("quack:no-such-host.invalid:5001"), "no-such-host.invalid"),
    "host_of_another_machine": (serve("quack:192.0.2.1:5001"), "192.0.2.1|certificate|local"),
    "all_addresses_without_certificates": (serve("quack:0.0.0.0:0"), "certificate|local|0.0.0.0"),
    "token_empty": (serve(token="''"), "token"),
    "token_too_short": (serve(token="'fifteen-letters'"), "token"),
    "node_id_empty": (serve(node_id="''"), "node"),
    "node_id_with_slash": (serve(node_id="'../n0'"), "node"),
    "node_id_with_space": (serve(node_id="'n 0'"), "node"),
    "node_id_too_long": (serve(node_id=f"'{'n' * 300}'"), "node"),
    "data_dir_empty": (serve(data_dir="''"), "data_dir"),
    "data_dir_null": (serve(data_dir="NULL"), "data_dir"),
    "data_dir_is_a_file": (serve(data_dir=f"'{__file__}'"), "test_bad_serve.py"),
    "data_dir_below_a_file": (serve(data_dir=f"'{__file__}/data'"), "test_bad_serve.py"),
    "data_dir_not_writable": (serve(data_dir="'/proc/no-such-folder'"), "/proc/no-such-folder"),
    "peers_without_certificates": (
        serve(peers="['n0:voter=quack:127.0.0.1:5001', 'n1:voter=quack:127.0.0.1:5002']"),
        "over TLS only: give cert_file",
    ),
    "peer_without_role": (serve(peers="['n1=quack:127.0.0.1:5002']"), "no ':' between node id and role.*write node_id"),
    "peer_with_an_unknown_role": (serve(peers="'n0:king=quack:127.0.0.1:5002'"), "no role 'king'"),
    "peer_without_port": (serve(peers="'n0:voter=quack:127.0.0.1'"), "no port"),
    "peer_twice": (serve(peers="'n0:voter=quack:localhost:1,n0:voter=quack:localhost:2'"), "'n0' is named twice"),
    "peers_at_one_address": (serve(peers="'n0:voter=quack:localhost:1,n1:voter=quack:localhost:1'"), "same address"),
    "peers_without_this_node": (serve(peers="'n1:voter=quack:localhost:1'"), "not this node, 'n0'"),
    "peers_without_a_voter": (serve(peers="'n0:learner=quack:localhost:1'"), "names no voter"),
    "certificate_without_key": (serve(cert_file="'/tmp/no.pem'"), "key_file|cert"),
    "certificate_missing": (
        serve(cert_file="'/no/cert.pem'", key_file="'/no/key.pem'", client_ca_file="'/no/ca.pem'"),
        "/no/ca.pem: cannot read it.*check the path",
    ),
    "no_arguments_at_all": ("CALL quack_serve(5001)", "quack_serve|uri"),
    "stop_of_what_does_not_serve": ("CALL quack_stop('quack:127.0.0.1:1')", "127.0.0.1:1|not serv|no server"),
    "stop_without_a_uri": ("CALL quack_stop('')", "uri|not serv|no server|address"),
}


@pytest.mark.parametrize("name", SERVE)
def test_serve_refuses(loaded, tmp_path, name):
    statement, text = SERVE[name]
    refused(loaded, statement.replace("FOLDER", str(tmp_path)), text)
    assert loaded.sql("FROM quack_server_list()") == []
    left = tmp_path / "data"
    assert not left.exists() or not list(left.iterdir()), "a refused call left files behind"


def test_a_second_server_on_the_same_folder_is_refused(server, loaded):
    statement = serve(data_dir=f"'{server.data_dir}'")
    refused(loaded, statement, f"{re.escape(str(server.data_dir))}.*(use|lock|serv)|(use|lock|serv).*{re.escape(str(server.data_dir))}")


def test_a_second_server_in_the_same_process_on_the_same_folder_is_refused(server):
    refused(server.process, serve(data_dir=f"'{server.data_dir}'"), "use|lock|serv")


def test_a_folder_of_another_node_is_refused(loaded, tmp_path):
    folder = f"'{tmp_path}/other'"
    ((uri, *_),) = loaded.sql(serve(data_dir=folder))
    loaded.sql(f"CALL quack_stop('{uri}')")
    refused(loaded, serve(data_dir=folder, node_id="'n1'"), "n0.*n1|n1.*n0")
    ((uri, *_),) = loaded.sql(serve(data_dir=folder))
    loaded.sql(f"CALL quack_stop('{uri}')")


def test_a_port_in_use_is_refused(loaded, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused(loaded, serve(f"quack:127.0.0.1:{port}", data_dir=f"'{tmp_path}/data'"), f"{port}.*use|use.*{port}")
    ((uri, *_),) = loaded.sql(serve(f"quack:127.0.0.1:{port}", data_dir=f"'{tmp_path}/data'"))
    loaded.sql(f"CALL quack_stop('{uri}')")


def test_the_same_address_twice_is_refused(server):
    refused(server.process, serve(server.uri, data_dir="'/tmp/never-made'"), "already|use")


# name: (statement, text of the refusal); URI stands for the served one, TOKEN for its token.
ATTACH = {
    "unknown_option": ("ATTACH 'URI' AS x (TYPE quack, TOKEN 'TOKEN', SPEED 'high')", "speed"),
    "misspelt_token": ("ATTACH 'URI' AS x (TYPE quack, TOKN 'TOKEN')", "tokn"),
    "two_unknown_options": ("ATTACH 'URI' AS x (TYPE quack, TOKEN 'TOKEN', AAA 1, BBB 2)", "aaa|bbb"),
    "no_token": ("ATTACH 'URI' AS x (TYPE quack)", "token"),
    "wrong_token": ("ATTACH 'URI' AS x (TYPE quack, TOKEN 'wrong-token')", "authentication|token"),
    "token_null": ("ATTACH 'URI' AS x (TYPE quack, TOKEN NULL)", "token"),
    "token_number": ("ATTACH 'URI' AS x (TYPE quack, TOKEN 5)", "token|authentication"),
    "empty_address": ("ATTACH 'quack:' AS x (TYPE quack, TOKEN 'TOKEN')", "address|uri|host|endpoint|quack:"),
    "bad_port": ("ATTACH 'quack:127.0.0.1:99999' AS x (TYPE quack, TOKEN 'TOKEN')", "port|99999"),
    "port_zero": ("ATTACH 'quack:127.0.0.1:0' AS x (TYPE quack, TOKEN 'TOKEN')", "port|:0"),
    "no_server_there": ("ATTACH 'quack:127.0.0.1:1' AS x (TYPE quack, TOKEN 'TOKEN')", "127.0.0.1:1"),
    "bad_access_mode": ("ATTACH 'URI' AS x (TYPE quack, TOKEN 'TOKEN', ACCESS_MODE 'sideways')", "sideways|access"),
    "name_in_use": ("ATTACH 'URI' AS memory (TYPE quack, TOKEN 'TOKEN')", "memory.*already|already.*memory"),
    "secret_that_is_missing": ("ATTACH 'URI' AS x (TYPE quack, SECRET no_such_secret)", "secret"),
    "recovery_mode": ("ATTACH 'URI' AS x (TYPE quack, TOKEN 'TOKEN', RECOVERY_MODE 'odd')", "recovery|odd"),
    "block_size": ("ATTACH 'URI' AS x (TYPE quack, TOKEN 'TOKEN', BLOCK_SIZE 16384)", "block_size"),
    "encryption": ("ATTACH 'URI' AS x (TYPE quack, TOKEN 'TOKEN', ENCRYPTION_KEY 'abc')", "encryption_key"),
}


@pytest.mark.parametrize("name", ATTACH)
def test_attach_refuses(server, name):
    statement, text = ATTACH[name]
    refused(server.process, statement.replace("URI", server.uri).replace("TOKEN'", nodes.TOKEN + "'"), text)
    attached = server.sql("SELECT database_name FROM duckdb_databases() WHERE NOT internal ORDER BY 1")
    assert ("x",) not in attached and ("cp",) in attached


# name: (statement on the catalog, text of the refusal)
STATEMENTS = {
    "two_databases_in_one_transaction": (
        "BEGIN; INSERT INTO t VALUES (1); CREATE TABLE memory.main.x (a INTEGER)",
        "can only write to a single attached database",
    ),
    "unknown_table_option": ("CREATE TABLE x (a INTEGER) WITH (quack_speed = 'high')", "quack_speed|WITH clause"),
    "table_in_a_temporary_schema": ("CREATE TEMP TABLE cp.x (a INTEGER)", "TEMP"),
    "two_databases_in_one_statement": ("INSERT INTO t SELECT 1/0 FROM missing", "missing"),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_statements_are_refused(server, name):
    statement, text = STATEMENTS[name]
    refused(server.process, statement, text)
    try:
        server.sql("ROLLBACK")
    except DatabaseError:
        pass  # No transaction was open.
    assert server.value("SELECT answer FROM t") == 42
