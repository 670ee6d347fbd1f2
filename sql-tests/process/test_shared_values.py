"""Rows that share their values: a small message, or a short statement, of which each row gets the whole.

A node reads and writes them in pieces, so that its memory does not grow with what the rows hold in all.
"""

import pytest

from quack_testing import wire

MIB = 1 << 20
# The process, DuckDB's limit, and 300 MiB of rows that DuckDB's commit needs. Of all rows at once it would be twice as much.
PEAK_MIB = 1100
INTEGER, VARCHAR = wire.Fixed(13, 4), wire.Text(25)
INTEGERS, TEXTS, ARRAY = wire.List(INTEGER), wire.List(VARCHAR), wire.Array(INTEGER, 1000)
TABLES = {"t": "VARCHAR", "l": "INTEGER[]", "s": "VARCHAR[]", "a": "INTEGER[1000][]"}


def arrays_of_one_code(count):
    """Four lists that share arrays, which are all one value of a dictionary."""
    entries = wire.unsigned(4) + b"".join(
        wire.field(100, wire.unsigned(0)) + wire.field(101, wire.unsigned(count)) + wire.END for _ in range(4)
    )
    child = wire.dictionary(ARRAY, [[1] * 1000], [0] * count)
    size = wire.field(104, wire.unsigned(count))
    return wire.validity([1] * 4) + size + wire.field(105, entries) + wire.field(106, child) + wire.END


# Table, rows, type, vector, and what a row is in SQL; or what is said of the message.
TAKEN = {
    "a constant text": ("t", 300, VARCHAR, wire.constant(VARCHAR, b"x" * MIB), f"repeat('x', {MIB})"),
    "a code of a dictionary": ("t", 300, VARCHAR, wire.dictionary(VARCHAR, [b"y", b"x" * MIB], [1] * 300), f"repeat('x', {MIB})"),
    "lists over one child": ("l", 60, INTEGERS, INTEGERS.vector_of([(0, MIB)] * 60, [7] * MIB), f"list_transform(range({MIB}), lambda x: 7)"),
    "lists of one text": ("s", 300, TEXTS, TEXTS.vector_of([(0, 1)] * 300, [b"x" * MIB]), f"[repeat('x', {MIB})]"),
    "parts of one list": ("l", 2048, INTEGERS, INTEGERS.vector_of([(i, 2) for i in range(2048)], [7] * MIB), "[7, 7]"),
}  # fmt: skip
REFUSED = {
    "millions of constant texts": ("t", 4_000_000, VARCHAR, wire.constant(VARCHAR, b"x" * MIB), "values of the rows"),
    "thousands of lists": ("l", 2048, INTEGERS, INTEGERS.vector_of([(0, MIB)] * 2048, [7] * MIB), "values of the rows"),
    "arrays of one code": ("a", 4, wire.List(ARRAY), arrays_of_one_code(200_000), "memory for vectors"),
}


@pytest.fixture
def client(node):
    """With little memory for DuckDB: what is measured is held beside it."""
    for name, of in TABLES.items():
        node.sql(f"CREATE TABLE {name} (v {of})")
    node.sql("SET memory_limit = '400MB'")
    endpoint = wire.Endpoint(node.uri.replace("quack:", "http://"))
    session = endpoint.connect("token-of-the-tests")

    def post(message):
        return endpoint.request("POST", "/quack", message, {"Content-Type": "application/octet-stream"}, timeout=120)

    def append(table, rows, of, vector):
        return post(wire.append_request(session, table, rows, [of.type], [vector]))

    client.sql = lambda text: post(wire.prepare_request(session, text))
    client.append = append
    return client


def forget_peak(node):
    with open(f"/proc/{node.process.pid}/clear_refs", "w") as file:
        file.write("5")


def peak_mib(node):
    with open(f"/proc/{node.process.pid}/status") as file:
        return next(int(line.split()[1]) >> 10 for line in file if line.startswith("VmHWM"))


@pytest.mark.parametrize("name", TAKEN)
def test_rows_of_a_small_message_are_written_in_pieces(node, client, name):
    table, rows, of, vector, value = TAKEN[name]
    forget_peak(node)
    assert client.append(table, rows, of, vector).kind == wire.SUCCESS_RESPONSE
    assert peak_mib(node) < PEAK_MIB
    node.sql("RESET memory_limit")
    assert node.sql(f"SELECT count(*) FROM {table} WHERE v = {value}") == [(rows,)]


@pytest.mark.parametrize("name", REFUSED)
def test_a_message_of_endless_rows_is_refused(node, client, name):
    table, rows, of, vector, text = REFUSED[name]
    forget_peak(node)
    assert text in client.append(table, rows, of, vector).error
    assert peak_mib(node) < 700
    assert node.sql(f"SELECT count(*) FROM {table}") == [(0,)]


def test_rows_of_a_short_statement_are_written_in_pieces(node, client):
    forget_peak(node)
    assert node.sql("INSERT INTO t SELECT repeat('x', 1000000) FROM range(300)") == [(300,)]
    assert peak_mib(node) < PEAK_MIB


def test_an_answer_holds_some_megabytes(node, client, stock):
    query = "SELECT repeat('x', 1000000) AS v FROM range(60)"
    assert 1_000_000 < len(client.sql(query).body) < 11 * MIB
    assert [len(row[0]) for row in stock.sql(query)] == [1_000_000] * 60
