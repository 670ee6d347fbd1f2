"""Entries of the log that need more memory than a node's host allows: the node applies them all the same, for the others
have, and then goes back to what the host allows."""

import pytest
from quack_testing.cluster import wait_for

LIMIT = "30MB"
# Nothing can be put aside: DuckDB then fails where it would be slow.
SETTINGS = [f"SET GLOBAL memory_limit = '{LIMIT}'", "SET GLOBAL max_temp_directory_size = '0MB'"]
ROWS = 120_000
STATEMENTS = [
    ("CREATE TABLE cp.wide (i INTEGER, s VARCHAR)", []),
    ("CREATE TABLE cp.keyed (i INTEGER PRIMARY KEY, s VARCHAR)", []),
    (f"INSERT INTO cp.wide SELECT range, repeat(md5(range::VARCHAR), 10) FROM range({ROWS})", [(ROWS,)]),
    (f"INSERT INTO cp.keyed SELECT range, repeat(md5(range::VARCHAR), 3) FROM range({ROWS})", [(ROWS,)]),
    # An index stays in memory, so that this one needs more than the limit for as long as it is there.
    ("CREATE INDEX by_text ON cp.wide (s)", []),
    (f"DELETE FROM cp.keyed WHERE i >= {ROWS // 2}", [(ROWS - ROWS // 2,)]),
]


def limit_in_force(node):
    return node.sql("SELECT memory_limit FROM pragma_database_size() LIMIT 1")[0][0]


@pytest.fixture(params=["one node", "three nodes"])
def nodes(request):
    if request.param == "one node":
        return [request.getfixturevalue("node")]
    return request.getfixturevalue("cluster").alive()


def test_no_limit_of_memory_keeps_a_node_from_what_all_have_agreed_on(nodes):
    for node in nodes:
        for setting in SETTINGS:
            node.sql(setting)
    allowed = limit_in_force(nodes[0])
    for statement, result in STATEMENTS:
        assert nodes[0].sql(statement) == result, statement

    def has_caught_up(node):
        return node.sql("SELECT count(*) FROM cp.keyed") == [(ROWS // 2,)]

    for node in nodes:
        wait_for(lambda node=node: has_caught_up(node), f"{node.name} to apply everything")
    assert any(limit_in_force(node) != allowed for node in nodes), "nothing here needs more memory than there is"
    hashes = {str(node.sql("SELECT hash FROM quack_state_hash()")) for node in nodes}
    assert len(hashes) == 1
    for node in nodes:
        node.kill()
        node.start(attach=False)
    for node in nodes:
        node.attach()
        assert has_caught_up(node)
        assert node.sql("SELECT i FROM cp.wide WHERE s = repeat(md5('77'), 10)") == [(77,)]


def test_rows_that_are_larger_than_what_the_host_allows(nodes):
    """A commit reads them again for the indexes, and a checkpoint to compress them, a vector at a time."""
    for node in nodes:
        node.sql("SET GLOBAL memory_limit = '80MB'")
    first = nodes[0]
    first.sql("CREATE TABLE cp.large (i INTEGER PRIMARY KEY, b BLOB, l VARCHAR[])")
    rows = "SELECT range, repeat('a', 1 << 20)::BLOB, [repeat('b', 1 << 19)] FROM range(160)"
    assert first.sql(f"INSERT INTO cp.large {rows}") == [(160,)]
    for change in [
        "CHECKPOINT cp",
        "DELETE FROM cp.large WHERE i % 2 = 0",
        "CHECKPOINT cp",
        "UPDATE cp.large SET b = 'x' WHERE i < 80",
        "CHECKPOINT cp",
    ]:
        first.sql(change)
    for node in nodes:
        wait_for(lambda node=node: node.sql("SELECT count(*) FROM cp.large WHERE b = 'x'") == [(40,)], "the changes")
        node.sql("CHECKPOINT cp")
        node.kill_and_start()
        assert node.sql("SELECT count(*), sum(octet_length(b)) FROM cp.large WHERE i >= 80") == [(40, 40 << 20)]
        assert node.sql("SELECT state FROM quack_raft_status()") == [("ok",)]


def test_keys_and_columns_that_are_larger_than_what_the_host_allows(node):
    node.sql("CREATE TABLE keyed (k INTEGER PRIMARY KEY, s VARCHAR)")
    node.sql("CREATE INDEX long_keys ON keyed ((repeat(s, 20000)))")
    node.sql(f"CREATE TABLE wide ({', '.join(f'c{n} INTEGER' for n in range(600))})")
    for setting in ("memory_limit = '100MB'", "max_temp_directory_size = '0MB'"):
        node.sql(f"SET GLOBAL {setting}")
    assert node.sql("INSERT INTO keyed SELECT i, printf('%06d', i) FROM range(2000) r(i)") == [(2000,)]
    node.sql("INSERT INTO wide (c7) VALUES (7)")
    node.sql("CHECKPOINT cp")
    node.sql("DELETE FROM keyed WHERE k < 1000")
    node.sql("CHECKPOINT cp")
    node.kill_and_start()
    assert node.sql("SELECT count(*) FROM keyed WHERE repeat(s, 20000) = repeat('001999', 20000)") == [(1,)]
    assert node.sql("SELECT count(*), max(c7) FROM wide") == [(1, 7)]


def test_memory_goes_back_to_what_the_host_allows(node):
    for setting in SETTINGS:
        node.sql(setting)
    allowed = limit_in_force(node)
    for statement, result in STATEMENTS:
        assert node.sql(statement) == result, statement
    assert limit_in_force(node) != allowed
    node.sql("DROP TABLE cp.wide")

    def is_back():
        node.sql("UPDATE cp.keyed SET s = 'x' WHERE i = 0")
        return limit_in_force(node) == allowed

    wait_for(is_back, "the host's limit")
