"""A statement writes the same on all nodes, with every function and no matter where it ran."""

import pytest
from quack_testing.cluster import wait_for
from quack_testing.determinism import Writes, set_places
from quack_testing.process import DatabaseError

SKIPPED = {
    "sleep_ms": "waits",
    "pg_sleep": "waits",
    "arrow_scan": "takes addresses in memory",
    "arrow_scan_dumb": "takes addresses in memory",
    "pandas_scan": "takes addresses in memory",
    "python_arrow_scan": "takes addresses in memory",
    "python_map_function": "takes addresses in memory",
    "enable_profiling": "prints to standard output, which is the test's channel",
    "enable_logging": "with it, write_log ends a process of DuckDB itself by SIGSEGV",
    "__internal_json_copy_to_geojson": "for COPY alone: an internal error, which stops a database",
    "quack_serve": "manages the nodes of the test",
    "quack_stop": "manages the nodes of the test",
    "quack_add_node": "manages the nodes of the test",
    "quack_remove_node": "manages the nodes of the test",
    "quack_transfer_leader": "manages the nodes of the test",
}
REFUSED_AS_IT_DEPENDS = "its value must not depend on when or where"
# About 3,080 overloads of DuckDB 2.0.0 can be called.
CALLS_MIN, ROW_CALLS_MIN = 3000, 1500


@pytest.fixture
def places(new_cluster):
    """Three nodes whose sessions have different time zones, orders and calendars."""
    cluster = new_cluster(consistency="linearizable").start()
    set_places(cluster)
    return cluster


@pytest.mark.parametrize("in_transactions", [False, True])
def test_every_function_writes_the_same_on_all_nodes(places, in_transactions):
    writes = Writes(places, in_transactions)
    writes.run(writes.prepare(SKIPPED))
    print(writes.found.summary())
    print(f"skipped: {SKIPPED}")
    assert writes.wrong() == []
    assert writes.found.different == []
    assert sum(writes.found.written.values()) >= CALLS_MIN
    places.wait_equal()


def test_every_function_of_a_row_converts_a_column_in_the_same_way_on_all_nodes(places):
    writes = Writes(places)
    writes.convert(writes.prepare(SKIPPED))
    print(writes.found.summary())
    assert writes.wrong() == []
    assert sum(writes.found.written.values()) + len(writes.found.different) >= ROW_CALLS_MIN
    # What may differ from node to node is refused, and nothing else.
    refused = (REFUSED_AS_IT_DEPENDS, "uses the hash of a VARIANT")
    others = [reason for reason in writes.found.different if not any(text in reason for text in refused)]
    assert others == []


def test_a_change_of_the_catalog_that_fails_says_why_regardless_of_the_settings(node):
    node.sql("CREATE TABLE t (i INTEGER)")
    node.sql("SET TimeZone = 'Asia/Kolkata'")
    with pytest.raises(DatabaseError, match='Binder Error: Table does not contain column "nosuch"'):
        node.sql("ALTER TABLE t ALTER i TYPE BIGINT USING nosuch")


