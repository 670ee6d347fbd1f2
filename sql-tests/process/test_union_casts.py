"""Casts to UNION, whose member DuckDB chooses by a setting of the process, regardless of the connection's own."""

from importlib.metadata import version

import pytest

from quack_testing.process import EXTENSION, DatabaseError

TO_TEXT = "UNION (t VARCHAR)"
ALTERS = (
    f"ALTER TABLE t ADD COLUMN a {TO_TEXT} DEFAULT (1)",
    f"ALTER TABLE t ADD COLUMN b {TO_TEXT}[] DEFAULT ([DATE '2020-01-01'])",
    f"ALTER TABLE t ALTER i TYPE {TO_TEXT}",
    f"ALTER TABLE t ALTER j TYPE STRUCT (u UNION (n TINYINT, t VARCHAR)) USING {{u: j}}",
)
ROWS = [("1", "2", "1", "[2020-01-01]"), ("3", "4", "1", "[2020-01-01]")]
DEFINITIONS = (
    f"CREATE TABLE g (i INTEGER, u {TO_TEXT} GENERATED ALWAYS AS (i::{TO_TEXT}))",
    f"CREATE TABLE g (i INTEGER, CHECK ((i::{TO_TEXT})::VARCHAR <> '5'))",
    f"CREATE INDEX x ON t (((i::{TO_TEXT})::VARCHAR))",
)


@pytest.fixture
def table(cluster):
    cluster["n1"].sql("SET GLOBAL old_implicit_casting = true")
    n0 = cluster["n0"]
    n0.sql("CREATE TABLE t (i INTEGER, j INTEGER)")
    n0.sql("INSERT INTO t VALUES (1, 2), (3, 4)")
    cluster.wait_equal()
    return cluster


def test_all_nodes_cast_as_the_statement_does(table):
    for statement in ALTERS:
        table["n1"].sql(statement)
    table.wait_equal()
    for _ in range(2):
        for node in table.alive():
            assert node.sql("SELECT i::VARCHAR, j.u::VARCHAR, a::VARCHAR, b::VARCHAR FROM t ORDER BY ALL") == ROWS
            assert node.sql("SELECT state FROM quack_raft_status()") == [("ok",)]
            node.kill_and_start()


def test_a_connection_casts_by_its_own_setting(table):
    n0, n1 = table["n0"], table["n1"]
    n1.sql("SET SESSION old_implicit_casting = false", "strict")
    n0.sql("SET SESSION old_implicit_casting = true", "lenient")
    for node, connection in ((n0, None), (n1, "strict")):
        for statement in ALTERS:
            with pytest.raises(DatabaseError, match="can't be cast|Unimplemented"):
                node.sql(statement, *([connection] if connection else []))
    for statement in ALTERS:
        n0.sql(statement, "lenient")
    table.wait_equal()
    for node in table.alive():
        assert node.sql("SELECT state FROM quack_raft_status()") == [("ok",)]


@pytest.mark.skipif(version("duckdb") != "2.0.0", reason="later versions look at the setting when they evaluate, see below")
@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_definition_that_means_something_else_elsewhere_is_refused(table, definition):
    with pytest.raises(DatabaseError, match="old_implicit_casting"):
        table["n1"].sql(definition)
    with pytest.raises(DatabaseError, match="can't be cast"):
        table["n0"].sql(definition)


@pytest.mark.skipif(version("duckdb") == "2.0.0", reason="it looks at the setting when it binds a definition, see above")
@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_definition_means_the_same_at_each_node(table, definition):
    def outcome(node, statement):
        try:
            return table[node].sql(statement)
        except DatabaseError as error:
            assert "can't be cast" in str(error)
            return "refused"

    if "CREATE INDEX" in definition:
        assert [outcome(node, definition) for node in ("n0", "n1")] == ["refused"] * 2
        return
    table["n1"].sql(definition)
    table.wait_equal()
    assert [outcome(node, "INSERT INTO g (i) VALUES (5)") for node in ("n0", "n1")] == ["refused"] * 2
    table.wait_equal()


def test_members_are_found_by_casts_of_extensions_too(node):
    """JSON names the member; what its casts cost counts."""
    for setting in ("false", "true"):
        node.sql(f"SET old_implicit_casting = {setting}")
        query = "SELECT union_tag('{\"t\": [1]}'::JSON::UNION (n INTEGER[], t VARCHAR)), union_tag(1::UNION (n BIGINT, t VARCHAR))"
        assert node.sql(query) == [("t", "n")]
        assert node.sql("SELECT union_tag(union_value(t := '5')::UNION (n DOUBLE, t JSON))") == [("t",)]


SOURCES = (
    """'1'::JSON""",
    """'{"a": 1}'::JSON""",
    """'[1, 2]'::JSON""",
    """'null'::JSON""",
    """'"x"'::JSON""",
    """NULL::JSON""",
    """['{"x": 1}'::JSON]""",
    """{'a': '{"x": 2}'::JSON}""",
    """MAP {'k': '3'::JSON}""",
    """'x'""",
    """1""",
    """'2020-01-01'::DATE""",
    """union_value(a := 1)""",
    """union_value(j := '5'::JSON)""",
    """'{"a": 1}'::JSON::VARIANT""",
)
TARGETS = (
    "UNION(a TIMESTAMP)", "UNION(a VARCHAR, b INTEGER)", "UNION(j JSON, v VARCHAR)", "UNION(s STRUCT(a INTEGER))",
    "UNION(v VARIANT)", "UNION(a INTEGER, b DOUBLE)", "UNION(x INTEGER)[]", "STRUCT(a UNION(x INTEGER))",
    "MAP(VARCHAR, UNION(x INTEGER))", "VARIANT", "VARIANT[]", "STRUCT(a VARIANT)", "JSON",
)  # fmt: skip


@pytest.mark.parametrize("cast", ["CAST", "TRY_CAST"])
def test_casts_of_a_process_are_as_they_were_before_it_has_loaded_the_extension(new_process, cast):
    process = new_process("casts")

    def outcome(source, target):
        try:
            return process.sql(f"SELECT typeof(v), v::VARCHAR FROM (SELECT {cast}({source} AS {target}) AS v)")
        except DatabaseError as error:
            return str(error).split("\n")[0]

    pairs = [(source, target) for source in SOURCES for target in TARGETS]
    before = {pair: outcome(*pair) for pair in pairs}
    process.sql(f"LOAD '{EXTENSION}'")
    assert {pair: outcome(*pair) for pair in pairs} == before
    assert sum(isinstance(found, list) for found in before.values()) > len(pairs) / 3
