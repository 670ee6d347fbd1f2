"""What depends on what, after changes of it: DuckDB keeps dependencies by name, and forgets some."""

import pytest
from quack_testing.process import DatabaseError

CHANGES = {
    "a default": "ALTER TABLE child ALTER y SET DEFAULT 2",
    "a column": "ALTER TABLE child ADD COLUMN z INTEGER",
    "a comment": "COMMENT ON TABLE child IS 'refers'",
    "the name": "ALTER TABLE child RENAME TO child2",
}
ENDS = ("ALTER TABLE parent RENAME TO other", "DROP TABLE parent", "ALTER TABLE parent DROP COLUMN b")


@pytest.mark.parametrize("change", CHANGES)
def test_a_table_that_refers_is_altered(node, change):
    """DuckDB forgets the foreign key: plain, the parent can be renamed and dropped."""
    node.sql("CREATE TABLE parent (a INTEGER PRIMARY KEY, b INTEGER)")
    node.sql("CREATE TABLE child (x INTEGER REFERENCES parent (a), y INTEGER DEFAULT 1)")
    node.sql(CHANGES[change])
    for _ in range(2):
        for end in ENDS:
            with pytest.raises(DatabaseError, match="depend|main key table"):
                node.sql(end)
        node.kill_and_start()
    name = "child2" if change == "the name" else "child"
    node.sql("INSERT INTO parent VALUES (1, 1)")
    node.sql(f"INSERT INTO {name}(x) VALUES (1)")
    with pytest.raises(DatabaseError, match="does not exist in the referenced table"):
        node.sql(f"INSERT INTO {name}(x) VALUES (2)")
    node.sql(f"DROP TABLE {name}")
    node.sql("DROP TABLE parent")


MADE = {
    "a trigger on a new table": (
        "CREATE TABLE u (a INTEGER)",
        "CREATE TRIGGER g AFTER UPDATE ON u REFERENCING NEW TABLE AS r INSERT INTO t SELECT NULL, NULL FROM r",
    ),
    "a trigger": ("CREATE TRIGGER g AFTER UPDATE ON old REFERENCING NEW TABLE AS r INSERT INTO t SELECT NULL, NULL FROM r",),
    "an index": ("CREATE INDEX i ON t (a)",),
    "a view": ("SET enable_view_dependencies = true", "CREATE VIEW v AS SELECT a FROM t"),
    "a default": ("CREATE SEQUENCE q", "CREATE TABLE u (a INTEGER DEFAULT nextval('q'), b INTEGER REFERENCES k (a))"),
    "another name": ("ALTER TABLE t RENAME TO t2",),
}


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("drop", ["table", "schema"])
def test_a_transaction_makes_what_it_drops(node, made, drop):
    """The transaction has seen what it has made itself: no other one has changed it."""
    node.sql("CREATE SCHEMA s")
    node.sql("USE cp.s")
    for statement in ("CREATE TABLE t (a INTEGER, e INTEGER)", "CREATE TABLE old (a INTEGER)", "CREATE TABLE k (a INTEGER PRIMARY KEY)"):
        node.sql(statement)
    node.sql("BEGIN")
    for statement in MADE[made]:
        node.sql(statement)
    if drop == "schema":
        node.sql("DROP SCHEMA s CASCADE")
    else:
        node.sql("DROP TABLE t2 CASCADE" if made == "another name" else "DROP TABLE t CASCADE")
    node.sql("COMMIT")
    assert node.sql("SELECT table_name FROM duckdb_tables() WHERE table_name IN ('t', 't2')") == []
    node.kill_and_start()
    assert node.sql("SELECT table_name FROM duckdb_tables() WHERE table_name IN ('t', 't2')") == []
