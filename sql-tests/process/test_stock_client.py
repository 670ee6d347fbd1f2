"""The stock client of DuckDB 1.5.5 against our server, and against DuckDB's own where that can do it.

A test that takes `server` runs twice, so that what it expects is what stock clients are used to.
"""

import re

import pytest

from quack_testing import node as nodes
from quack_testing.process import DatabaseError

LARGE_ROWS = 200_000


@pytest.fixture(params=["quack", "stock"])
def server(request, tmp_path, track):
    """Our server or DuckDB's; both must end in the ordinary way."""
    server = nodes.Node(tmp_path) if request.param == "quack" else nodes.StockServer(tmp_path)
    track(server.start())
    yield server
    if server.process.popen.poll() is None:
        assert server.stop() == 0, server.process.stderr_tail()


@pytest.fixture
def client(server, tmp_path, track):
    return track(nodes.stock_client(tmp_path, "client", server.uri))


def test_a_table_is_created_filled_and_read(client, server):
    client.sql("CREATE TABLE cp.t (id INTEGER, name VARCHAR)")
    assert client.sql("INSERT INTO cp.t VALUES (1, 'one'), (2, NULL), (3, '')") == [(3,)]
    assert client.sql("FROM cp.t ORDER BY id") == [(1, "one"), (2, None), (3, "")]
    assert server.sql("FROM t ORDER BY id") == [(1, "one"), (2, None), (3, "")]
    assert client.sql("SELECT count(*), max(name) FROM cp.t WHERE id < 3") == [(2, "one")]
    client.sql("DROP TABLE cp.t")
    with pytest.raises(DatabaseError, match="t does not exist"):
        server.sql("FROM t")


def test_create_or_replace_and_if_not_exists(client, server):
    client.sql("CREATE TABLE cp.t (id INTEGER)")
    client.sql("CREATE TABLE IF NOT EXISTS cp.t (other VARCHAR)")
    client.sql("CREATE OR REPLACE TABLE cp.t (word VARCHAR)")
    client.sql("INSERT INTO cp.t VALUES ('replaced')")
    assert server.sql("FROM t") == [("replaced",)]
    client.sql("DROP TABLE IF EXISTS cp.missing")


def test_rows_go_both_ways_with_create_table_as(client, server):
    client.sql("CREATE TABLE mine AS SELECT i AS id, 'row ' || i AS name FROM range(5000) r(i)")
    client.sql("CREATE TABLE cp.theirs AS FROM mine")
    assert server.sql("SELECT count(*), sum(id), max(name) FROM theirs") == [(5000, 12497500, "row 999")]
    server.sql("CREATE TABLE more AS SELECT id * 2 AS twice, name FROM theirs WHERE id < 3000")
    client.sql("CALL quack_clear_cache()")
    client.sql("CREATE TABLE back AS FROM cp.more")
    assert client.sql("SELECT count(*), sum(twice) FROM back") == [(3000, 8997000)]


def test_views_are_created_and_read(client, server):
    client.sql("CREATE TABLE cp.t AS SELECT i AS id FROM range(10) r(i)")
    client.sql("CREATE VIEW cp.v AS SELECT id FROM t WHERE id > 7")
    assert client.sql("FROM cp.v ORDER BY id") == [(8,), (9,)]
    assert server.sql("FROM v ORDER BY id") == [(8,), (9,)]
    client.sql("DROP VIEW cp.v")
    with pytest.raises(DatabaseError):
        server.sql("FROM v")


