"""Changes around the ends of vectors and row groups are on all nodes what the client was told, and after kill -9 too."""

import pytest

# The borders of a vector and of a row group, and beyond.
SIZES = [2049, 122_879, 122_881, 150_000]
CHANGES = {
    "insert": ["INSERT INTO t SELECT range, 'new ' || range, 0 FROM range({n})"],
    "insert from itself": ["INSERT INTO t SELECT i, v, 1 FROM t UNION ALL SELECT i, v, 2 FROM t"],
    "update": ["UPDATE t SET v = v || '!' WHERE i % 4 = 0", "UPDATE t SET n = n + 1 RETURNING i"],
    "delete": ["DELETE FROM t WHERE i % 4 = 0 RETURNING i, v", "DELETE FROM t"],
    "delete using": ["DELETE FROM t USING (SELECT range // 2 + 1 AS x FROM range({n})) s WHERE t.i = s.x"],
    # Each of these rows is met by several of the other side, in no order.
    "delete near": ["DELETE FROM t USING (VALUES (11), (5), (12), (11), (11), (10)) s(x) WHERE abs(t.i - s.x) < 5"],
    "update near": ["UPDATE t SET n = 5 FROM (VALUES (11), (5), (12), (11), (11), (10)) s(x) WHERE abs(t.i - s.x) < 5"],
    "merge": [
        "MERGE INTO t USING (SELECT range + {n} // 2 AS i FROM range({n})) s ON t.i = s.i "
        "WHEN MATCHED AND s.i % 3 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET n = 7 "
        "WHEN NOT MATCHED THEN INSERT VALUES (s.i, 'merged', 0)"
    ],
}
WAYS = {
    "by itself": ([], []),
    "in a transaction": (["BEGIN", "INSERT INTO t VALUES (-1, 'own', 0)"], ["COMMIT"]),
    "beside a change of the catalog": (["BEGIN", "CREATE OR REPLACE TABLE other (i INTEGER)"], ["COMMIT"]),
}
SUMS = "SELECT count(*), sum(i), sum(n), sum(hash(v)) FROM t"


def changed(run, change, way, rows):
    """The rows and the sums of a table of so many rows as the change leaves them, within its transaction."""
    run(f"CREATE OR REPLACE TABLE t AS SELECT range::INTEGER AS i, 'row ' || range AS v, 0 AS n FROM range({rows})")
    opening, ending = WAYS[way]
    for statement in opening:
        run(statement)
    answers = [sorted(run(statement.format(n=rows))) for statement in CHANGES[change]]
    sums = run(SUMS)
    for statement in ending:
        run(statement)
    return answers, sums


@pytest.fixture
def plain(new_process, tmp_path):
    process = new_process().sql
    process(f"ATTACH '{tmp_path / 'plain.db'}' AS plain")
    process("USE plain")
    return process


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", CHANGES)
def test_kill_and_replay(node, plain, change, way):
    for rows in SIZES:
        assert changed(node.sql, change, way, rows) == changed(plain, change, way, rows), rows
        before = node.sql(SUMS), state_hash(node)
        node.kill_and_start()
        assert (node.sql(SUMS), state_hash(node)) == before, rows


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", CHANGES)
def test_three_nodes(shared_cluster, plain, change, way):
    nodes = shared_cluster.alive()
    for number, rows in enumerate(SIZES):
        node = nodes[number % len(nodes)]
        assert changed(node.sql, change, way, rows) == changed(plain, change, way, rows), rows
        sums = node.sql(SUMS)
        shared_cluster.wait_equal()
        assert {tuple(other.sql(SUMS)[0]) for other in nodes} == {tuple(sums[0])}
        nodes[-1].sql("CHECKPOINT cp", "checkpoint")


@pytest.mark.parametrize("opening", ["SELECT 1", "BEGIN"])
def test_a_row_that_is_referred_to_does_not_depend_on_its_neighbours(node, opening):
    """A row to which a foreign key refers is changed in place, though a key of another row changes at the same time."""
    node.sql("CREATE TABLE parent (i INTEGER PRIMARY KEY, u INTEGER UNIQUE, n INTEGER)")
    node.sql("CREATE TABLE child (i INTEGER REFERENCES parent (i))")
    node.sql("INSERT INTO parent SELECT range, range, 0 FROM range(5000)")
    node.sql("INSERT INTO child VALUES (5), (4000)")
    node.sql(opening)
    assert node.value("UPDATE parent SET u = CASE WHEN i = 7 THEN -7 ELSE u END, n = n + 1") == 5000
    if opening == "BEGIN":
        node.sql("COMMIT")
    assert node.sql("SELECT sum(u), sum(n), count(*) FROM parent") == [(sum(range(5000)) - 14, 5000, 5000)]


def state_hash(node):
    return node.sql("FROM quack_state_hash()")[0][2]
