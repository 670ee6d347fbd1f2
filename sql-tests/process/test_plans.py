"""Reads of the replicated catalog are native: the plans are DuckDB's own."""

import pytest

from quack_testing import shapes

ROWS = 300_000


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    from quack_testing import node as nodes

    node = nodes.Node(tmp_path_factory.mktemp("plans")).start()
    try:
        node.sql(f"ATTACH '{node.folder}/native.duckdb' AS native")
        for catalog in ("native", "cp"):
            for statement in shapes.statements(catalog, ROWS):
                node.sql(statement)
        node.sql("CHECKPOINT native")
        node.sql("CHECKPOINT cp")
        yield node
        assert node.stop() == 0, node.process.stderr_tail()
    finally:
        if node.process.popen.poll() is None:
            node.process.kill()


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_the_plan_and_the_result_are_those_of_plain_duckdb(both, name):
    results, plans = [], []
    for catalog in ("native", "cp"):
        query = shapes.shape(name, catalog, ROWS)
        results.append([tuple(round(v, 3) if isinstance(v, float) else v for v in row) for row in both.sql(query)])
        # Plans name the tables with their catalog; boxes are drawn as wide as those names.
        plan = explain(both, query)
        plans.append(plan.replace(f"{catalog}.", ""))
    assert results[0] == results[1]
    assert plans[0] == plans[1]


def explain(node, query):
    rows = node.sql(f"EXPLAIN (FORMAT json) {query}")
    return rows[0][1]


def test_a_lookup_by_key_uses_the_index(both):
    ((_, plan),) = both.sql("EXPLAIN ANALYZE " + shapes.shape("primary key", "cp", ROWS))
    assert "Index Scan" in plan or "INDEX_SCAN" in plan.upper().replace(" ", "_"), plan


@pytest.mark.parametrize(
    "statement, operator",
    [
        ("INSERT INTO cp.profiled VALUES (1)", "QUACK_INSERT"),
        ("UPDATE cp.profiled SET i = i + 1", "QUACK_UPDATE"),
        ("DELETE FROM cp.profiled", "QUACK_DELETE"),
        ("CREATE OR REPLACE TABLE cp.profiled AS SELECT 1 AS i", "QUACK_CREATE_TABLE_AS"),
    ],
)
def test_a_profile_names_the_operators_that_write(node, statement, operator):
    node.sql("CREATE TABLE cp.profiled (i INTEGER)")
    node.sql("INSERT INTO cp.profiled VALUES (7)")
    ((_, profile),) = node.sql(f"EXPLAIN ANALYZE {statement}")
    assert operator in profile and "Table: cp.main.profiled" in profile, profile
    assert "QUACK_PROPOSE" in profile, profile