def test_any_sql_goes_through_quack_query(client, server):
    def query(sql):
        return client.sql("FROM quack_query(?, ?, token := ?)", parameters=[server.uri, sql, nodes.TOKEN])

    query("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
    assert query("INSERT INTO t SELECT i, i FROM range(100) r(i)") == [(100,)]
    assert query("UPDATE t SET n = n + 1 WHERE id < 10") == [(10,)]
    assert query("DELETE FROM t WHERE id >= 50") == [(50,)]
    assert query("INSERT INTO t VALUES (0, 7) ON CONFLICT (id) DO UPDATE SET n = 7") == [(1,)]
    assert query("INSERT INTO t VALUES (777, 1) RETURNING id, n * 2 AS twice") == [(777, 2)]
    assert query("SELECT count(*), sum(n) FROM t") == server.sql("SELECT count(*), sum(n) FROM t") == [(51, 1242)]
    query("ALTER TABLE t ADD COLUMN extra VARCHAR DEFAULT 'x'")
    assert query("SELECT DISTINCT extra FROM t") == [("x",)]
    query("CREATE INDEX t_n ON t (n)")
    query("DROP TABLE t")


def test_the_query_macro_and_query_by_name_use_the_session(client):
    assert client.sql("FROM cp.query('SELECT 40 + 2 AS answer')") == [(42,)]
    client.sql("FROM quack_query_by_name('cp', 'CREATE TEMP TABLE mine AS SELECT 5 AS n')")
    assert client.sql("FROM quack_query_by_name('cp', 'SELECT n FROM mine')") == [(5,)]
    client.sql("FROM quack_query_by_name('cp', 'SET VARIABLE word = ''kept''')")
    assert client.sql("FROM cp.query('SELECT getvariable(''word'')')") == [("kept",)]


def test_large_results_arrive_whole_and_in_order(client, server):
    server.sql(
        f"CREATE TABLE t AS SELECT i AS id, md5(i::VARCHAR) AS hash, CASE WHEN i % 7 <> 0 THEN i END AS n "
        f"FROM range({LARGE_ROWS}) r(i)"
    )
    client.sql("CALL quack_clear_cache()")
    rows = client.sql("FROM cp.query('FROM t ORDER BY id')")
    assert len(rows) == LARGE_ROWS
    assert all(row[0] == number for number, row in enumerate(rows))
    assert rows == server.sql("FROM t ORDER BY id")
    assert client.sql("SELECT count(*), sum(id), count(n), min(hash) FROM cp.t") == server.sql(
        "SELECT count(*), sum(id), count(n), min(hash) FROM t"
    )


def test_large_inserts_arrive_whole(client, server):
    client.sql("CREATE TABLE cp.t (id BIGINT, word VARCHAR, list INTEGER[])")
    inserted = client.sql(
        f"INSERT INTO cp.t SELECT i, 'word ' || (i % 1000), [i, NULL] FROM range({LARGE_ROWS}) r(i)"
    )
    assert inserted == [(LARGE_ROWS,)]
    expected = [(LARGE_ROWS, LARGE_ROWS * (LARGE_ROWS - 1) // 2, 1000, 2 * LARGE_ROWS)]
    assert server.sql("SELECT count(*), sum(id), count(DISTINCT word), sum(len(list)) FROM t") == expected


TYPES = {
    "boolean": ("BOOLEAN", ["true", "false"]),
    "tinyint": ("TINYINT", ["-128", "127"]),
    "smallint": ("SMALLINT", ["-32768", "32767"]),
    "integer": ("INTEGER", ["-2147483648", "2147483647"]),
    "bigint": ("BIGINT", ["-9223372036854775808", "9223372036854775807"]),
    "hugeint": (
        "HUGEINT",
        ["-170141183460469231731687303715884105728", "170141183460469231731687303715884105727", "-1", "0"],
    ),
    "utinyint": ("UTINYINT", ["255"]),
    "usmallint": ("USMALLINT", ["65535"]),
    "uinteger": ("UINTEGER", ["4294967295"]),
    "ubigint": ("UBIGINT", ["18446744073709551615"]),
    "uhugeint": ("UHUGEINT", ["340282366920938463463374607431768211455"]),
    "float": ("FLOAT", ["1.5", "inf", "-inf", "nan", "-0.0", "1e-45"]),
    "double": ("DOUBLE", ["1.7976931348623157e+308", "nan", "-inf", "5e-324"]),
    "decimal_4": ("DECIMAL(4, 1)", ["999.9", "-0.1"]),
    "decimal_9": ("DECIMAL(9, 3)", ["-999999.999"]),
    "decimal_18": ("DECIMAL(18, 6)", ["123456789012.345678"]),
    "decimal_38": ("DECIMAL(38, 10)", ["-1234567890123456789012345678.0123456789"]),
    "varchar": ("VARCHAR", ["", "short", "naïve 🦆", "longer than twelve bytes, so not inlined", "a\nb\tc"]),
    "blob": ("BLOB", ["", "\\x00", "\\x00\\xFF\\x00", "abc\\x00def and more than twelve bytes"]),
    "bit": ("BIT", ["0", "1", "01010101010101010101", "111"]),
    "uuid": ("UUID", ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
    "date": ("DATE", ["5877642-06-25 (BC)", "1970-01-01", "infinity", "-infinity", "9999-12-31"]),
    "time": ("TIME", ["00:00:00", "23:59:59.999999", "24:00:00"]),
    "timetz": ("TIMETZ", ["00:00:00+00", "23:59:59.999999-15:59:59"]),
    "timestamp": ("TIMESTAMP", ["1970-01-01 00:00:00", "294247-01-10 04:00:54.775806", "infinity"]),
    "timestamptz": ("TIMESTAMPTZ", ["2020-02-29 12:34:56.789+00", "-infinity"]),
    "timestamp_s": ("TIMESTAMP_S", ["1999-12-31 23:59:59"]),
    "timestamp_ms": ("TIMESTAMP_MS", ["1999-12-31 23:59:59.123"]),
    "timestamp_ns": ("TIMESTAMP_NS", ["1999-12-31 23:59:59.123456789"]),
    "interval": ("INTERVAL", ["1 year 2 months 3 days 04:05:06.7", "-1 days", "00:00:00"]),
    "enum": ("ENUM('sad', 'ok', 'happy')", ["sad", "happy"]),
    "bignum": ("BIGNUM", ["123456789012345678901234567890123456789012345678901234567890", "-1", "0"]),
    "list": ("INTEGER[]", ["[]", "[1, NULL, 3]", "[NULL]"]),
    "lists": ("VARCHAR[][]", ["[[a, b], [], NULL]", "[]"]),
    "struct": ("STRUCT(a INTEGER, b VARCHAR)", ["{'a': 1, 'b': x}", "{'a': NULL, 'b': NULL}"]),
    "structs": ("STRUCT(a INTEGER, b DATE[])[]", ["[{'a': 1, 'b': [2020-01-01]}, NULL]"]),
    "map": ("MAP(VARCHAR, INTEGER[])", ["{k=[1, NULL], l=NULL}", "{}"]),
    "array": ("FLOAT[3]", ["[1.0, NULL, 3.0]"]),
    "union": ("UNION(number INTEGER, word VARCHAR)", ["5", "five"]),
}


@pytest.mark.parametrize("repeat", [1, 1500], ids=["few", "many"])
def test_every_type_makes_the_round_trip(client, server, repeat):
    """Values go from the client to the server and back, alone and in vectors, with NULLs between them."""
    differences = []
    for name, (kind, values) in TYPES.items():
        client.sql(f"CREATE TABLE local_{name} (id INTEGER, value {kind})")
        for number, value in enumerate([*values, None]):
            client.sql(
                f"INSERT INTO local_{name} SELECT {number} + 100 * i, CAST(? AS {kind}) FROM range({repeat}) r(i)",
                parameters=[value],
            )
        client.sql(f"CREATE TABLE cp.remote_{name} AS FROM local_{name}")
        look = f"SELECT id, value::VARCHAR, value IS NULL FROM {{}}{name} ORDER BY id"
        sent = client.sql(look.format("local_"))
        stored = server.sql(look.format("remote_"))
        returned = client.sql(look.format("cp.remote_"))
        types = server.sql(f"SELECT DISTINCT typeof(value) FROM remote_{name}")
        if not (sent == stored == returned) or len(sent) != repeat * (len(values) + 1):
            differences.append((name, types, sent[:8], stored[:8], returned[:8]))
    assert not differences


def test_files_are_copied_to_and_from_the_server(client, server, tmp_path):
    client.sql("CREATE TABLE cp.t (id INTEGER, name VARCHAR)")
    client.sql(f"COPY (SELECT i, 'name ' || i FROM range(3000) r(i)) TO '{tmp_path}/in.csv' (HEADER false)")
    assert client.sql(f"COPY cp.t FROM '{tmp_path}/in.csv' (HEADER false)") == [(3000,)]
    assert client.sql(f"COPY cp.t TO '{tmp_path}/out.csv' (HEADER false)") == [(3000,)]
    assert (tmp_path / "in.csv").read_text() == (tmp_path / "out.csv").read_text()
    assert server.value("SELECT count(*) FROM t") == 3000


def test_a_wrong_token_is_refused(server, tmp_path, track):
    client = track(nodes.stock_process(tmp_path, "stranger"))
    with pytest.raises(DatabaseError, match="Authentication failed"):
        client.sql(f"ATTACH '{server.uri}' AS cp (TYPE quack, TOKEN 'wrong-token')")
    with pytest.raises(DatabaseError, match="Authentication failed"):
        client.sql(f"FROM quack_query('{server.uri}', 'SELECT 1', token := 'wrong-token')")
    with pytest.raises(DatabaseError, match="authentication token"):
        client.sql(f"ATTACH '{server.uri}' AS cp (TYPE quack)")


def test_the_token_can_come_from_a_secret(server, tmp_path, track):
    client = track(nodes.stock_process(tmp_path, "keeper"))
    client.sql(f"CREATE SECRET (TYPE quack, TOKEN '{nodes.TOKEN}')")
    client.sql(f"ATTACH '{server.uri}' AS cp")
    assert client.sql("FROM cp.query('SELECT 1')") == [(1,)]


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT missing", "missing"),
        ("FROM missing", "missing does not exist"),
        ("SELECT 'x'::INTEGER", "Could not convert string 'x' to INT32"),
        ("SELECT error('my own text')", "my own text"),
        ("SELECT CASE WHEN i = 150000 THEN error('deep inside') ELSE i END FROM range(200000) r(i)", "deep inside"),
        ("INSERT INTO t VALUES (1)", "Duplicate key"),
        ("", "did not return any columns"),
    ],
)
def test_errors_arrive_and_leave_the_session_usable(client, server, sql, text):
    server.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    server.sql("INSERT INTO t VALUES (1)")
    expected = re.escape(text)
    if isinstance(server, nodes.StockServer) and text == "deep inside":
        # At times DuckDB's own server reports the interrupt that ends the other threads of the failed query instead.
        expected += "|Interrupted!"
    with pytest.raises(DatabaseError, match=expected):
        client.sql("FROM quack_query_by_name('cp', ?)", parameters=[sql])
    assert client.sql("FROM cp.query('SELECT 1')") == [(1,)]


def test_a_text_of_several_statements_gives_the_first_rows(client, server):
    client.sql("FROM quack_query_by_name('cp', 'CREATE TABLE t (id INTEGER)')")
    rows = client.sql("FROM quack_query_by_name('cp', 'SELECT 1 AS a; INSERT INTO t VALUES (5); SELECT 2')")
    assert rows == [(1,)]
    assert server.sql("FROM t") == [(5,)]


def test_a_syntax_error_anywhere_in_a_text_runs_nothing(client, server):
    server.sql("CREATE TABLE t (id INTEGER)")
    with pytest.raises(DatabaseError, match="syntax error"):
        client.sql("FROM quack_query_by_name('cp', 'INSERT INTO t VALUES (1); SELEC 2')")
    assert server.sql("FROM t") == []


def test_a_read_only_attachment_does_not_write(server, tmp_path, track):
    server.sql("CREATE TABLE t AS SELECT 1 AS id")
    client = track(nodes.stock_process(tmp_path, "reader"))
    client.sql(f"ATTACH '{server.uri}' AS cp (TYPE quack, TOKEN '{nodes.TOKEN}', READ_ONLY)")
    assert client.sql("FROM cp.t") == [(1,)]
    with pytest.raises(DatabaseError, match="read-only"):
        client.sql("INSERT INTO cp.t VALUES (2)")


def test_detach_and_attach_again_in_one_process(client, server):
    client.sql("CREATE TABLE cp.t AS SELECT 1 AS id")
    for _ in range(5):
        client.sql("DETACH cp")
        client.sql(f"ATTACH '{server.uri}' AS cp (TYPE quack, TOKEN '{nodes.TOKEN}')")
        assert client.sql("FROM cp.t") == [(1,)]


def test_many_sessions_work_side_by_side(client, server):
    client.sql("CREATE TABLE cp.t (id INTEGER, who INTEGER)")
    calls = [
        client.start_sql(f"FROM quack_query('{server.uri}', 'INSERT INTO t VALUES ({n}, {k})', token := '{nodes.TOKEN}')", f"c{k}")
        for k in range(8)
        for n in range(10)
    ]
    assert all(call.result(120) == [(1,)] for call in calls)
    assert server.sql("SELECT count(*), count(DISTINCT id), count(DISTINCT who) FROM t") == [(80, 10, 8)]


def test_catalogs_are_listed_as_the_client_expects(client, server):
    for number in range(300):
        server.sql(f"CREATE TABLE t{number} (id INTEGER)")
    client.sql("CALL quack_clear_cache()")
    assert client.sql("SELECT count(*) FROM cp.t299") == [(0,)]
    assert client.sql("SELECT count(*) FROM cp.t0") == [(0,)]
