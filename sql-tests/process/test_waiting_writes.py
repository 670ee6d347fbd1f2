"""Statements that exclude each other at a node pass in turn, and none waits without bound."""

import threading

import pytest
from quack_testing.process import DatabaseError

LONG = "SELECT max(x.range * y.range) FROM range(1000000) x, range(1000000) y"
LOOPS = {
    "upserts": "INSERT INTO k VALUES (1, 0) ON CONFLICT (i) DO UPDATE SET v = k.v + 1",
    "merges": "MERGE INTO k USING (SELECT 1 AS i) s USING (i) WHEN MATCHED THEN UPDATE SET v = k.v + 1",
    "replaces": "INSERT OR REPLACE INTO k SELECT i, v + 1 FROM k WHERE i = 1",
    "updates that read another table": "UPDATE k SET v = k.v + s.v FROM one s WHERE s.i = k.i",
    "deletes that read another table": "DELETE FROM k USING one s WHERE s.i = k.i AND s.v = 0",
}
#: Each is of a kind that others exclude.
WRITES = (
    "INSERT INTO {table} VALUES (2, 0)",
    "UPDATE {table} SET v = v + 1 WHERE i = 2",
    "UPDATE {table} SET v = (SELECT v FROM one) WHERE i = 2",
    "INSERT INTO {table} VALUES (2, 5) ON CONFLICT DO UPDATE SET v = excluded.v",
    "DELETE FROM {table} WHERE i = 2",
)
#: More than a statement may wait.
SECONDS = 45


@pytest.fixture
def tables(node):
    for table in ("k", "other", "one"):
        node.sql(f"CREATE TABLE {table} (i INTEGER PRIMARY KEY, v BIGINT)")
        node.sql(f"INSERT INTO {table} VALUES (1, 1)")
    return node


@pytest.mark.parametrize("loops", LOOPS)
def test_writes_without_a_pause_let_others_pass(tables, loops):
    ended, errors = threading.Event(), []

    def run(connection):
        while not ended.is_set():
            try:
                tables.sql(LOOPS[loops], connection)
            except DatabaseError as error:
                errors.append(str(error))

    threads = [threading.Thread(target=run, args=(f"loop {number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for table in ("other", "k"):
            for write in WRITES:
                tables.sql(write.format(table=table), "passes", timeout=SECONDS)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert errors == []


HOLDERS = {
    "an upsert": f"INSERT INTO k SELECT 1, ({LONG}) ON CONFLICT DO NOTHING",
    "a merge": f"MERGE INTO k USING ({LONG}) s(i) ON s.i = k.i WHEN MATCHED THEN DELETE",
    "an update": f"UPDATE k SET v = ({LONG}) WHERE i = 1",
    "a delete": f"DELETE FROM k WHERE v = ({LONG})",
    "an explained update": f"EXPLAIN ANALYZE UPDATE k SET v = ({LONG}) WHERE i = 1",
    "a merge of another catalog": f"MERGE INTO temp.k USING ({LONG}) s(i) ON s.i = k.i WHEN MATCHED THEN DELETE",
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_one_long_write_lets_others_pass(tables, holder):
    tables.sql("CREATE TEMP TABLE k (i INTEGER PRIMARY KEY, v BIGINT)", "long")
    if "another catalog" not in holder:
        tables.sql("DROP TABLE temp.k", "long")
    running = tables.process.start_sql(HOLDERS[holder], "long")
    with pytest.raises(TimeoutError):
        running.result(0.5)
    for table in ("other", "k"):
        for write in WRITES:
            tables.sql(write.format(table=table), "passes", timeout=SECONDS)
    assert not running.done()
    tables.process.submit("interrupt", connection="long")
    with pytest.raises(DatabaseError, match="Interrupted!"):
        running.result(SECONDS)


INSERTS_TOO = """
connection = database.cursor()
def insert(i):
    connection.execute(f"INSERT INTO cp.k VALUES ({i + 10}, 0)")
    return i
database.create_function("insert_too", insert, ["INTEGER"], "INTEGER", side_effects=True)
"""


def test_an_upsert_does_not_wait_for_what_its_own_function_writes(tables):
    tables.process.python(INSERTS_TOO)
    tables.sql("INSERT INTO k SELECT insert_too(range::INTEGER), 7 FROM range(3) ON CONFLICT DO UPDATE SET v = 7", timeout=SECONDS)
    assert tables.sql("FROM k ORDER BY i") == [(0, 7), (1, 7), (2, 7), (10, 0), (11, 0), (12, 0)]
