"""Rows are found by their bytes, wherever a node's checkpoints have left them, and the state hash sees every byte."""

import pytest

# Rows before those of the tests: more than a row group, most of which goes, so that a checkpoint moves what follows.
FILLER_ROWS = 250_000
FILLER_LEFT = 1000
ATTEMPTS = 20
# Values of a type that SQL takes for equal.
EQUAL = {
    "collation": ("VARCHAR COLLATE NOCASE", "'a'", "'A'"),
    "zeros": ("DOUBLE", "0.0", "-(0.0::DOUBLE)"),
    "small zeros": ("FLOAT", "0.0", "-(0.0::FLOAT)"),
    "not numbers": ("DOUBLE", "'nan'::DOUBLE", "-('nan'::DOUBLE)"),
    "intervals": ("INTERVAL", "INTERVAL 1 MONTH", "INTERVAL 30 DAY"),
    "list": ("DOUBLE[]", "[1.0, 0.0]", "[1.0, -(0.0::DOUBLE)]"),
    "array": ("DOUBLE[2]", "[1.0, 0.0]", "[1.0, -(0.0::DOUBLE)]"),
    "struct": ("STRUCT(i INTERVAL, d DOUBLE)", "{'i': INTERVAL 1 DAY, 'd': 0.0}", "{'i': INTERVAL 24 HOUR, 'd': 0.0}"),
    "map": ("MAP(INTEGER, DOUBLE)", "MAP {1: 0.0}", "MAP {1: -(0.0::DOUBLE)}"),
    "union": ("UNION(d DOUBLE, v VARCHAR)", "0.0::DOUBLE", "-(0.0::DOUBLE)"),
}
# What is not a number is one value: a checkpoint of DuckDB may change its bits.
DIFFERENT = [name for name in EQUAL if name != "not numbers"]
CHANGES = {
    "delete": ["DELETE FROM t WHERE rowid = {row}"],
    "delete in a transaction": ["BEGIN", "DELETE FROM t WHERE rowid = {row}", "COMMIT"],
    "delete beside a change of the catalog": [
        "BEGIN", "CREATE OR REPLACE TABLE other (i INTEGER)", "DELETE FROM t WHERE rowid = {row}", "COMMIT",
    ],
    "update": ["UPDATE t SET filler = -3 WHERE rowid = {row}"],
}  # fmt: skip


@pytest.fixture
def cluster(shared_cluster):
    for node in shared_cluster.alive():
        node.sql("SET memory_limit = '1GB'")
    return shared_cluster


def fill(cluster, type_name, rows):
    """Fills a table, with `rows` behind a filler, and has a checkpoint move them on the second node, not on the first."""
    writer, moved = cluster.alive()[:2]
    for _ in range(ATTEMPTS):
        writer.sql(f"CREATE OR REPLACE TABLE t (v {type_name}, filler INTEGER)")
        writer.sql(f"INSERT INTO t SELECT NULL, range FROM range({FILLER_ROWS})")
        for row in rows:
            writer.sql(f"INSERT INTO t {row}")
        writer.sql(f"DELETE FROM t WHERE filler >= {FILLER_LEFT}")
        cluster.wait_equal()
        # One that has nothing to write moves nothing, and the last one may have been unable to.
        moved.sql("DELETE FROM t WHERE filler = (SELECT max(filler) FROM t)")
        moved.sql("CHECKPOINT cp", "checkpoint")
        cluster.wait_equal()
        # A node makes checkpoints by itself, too: it may be that both have moved them.
        if last_row(moved) < last_row(writer):
            return
    raise AssertionError("the rows are never at different places")


def last_row(node):
    return node.value("SELECT max(rowid) FROM t WHERE filler = -1")


def values(node):
    """The rows of the test, with the bytes of what can be shown of them."""
    return node.sql("SELECT encode(v::VARCHAR), filler FROM t WHERE filler < 0 ORDER BY ALL")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", EQUAL)
