"""No open transaction ever delays or fails the applier on a node, regardless of its changes and of how long it stays.

While transactions are open on all three shared_cluster, others commit changes of the same tables on all of them, and the nodes
hold the same. Afterwards each open one commits, or is told of its conflict; and until then it has seen what it began
with, and its own changes. Nothing here passes or fails by a measured time: what must go on has to come to an end at all.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from quack_testing.cluster import wait_for
from quack_testing.node import stock_client
from quack_testing.open_transactions import (
    OPENINGS,
    ROWS,
    STATEMENT_SECONDS,
    Opened,
    change_catalog_on_all,
    commit_on_all,
    create_tables,
    position,
    start_with_pipe,
)
from quack_testing.process import DatabaseError, pause, resume

NODES = 3
ROUNDS = 4
# Those whose transactions end all the time, and the tables that are exchanged meanwhile.
CLIENTS = 4
EXCHANGES = 40
FILLED_ROWS = 100_000
# Rows of a result that no buffer between a node and a client holds at once.
MANY_ROWS = 2_000_000
# A checkpoint waits for a minute before it ends what is in its way.
CHECKPOINT_SECONDS = 240


@pytest.fixture
def cluster(shared_cluster):
    create_tables(shared_cluster)
    yield shared_cluster
    for node in shared_cluster.alive():
        node.process.request("close_connection", connection="open")


def check_states(cluster):
    cluster.wait_equal()
    states = {node.value("SELECT state FROM quack_raft_status()") for node in cluster.alive()}
    assert states == {"ok"}


def checkpoint_all(cluster):
    """Checkpoints are made; not at once where a client that is gone has left a transaction to be cleared away."""
    for node in cluster.alive():
        wait_for(lambda: node.sql("CHECKPOINT cp", "other") == [], "a checkpoint")


def go_on(cluster, rounds=ROUNDS, fresh=0, **options):
    """Others commit on all nodes, and all of it is applied on all nodes."""
    for number in range(rounds):
        before = min(position(node) for node in cluster.alive())
        commit_on_all(cluster, fresh + number, **options)
        cluster.wait_equal()
        assert min(position(node) for node in cluster.alive()) > before


@pytest.mark.parametrize("name", OPENINGS)
def test_others_commit_while_transactions_are_open(cluster, name):
    opening = OPENINGS[name]
    opened = [Opened(node, number, opening) for number, node in enumerate(cluster.alive())]
    for number in range(ROUNDS):
        go_on(cluster, 1, number)
        # The last one hears of a conflict at COMMIT at the earliest.
        for transaction in opened[:-1]:
            transaction.look_again()
    if not opening.native:
        checkpoint_all(cluster)
    change_catalog_on_all(cluster)
    cluster.wait_equal()
    for transaction in opened[:-1]:
        transaction.look_again()
    committed = [transaction.commit() for transaction in opened]
    check_states(cluster)
    check_effects(cluster, name, committed)


def check_effects(cluster, name, committed):
    """What a transaction has done is there if it was committed, and not otherwise."""
    for node in cluster.alive():
        tables = {row for (row,) in node.sql("SELECT table_name FROM duckdb_tables() WHERE database_name = 'cp'")}
        if name.startswith("creates a table"):
            assert [f"made_{other}" in tables for other in cluster.names] == committed
        if name == "drops a table":
            assert [f"own_{other}" not in tables for other in cluster.names] == committed
        if name == "inserts":
            assert committed == [True] * NODES
            assert node.value("SELECT count(*) FROM t WHERE note = 'mine'") == NODES * 1000


def make_many_rows(cluster):
    node = cluster.alive()[0]
    node.sql(f"CREATE TABLE many AS SELECT range AS i, 'row ' || md5(range::VARCHAR) AS s FROM range({MANY_ROWS})")
    cluster.wait_equal()


def change_many_rows(cluster):
    """Each in its turn: rows change, a checkpoint is made, and in the end the table goes."""
    for node in cluster.alive():
        node.sql(f"UPDATE many SET s = 'changed' WHERE i % 1000 = {node.port % 1000}", "other")
        node.sql("DELETE FROM many WHERE i % 1000 = 7", "other")
    checkpoint_all(cluster)
    cluster.alive()[0].sql("ALTER TABLE many ADD COLUMN added INTEGER", "other")
    cluster.alive()[1].sql("DROP TABLE many", "other")
    cluster.wait_equal()


def test_a_stream_whose_client_pauses_ends_as_it_began(cluster):
    make_many_rows(cluster)
    for node in cluster.alive():
        node.process.python(
            "worker.stream = database.cursor()\n"
            "worker.stream.execute('USE cp')\n"
            "worker.stream.execute('SELECT i FROM many')\n"
            "worker.read = worker.stream.fetchmany(10)"
        )
    go_on(cluster, 2)
    change_many_rows(cluster)
    for node in cluster.alive():
        read = node.process.python("result = sum(i for (i,) in worker.read + worker.stream.fetchall())")
        assert read == MANY_ROWS * (MANY_ROWS - 1) // 2
        node.process.python("worker.stream.close()")
    check_states(cluster)


@pytest.fixture
def stock_clients(cluster, tmp_path, track):
    """A stock client of each node. It cannot attach a catalog that lists a table before one that it refers to."""
    cluster.alive()[0].sql("DROP TABLE child")
    cluster.alive()[0].sql("DROP TABLE parent")
    cluster.wait_equal()
    return [track(stock_client(tmp_path, f"stock-{node.name}", node.uri)) for node in cluster.alive()]


def remotely(client, text, connection="default"):
    """Runs a text in the session of a stock client."""
    return client.sql(f"FROM quack_query_by_name('cp', $${text}$$)", connection)


def test_transactions_that_end_at_the_moment_at_which_they_are_met(cluster):
    """What the applier has met is gone when it looks who is in its way: that is no reason to refuse the entry."""
    node, elsewhere = cluster["n0"], cluster["n1"]
    elsewhere.sql("CREATE TABLE met AS SELECT range AS i, range AS k FROM range(4)")
    elsewhere.sql("CREATE TABLE filled (i BIGINT)")
    cluster.wait_equal()
    goes_on = True

    def begin_and_end(connection):
        while goes_on:
            for statement in ["BEGIN", "ALTER TABLE met RENAME k TO l", "ROLLBACK"]:
                with suppress(DatabaseError):
                    node.sql(statement, connection)

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(begin_and_end, f"client {number}") for number in range(CLIENTS)]
        try:
            for number in range(EXCHANGES):
                # What comes before the catalog's change is what the applier rolls back before it looks.
                elsewhere.sql("BEGIN")
                elsewhere.sql(f"INSERT INTO filled FROM range({FILLED_ROWS})")
                elsewhere.sql(f"CREATE OR REPLACE TABLE met AS SELECT range AS i, {number} AS k FROM range(4)")
                elsewhere.sql("COMMIT")
        finally:
            goes_on = False
        for client in clients:
            client.result()
    cluster.wait_equal()
    for other in cluster.alive():
        assert other.sql("SELECT DISTINCT k FROM met") == [(EXCHANGES - 1,)]
    check_states(cluster)


@pytest.mark.parametrize("name", ["updates t, apart", "inserts and changes its own", "adds a column"])
def test_clients_that_are_stopped_in_the_middle_of_a_transaction(cluster, stock_clients, name):
    opening = OPENINGS[name]
    names = [{"first": 1000 + 500 * number, "node": node.name} for number, node in enumerate(cluster.alive())]
    seen = []
    for client, of_client in zip(stock_clients, names):
        for text in ["BEGIN", "SELECT count(*) FROM t", *opening.statements]:
            remotely(client, text.format(**of_client))
        seen.append(remotely(client, opening.view.format(**of_client)))
        pause(client)
    go_on(cluster, foreign_keys=False)
    for client, of_client, before in zip(stock_clients, names, seen):
        resume(client)
        try:
            assert remotely(client, opening.view.format(**of_client)) == before
            remotely(client, "COMMIT")
        except DatabaseError as error:
            assert opening.commits is not True and "onflict" in str(error)
            remotely(client, "ROLLBACK")
    check_states(cluster)


def test_clients_that_are_stopped_while_they_receive_rows(cluster, stock_clients):
    make_many_rows(cluster)
    reading = [client.start_sql("SELECT i, s FROM cp.many") for client in stock_clients]
    for client in stock_clients:
        pause(client)
    # One may have been too fast.
    assert not all(future.done() for future in reading)
    go_on(cluster, 2, foreign_keys=False)
    change_many_rows(cluster)
    for client, future in zip(stock_clients, reading):
        resume(client)
        try:
            rows = future.result(120)
        except DatabaseError as error:
            # It was stopped before its statement had begun, so that there is no such table any more.
            assert "many" in str(error)
        else:
            assert sum(i for i, _ in rows) == MANY_ROWS * (MANY_ROWS - 1) // 2
    check_states(cluster)


@pytest.mark.parametrize("statement", ["INSERT INTO t SELECT id, 1, 'mine' FROM {source}",
                                       "UPDATE t SET n = 7 FROM {source} s WHERE t.id = s.id",
                                       "DELETE FROM t USING {source} s WHERE t.id = s.id"])  # fmt: skip
def test_a_statement_that_waits_for_its_source(cluster, tmp_path, statement):
    waiting = []
    for node in cluster.alive():
        node.sql("BEGIN", "open")
        waiting.append(start_with_pipe(node, tmp_path, statement))
    go_on(cluster)
    checkpoint_all(cluster)
    for number, (node, (future, pipe)) in enumerate(zip(cluster.alive(), waiting)):
        # A row that is there, or one that is not: no other client touched either.
        key = (50_000 if "INSERT" in statement else 2000) + number
        os.write(pipe, f"{key}\n".encode())
        os.close(pipe)
        assert future.result(120) == [(1,)]
        node.sql("COMMIT", "open")
    check_states(cluster)


def test_a_statement_that_cannot_be_interrupted_holds_up_no_node_but_its_own(cluster, tmp_path):
    """It contradicts what others commit, in a transaction that has changed the catalog, and DuckDB cannot end it."""
    one, other, held = cluster.alive()
    held.sql("BEGIN", "open")
    held.sql("CREATE TABLE made (i INTEGER)", "open")
    future, pipe = start_with_pipe(held, tmp_path, "INSERT INTO t SELECT id, 1, 'mine' FROM {source}")
    try:
        one.sql("CREATE TABLE made (j INTEGER)", "other", timeout=STATEMENT_SECONDS)
        for number in range(ROUNDS):
            for node in (one, other):
                node.sql(f"INSERT INTO made VALUES ({number})", "other", timeout=STATEMENT_SECONDS)
                node.sql(f"UPDATE t SET n = n + 1 WHERE id = {number}", "other", timeout=STATEMENT_SECONDS)
        wait_for(lambda: position(one) == position(other) > position(held), "the others to go on")
        # What it has, it still tells.
        assert held.value("SELECT count(*) FROM t", "other") == ROWS
    finally:
        os.close(pipe)
    with pytest.raises(DatabaseError):
        future.result(120)
    # The last of the interruptions that end the transaction may meet this one.
    wait_for(lambda: held.sql("ROLLBACK", "open") == [], "the end of the transaction")
    check_states(cluster)
    assert held.value("SELECT count(*) FROM made") == 2 * ROUNDS


@pytest.mark.parametrize("name", ["adds a column", "inserts"])
def test_checkpoints_are_made_though_transactions_stay_open(cluster, name):
    for number, node in enumerate(cluster.alive()):
        Opened(node, number, OPENINGS[name])
    made = "SELECT value FROM quack_metrics() WHERE name = 'quack_checkpoint_seconds_count' AND labels['result'] = 'made'"
    before = {node.name: node.value(made) for node in cluster.alive()}
    load = "INSERT INTO bag SELECT range, 1, repeat(md5(range::VARCHAR), 30) FROM range(2000)"

    def all_made():
        # Two megabytes each: only as the log grows does a node try again.
        for node in cluster.alive():
            node.sql(load, "other")
        time.sleep(0.5)
        return all(node.value(made) > before[node.name] for node in cluster.alive())

    wait_for(all_made, "checkpoints on all nodes", CHECKPOINT_SECONDS)
    check_states(cluster)


@pytest.mark.parametrize(
    "script",
    [
        "UPDATE t SET v = 'x' WHERE i = 3; ALTER TABLE t ADD COLUMN e INTEGER; CREATE INDEX x ON t (e)",
        "UPDATE t SET v = 'x' WHERE i = 3; ALTER TABLE t DROP COLUMN k; CREATE UNIQUE INDEX x ON t (i)",
        "MERGE INTO t USING (VALUES (3)) s(n) ON t.i = s.n WHEN MATCHED THEN UPDATE SET k = 5; ALTER TABLE t ADD COLUMN e INTEGER; CREATE INDEX x ON t (e)",
        "DELETE FROM t WHERE i = 7; ALTER TABLE t DROP COLUMN k; ALTER TABLE t ADD PRIMARY KEY (i)",
        "DELETE FROM t WHERE i = 7; ALTER TABLE t ALTER k TYPE VARCHAR; CREATE INDEX x ON t (k)",
        "ALTER TABLE t ADD COLUMN e INTEGER; DELETE FROM t; ALTER TABLE t ADD COLUMN f INTEGER; CREATE INDEX x ON t (f)",
        "INSERT INTO t VALUES (100, 1, 'v'); DELETE FROM t WHERE i > 8; ALTER TABLE t ADD COLUMN e INTEGER; CREATE INDEX x ON t (e)",
    ],
)
def test_an_index_that_the_commit_would_break_is_refused(node, script):
    """DuckDB's commit takes deleted rows from a new index by the columns that they had, and its database is invalid then."""
    node.sql("CREATE TABLE t (i INTEGER, k INTEGER, v VARCHAR)")
    node.sql("INSERT INTO t SELECT range, range, 'v' FROM range(10)")
    *before, index = script.split("; ")
    for statement in ["BEGIN", *before]:
        node.sql(statement, "open")
    with pytest.raises(DatabaseError, match="COMMIT first, and make the index in the next transaction"):
        node.sql(index, "open")
    node.sql("ROLLBACK", "open")
    for statement in ["BEGIN", *before, "COMMIT", index]:
        node.sql(statement, "open")
    rows = node.sql("FROM t ORDER BY i")
    node.kill_and_start()
    assert node.sql("FROM t ORDER BY i") == rows


