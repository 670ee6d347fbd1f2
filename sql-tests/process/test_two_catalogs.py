"""Two catalogs that one process serves: a transaction that changes one of them may read the other."""

import pytest


@pytest.fixture
def other(node, tmp_path):
    """The name of a second catalog, beside the node's own, which is the default one."""
    serve = f"token := 'other-token-of-the-tests', node_id := 'other', data_dir := '{tmp_path}/other', catalog := 'cp2'"
    uri = node.sql(f"CALL quack_serve('quack:127.0.0.1:0', {serve})")[0][0]
    node.sql(f"ATTACH '{uri}' AS cp2 (TYPE quack, TOKEN 'other-token-of-the-tests')")
    yield "cp2"
    node.sql(f"CALL quack_stop('{uri}')")


def check_states(node):
    assert {state for (state,) in node.sql("SELECT state FROM quack_raft_status()")} == {"ok"}


@pytest.mark.parametrize("first", ["cp", "cp2"])
def test_a_transaction_reads_one_and_changes_the_other(node, other, first):
    node.sql("CREATE TABLE cp.source AS FROM range(5) t(i)")
    node.sql("BEGIN")
    if first == "cp":
        assert node.value("SELECT sum(i) FROM cp.source") == 10
    node.sql("CREATE TABLE cp2.made (i INTEGER PRIMARY KEY, double INTEGER GENERATED ALWAYS AS (i * 2))")
    node.sql("INSERT INTO cp2.made FROM cp.source")
    node.sql("COMMIT")
    assert node.value("SELECT sum(double) FROM cp2.made") == 20
    check_states(node)


def test_rows_and_rollbacks_stay_where_they_belong(node, other):
    node.sql("CREATE TABLE cp.t AS FROM range(5) t(i)")
    node.sql("CREATE TABLE cp2.t AS FROM range(5) t(i)")
    node.sql("BEGIN")
    node.sql("DELETE FROM cp2.t WHERE i IN (SELECT i FROM cp.t WHERE i > 1)")
    assert node.sql("SELECT (SELECT count(*) FROM cp.t), (SELECT count(*) FROM cp2.t)") == [(5, 2)]
    node.sql("ROLLBACK")
    node.sql("BEGIN")
    node.sql("UPDATE cp.t SET i = i + (SELECT max(i) FROM cp2.t)")
    node.sql("COMMIT")
    assert node.sql("SELECT (SELECT sum(i) FROM cp.t), (SELECT sum(i) FROM cp2.t)") == [(30, 10)]
    check_states(node)


def test_a_file_is_copied_into_the_one_that_is_not_the_default(node, other, tmp_path):
    node.sql(f"ATTACH '{tmp_path}/file.duckdb' AS file")
    node.sql("CREATE TABLE file.parent (id INTEGER PRIMARY KEY)")
    child = "id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent (id), g INTEGER GENERATED ALWAYS AS (id * 2), CHECK (id > 0)"
    node.sql(f"CREATE TABLE file.child ({child})")
    node.sql("INSERT INTO file.parent VALUES (1)")
    node.sql("INSERT INTO file.child VALUES (3, 1)")
    node.sql("COPY FROM DATABASE file TO cp2")
    assert node.sql("FROM cp2.child") == [(3, 1, 6)]
    check_states(node)
