"""Statements that have given their write to the log wait for the applier, which must not wait for them."""

import threading
import time

import pytest
from quack_testing.process import DatabaseError

SECONDS = 4
# A table that foreign keys refer to is updated where its rows are, in the store, before the log has the statement.
TABLES = [
    "CREATE TABLE parent (i INTEGER PRIMARY KEY, v INTEGER)",
    "CREATE TABLE child (i INTEGER REFERENCES parent (i))",
    "INSERT INTO parent SELECT range, 0 FROM range(50)",
    "CREATE TABLE written (i INTEGER)",
    "CREATE TABLE audited (i INTEGER)",
]
TRIGGERS = {
    "rows in place": "UPDATE parent SET v = v + 1 WHERE i < 2",
    "other rows": "INSERT INTO audited SELECT * FROM new_rows",
}
WRITES = [
    "INSERT INTO written VALUES (1)",
    "WITH u AS (UPDATE parent SET v = v + 1 WHERE i < 2 RETURNING i), w AS (INSERT INTO written VALUES (1) RETURNING i) "
    "SELECT (SELECT count(*) FROM u) // 2",
]
INDEXES = ["CREATE INDEX by_v ON parent (v)", "DROP INDEX by_v"]


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_indexes_come_and_go_beside_statements_that_wait(shared_cluster, trigger):
    nodes = shared_cluster.alive()
    first = nodes[0]
    for statement in TABLES:
        first.sql(statement)
    first.sql(
        "CREATE TRIGGER t AFTER INSERT ON written REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT " + TRIGGERS[trigger]
    )
    shared_cluster.wait_equal()
    written, errors, until = [], [], time.monotonic() + SECONDS

    def run(node, name, statements):
        while time.monotonic() < until and not errors:
            for statement in statements:
                try:
                    rows = node.sql(statement, name, timeout=20)
                except DatabaseError as error:
                    errors.append(f"{node.name}: {statement}: {error}")
                    return
                written.extend(count for (count,) in rows if statement in WRITES)

    threads = [
        threading.Thread(target=run, args=(nodes[0], "triggers", WRITES[:1])),
        threading.Thread(target=run, args=(nodes[1], "with", WRITES[1:])),
        threading.Thread(target=run, args=(nodes[0], "indexes", INDEXES)),
        threading.Thread(target=run, args=(nodes[2], "updates", ["UPDATE parent SET v = v + 1 WHERE i > 40"])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    shared_cluster.wait_equal()
    for node in nodes:
        assert node.sql("SELECT count(*) FROM written") == [(sum(written),)]
        assert node.sql("SELECT state FROM quack_raft_status() WHERE group_name = 'default'") == [("ok",)]
    for table in ("written", "audited", "child", "parent"):
        first.sql(f"DROP TABLE {table}")


def test_a_sequence_without_values_ends_no_transaction(node):
    """The entry that asks for more is refused; what is open beside it is not the cause."""
    node.sql("CREATE SEQUENCE few MAXVALUE 2")
    node.sql("BEGIN; CREATE TABLE made (i INTEGER DEFAULT nextval('few')); INSERT INTO made VALUES (DEFAULT), (DEFAULT)")
    with pytest.raises(DatabaseError, match="reached maximum value of sequence"):
        node.sql("SELECT nextval('few')", "another")
    node.sql("COMMIT")
    assert node.sql("FROM made ORDER BY i") == [(1,), (2,)]
    node.sql("BEGIN; CREATE INDEX by_i ON made (i)")
    with pytest.raises(DatabaseError, match="reached maximum value of sequence"):
        node.sql("SELECT nextval('few')")
    node.sql("ROLLBACK")