@pytest.mark.parametrize(
    "script",
    [
        "DELETE FROM t WHERE i = 7; CREATE INDEX x ON t (k)",
        "INSERT INTO t VALUES (100, 1, 'v'); DELETE FROM t WHERE i = 100; ALTER TABLE t ADD COLUMN e INTEGER; CREATE INDEX x ON t (e)",
        "ALTER TABLE t ADD COLUMN e INTEGER; DELETE FROM t WHERE i = 7; CREATE INDEX x ON t (e)",
        "DELETE FROM t WHERE i = 7; ALTER TABLE t RENAME k TO l; CREATE INDEX x ON t (l)",
    ],
)
def test_an_index_beside_deleted_rows_is_made(node, script):
    node.sql("CREATE TABLE t (i INTEGER, k INTEGER, v VARCHAR)")
    node.sql("INSERT INTO t SELECT range, range, 'v' FROM range(10)")
    for statement in ["BEGIN", *script.split("; "), "COMMIT"]:
        node.sql(statement, "open")
    rows = node.sql("FROM t ORDER BY i")
    node.kill_and_start()
    assert node.sql("FROM t ORDER BY i") == rows
    assert node.sql("SELECT count(*) FROM duckdb_indexes() WHERE database_name = 'cp'") == [(1,)]


