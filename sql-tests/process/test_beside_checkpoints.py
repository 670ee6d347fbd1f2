"""What one node's checkpoints, readers and threads leave on it, and other nodes do not have, decides nothing."""

import pytest
from quack_testing.process import DatabaseError

EMPTIED = ["CREATE TABLE cp.x (s VARCHAR)", "INSERT INTO cp.x VALUES ('abc')", "DELETE FROM cp.x"]
MANY = [
    "CREATE TABLE cp.x (s VARCHAR)",
    "INSERT INTO cp.x SELECT CASE WHEN range < 130_000 THEN 'abc' ELSE range::VARCHAR END FROM range(135_000)",
    "DELETE FROM cp.x WHERE s = 'abc'",
]
UPDATED = ["CREATE TABLE cp.x (s VARCHAR)", "INSERT INTO cp.x VALUES ('abc')", "UPDATE cp.x SET s = '1'"]


def restart(cluster):
    for node in cluster.alive():
        node.kill()
    cluster.start()


def with_unlike_checkpoints(cluster, statements):
    """The nodes, behind the statements; the last one keeps no deleted row any more."""
    nodes = cluster.alive()
    for statement in statements:
        nodes[0].sql(statement)
    cluster.wait_equal()
    nodes[2].sql("FORCE CHECKPOINT cp")
    return nodes


@pytest.mark.parametrize("before", [EMPTIED, MANY, UPDATED], ids=["empty", "many", "updated"])
@pytest.mark.parametrize(
    "alter",
    [
        "ALTER TABLE cp.x ALTER s TYPE INTEGER",
        "ALTER TABLE cp.x ALTER s TYPE INTEGER USING s::INTEGER + 1",
        "ALTER TABLE cp.x ALTER s TYPE INTEGER USING 7",
        "ALTER TABLE cp.x ALTER s SET NOT NULL",
    ],
)
def test_deleted_rows_have_no_say_in_a_change_of_columns(cluster, before, alter):
    """DuckDB evaluates the change for them, too, and each node keeps them until a checkpoint of its own."""
    nodes = with_unlike_checkpoints(cluster, before)
    nodes[0].sql(alter)
    nodes[1].sql("INSERT INTO cp.x VALUES (5)")
    cluster.wait_equal()
    restart(cluster)
    cluster.wait_equal()


@pytest.mark.parametrize("before", [EMPTIED, MANY], ids=["empty", "many"])
def test_a_default_that_fails_is_refused_regardless_of_the_rows_that_a_node_keeps(cluster, before):
    nodes = with_unlike_checkpoints(cluster, before)
    with pytest.raises(DatabaseError, match="Conversion Error"):
        nodes[0].sql("ALTER TABLE cp.x ADD COLUMN n INTEGER DEFAULT CAST('q' AS INTEGER)")
    nodes[1].sql("INSERT INTO cp.x VALUES ('5')")
    cluster.wait_equal()


def test_a_refused_change_of_columns_stays_refused_when_its_row_is_gone(cluster):
    nodes = cluster.alive()
    nodes[0].sql("CREATE TABLE cp.x (s VARCHAR)")
    nodes[0].sql("INSERT INTO cp.x VALUES ('abc')")
    with pytest.raises(DatabaseError, match="Conversion Error"):
        nodes[0].sql("ALTER TABLE cp.x ALTER s TYPE INTEGER")
    nodes[0].sql("DELETE FROM cp.x")
    cluster.wait_equal()
    for node in nodes:
        node.sql("FORCE CHECKPOINT cp")
    nodes[0].sql("INSERT INTO cp.x VALUES ('text')")
    nodes[0].sql("INSERT INTO cp.x VALUES ('7')")
    restart(cluster)
    cluster.wait_equal()
    assert sorted(nodes[1].sql("FROM cp.x")) == [("7",), ("text",)]


