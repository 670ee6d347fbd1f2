"""What docs/security.md promises, on real processes."""

import os
import resource
import socket
import ssl
import stat
import subprocess
import time

import pytest
from quack_testing import cluster as clusters
from quack_testing import node as nodes
from quack_testing import wire
from quack_testing.process import EXTENSION, DatabaseError
from quack_testing.quackd import QUACKD, Quackd

# More than all places of a node for connections that have proved nothing.
SILENT = 1_100
SILENT_SECONDS = 6
# Handshakes and commits take some milliseconds, and machines that run tests are busy.
USUAL_SECONDS = 1.5


@pytest.fixture
def wide_umask():
    """Files of processes that start now are open to all, unless they say otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder):
    paths = [folder, *folder.rglob("*")]
    return {str(path): stat.S_IMODE(path.stat().st_mode) for path in paths}


def is_private(folder):
    return {path: oct(mode) for path, mode in modes(folder).items() if mode & 0o077} == {}


def test_files_of_a_node_are_its_users_alone_regardless_of_the_umask(tmp_path, track, wide_umask):
    node = track(nodes.Node(tmp_path, "n0"))
    node.start()
    node.sql("CREATE TABLE cp.t AS SELECT range FROM range(1000)")
    node.sql("CHECKPOINT cp")
    folder = node.data_dir
    assert {"store.duckdb", "log"} <= {path.name for path in folder.iterdir()}
    assert is_private(folder), modes(folder)
    node.stop()
    for path in modes(folder):
        os.chmod(path, 0o777)
    node.start()
    assert is_private(folder), modes(folder)
    assert node.value("SELECT count(*) FROM cp.t") == 1000
    node.stop()


def silent_sockets(port):
    sockets = []
    for _ in range(SILENT):
        one = socket.socket()
        one.bind(("127.0.0.77", 0))
        one.connect(("127.0.0.1", port))
        sockets.append(one)
    return sockets


def handshake_seconds(cluster, name, port):
    """How long a node's handshake takes, with a certificate and HTTP/2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    folder = cluster.certificates.folder / "nodes"
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    context.set_alpn_protocols(["h2"])
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain) as stream:
        stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        assert stream.recv(9)
    return time.monotonic() - begun


def test_silent_connections_delay_neither_commits_nor_handshakes_nor_clients(tmp_path, track):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    cluster = clusters.Cluster(tmp_path, 3, track).start()
    leader = cluster.leader()
    leader.sql("CREATE TABLE cp.t (i INTEGER)")
    sockets, commits, handshakes = [], [], []
    try:
        for name in cluster.names:
            sockets += silent_sockets(cluster.ports[name])
        end = time.monotonic() + SILENT_SECONDS
        while time.monotonic() < end:
            begun = time.monotonic()
            leader.sql("INSERT INTO cp.t VALUES (1)")
            commits.append(time.monotonic() - begun)
            handshakes += [handshake_seconds(cluster, "n1", leader.port)]
        begun = time.monotonic()
        client = track(nodes.stock_client(tmp_path, "stock", leader.uri))
        client.value("SELECT count(*) FROM cp.t")
        attach = time.monotonic() - begun
    finally:
        for one in sockets:
            one.close()
    print(f"{len(commits)} commits, at most {max(commits):.3f} s; handshakes at most {max(handshakes):.3f} s; ATTACH {attach:.3f} s")
    assert max(commits) < USUAL_SECONDS and max(handshakes) < USUAL_SECONDS
    assert leader.value("SELECT count(*) FROM cp.t") == len(commits)
    name = "quack_connections_closed_total"
    assert leader.value(f"SELECT value FROM quack_metrics() WHERE name = '{name}'") >= SILENT - 256
    for node in cluster.nodes.values():
        node.stop()


def test_a_token_comes_from_a_file_and_is_printed_nowhere(tmp_path, track):
    token = tmp_path / "token"
    token.write_text(nodes.TOKEN + "\n")
    token.chmod(0o600)
    quackd = Quackd(
        tmp_path, "--data-dir", tmp_path / "data", "--listen", "quack:127.0.0.1:0", "--token-file", token,
        "--extension", EXTENSION, "--admin-port", "0",
    )  # fmt: skip
    try:
        command = open(f"/proc/{quackd.popen.pid}/cmdline").read()
        assert "--token-file" in command and nodes.TOKEN not in command
        client = track(nodes.stock_client(tmp_path, "stock", quackd.uri))
        assert client.value("SELECT 1") == 1
        assert is_private(tmp_path / "data")
    finally:
        assert quackd.terminate() == 0
    for path in tmp_path.glob("*"):
        if path.is_file() and path != token and "stock" not in path.name:
            assert nodes.TOKEN not in path.read_text(errors="replace"), path


def test_a_token_file_that_others_can_read_is_refused_with_what_to_run(tmp_path, track):
    token = tmp_path / "token"
    token.write_text(nodes.TOKEN)
    token.chmod(0o644)
    arguments = [QUACKD, "--data-dir", tmp_path / "data", "--token-file", token]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and "run `chmod 06" in result.stderr
    node = track(nodes.Node(tmp_path, "n0"))
    node.load()
    serve = f"CALL quack_serve('quack:127.0.0.1:0', token_file := '{token}', data_dir := '{tmp_path}/n0')"
    with pytest.raises(DatabaseError, match="run `chmod 06"):
        node.sql(serve)
    token.chmod(0o600)
    # Only a token that was drawn is shown.
    assert node.sql(f"SELECT auth_token FROM ({serve.replace('CALL', 'FROM', 1)})") == [(None,)]
    with pytest.raises(DatabaseError, match="both given"):
        node.sql(serve.replace("token_file :=", "token := 'token-of-the-tests', token_file :="))


def test_a_page_of_another_origin_and_another_name_are_refused(tmp_path, track):
    node = track(nodes.Node(tmp_path, "n0"))
    node.start()
    endpoint = wire.Endpoint(f"http://127.0.0.1:{node.uri.rpartition(':')[2]}")
    message = wire.connection_request(nodes.TOKEN)
    for headers in [{"Origin": "http://evil.example"}, {"Host": "evil.example"}]:
        answer = endpoint.request("POST", "/quack", message, headers)
        assert answer.status == 403 and b"this server" in answer.body
    node.stop()


def test_a_node_that_requires_tls_takes_no_token_in_plain(tmp_path, track):
    node = track(nodes.Node(tmp_path, "n0", options={"require_tls": "true"}))
    node.load()
    with pytest.raises(DatabaseError, match="require_tls switches plain HTTP off, and there is no TLS"):
        node.serve()
    node.options |= clusters.Certificates(tmp_path / "certificates").issue("n0")
    node.serve()
    node.attach()
    node.sql("CREATE TABLE cp.t (i INTEGER)")
    answer = wire.Endpoint(f"http://127.0.0.1:{node.port}").post(wire.connection_request(nodes.TOKEN))
    assert answer.kind == wire.ERROR_RESPONSE and b"connect with TLS" in answer.body
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", node.port), 10) as plain, context.wrap_socket(plain) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b"Quack RPC endpoint" in b"".join(iter(lambda: stream.recv(4096), b""))
    assert node.stop() == 0