def test_a_key_that_the_transaction_has_seen_is_a_duplicate_regardless_of_others(node):
    node.sql("CREATE SEQUENCE drawn")
    node.sql("CREATE TABLE unrelated (i INTEGER)")
    node.sql("CREATE TABLE keyed (id INTEGER PRIMARY KEY, n INTEGER)")
    node.sql("INSERT INTO keyed VALUES (3, 0), (4, 0), (5, 0)")
    for change in ("UPDATE keyed SET id = 3 WHERE id = 4", "UPDATE keyed SET id = 3 WHERE id IN (3, 4)", "INSERT INTO keyed VALUES (5, 1)"):
        node.sql("BEGIN", "open")
        node.sql("CREATE TABLE beside (i INTEGER)", "open")
        node.sql("SELECT nextval('drawn')", "open")
        node.sql("INSERT INTO unrelated VALUES (1)", "other")
        with pytest.raises(DatabaseError, match="Constraint Error"):
            node.sql(change, "open")
        node.sql("ROLLBACK", "open")
    node.sql("BEGIN", "open")
    node.sql("CREATE TABLE beside (i INTEGER)", "open")
    node.sql("INSERT INTO unrelated VALUES (1)", "other")
    node.sql("UPDATE keyed SET n = 1, id = id", "open")
    node.sql("UPDATE keyed SET id = id + 10", "open")
    node.sql("INSERT INTO keyed VALUES (3, 7)", "open")
    node.sql("COMMIT", "open")
    assert node.sql("FROM keyed ORDER BY id") == [(3, 7), (13, 1), (14, 1), (15, 1)]