def test_the_row_that_was_meant_is_changed(cluster, name, change):
    type_name, first, second = EQUAL[name]
    writer, moved, third = cluster.alive()
    fill(cluster, type_name, [f"SELECT {first}, -1", f"SELECT {second}, -1"])
    kept = writer.sql(f"SELECT encode(v::VARCHAR) FROM t WHERE filler = -1 AND rowid < {last_row(writer)}")
    for statement in CHANGES[change]:
        writer.sql(statement.format(row=last_row(writer)))
    cluster.wait_equal()
    expected = values(writer)
    assert [value for value, filler in expected if filler == -1] == [kept[0][0]]
    for node in (moved, third):
        assert values(node) == expected
    assert {node.value("SELECT state FROM quack_raft_status()") for node in cluster.alive()} == {"ok"}


def test_many_rows_are_found_where_a_checkpoint_has_moved_them(cluster):
    writer, moved, third = cluster.alive()
    # Many of them several times.
    fill(cluster, "VARCHAR", ["SELECT 'row ' || range % 5000, -1 FROM range(20000)"])
    writer.sql("DELETE FROM t WHERE filler = -1 AND rowid % 3 = 0")
    writer.sql("UPDATE t SET v = v || '!' WHERE filler = -1 AND rowid % 2 = 0")
    cluster.wait_equal()
    count = "SELECT count(*), count(*) FILTER (v LIKE '%!'), sum(hash(v)) FROM t"
    assert writer.sql(count) == moved.sql(count) == third.sql(count)


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_value_is_updated_to_an_equal_one(node, name):
    type_name, first, second = EQUAL[name]
    node.sql(f"CREATE TABLE t (i INTEGER, v {type_name})")
    node.sql(f"INSERT INTO t SELECT 1, {first}")
    before = state_hash(node)
    node.sql(f"UPDATE t SET v = {second}")
    between = state_hash(node)
    node.sql(f"UPDATE t SET v = {first}")
    assert between != before == state_hash(node)


def test_a_statement_that_returns_rows_does_not_see_what_it_writes(node):
    """DuckDB itself does, where it returns rows."""
    node.sql("CREATE TABLE s (i INTEGER)")
    for beside in ("SELECT 1", "CREATE TABLE other (i INTEGER)"):
        node.sql("BEGIN")
        node.sql(beside)
        node.sql("INSERT INTO s VALUES (1), (2)")
        select = "SELECT i FROM s UNION ALL SELECT i + 1 FROM s UNION ALL SELECT i FROM s WHERE i < 2"
        assert len(node.sql(f"INSERT INTO s {select} RETURNING i")) == 5
        assert node.value("SELECT count(*) FROM s") == 7
        node.sql("ROLLBACK")


@pytest.mark.parametrize("name", DIFFERENT)
def test_the_hash_tells_values_apart(node, name):
    type_name, first, second = EQUAL[name]
    node.sql(f"CREATE TABLE t (i INTEGER PRIMARY KEY, v {type_name})")
    hashes = []
    for value in (first, second, "NULL", first):
        node.sql("DELETE FROM t")
        node.sql(f"INSERT INTO t SELECT 1, {value}")
        hashes.append(state_hash(node))
    assert len(set(hashes)) == 3
    assert hashes[0] == hashes[3]
    node.kill_and_start()
    assert state_hash(node) == hashes[3]


VARIANTS = [
    "SELECT range, {'b': range, 'a': 'text ' || range, 'l': [range, NULL, 3], 'd': 1.5::DECIMAL(5,2), "
    "'at': TIMESTAMP '2024-01-01', 'i': INTERVAL 1 MONTH}::VARIANT FROM range(5000)",
    "SELECT range, range::VARIANT FROM range(10)",
    "SELECT unnest([1, 2]), NULL",
    "SELECT 3, true::VARIANT",
    "SELECT 4, '\\x01'::BLOB::VARIANT",
    "SELECT 5, 170141183460469231731687303715884105727::HUGEINT::VARIANT",
    "SELECT 6, [{'a': 1}, {'a': 2}]::VARIANT",
    "SELECT 7, -1.5::FLOAT::VARIANT",
]


