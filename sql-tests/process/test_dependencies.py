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


# Of a table `{o}` whose definition names `{s}`.
USES = {
    "a sequence": ("CREATE SEQUENCE {s}", "SEQUENCE", "a INTEGER DEFAULT nextval('{s}') UNIQUE"),
    "a macro": ("CREATE MACRO {s}(x) AS x + 1", "MACRO", "a INTEGER DEFAULT {s}(1) UNIQUE"),
    "a macro in a CHECK": ("CREATE MACRO {s}(x) AS x + 1", "MACRO", "a INTEGER UNIQUE CHECK ({s}(a) > 0)"),
    "a macro in a column": ("CREATE MACRO {s}(x) AS x + 1", "MACRO", "a INTEGER UNIQUE, g INTEGER GENERATED ALWAYS AS ({s}(a))"),
    "a table": ("CREATE TABLE {s} (p INTEGER PRIMARY KEY)", "TABLE", "a INTEGER UNIQUE REFERENCES {s} (p)"),
}
REFER = "CREATE TABLE {o}_child (f INTEGER REFERENCES {o} (a))"
ALTERS = {
    "nothing": (),
    "the name": ("ALTER TABLE {o} RENAME TO {o}_new",),
    "a further column": ("ALTER TABLE {o} ADD COLUMN z INTEGER DEFAULT 3",),
    "a column less": ("ALTER TABLE {o} DROP COLUMN b",),
    "a column's name": ("ALTER TABLE {o} RENAME COLUMN b TO d",),
    "a column's type": ("ALTER TABLE {o} ALTER b TYPE BIGINT",),
    "a default": ("ALTER TABLE {o} ALTER c SET DEFAULT 5",),
    "no default": ("ALTER TABLE {o} ALTER c DROP DEFAULT",),
    "NOT NULL": ("ALTER TABLE {o} ALTER b SET NOT NULL", "ALTER TABLE {o} ALTER b DROP NOT NULL"),
    "a comment": ("COMMENT ON TABLE {o} IS 'x'", "COMMENT ON COLUMN {o}.b IS 'x'"),
    "a key": ("ALTER TABLE {o} ADD PRIMARY KEY (b)",),
    "a reference to it": (REFER,),
    "a reference after another name": ("ALTER TABLE {o} RENAME TO {o}_new", "CREATE TABLE {o}_child (f INTEGER REFERENCES {o}_new (a))"),
    "one reference of two": (REFER, "CREATE TABLE {o}_other (f INTEGER REFERENCES {o} (a))", "DROP TABLE {o}_other"),
    "a comment after a reference": (REFER, "COMMENT ON TABLE {o} IS 'x'"),
    "a place after a reference": (REFER, "ALTER TABLE {o} SET (quack_group = 'default')"),
    "an index": ("CREATE INDEX {o}_i ON {o} (b)", "COMMENT ON INDEX {o}_i IS 'x'"),
}


@pytest.mark.parametrize("used", USES)
def test_a_checkpoint_keeps_what_an_altered_table_depends_on(node, used):
    """Of a table that others refer to, DuckDB writes no dependencies: only nodes without a restart would refuse the DROP."""
    make, kind, columns = USES[used]
    drops = []
    for number, statements in enumerate(ALTERS.values()):
        names = {"s": f"s{number}", "o": f"o{number}"}
        for text in (make, f"CREATE TABLE {{o}} ({columns}, b INTEGER, c INTEGER DEFAULT 1)", *statements):
            node.sql(text.format(**names))
        drops.append(f"DROP {kind} s{number}")
    before = node.sql("SELECT hash FROM quack_state_hash()")
    for _ in range(2):
        for drop in drops:
            with pytest.raises(DatabaseError, match="depend|main key table"):
                node.sql(drop)
        node.sql("CHECKPOINT cp")
        node.kill_and_start()
    assert node.sql("SELECT hash FROM quack_state_hash()") == before


def test_the_state_hash_sees_dependencies(node):
    """Two histories that end in the same definitions, and differ in what may be dropped."""
    node.sql("SET enable_view_dependencies = true")
    node.sql("CREATE TABLE t (a INTEGER)")
    node.sql("CREATE VIEW v AS SELECT a FROM t")
    depends = node.sql("SELECT hash FROM quack_state_hash()")
    node.sql("SET enable_view_dependencies = false")
    node.sql("CREATE OR REPLACE VIEW v AS SELECT a FROM t")
    assert node.sql("SELECT hash FROM quack_state_hash()") != depends
    node.sql("SET enable_view_dependencies = true")
    node.sql("CREATE OR REPLACE VIEW v AS SELECT a FROM t")
    assert node.sql("SELECT hash FROM quack_state_hash()") == depends
