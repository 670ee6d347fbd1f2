"""Plain DuckDB reads what EXPORT DATABASE and COPY FROM DATABASE write, under any name."""

import duckdb
import pytest

DEFINITIONS = [
    "CREATE SCHEMA s",
    "CREATE SEQUENCE s.q",
    "CREATE MACRO m(x) AS x + 1",
    "CREATE TABLE t0 (i INTEGER)",
    "INSERT INTO t0 VALUES (5)",
    "CREATE MACRO counted(x) AS main.m(x) + (SELECT count(*) FROM main.t0)",
    "CREATE MACRO listed(a) AS TABLE SELECT i + main.m(a) AS y FROM main.t0",
    "CREATE TABLE t (j INTEGER, g INTEGER AS (m(j)), d INTEGER DEFAULT nextval('s.q'), CHECK (m(j) > 0))",
    "CREATE INDEX x ON t (m(j))",
    "CREATE VIEW v AS SELECT j, m(j) AS n FROM t",
    "COMMENT ON INDEX x IS 'over a macro'",
    "INSERT INTO t (j) VALUES (1), (2)",
]
QUERIES = ["FROM t ORDER BY j", "FROM v ORDER BY j", "SELECT counted(1)", "FROM listed(1)", "SELECT count(*) FROM t WHERE m(j) = 3"]


def written(run):
    """What the queries give after another row, and which rows are refused."""
    run("INSERT INTO t (j) VALUES (9)")
    with pytest.raises(Exception, match="CHECK constraint failed"):
        run("INSERT INTO t (j) VALUES (-1)")
    return [run(query) for query in QUERIES]


def test_plain_duckdb_takes_what_was_exported_or_copied(node, tmp_path):
    for definition in DEFINITIONS:
        node.sql(definition)
    node.sql(f"EXPORT DATABASE cp TO '{tmp_path / 'exported'}'")
    node.sql(f"ATTACH '{tmp_path / 'copied.db'}' AS copied")
    node.sql("COPY FROM DATABASE cp TO copied")
    node.sql("DETACH copied")
    expected = written(node.sql)
    with duckdb.connect(str(tmp_path / "imported.db")) as imported:
        imported.execute(f"IMPORT DATABASE '{tmp_path / 'exported'}'")
        assert written(lambda sql: imported.execute(sql).fetchall()) == expected
    with duckdb.connect(str(tmp_path / "copied.db")) as copied:
        assert written(lambda sql: copied.execute(sql).fetchall()) == expected
    before = node.sql("SELECT hash FROM quack_state_hash()")
    node.sql("CHECKPOINT cp")
    node.kill_and_start()
    assert [node.sql(query) for query in QUERIES] == expected
    assert node.sql("SELECT hash FROM quack_state_hash()") == before


SOURCE = [
    "ATTACH ':memory:' AS source",
    "CREATE TABLE source.a (i INTEGER, j INTEGER)",
    "CREATE TABLE source.b (i INTEGER PRIMARY KEY)",
    "CREATE INDEX x ON source.a (i)",
    "CREATE INDEX y ON source.a ((i + j))",
    "CREATE VIEW source.v AS FROM source.a",
]
INDEXES = "SELECT index_name FROM duckdb_indexes() WHERE database_name = 'cp' ORDER BY ALL"
TABLES = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'cp' ORDER BY ALL"


@pytest.mark.parametrize("is_open", [False, True], ids=["alone", "in a transaction"])
def test_definitions_are_copied_with_indexes_all_or_none(node, is_open):
    for statement in SOURCE:
        node.sql(statement)
    node.sql("CREATE TABLE b (another INTEGER)")
    before = node.sql("SELECT hash FROM quack_state_hash()")
    with pytest.raises(Exception, match='Table with name "b" already exists'):
        node.sql("COPY FROM DATABASE source TO cp (SCHEMA)")
    assert node.sql(TABLES) == [("b",)]
    assert node.sql("SELECT hash FROM quack_state_hash()") == before
    node.sql("DROP TABLE b")
    if is_open:
        node.sql("BEGIN")
    node.sql("COPY FROM DATABASE source TO cp (SCHEMA)")
    if is_open:
        node.sql("COMMIT")
    node.sql("INSERT INTO a SELECT range, 1 FROM range(1000)")
    node.sql("INSERT INTO b FROM range(10)")
    for _ in range(2):
        assert node.sql(INDEXES) == [("x",), ("y",)]
        assert node.value("SELECT count(*) FROM v WHERE i = 7 AND i + j = 8") == 1
        with pytest.raises(Exception, match="Duplicate key"):
            node.sql("INSERT INTO b VALUES (3)")
        node.kill_and_start()