def test_variants_are_what_they_read_as_however_a_checkpoint_stores_them(node):
    node.sql("CREATE TABLE t (i INTEGER, v VARIANT)")
    for rows in VARIANTS:
        node.sql(f"INSERT INTO t {rows}")
    before = state_hash(node)
    node.sql("CHECKPOINT cp")
    assert state_hash(node) == before
    node.sql("UPDATE t SET i = i + 1 WHERE i % 3 = 0")
    node.sql("BEGIN")
    node.sql("CREATE TABLE other (i INTEGER)")
    node.sql("INSERT INTO t SELECT -1, {'q': 1}::VARIANT")
    assert node.value("DELETE FROM t WHERE i = -1") == 1
    node.sql("COMMIT")
    changed = state_hash(node)
    assert changed != before
    node.kill_and_start()
    assert state_hash(node) == changed
    node.sql("DELETE FROM t")
    assert node.value("SELECT count(*) FROM t") == 0


def state_hash(node):
    return node.sql("FROM quack_state_hash()")[0][2]


VISIBLE = [
    "CREATE TABLE t2 (i INTEGER, v VARCHAR DEFAULT 'x', CHECK (i > 0))",
    "COMMENT ON TABLE t2 IS 'about t2'",
    "COMMENT ON COLUMN t2.v IS 'about v'",
    "ALTER TABLE t2 ALTER v SET DEFAULT 'y'",
    "CREATE INDEX ix ON t2 (i)",
    "COMMENT ON INDEX ix IS 'about ix'",
    "CREATE SCHEMA s",
    "CREATE SCHEMA s.inner",
    "CREATE TABLE s.inner.deep (i INTEGER)",
    "INSERT INTO s.inner.deep VALUES (1)",
    "CREATE VIEW w AS SELECT 1 AS one",
    "COMMENT ON VIEW w IS 'about w'",
    "COMMENT ON COLUMN w.one IS 'about one'",
    "CREATE SEQUENCE q",
    "SELECT nextval('q')",
    "CREATE TYPE mood AS ENUM ('good', 'bad')",
    "CREATE MACRO plus(a, b) AS a + b",
    "CREATE MACRO many(n) AS TABLE SELECT * FROM range(n)",
    "CREATE TABLE g (i INTEGER, d INTEGER GENERATED ALWAYS AS (i * 2))",
    "CREATE OR REPLACE TYPE mood AS ENUM ('good', 'worse')",
    "CREATE OR REPLACE MACRO plus(a, b) AS a - b",
    "CREATE TRIGGER tr AFTER INSERT ON t2 REFERENCING NEW TABLE AS new FOR EACH STATEMENT INSERT INTO g SELECT i FROM new",
    "DROP TRIGGER tr ON t2",
    "DROP TABLE s.inner.deep",
]


def test_the_hash_sees_every_change_of_the_catalog(node):
    last = state_hash(node)
    for statement in VISIBLE:
        node.sql(statement)
        before, last = last, state_hash(node)
        assert before != last, statement
    node.sql("CHECKPOINT cp")
    assert state_hash(node) == last
    node.kill_and_start()
    assert state_hash(node) == last


def test_the_hash_knows_no_settings(node):
    node.sql("CREATE TABLE t (ts TIMESTAMPTZ DEFAULT '2024-01-01 00:00:00+00', d DOUBLE)")
    node.sql("INSERT INTO t(d) VALUES (1)")
    before = state_hash(node)
    for setting in ("TimeZone = 'Asia/Kolkata'", "preserve_identifier_case = false", "threads = 1"):
        node.sql(f"SET GLOBAL {setting}")
        assert state_hash(node) == before