def test_rows_of_a_transaction_are_converted_or_fail(node):
    node.sql("CREATE TABLE cp.x (s VARCHAR)")
    node.sql("INSERT INTO cp.x VALUES ('1')")
    node.sql("BEGIN")
    node.sql("INSERT INTO cp.x VALUES ('abc')")
    with pytest.raises(DatabaseError, match="Conversion Error"):
        node.sql("ALTER TABLE cp.x ALTER s TYPE INTEGER")
    node.sql("ROLLBACK")
    node.sql("BEGIN")
    node.sql("INSERT INTO cp.x VALUES ('2')")
    node.sql("ALTER TABLE cp.x ALTER s TYPE INTEGER")
    node.sql("COMMIT")
    assert node.sql("FROM cp.x ORDER BY s") == [(1,), (2,)]


REFERENCED = (
    "CREATE TABLE cp.p (i INTEGER PRIMARY KEY, j INTEGER)",
    "CREATE TABLE cp.c (i INTEGER REFERENCES p (i))",
    "INSERT INTO cp.p SELECT range, range FROM range(3000)",
)
CHANGES = {
    "update": "UPDATE cp.p SET j = -99 WHERE i < 300",
    "upsert": "INSERT INTO cp.p SELECT range, 0 FROM range(300) ON CONFLICT (i) DO UPDATE SET j = -99",
    "delete": "DELETE FROM cp.p WHERE i < 300",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "kill"])
def test_no_checkpoint_holds_what_is_not_committed(cluster, change, end):
    """Rows that foreign keys refer to are changed where they are."""
    nodes = cluster.alive()
    for statement in REFERENCED:
        nodes[0].sql(statement)
    cluster.wait_equal()
    nodes[0].sql("CHECKPOINT cp")
    nodes[0].sql("BEGIN", "changes")
    nodes[0].sql(CHANGES[change], "changes")
    for statement in ("CHECKPOINT cp", "INSERT INTO cp.c VALUES (2999)"):
        try:
            nodes[0].sql(statement, "checkpoints")
        except DatabaseError as error:
            assert "CHECKPOINT" in str(error), error
    changed = "SELECT count(*) FILTER (j = -99), count(*) FROM cp.p"
    assert nodes[0].sql(changed, "looks") == [(0, 3000)]
    if end == "kill":
        nodes[0].kill_and_start()
    else:
        nodes[0].sql(end, "changes")
    after = {"update": (300, 3000), "upsert": (300, 3000), "delete": (0, 2700)}[change]
    cluster.wait_equal()
    assert nodes[0].sql(changed, "looks") == [after if end == "COMMIT" else (0, 3000)]
    nodes[1].sql("UPDATE cp.p SET j = j + 1 WHERE i BETWEEN 290 AND 310")
    cluster.wait_equal()


def test_a_checkpoint_in_a_transaction_that_has_changes_is_refused(node):
    for statement in REFERENCED:
        node.sql(statement)
    for checkpoint in ("CHECKPOINT cp", "FORCE CHECKPOINT cp"):
        node.sql("BEGIN")
        node.sql("UPDATE cp.p SET j = 0")
        with pytest.raises(DatabaseError, match="transaction has transaction local changes"):
            node.sql(checkpoint)
        node.sql("ROLLBACK")
    node.sql("FORCE CHECKPOINT cp")


