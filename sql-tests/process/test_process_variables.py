"""Variables of a Python process, which DuckDB reads like tables, are no part of a definition: no other node has them."""

import pytest

# Run in the node's process, in a function, whose variables DuckDB sees.
RUN = """
def run():
    cursor = database.cursor()
    cursor.execute("USE cp")
    found = database.sql("SELECT 42 AS a")
    numbers = {{'a': numpy.arange(3)}}
    # Names of the statement's own, which are no tables either.
    r, x, t = found, numbers, 17
    try:
        cursor.execute({sql!r})
        return "done"
    except duckdb.Error as error:
        return str(error)
import numpy
result = run()
"""
REFUSED = {
    "view": "CREATE VIEW made AS FROM found",
    "view in a view": "CREATE VIEW made AS SELECT * FROM t, (SELECT a FROM numbers) y",
    "in WITH": "CREATE VIEW made AS WITH x AS (FROM found) FROM x",
    "in an expression": "CREATE VIEW made AS SELECT (SELECT max(a) FROM numbers) AS m",
    "in a text": "CREATE VIEW made AS FROM query('FROM found')",
    "by its name": "CREATE VIEW made AS FROM query_table('found')",
    "macro": "CREATE MACRO made() AS (SELECT max(a) FROM found)",
    "table macro": "CREATE MACRO made() AS TABLE FROM numbers",
    "trigger": "CREATE TRIGGER made AFTER INSERT ON t REFERENCING NEW TABLE AS r INSERT INTO u SELECT a FROM found",
}
TAKEN = {
    "rows": "INSERT INTO t SELECT a, 'from Python' FROM found",
    "a table": "CREATE TABLE made AS FROM numbers",
    "a file": "CREATE VIEW made AS FROM 'not/there/yet.csv'",
    "WITH": "CREATE VIEW made AS WITH x AS (SELECT 1 AS a), r AS (FROM x) FROM r, x",
    "another name": "CREATE VIEW made AS SELECT r.a FROM t AS r",
    "trigger": "CREATE TRIGGER made AFTER INSERT ON t REFERENCING NEW TABLE AS r INSERT INTO u SELECT a FROM r",
    "recursive": "CREATE VIEW made AS WITH RECURSIVE x AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM x WHERE a < 3) FROM x",
    "a table of a schema": "CREATE VIEW s.made AS SELECT * FROM r",
}


@pytest.fixture
def prepared(node):
    node.sql("CREATE TABLE t (a INTEGER, b VARCHAR)")
    node.sql("CREATE TABLE u (a INTEGER)")
    node.sql("CREATE SCHEMA s")
    node.sql("CREATE TABLE s.r (a INTEGER)")
    return node


@pytest.mark.parametrize("name", REFUSED)
def test_in_a_definition(prepared, name):
    error = prepared.process.python(RUN.format(sql=REFUSED[name]))
    assert "is a variable of this process" in error and "Make a table of it first" in error
    assert prepared.sql("INSERT INTO t VALUES (1, 'x')") == [(1,)]


@pytest.mark.parametrize("name", TAKEN)
def test_where_they_are_none_or_are_read_at_once(prepared, name):
    said = prepared.process.python(RUN.format(sql=TAKEN[name]))
    # DuckDB itself looks for the file.
    assert said == "done" or name == "a file" and "yet.csv" in said
    assert prepared.sql("INSERT INTO t VALUES (1, 'x')") == [(1,)]