def test_replicas_under_other_names_have_the_same_hash(new_node, tmp_path):
    """What a process calls the catalog is its own."""
    hashes = set()
    for number, name in enumerate(("one", "another name")):
        node = new_node(f"n{number}")
        node.load()
        node.serve()
        node.sql(f"ATTACH '{node.uri}' AS \"{name}\" (TYPE quack, TOKEN 'token-of-the-tests')")
        node.sql(f'USE "{name}"')
        for statement in (
            "CREATE TABLE t (i INTEGER, CHECK (i > 0))",
            "CREATE SEQUENCE q",
            "CREATE TABLE u (i INTEGER DEFAULT nextval('q'), d INTEGER GENERATED ALWAYS AS (i + 1))",
            f'CREATE VIEW w AS SELECT * FROM "{name}".t',
            "INSERT INTO t VALUES (1)",
        ):
            node.sql(statement)
        hashes.add(state_hash(node))
        node.sql("USE memory")
        assert node.stop() == 0
    assert len(hashes) == 1


# A table that others refer to is updated in place, where DuckDB can.
REFERENCED = [
    "DROP TABLE IF EXISTS c",
    "DROP TABLE IF EXISTS p",
    "CREATE TABLE p (i INTEGER PRIMARY KEY, d DOUBLE, v INTERVAL, s STRUCT(d DOUBLE), w VARIANT, g GEOMETRY)",
    "CREATE TABLE c (i INTEGER REFERENCES p (i))",
    "INSERT INTO p SELECT i, 0, INTERVAL 1 MONTH, {'d': 0}, i::VARIANT, 'POINT(1 1)' FROM range(10) r(i)",
]
EQUAL_VALUES = {
    "zero": ("d = 1", "d = -0.0::DOUBLE", "d::VARCHAR", "-0.0"),
    "an interval": ("v = INTERVAL 1 HOUR", "v = INTERVAL 30 DAYS", "v::VARCHAR", "30 days"),
    "a field": ("s = {'d': 1}", "s = {'d': -0.0::DOUBLE}", "s::VARCHAR", "{'d': -0.0}"),
    "a VARIANT": ("w = 1::VARIANT", "w = {'x': 5}::VARIANT", "w::VARCHAR", "{'x': 5}"),
    "a shape": ("g = 'POINT(3 3)'", "g = 'POINT(2 2)'", "g::VARCHAR", "POINT (2 2)"),
}


# Type, value before, value after, and how that shows.
SUBSTITUTES = {
    "zero": ("DOUBLE", "0.0", "'-0.0'::DOUBLE", "-0.0"),
    "a small zero": ("FLOAT", "'-0.0'::FLOAT", "0.0", "0.0"),
    "an interval": ("INTERVAL", "INTERVAL 1 MONTH", "INTERVAL 30 DAYS", "30 days"),
    "the smallest number": ("DOUBLE", "5e-324", "5e-324", "5e-324"),
    "a field": ("STRUCT(d DOUBLE, i INTEGER)", "{'d': 0.0, 'i': 1}", "{'d': '-0.0'::DOUBLE, 'i': 2}", "{'d': -0.0, 'i': 2}"),
    "two fields": ("STRUCT(v INTERVAL, s STRUCT(d FLOAT))", "{'v': INTERVAL 1 MONTH, 's': {'d': 0.0}}",
                   "{'v': INTERVAL 30 DAYS, 's': {'d': '-0.0'::FLOAT}}", "{'v': 30 days, 's': {'d': -0.0}}"),
}  # fmt: skip


@pytest.mark.parametrize("between", ["NULL", "nothing"])
@pytest.mark.parametrize("rows", [10, 20_000])
@pytest.mark.parametrize("name", SUBSTITUTES)
def test_a_value_is_replaced_by_an_equal_one_on_all_nodes(cluster, name, rows, between):
    """With few rows the table is one that others refer to: both kinds of table are updated in place."""
    of, before, after, shown = SUBSTITUTES[name]
    nodes = cluster.alive()
    nodes[0].sql("DROP TABLE IF EXISTS c")
    nodes[0].sql(f"CREATE OR REPLACE TABLE p (i INTEGER PRIMARY KEY, x {of}, CHECK (x IS NULL OR x = {before} OR x = {after}))")
    if rows == 10:
        nodes[0].sql("CREATE TABLE c (i INTEGER REFERENCES p (i))")
    nodes[0].sql(f"INSERT INTO p SELECT range, {before} FROM range({rows})")
    if rows == 10:
        nodes[0].sql("INSERT INTO c FROM range(3, 7)")
    cluster.wait_equal()
    nodes[2].sql("CHECKPOINT cp")
    if between == "NULL":
        nodes[0].sql("UPDATE p SET x = NULL WHERE i % 3 > 0 OR i < 15000")
    cluster.wait_equal()
    nodes[1].sql("CHECKPOINT cp")
    assert nodes[0].sql(f"UPDATE p SET x = {after}") == [(rows,)]
    cluster.wait_equal()
    for node in nodes:
        assert node.sql("SELECT x::VARCHAR, count(*) FROM p GROUP BY ALL") == [(shown, rows)]
        assert node.sql("SELECT state FROM quack_raft_status()") == [("ok",)]


