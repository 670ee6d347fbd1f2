"""Definitions mean the same after a kill, and under another name of the catalog; what could not mean the same is refused."""

from importlib.metadata import version

import pytest
from quack_testing.process import DatabaseError

DEFINE = """CREATE SCHEMA {c}.s
CREATE MACRO {c}.s.m(x) AS x + 1
CREATE SEQUENCE {c}.s.q
CREATE TYPE {c}.s.mood AS ENUM ('sad', 'glad')
CREATE TABLE {c}.s.t (i BIGINT DEFAULT nextval('{c}.s.q'), j INTEGER CHECK ({c}.s.m(j) > 0), k {c}.s.mood, \
g INTEGER GENERATED ALWAYS AS ({c}.s.m(j)))
CREATE INDEX by_m ON {c}.s.t ({c}.s.m(j))
CREATE VIEW {c}.s.v AS SELECT i, j FROM {c}.s.t WHERE k = 'sad'
CREATE MACRO {c}.s.all_of() AS TABLE FROM {c}.s.t
CREATE TABLE {c}.s.p (a INTEGER PRIMARY KEY)
CREATE TABLE {c}.s.r (a INTEGER REFERENCES {c}.s.p (a))
CREATE TABLE {c}.s.log (j INTEGER)
CREATE TRIGGER logs AFTER INSERT ON {c}.s.t REFERENCING NEW TABLE AS n FOR EACH STATEMENT INSERT INTO {c}.s.log SELECT j FROM n
COMMENT ON TABLE {c}.s.t IS 'table'
COMMENT ON COLUMN {c}.s.t.j IS 'column'
INSERT INTO {c}.s.t (j, k) VALUES (1, 'sad'), (2, 'glad')
UPDATE {c}.s.t SET j = j + 1
BEGIN
CREATE TABLE {c}.s.tx (i INTEGER, CHECK ({c}.s.m(i) > 1))
CREATE UNIQUE INDEX tx_once ON {c}.s.tx (i)
INSERT INTO {c}.s.tx VALUES (5)
COMMIT""".split("\n")
PROBES = (
    ("FROM {c}.s.t ORDER BY i", [(1, 2, "sad", 3), (2, 3, "glad", 4)]),
    ("FROM {c}.s.v", [(1, 2)]),
    ("SELECT count(*) FROM {c}.s.all_of()", [(2,)]),
    ("FROM {c}.s.log ORDER BY j", [(1,), (2,)]),
    ("FROM {c}.s.tx", [(5,)]),
)


@pytest.mark.parametrize("catalog", ["cp", "other"])
def test_definitions_outlive_a_kill_under_any_name_of_the_catalog(new_node, catalog):
    node = new_node()
    node.catalog = catalog
    node.start()
    for text in DEFINE:
        node.sql(text.format(c=catalog))
    for _ in range(2):
        for query, rows in PROBES:
            assert node.sql(query.format(c=catalog)) == rows, query
        with pytest.raises(DatabaseError, match="CHECK constraint failed"):
            node.sql(f"INSERT INTO {catalog}.s.t (j) VALUES (-5)")
        with pytest.raises(DatabaseError, match="Constraint Error"):
            node.sql(f"INSERT INTO {catalog}.s.tx VALUES (5)")
        before = node.sql("SELECT hash FROM quack_state_hash()")
        node.kill()
        node.start()
        assert node.sql("SELECT hash FROM quack_state_hash()") == before


