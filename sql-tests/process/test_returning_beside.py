"""Statements that return rows, while other clients change the columns of their tables: what they return are the columns
that they say."""

import threading

import pytest
from quack_testing.process import DatabaseError

ROUNDS = 60
# Another client was first.
MAY_BE_TOLD = ("onflict", "Binder Error", "Duplicate key")
WRITES = {
    "update": "UPDATE cp.t SET s = 'm' RETURNING *",
    "delete": "DELETE FROM cp.t WHERE i > 50 RETURNING *",
    "insert": "INSERT INTO cp.t (i, s) SELECT 1 + max(i), 'n' FROM cp.t RETURNING *",
    "upsert": "INSERT INTO cp.t (i, s) VALUES (1, 'o') ON CONFLICT DO UPDATE SET s = 'p' RETURNING i, s",
    "merge": "MERGE INTO cp.t USING (SELECT 2 AS i) n ON t.i = n.i WHEN MATCHED THEN UPDATE SET s = 'q' RETURNING merge_action, *",
    "with": "WITH w AS (UPDATE cp.t SET s = 'r' WHERE i = 3 RETURNING *) SELECT * FROM w",
}
COLUMNS = {
    "add": ("ALTER TABLE cp.t ADD COLUMN k INTEGER DEFAULT 3", "ALTER TABLE cp.t DROP COLUMN k"),
    "replace": (
        "CREATE OR REPLACE TABLE cp.t AS SELECT s, i FROM cp.t",
        "CREATE OR REPLACE TABLE cp.t AS SELECT i, s FROM cp.t",
    ),
}


def run_beside(node, writes, changes, look=lambda rows: None):
    """Two writers of each statement while the columns change; errors but conflicts, and what `look` says of rows."""
    wrong, changing = [], threading.Event()

    def write(name, statement):
        while not changing.is_set() and not wrong:
            try:
                said = look(node.sql(statement, name))
            except DatabaseError as error:
                said = None if any(words in str(error) for words in MAY_BE_TOLD) else (statement, str(error))
            if said:
                wrong.append(said)

    writers = [
        threading.Thread(target=write, args=(f"{number} {turn}", statement))
        for number, statement in enumerate(writes)
        for turn in range(2)
    ]
    for writer in writers:
        writer.start()
    for turn in range(ROUNDS):
        try:
            node.sql(changes[turn % len(changes)], "changes")
        except DatabaseError as error:
            assert "onflict" in str(error) or "Constraint" in str(error) or "column" in str(error), error
    changing.set()
    for writer in writers:
        writer.join()
    assert wrong == []
    assert node.sql("SELECT state FROM quack_raft_status()") == [("ok",)]


# The table that replaces another one has no key to conflict with.
CASES = [(write, columns) for write in WRITES for columns in COLUMNS if (write, columns) != ("upsert", "replace")]


@pytest.mark.parametrize("write, columns", CASES)
def test_a_statement_that_returns_rows_meets_other_columns(node, write, columns):
    key = "" if columns == "replace" else " PRIMARY KEY"
    node.sql(f"CREATE TABLE cp.t (i INTEGER{key}, s VARCHAR)")
    node.sql("INSERT INTO cp.t SELECT range, range::VARCHAR FROM range(100)")
    run_beside(node, [WRITES[write]], COLUMNS[columns])


def test_columns_of_one_type_that_change_places_are_returned_by_their_names(node):
    node.sql("CREATE TABLE cp.t (a INTEGER, b INTEGER)")
    node.sql("INSERT INTO cp.t VALUES (1, 1000)")
    places = [f"CREATE OR REPLACE TABLE cp.t AS SELECT {columns} FROM cp.t" for columns in ("b, a", "a, b")]
    writes = ["UPDATE cp.t SET b = b + 1 RETURNING a, b"]
    run_beside(node, writes, places, lambda rows: None if not rows or rows[0][0] == 1 else rows)