@pytest.mark.parametrize("binding", ["", "WITH (DEFER_BINDING)"])
def test_who_has_read_a_view_has_no_say_in_comments_on_its_columns(cluster, binding):
    n0, n1, _ = cluster.alive()
    n0.sql("CREATE TABLE cp.t (a INTEGER, b INTEGER)")
    n0.sql(f"CREATE VIEW cp.w {binding} AS FROM cp.t")
    n0.sql("ALTER TABLE cp.t RENAME b TO d")
    cluster.wait_equal()
    n0.sql("FROM cp.w")
    n0.sql("COMMENT ON COLUMN cp.w.d IS 'read before'")
    n1.sql("COMMENT ON COLUMN cp.w.a IS 'not read'")
    with pytest.raises(DatabaseError, match="does not have a column"):
        n0.sql("COMMENT ON COLUMN cp.w.nothing IS 'x'")
    with pytest.raises(DatabaseError, match="does not have a column"):
        n1.sql("COMMENT ON COLUMN cp.w.nothing IS 'x'")
    cluster.wait_equal()
    comments = "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'w' ORDER BY ALL"
    for node in cluster.alive():
        node.sql("FROM cp.w")
        assert node.sql(comments) == [("a", "not read"), ("d", "read before")]


def test_how_many_threads_look_has_no_say_in_which_error_comes_first(cluster):
    for node, threads in zip(cluster.alive(), (8, 1, 8)):
        node.sql(f"SET GLOBAL threads = {threads}")
    node = cluster.alive()[0]
    node.sql("CREATE TABLE cp.t (i BIGINT, s VARCHAR)")
    rows = "range(122_880)"
    node.sql(f"INSERT INTO cp.t SELECT range, CASE WHEN range = 122_000 THEN 'x' ELSE '1' END FROM {rows}")
    node.sql(f"INSERT INTO cp.t SELECT CASE WHEN range < 10 THEN 9223372036854775807 ELSE range END, '1' FROM {rows}")
    cluster.wait_equal()
    node.sql("BEGIN")
    with pytest.raises(DatabaseError):
        node.sql("CREATE INDEX x ON cp.t ((CAST(s AS INTEGER) + (i + 1)))")
    node.sql("ROLLBACK")
    with pytest.raises(DatabaseError):
        node.sql("CREATE INDEX x ON cp.t ((CAST(s AS INTEGER) + (i + 1)))")
    with pytest.raises(DatabaseError):
        node.sql("ALTER TABLE cp.t ALTER s TYPE BIGINT USING CAST(s AS INTEGER) + (i + 1)")
    node.sql("INSERT INTO cp.t VALUES (0, '0')")
    cluster.wait_equal()


def test_a_function_that_reads_the_databases_of_a_process_is_no_part_of_a_definition(node):
    with pytest.raises(DatabaseError, match="must not depend on when or where"):
        node.sql("CREATE TABLE cp.j (s VARCHAR CHECK (json_serialize_plan(s)::VARCHAR <> ''))")


@pytest.mark.parametrize("where", ["the origin", "a follower"])
def test_a_checkpoint_waits_for_updates_where_rows_are(cluster, where):
    """Rows of a table that others refer to are updated in place, and a checkpoint replaces the columns."""
    n0, n1 = cluster["n0"], cluster["n1"]
    for statement in (
        "CREATE TABLE cp.k (i BIGINT PRIMARY KEY, c INTEGER)",
        "CREATE TABLE cp.kc (i BIGINT REFERENCES k (i))",
        "INSERT INTO cp.k SELECT i, 0 FROM range(200_000) t(i)",
        "INSERT INTO cp.kc VALUES (1)",
    ):
        n0.sql(statement)
    cluster.wait_equal()
    writer, writes = (n0 if where == "the origin" else n1), n0
    for count in range(1, 4):
        update = writer.process.start_sql("UPDATE cp.k SET c = c + 1", "updates")
        while not update.done():
            try:
                writes.sql("CHECKPOINT cp", "checkpoints")
            except DatabaseError as error:
                assert "Cannot CHECKPOINT" in str(error)
        update.result()
        assert writer.sql("SELECT min(c), max(c) FROM cp.k") == [(count, count)]
    cluster.wait_equal()
    restart(cluster)
    for node in cluster.alive():
        assert node.sql("SELECT min(c), max(c) FROM cp.k") == [(3, 3)]
        assert node.sql("SELECT state FROM quack_raft_status()") == [("ok",)]