def test_a_row_that_another_one_has_changed_meanwhile_is_a_conflict_not_a_duplicate_key(node):
    node.sql("CREATE TABLE kept (id INTEGER PRIMARY KEY, n INTEGER)")
    node.sql("INSERT INTO kept VALUES (3, 0)")
    node.sql("BEGIN", "open")
    node.sql("UPDATE kept SET n = 1 WHERE id = 3", "open")
    node.sql("UPDATE kept SET n = 2 WHERE id = 3", "other")
    with pytest.raises(DatabaseError, match="TransactionContext Error: Conflict on update!"):
        node.sql("UPDATE kept SET n = 3 WHERE id = 3", "open")
    node.sql("ROLLBACK", "open")
    assert node.sql("FROM kept") == [(3, 2)]


@pytest.mark.parametrize("key", ["ALTER TABLE late ADD PRIMARY KEY (id)", "ALTER TABLE late ADD UNIQUE (id)", "CREATE UNIQUE INDEX x ON late (id)"])
def test_a_key_of_rows_that_were_updated_before_is_told_to_commit_first(node, key):
    """It would have the keys of the old rows and of the new ones, and no COMMIT would succeed."""
    node.sql("CREATE OR REPLACE TABLE late (id INTEGER, n INTEGER)")
    node.sql("INSERT INTO late VALUES (1, 0), (2, 0), (3, 0)")
    for statement in ("BEGIN", "UPDATE late SET n = 1 WHERE id = 1"):
        node.sql(statement, "open")
    with pytest.raises(DatabaseError, match="Cannot create index with outstanding updates: .* COMMIT first"):
        node.sql(key, "open")
    node.sql("ROLLBACK", "open")
    for statement in ("BEGIN", "DELETE FROM late WHERE id = 3", key, "UPDATE late SET n = 2 WHERE id = 1", "COMMIT"):
        node.sql(statement, "open")
    assert node.sql("FROM late ORDER BY id") == [(1, 2), (2, 0)]