@pytest.mark.parametrize("trace", ["an update that is rolled back", "a checkpoint"])
@pytest.mark.parametrize("name", EQUAL_VALUES)
def test_a_referenced_row_becomes_what_it_is_told_on_all_nodes(cluster, name, trace):
    """Though DuckDB drops an update to an equal value, unless its vector has seen another update."""
    other, change, shown, expected = EQUAL_VALUES[name]
    n0, n1 = cluster["n0"], cluster["n1"]
    for text in REFERENCED:
        n0.sql(text)
    cluster.wait_equal()
    if trace == "a checkpoint":
        n0.sql(f"UPDATE p SET {other} WHERE i = 0")
        cluster.wait_equal()
        n1.sql("CHECKPOINT cp")
    else:
        n0.sql("BEGIN", "a")
        n0.sql(f"UPDATE p SET {other} WHERE i = 0", "a")
        n0.sql("ROLLBACK", "a")
    assert n1.sql(f"UPDATE p SET {change} WHERE i = 5") == [(1,)]
    cluster.wait_equal()
    for node in cluster.alive():
        assert node.sql(f"SELECT {shown} FROM p WHERE i = 5") == [(expected,)]
    n1.sql("DELETE FROM p WHERE i = 5")
    cluster.wait_equal()
    for node in cluster.alive():
        assert node.sql("SELECT state FROM quack_raft_status()") == [("ok",)]


def test_what_is_not_a_number_is_one_value(cluster):
    n0, n1 = cluster["n0"], cluster["n1"]
    n0.sql("CREATE TABLE n (i INTEGER, d DOUBLE, l FLOAT[], s STRUCT(a DOUBLE[2]))")
    n0.sql("INSERT INTO n SELECT i, -('nan'::DOUBLE), [-('nan'::FLOAT), 1], {'a': [-('nan'::DOUBLE), 2]} FROM range(3) r(i)")
    n0.sql("INSERT INTO n VALUES (3, 'nan', ['nan', '1'], {'a': ['nan', '2']})")
    n0.sql("CREATE INDEX by_text ON n ((d::VARCHAR))")
    n0.sql("CREATE TABLE v AS SELECT i, (CASE WHEN i % 2 = 0 THEN 'nan'::DOUBLE ELSE -('nan'::DOUBLE) END)::VARIANT AS v "
           "FROM range(60000) r(i)")  # fmt: skip
    cluster.wait_equal()
    n1.sql("CHECKPOINT cp")
    n1.kill()
    n1.start()
    cluster.wait_equal()
    for node in cluster.alive():
        assert node.sql("SELECT DISTINCT d::VARCHAR, l::VARCHAR, s::VARCHAR FROM n") == [("nan", "[nan, 1.0]", "{'a': [nan, 2.0]}")]
    assert n0.sql("DELETE FROM n WHERE i = 2") == [(1,)]
    n0.sql("DROP INDEX by_text")
    n0.sql("ALTER TABLE n ALTER l TYPE VARCHAR")
    assert n1.sql("UPDATE v SET i = i + 100000 WHERE i BETWEEN 5 AND 9") == [(5,)]
    assert n1.sql("UPDATE n SET i = i + 10") == [(3,)]
    cluster.wait_equal()
    for node in cluster.alive():
        assert node.sql("SELECT state FROM quack_raft_status()") == [("ok",)]
