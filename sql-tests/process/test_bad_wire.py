"""Bytes that no client would send: each gets a clear answer, and the server goes on.

`server` is ours and DuckDB's own of 1.5.5 in turn, so that the answers are the ones that clients know. Where
ours is stricter, the case says so.
"""

import re
import socket
import struct

import pytest

from quack_testing import node as nodes
from quack_testing import wire


@pytest.fixture(scope="module", params=["quack", "stock"])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wire")
    with nodes.serving(nodes.Node(folder) if request.param == "quack" else nodes.StockServer(folder)) as server:
        yield server


@pytest.fixture
def endpoint(server):
    endpoint = wire.Endpoint(server.url)
    yield endpoint
    # After every test the server still serves a proper client.
    session = endpoint.connect(nodes.TOKEN)
    assert endpoint.post(wire.prepare_request(session, "SELECT 42")).kind == wire.PREPARE_RESPONSE
    assert endpoint.post(wire.disconnect(session)).kind == wire.SUCCESS_RESPONSE


def hello(token=nodes.TOKEN, **versions):
    return wire.connection_request(token, **versions)


SELECT = wire.prepare_request("", "SELECT 1")

# Messages that cannot be parsed: status 500 and the reason in a header.
UNREADABLE = {
    "empty": b"",
    "one_byte": b"\x01",
    "text": b"GET me some rows, please",
    "zeroes": bytes(64),
    "ones": b"\xff" * 64,
    "header_without_end": wire.field(1, wire.unsigned(wire.CONNECTION_REQUEST)),
    "header_with_an_unknown_field": wire.field(1, wire.unsigned(1)) + wire.field(9, wire.unsigned(1)) + wire.END,
    "fields_in_the_wrong_order": wire.field(3, wire.unsigned(0)) + wire.field(1, wire.unsigned(1)) + wire.END,
    "connection_request_cut_off": hello()[:-6],
    "connection_request_with_an_unknown_field": hello()[:-2] + wire.field(9, wire.unsigned(1)) + wire.END,
    "connection_request_without_its_end": hello()[:-2],
    "prepare_cut_off": wire.prepare_request("A" * 32, "SELECT 1")[:-4],
    "string_longer_than_the_message": wire.header(wire.CONNECTION_REQUEST)
    + wire.field(1, wire.unsigned(1_000_000) + b"abc")
    + wire.END,
    "string_of_four_exabytes": wire.header(wire.CONNECTION_REQUEST)
    + wire.field(1, wire.unsigned(1 << 62) + b"abc")
    + wire.END,
    "number_without_end": wire.header(wire.CONNECTION_REQUEST) + wire.field(4, b"\xff" * 40) + wire.END,
    "append_without_anything": wire.header(wire.APPEND_REQUEST, "A" * 32)[:-1],
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_messages_are_refused(endpoint, name):
    answer = endpoint.post(UNREADABLE[name])
    assert answer.status == 500 or answer.kind == wire.ERROR_RESPONSE, (answer.status, answer.body)
    assert len(answer.error) > 10, (answer.headers, answer.body)


# Messages that can be read and mean nothing: an error message with its text.
REFUSED = {
    "unknown_connection": (wire.prepare_request("0" * 32, "SELECT 1"), "Invalid connection id"),
    "no_connection": (SELECT, "connection id"),
    "disconnect_of_an_unknown_connection": (wire.disconnect("0" * 32), "Invalid connection id"),
    "fetch_of_an_unknown_connection": (wire.fetch_request("0" * 32), "Invalid connection id"),
    "wrong_token": (hello("wrong-token"), "Authentication failed"),
    "empty_token": (hello(""), "Authentication failed"),
    "very_long_token": (hello("x" * 100_000), "Authentication failed|auth string"),
    "only_newer_versions": (hello(lowest=2, highest=9), "[Uu]nsupported .*version"),
    "a_response_as_request": (wire.header(wire.SUCCESS_RESPONSE) + wire.END, "(Unsupported message|connection id)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_messages_without_meaning_get_an_error_message(endpoint, name):
    message, text = REFUSED[name]
    answer = endpoint.post(message)
    assert re.search(text, answer.error), (answer.status, answer.headers, answer.body)


# Statements in a proper session that the server cannot run.
STATEMENTS = {
    "empty": ("", "did not return any columns"),
    "only_a_comment": ("-- nothing", "did not return any columns"),
    "syntax": ("SELEC 1", "syntax error"),
    "not_utf8": (b"SELECT '\xff\xfe'", ".+"),
    "deeply_nested": ("SELECT " + "(" * 20_000 + "1" + ")" * 20_000, ".+"),
    "unknown_function": ("SELECT no_such_function(1)", "no_such_function"),
    "missing_file": ("FROM read_csv('/no/such/file.csv')", "served over the network|No files found"),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_statements_that_fail_keep_the_session(endpoint, name):
    sql, text = STATEMENTS[name]
    session = endpoint.connect(nodes.TOKEN)
    answer = endpoint.post(wire.prepare_request(session, sql))
    assert answer.status == 500 or answer.kind == wire.ERROR_RESPONSE, (answer.status, answer.body)
    assert re.search(text, answer.error), (answer.headers, answer.body)
    assert endpoint.post(wire.prepare_request(session, "SELECT 1")).kind == wire.PREPARE_RESPONSE
    endpoint.post(wire.disconnect(session))


def test_a_closed_session_is_gone(endpoint):
    session = endpoint.connect(nodes.TOKEN)
    assert endpoint.post(wire.disconnect(session)).kind == wire.SUCCESS_RESPONSE
    assert "Invalid connection id" in endpoint.post(wire.prepare_request(session, "SELECT 1")).error


def test_sessions_cannot_be_guessed(endpoint):
    first, second = endpoint.connect(nodes.TOKEN), endpoint.connect(nodes.TOKEN)
    assert re.fullmatch("[0-9A-F]{32}", first) and first != second
    for session in (first, second):
        endpoint.post(wire.disconnect(session))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("OPTIONS", "/quack", 204),
        ("GET", "/quack", 404),
        ("POST", "/", 404),
        ("PUT", "/quack", 404),
        ("GET", "/../../etc/passwd", 404),
        ("POST", "/quack/more", 404),
    ],
)
def test_other_requests_have_the_usual_answers(endpoint, method, path, status):
    answer = endpoint.request(method, path)
    accepted = {status} if status != 404 else {404, 405, 400}
    assert answer.status in accepted, answer.body
    if method == "GET" and path == "/":
        assert b"This is a DuckDB Quack RPC endpoint" in answer.body


RAW = {
    "nothing": b"",
    "half_a_request_line": b"POST /qua",
    "not_http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "half_a_body": b"POST /quack HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc",
    "negative_length": b"POST /quack HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nabc",
    "huge_header": b"POST /quack HTTP/1.1\r\nX: " + b"x" * 2_000_000 + b"\r\n\r\n",
    "many_headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "huge_message": b"POST /quack HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 100_000,
    "endless_chunk": b"POST /quack HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nabc",
}


@pytest.mark.parametrize("name", RAW)
def test_broken_http_does_not_stop_the_server(endpoint, name):
    with socket.create_connection((endpoint.host, endpoint.port), timeout=10) as connection:
        try:
            connection.sendall(RAW[name])
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(10)
            answer = connection.recv(65536)
            assert not answer or answer.startswith(b"HTTP/1.1 "), answer[:200]
            # An error of HTTP, or one of the protocol, of which the stock client shows more.
            assert b" 200 " not in answer[:16] or b"larger than the" in answer, answer[:400]
        except OSError:
            pass  # Hung up on, which is as clear as it can be.


def test_clients_that_hang_up_in_the_middle_leave_no_session_behind(endpoint, server):
    for _ in range(50):
        session = endpoint.connect(nodes.TOKEN)
        message = wire.prepare_request(session, "SELECT sum(a.i * b.i) FROM range(20000) a(i), range(2000) b(i)")
        connection = socket.create_connection((endpoint.host, endpoint.port), timeout=10)
        head = f"POST /quack HTTP/1.1\r\nHost: x\r\nContent-Length: {len(message)}\r\n\r\n".encode()
        connection.sendall(head + message)
        linger = struct.pack("ii", 1, 0)  # close() resets the connection.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        connection.close()
    assert server.value("SELECT 1") == 1