# What a client has done to an index, or to its table, when it rolls back.
ROLLED_BACK = {
    "its comment": ["COMMENT ON INDEX by_id IS 'mine'"],
    "comments": ["COMMENT ON INDEX by_id IS 'mine'", "COMMENT ON INDEX by_id IS 'mine still'"],
    "a comment, and no index": ["COMMENT ON INDEX by_id IS 'mine'", "DROP INDEX by_id"],
    "a column": ["ALTER TABLE keyed ADD COLUMN more INTEGER DEFAULT 1"],
    "no index": ["DROP INDEX by_id"],
    "no table": ["DROP TABLE keyed"],
    "another index": ["CREATE INDEX by_n ON keyed (n)", "COMMENT ON INDEX by_n IS 'mine'"],
}


@pytest.mark.parametrize("comments", [False, True], ids=["alone", "beside a comment"])
@pytest.mark.parametrize("name", ROLLED_BACK)
def test_an_index_is_still_there_after_a_rollback(cluster, name, comments):
    first, other = cluster.alive()[:2]
    first.sql("CREATE TABLE keyed (id INTEGER, n INTEGER)")
    first.sql("CREATE UNIQUE INDEX by_id ON keyed (id)")
    first.sql("INSERT INTO keyed VALUES (1, 1)")
    cluster.wait_equal()
    first.sql("BEGIN", "open")
    for statement in ROLLED_BACK[name]:
        first.sql(statement, "open")
    if comments:
        # Its transaction may have to go for this.
        other.sql("COMMENT ON INDEX by_id IS 'other'")
        cluster.wait_equal()
    with suppress(DatabaseError):
        first.sql("ROLLBACK", "open")
    for node in cluster.alive():
        with pytest.raises(DatabaseError, match="Duplicate key"):
            node.sql("INSERT INTO keyed VALUES (1, 2)")
        with pytest.raises(DatabaseError, match="an index depends on it"):
            node.sql("ALTER TABLE keyed ALTER id TYPE BIGINT")
    first.sql("DROP TABLE keyed")
    check_states(cluster)
