"""The tables that a stock client finds when it attaches: it runs their statements in a catalog of its own, and knows less."""

import pytest

from quack_testing.process import DatabaseError

# A column, and what a row has that an INSERT of the client leaves it out of.
CONSTANT_DEFAULTS = {
    "a literal": ("x INTEGER DEFAULT -5", "-5"),
    "a cast": ("x DATE DEFAULT CAST('2020-01-01' AS DATE)", "2020-01-01"),
    "an operator": ("x INTEGER DEFAULT (1 + 2)", "3"),
    "a function": ("x VARCHAR DEFAULT concat('it''s ', upper('x'))", "it's X"),
    "a list": ("x VARCHAR[] DEFAULT ['a', 'b, ''c''', NULL]", "[a, 'b, \\'c\\'', NULL]"),
    "a struct": ("x STRUCT (a INTEGER, b VARCHAR) DEFAULT {a: 1, b: 'it''s'}", "{'a': 1, 'b': 'it\\'s'}"),
    "a map": ("x MAP (INTEGER, DOUBLE) DEFAULT MAP {1: 0.1}", "{1=0.1}"),
    "an interval": ("x INTERVAL DEFAULT INTERVAL 3 DAY", "3 days"),
    "bytes": ("x BLOB DEFAULT '\\x00\\xff'::BLOB || 'a'::BLOB", "\\x00\\xFFa"),
    "NULL": ("x INTEGER DEFAULT (nullif(1, 1))", None),
    "an ENUM": ("x ENUM ('sad', 'ok') DEFAULT lower('OK')", "ok"),
}
SERVERS_DEFAULTS = {
    "the time": "x TIMESTAMPTZ DEFAULT current_timestamp",
    "now": "x TIMESTAMPTZ DEFAULT now()",
    "a sequence": "x BIGINT DEFAULT nextval('q')",
    "chance": "x UUID DEFAULT uuid()",
    "a list of it": "x DOUBLE[] DEFAULT [random()]",
    "a struct of it": "x STRUCT (a UUID) DEFAULT {a: uuid()}",
}


@pytest.mark.parametrize("name", CONSTANT_DEFAULTS)
def test_a_client_writes_a_constant_default(node, new_stock, name):
    column, value = CONSTANT_DEFAULTS[name]
    node.sql(f"CREATE TABLE t (i INTEGER, {column})")
    stock = new_stock()
    stock.sql("INSERT INTO cp.t (i) VALUES (1)")
    assert node.sql("SELECT i, x::VARCHAR FROM t") == [(1, value)]
    node.sql("INSERT INTO t (i) VALUES (1)")
    assert node.sql("SELECT count(DISTINCT t) FROM t") == [(1,)]
    assert stock.sql("SELECT x::VARCHAR FROM cp.t") == [(value,)] * 2


@pytest.mark.parametrize("name", SERVERS_DEFAULTS)
def test_a_client_is_told_of_a_default_that_the_server_computes(node, new_stock, name):
    node.sql("CREATE SEQUENCE q")
    node.sql(f"CREATE TABLE t (i INTEGER, {SERVERS_DEFAULTS[name]})")
    stock = new_stock()
    with pytest.raises(DatabaseError, match="the default of column x is computed by the server"):
        stock.sql("INSERT INTO cp.t (i) VALUES (1)")
    assert node.sql("FROM t") == []
    stock.sql("INSERT INTO cp.t (i, x) VALUES (1, NULL)")
    node.sql("INSERT INTO t (i) VALUES (2)")
    assert stock.sql("SELECT i, x IS NULL FROM cp.t ORDER BY ALL") == [(1, True), (2, False)]


def test_a_client_attaches_a_catalog_with_tables_of_all_kinds(node, new_stock):
    for statement in (
        "SELECT quack_multiraft_sql_set_enabled(true)",
        "CREATE TABLE parent (a INTEGER PRIMARY KEY)",
        "CREATE TABLE child (a INTEGER REFERENCES parent (a), CHECK (a < 100))",
        "CREATE TABLE self (a INTEGER PRIMARY KEY, b INTEGER REFERENCES self (a))",
        "CREATE MACRO twice(x) AS 2 * x",
        "CREATE TABLE checked (i INTEGER, CHECK (twice(i) < 100))",
        "CREATE TABLE defaulted (i INTEGER, x INTEGER DEFAULT twice(21))",
        "CREATE TABLE computed (i INTEGER, g INTEGER GENERATED ALWAYS AS (abs(i) + 1))",
        "CREATE TABLE placed (i INTEGER, k VARCHAR) WITH (quack_shard_key = 'k')",
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        "CREATE TABLE typed (m mood, n STRUCT (a mood[]))",
        "CREATE VIEW seen AS SELECT twice(a) AS b FROM parent",
        # These the client cannot have.
        "CREATE TABLE precise (t TIMESTAMPTZ_NS)",
        "CREATE TABLE unnamed (t STRUCT (a TUPLE (INTEGER, VARCHAR)))",
        "CREATE TABLE by_macro (i INTEGER, g INTEGER GENERATED ALWAYS AS (twice(i)))",
    ):
        node.sql(statement)
    stock = new_stock()
    for name in ("parent", "child", "self", "checked", "defaulted", "computed", "placed", "typed", "seen"):
        assert stock.sql(f"FROM cp.{name}") == []
    for name in ("precise", "unnamed", "by_macro"):
        with pytest.raises(DatabaseError, match=f"{name} does not exist"):
            stock.sql(f"FROM cp.{name}")
    with pytest.raises(DatabaseError, match="foreign key"):
        stock.sql("INSERT INTO cp.child VALUES (1)")
    stock.sql("INSERT INTO cp.parent VALUES (1)")
    stock.sql("INSERT INTO cp.child VALUES (1)")
    stock.sql("INSERT INTO cp.parent VALUES (100)")
    with pytest.raises(DatabaseError, match="CHECK"):
        stock.sql("INSERT INTO cp.child VALUES (100)")
    with pytest.raises(DatabaseError, match="CHECK"):
        stock.sql("INSERT INTO cp.checked VALUES (50)")
    stock.sql("INSERT INTO cp.defaulted (i) VALUES (1)")
    stock.sql("INSERT INTO cp.computed VALUES (-5)")
    stock.sql("INSERT INTO cp.typed VALUES ('ok', {'a': ['sad']})")
    assert stock.sql("FROM cp.defaulted") == [(1, 42)]
    assert stock.sql("FROM cp.computed") == [(-5, 6)]
    assert stock.sql("FROM cp.seen ORDER BY ALL") == [(2,), (200,)]


def test_a_client_finds_all_tables_of_a_large_catalog(node, new_stock):
    """It reads one answer of the listing, however many there would be."""
    for number in range(400):
        node.sql(f"CREATE TABLE t{number} (x VARCHAR DEFAULT '{'x' * 30_000}')")
    stock = new_stock()
    for number in range(0, 400, 7):
        assert stock.sql(f"FROM cp.t{number}") == []


def test_the_listing_is_for_the_client_alone(node):
    """What SQL shows is what there is."""
    node.sql("CREATE TABLE t (x TIMESTAMPTZ DEFAULT now())")
    assert "now()" in node.sql("SELECT sql FROM duckdb_tables() WHERE table_name = 't'")[0][0]


def test_tables_of_the_session_are_listed_as_they_are(node):
    node.sql("CREATE TEMP TABLE own (i INTEGER DEFAULT (1 + 1))")
    query = "SELECT quack_table_for_client(database_name, schema_name, table_name, sql) FROM duckdb_tables() WHERE table_name = 'own'"
    assert "1 + 1" in node.sql(query)[0][0]