REFUSED = {
    "another database": ("CREATE TABLE cp.t (i INTEGER, CHECK (mem.dbl(i) > 1))", 'lies in the database "mem"'),
    "another database in a view": ("CREATE VIEW cp.v AS FROM mem.t", 'lies in the database "mem"'),
    "another database in a query": ("CREATE VIEW cp.v AS FROM query('FROM mem.t')", 'lies in the database "mem"'),
    "another database in an index": ("CREATE INDEX i ON cp.there (mem.dbl(i))", 'lies in the database "mem"'),
    "a macro of this connection": ("CREATE TABLE cp.t (i INTEGER, CHECK (passing(i) > 1))", "which is temporary"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_only_this_process_has_is_refused(node, case):
    text, words = REFUSED[case]
    for before in ("ATTACH ':memory:' AS mem", "CREATE MACRO mem.dbl(i) AS i * 2", "CREATE TABLE mem.t (i INTEGER)",
                   "CREATE TEMP MACRO passing(i) AS i", "CREATE TABLE cp.there (i INTEGER)"):  # fmt: skip
        node.sql(before)
    with pytest.raises(DatabaseError, match=words):
        node.sql(text)
    node.sql("INSERT INTO cp.there VALUES (1)")


def test_a_schema_may_have_the_name_of_a_database_of_the_process(node):
    node.sql("ATTACH ':memory:' AS app")
    for text in ("CREATE SCHEMA cp.app", "CREATE MACRO cp.app.m(i) AS i + 1", "CREATE SEQUENCE cp.app.q",
                 "CREATE TABLE cp.app.t (i INTEGER, n BIGINT DEFAULT nextval('cp.app.q'), CHECK (cp.app.m(i) > 1))",
                 "INSERT INTO cp.app.t (i) VALUES (1), (2)", "CREATE INDEX by_m ON cp.app.t (cp.app.m(i))",
                 "ALTER TABLE cp.app.t ADD COLUMN j INTEGER DEFAULT 5", "COMMENT ON TABLE cp.app.t IS 'there'"):  # fmt: skip
        node.sql(text)
    assert node.sql("FROM cp.app.t ORDER BY i") == [(1, 1, 5), (2, 2, 5)]
    node.kill()
    node.start()
    assert node.sql("FROM cp.app.t ORDER BY i") == [(1, 1, 5), (2, 2, 5)]


def test_a_view_does_not_need_its_file_where_it_is_applied(node, tmp_path):
    file = tmp_path / "there.csv"
    file.write_text("a\n1\n")
    node.sql(f"CREATE VIEW cp.v AS FROM '{file}'")
    assert node.sql("FROM cp.v") == [(1,)]
    file.unlink()
    node.kill()
    node.start()
    with pytest.raises(DatabaseError, match="No files found"):
        node.sql("FROM cp.v")
    node.sql("CREATE TABLE cp.t AS SELECT 1 AS i")


def test_settings_that_change_a_meaning_are_named(node):
    node.sql("SET default_collation = 'NOCASE'")
    with pytest.raises(DatabaseError, match=r"means something else .*\(default_collation\)"):
        node.sql("CREATE TABLE cp.t (v VARCHAR, CHECK (v = 'a'))")
    node.sql("RESET default_collation")
    node.sql("CREATE TABLE cp.t (v VARCHAR, CHECK (v = 'a'))")


def test_every_setting_of_duckdb_has_a_class(node):
    unknown = node.sql("SELECT name FROM duckdb_settings() WHERE quack_setting_class(name) = 'unknown' AND name NOT LIKE 'quack_%'")
    assert unknown == []


def test_a_transaction_drops_only_what_it_saw(node):
    node.sql("CREATE SCHEMA cp.f")
    node.sql("BEGIN", "first")
    node.sql("DROP SCHEMA cp.f CASCADE", "first")
    node.sql("CREATE TABLE cp.f.t AS SELECT 1 AS i")
    with pytest.raises(DatabaseError, match="Conflict"):
        node.sql("COMMIT", "first")
    assert node.sql("FROM cp.f.t") == [(1,)]


@pytest.mark.parametrize("fails", ["DROP SEQUENCE cp.missing", "CREATE TABLE cp.t (i INTEGER)", "ALTER TABLE cp.twice ADD PRIMARY KEY (i)",
                                   "ALTER TABLE cp.t ADD COLUMN i INTEGER", "CREATE INDEX by_x ON cp.t (x)"])  # fmt: skip
def test_a_definition_that_fails_ends_no_other_transaction(node, fails):
    node.sql("CREATE TABLE cp.t (i INTEGER)")
    node.sql("CREATE TABLE cp.twice AS FROM (VALUES (1), (1)) v(i)")
    node.sql("BEGIN", "first")
    node.sql("CREATE TABLE cp.made AS SELECT 1 AS i", "first")
    with pytest.raises(DatabaseError):
        node.sql(fails)
    node.sql("INSERT INTO cp.made VALUES (2)", "first")
    node.sql("COMMIT", "first")
    assert node.sql("FROM cp.made ORDER BY ALL") == [(1,), (2,)]


def test_an_index_beside_an_open_rename_is_alike_on_all_nodes(shared_cluster):
    first, other = shared_cluster.alive()[:2]
    first.sql("CREATE TABLE cp.named (i INTEGER)")
    shared_cluster.wait_equal()
    first.sql("BEGIN", "first")
    first.sql("ALTER TABLE cp.named RENAME TO renamed", "first")
    other.sql("CREATE INDEX by_i ON cp.named (i)")
    shared_cluster.wait_equal()
    with pytest.raises(DatabaseError, match="Conflict"):
        first.sql("COMMIT", "first")
    shared_cluster.wait_equal()
    first.sql("DROP TABLE cp.named")


@pytest.mark.parametrize("key", ["s::INTEGER", "a + g::TINYINT", "[a, s::INTEGER]"])
def test_keys_of_an_index_are_evaluated_before_it_is_proposed(node, key):
    """What fails in the applier fails on every node."""
    node.sql("CREATE TABLE cp.t (a INTEGER, g INTEGER GENERATED ALWAYS AS (a * 100), s VARCHAR)")
    node.sql("INSERT INTO cp.t SELECT range, range::VARCHAR FROM range(5000)")
    node.sql("INSERT INTO cp.t VALUES (1, 'x')")
    with pytest.raises(DatabaseError, match="Conversion Error"):
        node.sql(f"CREATE INDEX i ON cp.t (({key}))")
    node.sql("CREATE INDEX i ON cp.t ((g / 100 + a), s)")
    with pytest.raises(DatabaseError, match="does not refer to any columns"):
        node.sql("CREATE INDEX of_nothing ON cp.t ((7))")
    assert node.sql("SELECT a FROM cp.t WHERE g / 100 + a = 246 AND s = '123'") == [(123,)]
    assert node.sql("SELECT count(*) FROM quack_outcomes() WHERE outcome = 'refused'") == [(0,)]


def test_a_default_means_what_its_schema_has(node):
    """Also where DuckDB looks for its names as the session does."""
    for text in (
        "CREATE SCHEMA cp.s",
        "CREATE SEQUENCE cp.s.q",
        "CREATE SEQUENCE cp.main.q START 5000",
        "CREATE MACRO cp.s.f(x) AS x + 1",
        "CREATE MACRO cp.main.f(x) AS x + 5000",
        "CREATE TABLE cp.s.t (i INTEGER PRIMARY KEY, k INTEGER DEFAULT nextval('cp.s.q'), m INTEGER DEFAULT (cp.s.f(1)))",
        "CREATE TABLE cp.s.u (i INTEGER PRIMARY KEY, k INTEGER DEFAULT nextval('s.q'), m INTEGER DEFAULT (s.f(1)))",
    ):
        node.sql(text)
    count = 0
    for table in ("t", "u"):
        for text in (
            "INSERT INTO cp.s.{t} (i) VALUES (1)",
            "INSERT INTO cp.s.{t} (i) VALUES (2) ON CONFLICT (i) DO NOTHING",
            "INSERT INTO cp.s.{t} (i, k) VALUES (3, DEFAULT)",
            "INSERT OR REPLACE INTO cp.s.{t} (i) VALUES (4)",
            "INSERT INTO cp.s.{t} (i) VALUES (5) ON CONFLICT (i) DO UPDATE SET k = 0 RETURNING k",
        ):
            node.sql(text.format(t=table))
        rows = node.sql(f"SELECT i, k, m FROM cp.s.{table} ORDER BY i")
        assert rows == [(i, count + i, 2) for i in range(1, 6)], table
        count += 5


REFUSED_AS_NODES_WOULD_DIFFER = {
    "the owner of a sequence": ("ALTER SEQUENCE cp.q OWNED BY cp.d", "OWNED BY is not supported"),
    "a function of today": ("CREATE TABLE cp.x (ts TIMESTAMP, CHECK (age(ts) > INTERVAL 1 DAY))", "when or where"),
    "a function of today in an index": ("CREATE INDEX x ON cp.d (age(ts))", "when or where"),
}
# DuckDB 2.0.1 hashes what a VARIANT means, regardless of its form after a checkpoint.
HASHES_OF_VARIANTS = {
    "the hash of a VARIANT": ("CREATE TABLE cp.x (v VARIANT, CHECK (hash(v) > 0))", "hash of a VARIANT"),
    "the hash of a list of them": ("CREATE INDEX x ON cp.d (hash([v]))", "hash of a VARIANT"),
    "the hash of a VARIANT in a change": ("ALTER TABLE cp.d ALTER i TYPE UBIGINT USING hash(v)", "hash of a VARIANT"),
}
if version("duckdb") == "2.0.0":
    REFUSED_AS_NODES_WOULD_DIFFER |= HASHES_OF_VARIANTS


@pytest.mark.parametrize("case", REFUSED_AS_NODES_WOULD_DIFFER, ids=str)
def test_what_nodes_would_come_to_differently_is_refused(node, case):
    text, words = REFUSED_AS_NODES_WOULD_DIFFER[case]
    node.sql("CREATE TABLE cp.d (i INTEGER, ts TIMESTAMP, v VARIANT)")
    node.sql("CREATE SEQUENCE cp.q")
    node.sql("CREATE TABLE cp.y (ts TIMESTAMP, CHECK (age(ts, TIMESTAMP '2020-01-01') > INTERVAL 1 DAY))")
    with pytest.raises(DatabaseError, match=words):
        node.sql(text)


@pytest.mark.parametrize("begins", [False, True], ids=["alone", "in a transaction"])
def test_an_assertion_of_duckdb_ends_its_statement_alone(node, begins):
    """Plain DuckDB 2.0.0 does not survive it."""
    node.sql("CREATE TABLE t (k INTEGER PRIMARY KEY, l INTEGER[])")
    node.sql("INSERT INTO t SELECT x, [x, x + 1] FROM range(3000) r(x)")
    if begins:
        node.sql("BEGIN")
    with pytest.raises(DatabaseError, match="DuckDB fails an assertion"):
        node.sql("ALTER TABLE t ALTER l TYPE INTEGER[] USING list_transform(l, lambda x: x + k)")
    if begins:
        node.sql("ROLLBACK")
    assert node.value("SELECT count(*) FROM t") == 3000
    node.sql("INSERT INTO t VALUES (-1, [])")


def test_a_change_of_a_type_is_not_tried_on_rows_that_its_transaction_has_deleted(shared_cluster):
    """DuckDB evaluates it for such rows, too, and refuses it."""
    first = shared_cluster["n0"]
    first.sql("CREATE TABLE cp.t AS SELECT i, CASE WHEN i = 7 THEN 'seven' ELSE i::VARCHAR END AS v FROM range(3000) r(i)")
    shared_cluster.wait_equal()
    shared_cluster["n1"].sql("CHECKPOINT cp")
    first.sql("BEGIN; DELETE FROM cp.t WHERE v = 'seven'")
    first.sql("ALTER TABLE cp.t ALTER v TYPE INTEGER USING v::INTEGER; COMMIT")
    shared_cluster.wait_equal()
    for node in shared_cluster.alive():
        node.kill_and_start()
    shared_cluster.wait_equal()
    for node in shared_cluster.alive():
        assert node.sql("SELECT count(*), sum(v) FROM cp.t") == [(2999, sum(range(3000)) - 7)]
    first.sql("DROP TABLE cp.t")


@pytest.mark.parametrize("begins", [False, True], ids=["alone", "in a transaction"])
@pytest.mark.parametrize("schema", ["information_schema", "pg_catalog", "PG_CATALOG"])
def test_a_schema_that_duckdb_has_in_each_database_is_not_made(node, schema, begins):
    if begins:
        node.sql("BEGIN")
    node.sql(f"CREATE SCHEMA IF NOT EXISTS cp.{schema}")
    if begins:
        node.sql("COMMIT")
    assert node.value("SELECT count(*) FROM duckdb_schemas() WHERE database_name = 'cp' AND NOT internal") == 0
    for statement in ("CREATE SCHEMA cp.{}", "CREATE OR REPLACE SCHEMA cp.{}", "CREATE TABLE cp.{}.t (i INTEGER)"):
        if begins:
            node.sql("BEGIN")
        with pytest.raises(DatabaseError, match="Catalog Error"):
            node.sql(statement.format(schema))
        if begins:
            node.sql("ROLLBACK")
    node.sql("CREATE SCHEMA cp.a")
    node.sql(f"CREATE SCHEMA cp.a.{schema}")
    node.sql(f"CREATE TABLE cp.a.{schema}.t (i INTEGER)")