# Each evaluates something on every node that a session's settings have a part in.
EVALUATED_EVERYWHERE = {
    "check": [
        "CREATE TABLE {t} (id INTEGER, ts TIMESTAMPTZ, CHECK (ts::DATE = '2024-01-01'))",
        "INSERT INTO {t} VALUES (1, '2024-01-01 20:00:00+00')",
        "INSERT INTO {t} VALUES (2, '2024-01-01 02:00:00+00')",
        "INSERT INTO {t} VALUES (3, '2024-01-01 12:00:00+00')",
    ],
    "check of an hour": [
        "CREATE TABLE {t} (id INTEGER, ts TIMESTAMPTZ, CHECK (hour(ts) < 12))",
        "INSERT INTO {t} VALUES (1, '2024-01-01 07:00:00+00')",
        "INSERT INTO {t} VALUES (2, '2024-01-01 13:00:00+00')",
        "INSERT INTO {t} VALUES (3, '2024-01-01 20:00:00+00')",
    ],
    "added check": [
        "CREATE TABLE {t} (id INTEGER, ts TIMESTAMPTZ)",
        "INSERT INTO {t} VALUES (1, '2024-01-01 20:00:00+00')",
        "ALTER TABLE {t} ADD CONSTRAINT c CHECK (ts::DATE = '2024-01-01')",
        "INSERT INTO {t} VALUES (2, '2024-01-01 02:00:00+00')",
    ],
    "unique index on an expression": [
        "CREATE TABLE {t} (id INTEGER, ts TIMESTAMPTZ)",
        "CREATE UNIQUE INDEX i ON {t} ((ts::DATE))",
        "INSERT INTO {t} VALUES (1, '2024-01-01 20:00:00+00')",
        "INSERT INTO {t} VALUES (2, '2024-01-02 02:00:00+00')",
        "INSERT INTO {t} VALUES (3, '2024-01-02 10:00:00+00')",
    ],
    "conversion to text": [
        "CREATE TABLE {t} (id INTEGER, ts TIMESTAMPTZ)",
        "INSERT INTO {t} VALUES (1, '2024-01-01 20:00:00+00')",
        "ALTER TABLE {t} ALTER ts TYPE VARCHAR",
    ],
    "conversion from text": [
        "CREATE TABLE {t} (id INTEGER, ts VARCHAR)",
        "INSERT INTO {t} VALUES (1, '2024-01-01 20:00:00')",
        "ALTER TABLE {t} ALTER ts TYPE TIMESTAMPTZ",
    ],
    "conversion by an expression": [
        "CREATE TABLE {t} (id INTEGER, ts TIMESTAMPTZ)",
        "INSERT INTO {t} VALUES (1, '2024-01-01 20:00:00+00')",
        "ALTER TABLE {t} ALTER ts TYPE DATE USING ts::DATE",
    ],
    "conversion by a sort": [
        "CREATE TABLE {t} (id INTEGER, l INTEGER[])",
        "INSERT INTO {t} VALUES (1, [3, NULL, 1, 2])",
        "ALTER TABLE {t} ALTER l TYPE INTEGER[] USING list_sort(l)",
    ],
    "the time of the conversion": [
        "CREATE TABLE {t} (id INTEGER, ts TIMESTAMP)",
        "INSERT INTO {t} VALUES (1, NULL)",
        "ALTER TABLE {t} ALTER ts TYPE TIMESTAMP USING current_localtimestamp()",
    ],
    "default of an added column": [
        "CREATE TABLE {t} (id INTEGER)",
        "INSERT INTO {t} VALUES (1)",
        "ALTER TABLE {t} ADD COLUMN ts TIMESTAMPTZ DEFAULT '2024-01-01 20:00:00'",
        "INSERT INTO {t} (id) VALUES (2)",
    ],
    "generated column": [
        "CREATE TABLE {t} (id INTEGER, ts TIMESTAMPTZ, d DATE GENERATED ALWAYS AS (ts::DATE))",
        "INSERT INTO {t} (id, ts) VALUES (1, '2024-01-01 20:00:00+00')",
    ],
}


def test_settings_of_a_node_do_not_change_what_it_holds(places):
    tables = {f"t{number}": name for number, name in enumerate(EVALUATED_EVERYWHERE)}
    for table, name in tables.items():
        outcomes = []
        for number, statement in enumerate(EVALUATED_EVERYWHERE[name]):
            try:
                places.alive()[number % 3].sql(statement.format(t=table))
                outcomes.append("done")
            except DatabaseError as error:
                outcomes.append(str(error).split("\n")[0][:200])
        print(f"{name}: {outcomes}")
        # A statement may be refused, if that is so on all nodes; what comes before it must not be.
        assert outcomes[0] == "done" or REFUSED_AS_IT_DEPENDS in outcomes[0]
    applied = "SELECT applied_index FROM quack_raft_status()"
    wait_for(lambda: len({node.value(applied) for node in places.alive()}) == 1, "one position on all nodes")
    different = []
    for node in places.alive():
        # What is computed when it is read depends on who reads.
        node.sql("SET TimeZone = 'UTC'; SET Calendar = 'gregorian'", "look")
    for table, name in tables.items():
        look = f"SELECT count(*), sum(hash(t)::HUGEINT) FROM cp.{table} t"
        if len({str(node.sql(look, "look")) for node in places.alive()}) > 1:
            different.append(name)
    assert different == []
    # Comparing the nodes must not find a difference where there is none, as in what is computed when it is read.
    places.wait_equal()
