"""While a transaction is open, others exchange its table for another one of the same name and columns: what the transaction
has written lands in neither. A table keeps its number under every name, and no other table is ever given it.
"""

import os
import shutil

import pytest
from quack_testing.cluster import wait_for
from quack_testing.open_transactions import start_with_pipe
from quack_testing.process import DatabaseError

NODES = 3
OTHER_TABLE = 'Conflict on table "s": it is another table now'

EXCHANGES = {
    "renamed, and copied": ["ALTER TABLE s RENAME TO old", "CREATE TABLE s AS FROM old"],
    "renamed, and filled otherwise": [
        "ALTER TABLE s RENAME TO old",
        "CREATE TABLE s (id INTEGER, k INTEGER)",
        "INSERT INTO s SELECT id, k + 100 FROM old",
    ],
    "replaced": ["CREATE OR REPLACE TABLE s AS FROM s"],
    "dropped, and made again": ["DROP TABLE s", "CREATE TABLE s (id INTEGER, k INTEGER)", "INSERT INTO s VALUES (2, 2)"],
    "in one transaction": ["BEGIN", "ALTER TABLE s RENAME TO old", "CREATE TABLE s AS FROM old", "COMMIT"],
    "for a table from before": [
        "CREATE TABLE other AS FROM s",
        "ALTER TABLE s RENAME TO old",
        "ALTER TABLE other RENAME TO s",
    ],
}
CHANGES = [
    "INSERT INTO s VALUES (9, 9)",
    "DELETE FROM s WHERE id = 2",
    "UPDATE s SET k = -1 WHERE id = 2",
    "MERGE INTO s USING (SELECT 2 AS id) n USING (id) WHEN MATCHED THEN DELETE",
    # A transaction that works in the store itself, and one of several parts.
    "CREATE TABLE own (i INTEGER); INSERT INTO s VALUES (9, 9)",
    "CREATE TABLE own (i INTEGER); DELETE FROM s WHERE id = 2",
    "INSERT INTO s SELECT range, hash(range) % 1000000 FROM range(1200000)",
]


def create(node):
    """Makes `s` anew."""
    for (table,) in node.sql("SELECT table_name FROM duckdb_tables() WHERE database_name = 'cp'"):
        node.sql(f"DROP TABLE {table} CASCADE")
    node.sql("CREATE TABLE s (id INTEGER, k INTEGER)")
    node.sql("INSERT INTO s SELECT range, range FROM range(4)")


def run(node, statements, connection="other"):
    for statement in statements:
        node.sql(statement, connection)


def begin(node, change):
    """An open transaction that has made a change."""
    run(node, ["BEGIN", *change.split("; ")], "open")


def contents(node):
    tables = node.sql("SELECT table_name FROM duckdb_tables() WHERE database_name = 'cp' ORDER BY ALL")
    return {table: node.sql(f"FROM {table} ORDER BY ALL") for (table,) in tables}


def must_be_refused(node):
    """At COMMIT; or the applier has met what the transaction has done in the store, and has rolled it back before."""
    with pytest.raises(DatabaseError, match=f"TransactionContext Error: .*({OTHER_TABLE}|has been rolled back)"):
        node.sql("COMMIT", "open")
    with pytest.raises(DatabaseError, match="no transaction is active"):
        node.sql("ROLLBACK", "open")


def check_exchange(node, elsewhere, exchange, change):
    begin(node, change)
    run(elsewhere, EXCHANGES[exchange])
    expected = contents(elsewhere)
    must_be_refused(node)
    assert contents(node) == contents(elsewhere) == expected
    # The table that has the name now takes the same change.
    begin(node, change.split("; ")[-1])
    node.sql("COMMIT", "open")
    assert contents(node) != expected


def numbers(cluster_or_node):
    """The tables' numbers as the stores have them, of nodes that have ended: one list, the same on all."""
    found = []
    for node in getattr(cluster_or_node, "nodes", {"": cluster_or_node}).values():
        process = node.new_plain()
        process.sql(f"ATTACH '{node.data_dir}/store.duckdb' AS store (READ_ONLY)")
        last = "FROM store.quack_internal.table_numbers QUALIFY version = max(version) OVER (PARTITION BY number)"
        found.append(process.sql(f"SELECT schema_path, name, number FROM ({last}) WHERE name IS NOT NULL ORDER BY ALL"))
        assert process.exit() == 0
    assert all(other == found[0] for other in found)
    return {(schema, name): number for schema, name, number in found[0]}


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_table_is_exchanged_beside_an_open_transaction(node, exchange):
    for change in CHANGES:
        create(node)
        check_exchange(node, node, exchange, change)


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_table_is_exchanged_on_another_node(shared_cluster, exchange):
    for number, change in enumerate(CHANGES):
        node, elsewhere = shared_cluster[f"n{number % NODES}"], shared_cluster[f"n{(number + 1) % NODES}"]
        create(elsewhere)
        shared_cluster.wait_equal()
        check_exchange(node, elsewhere, exchange, change)
        shared_cluster.wait_equal()


@pytest.mark.parametrize("alter", ["ALTER TABLE s ADD COLUMN c INTEGER", "ALTER TABLE s RENAME k TO l", "DROP TABLE s",
                                   "ALTER TABLE s RENAME TO mine", "CREATE INDEX by_k ON s (k)",
                                   "CREATE OR REPLACE TABLE s AS SELECT id, -k AS k FROM s"])  # fmt: skip
def test_a_transaction_has_altered_the_table_that_is_exchanged(shared_cluster, alter):
    # At times its node has heard of the exchange when it commits, at times not.
    node, elsewhere = shared_cluster["n0"], shared_cluster["n1"]
    for exchange in ("renamed, and copied", "replaced") * 3:
        create(elsewhere)
        shared_cluster.wait_equal()
        begin(node, alter)
        run(elsewhere, EXCHANGES[exchange])
        expected = contents(elsewhere)
        with pytest.raises(DatabaseError, match="TransactionContext Error: .*onflict"):
            node.sql("COMMIT", "open")
        shared_cluster.wait_equal()
        assert contents(node) == expected


def feed(future, pipe):
    os.write(pipe, b"2\n")
    os.close(pipe)
    return future.result(120)


@pytest.mark.parametrize("statement", ["INSERT INTO s SELECT id, id FROM {source}",
                                       "DELETE FROM s USING {source} n WHERE s.id = n.id",
                                       "UPDATE s SET k = -1 FROM {source} n WHERE s.id = n.id"])  # fmt: skip
def test_a_table_is_exchanged_while_a_statement_is_evaluated(shared_cluster, tmp_path, statement):
    node, elsewhere = shared_cluster["n0"], shared_cluster["n1"]
    create(elsewhere)
    shared_cluster.wait_equal()
    waiting = start_with_pipe(node, tmp_path, statement)
    run(elsewhere, EXCHANGES["renamed, and copied"])
    expected = contents(elsewhere)
    wait_for(lambda: contents(node) == expected, "the exchange")
    # It cannot be run again: what it reads is gone.
    with pytest.raises(DatabaseError, match=OTHER_TABLE):
        feed(*waiting)
    assert contents(node) == expected


def test_another_table_is_made_while_one_of_its_name_is_computed(shared_cluster, tmp_path):
    node, elsewhere = shared_cluster["n0"], shared_cluster["n1"]
    create(elsewhere)
    shared_cluster.wait_equal()
    waiting = start_with_pipe(node, tmp_path, "CREATE TABLE IF NOT EXISTS made AS SELECT id FROM {source}")
    run(elsewhere, ["CREATE TABLE made (id INTEGER)", "INSERT INTO made VALUES (7)"])
    with pytest.raises(DatabaseError, match='Conflict on table "made": it is another table now'):
        feed(*waiting)
    shared_cluster.wait_equal()
    assert node.sql("FROM made") == [(7,)]


WRITES = ["INSERT INTO t VALUES (2)", "UPDATE t SET i = 3", "DELETE FROM t"]
GOES = {"DROP TABLE t": "dropped", "DROP SCHEMA gone CASCADE": "dropped", "ALTER TABLE t RENAME TO t2": "renamed"}


@pytest.mark.parametrize("goes", GOES)
@pytest.mark.parametrize("write", WRITES)
def test_a_table_goes_while_a_transaction_has_written_to_it(node, write, goes):
    """Another table with a similar name is not advised."""
    node.sql("CREATE OR REPLACE TABLE t1 (i INTEGER)")
    node.sql("CREATE SCHEMA gone")
    for connection in ("default", "other"):
        node.sql("USE cp.gone", connection)
    node.sql("CREATE TABLE t (i INTEGER)")
    node.sql("INSERT INTO t VALUES (1)")
    for statement in ("BEGIN", write):
        node.sql(statement)
    node.sql(goes, "other")
    with pytest.raises(DatabaseError, match=f'Attempting to modify table "t" but another transaction has {GOES[goes]} this table'):
        node.sql("COMMIT")


TRANSACTIONS = {
    "renames it": ["INSERT INTO s VALUES (5, 5)", "ALTER TABLE s RENAME TO t", "INSERT INTO t VALUES (6, 6)",
                   "DELETE FROM t WHERE id < 2", "ALTER TABLE t RENAME TO s", "UPDATE s SET k = 0 WHERE id = 6"],
    "makes one": ["CREATE TABLE t (id INTEGER PRIMARY KEY, k INTEGER)", "INSERT INTO t FROM s", "UPDATE t SET k = 7",
                  "ALTER TABLE t RENAME TO u", "DELETE FROM u WHERE id = 1", "INSERT INTO u VALUES (1, 1)"],
    "makes one from a query": ["CREATE TABLE t AS FROM s", "DELETE FROM t WHERE id = 1", "INSERT INTO s FROM t"],
    "replaces it": ["INSERT INTO s VALUES (5, 5)", "CREATE OR REPLACE TABLE s AS FROM s", "DELETE FROM s WHERE id = 5",
                    "INSERT INTO s VALUES (6, 6)"],
    "drops it and makes it again": ["DELETE FROM s WHERE id = 3", "DROP TABLE s", "CREATE TABLE s (id INTEGER, k INTEGER)",
                                    "INSERT INTO s VALUES (6, 6), (7, 7)", "DELETE FROM s WHERE id = 6"],
    "exchanges it": ["INSERT INTO s VALUES (5, 5)", "ALTER TABLE s RENAME TO t", "CREATE TABLE s AS FROM t",
                     "INSERT INTO s VALUES (6, 6)", "INSERT INTO t VALUES (7, 7)", "DELETE FROM t WHERE id = 0"],
    "makes one that is not there yet": ["CREATE TABLE IF NOT EXISTS t (i INTEGER)", "INSERT INTO t VALUES (1)",
                                        "CREATE TABLE IF NOT EXISTS s (i INTEGER)", "INSERT INTO s VALUES (8, 8)"],
    "alters it": ["INSERT INTO s VALUES (5, 5)", "ALTER TABLE s ADD COLUMN c INTEGER DEFAULT 3",
                  "INSERT INTO s VALUES (6, 6, 6)", "ALTER TABLE s ALTER k TYPE VARCHAR", "DELETE FROM s WHERE k = '1'",
                  "ALTER TABLE s RENAME k TO l", "INSERT INTO s VALUES (7, 'seven', 7)"],
    "gives it a key": ["ALTER TABLE s ADD PRIMARY KEY (id)", "UPDATE s SET k = 9 WHERE id = 1",
                       "INSERT INTO s VALUES (1, 8) ON CONFLICT DO UPDATE SET k = excluded.k"],
    "truncates it": ["TRUNCATE s", "INSERT INTO s VALUES (1, 1)"],
    "is large": ["INSERT INTO s SELECT range, hash(range) % 1000000 FROM range(600000)",
                 "CREATE TABLE t AS SELECT range AS i, hash(range) % 1000000 AS j FROM range(600000)",
                 "INSERT INTO t SELECT range, 1 FROM range(600000)", "DELETE FROM s WHERE id % 2 = 0"],
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_a_transaction_does_with_its_tables_what_it_does_alone(shared_cluster, new_process, name):
    """Also on a node that has not made the tables, and does what a DuckDB file does."""
    plain = new_process()
    plain.sql("ATTACH ':memory:' AS cp")
    plain.sql("USE cp")
    plain.request("prepare_connections", statements=["USE cp"])
    for node in shared_cluster.alive():
        create(node)
        create(plain)
        shared_cluster.wait_equal()
        for target in (node, plain):
            run(target, ["BEGIN", *TRANSACTIONS[name], "COMMIT"], "open")
        shared_cluster.wait_equal()
        assert contents(node) == contents(plain)
        after = ["DELETE FROM s WHERE id = 2", "ALTER TABLE s ADD COLUMN z INTEGER", "UPDATE s SET z = 1 WHERE id = 6"]
        for target in (node, plain):
            run(target, after)
        shared_cluster.wait_equal()
        assert contents(node) == contents(plain)


def test_tables_of_groups_are_exchanged_and_spread_anew(shared_cluster):
    node, elsewhere = shared_cluster["n0"], shared_cluster["n1"]
    create(elsewhere)
    elsewhere.sql("SELECT quack_multiraft_sql_set_enabled(true)")
    shared_cluster.wait_equal()
    elsewhere.sql("CREATE OR REPLACE TABLE s WITH (quack_shard_key = 'id', quack_initial_groups = 3) AS FROM s")
    shared_cluster.wait_equal()
    # It stays the same table wherever it is placed.
    begin(node, "INSERT INTO s SELECT range, range FROM range(100, 200)")
    run(elsewhere, ["ALTER TABLE s SET GROUPS 5", "ALTER TABLE s SET GROUP 'g'", "ALTER TABLE s SET GROUP DEFAULT"])
    node.sql("COMMIT", "open")
    assert node.value("SELECT count(*) FROM s") == 104
    run(elsewhere, ["ALTER TABLE s SET (quack_shard_key = 'k')"])
    shared_cluster.wait_equal()
    for change in CHANGES[:3]:
        begin(node, change)
        run(elsewhere, ["ALTER TABLE s RENAME TO old", "CREATE TABLE s WITH (quack_shard_key = 'k') AS FROM old"])
        expected = contents(elsewhere)
        must_be_refused(node)
        run(elsewhere, ["DROP TABLE old"])
        assert contents(elsewhere)["s"] == expected["s"]
    shared_cluster.wait_equal()


def test_many_tables_at_once(shared_cluster, tmp_path):
    node, elsewhere = shared_cluster["n0"], shared_cluster["n1"]
    create(elsewhere)
    shared_cluster.wait_equal()
    node.sql("ATTACH ':memory:' AS source", "open")
    for number in range(30):
        node.sql(f"CREATE TABLE source.t{number} AS SELECT range AS i FROM range({number})", "open")
    node.sql("COPY FROM DATABASE source TO cp", "open")
    shared_cluster.wait_equal()
    elsewhere.sql(f"EXPORT DATABASE cp TO '{tmp_path}/exported'")
    for (table,) in elsewhere.sql("SELECT table_name FROM duckdb_tables() WHERE database_name = 'cp'"):
        elsewhere.sql(f"DROP TABLE {table}")
    shared_cluster.wait_equal()
    node.sql(f"IMPORT DATABASE '{tmp_path}/exported'", "open")
    shared_cluster.wait_equal()
    assert [len(elsewhere.sql(f"FROM t{number}")) for number in range(30)] == list(range(30))
    for number in range(30):
        elsewhere.sql(f"INSERT INTO t{number} VALUES (-1)")
        begin(node, f"DELETE FROM t{number}")
        node.sql("COMMIT", "open")
    shared_cluster.wait_equal()
    node.sql("DETACH source", "open")


def test_a_prepared_statement_goes_to_the_table_that_has_the_name(shared_cluster):
    node, elsewhere = shared_cluster["n0"], shared_cluster["n1"]
    create(elsewhere)
    shared_cluster.wait_equal()
    node.sql("PREPARE change AS INSERT INTO s VALUES ($1, 1)", "open")
    for exchange in ("renamed, and copied", "replaced"):
        node.sql("EXECUTE change(7)", "open")
        # What is copied there is what that node has.
        shared_cluster.wait_equal()
        run(elsewhere, EXCHANGES[exchange])
        shared_cluster.wait_equal()
        node.sql("EXECUTE change(8)", "open")
        node.sql("BEGIN", "open")
        node.sql("EXECUTE change(9)", "open")
        node.sql("COMMIT", "open")
        run(elsewhere, ["DROP TABLE IF EXISTS old"])
    assert node.sql("SELECT id FROM s WHERE k = 1 ORDER BY ALL") == [(1,), (7,), (7,), (8,), (8,), (9,), (9,)]
    node.sql("DEALLOCATE change", "open")


@pytest.mark.parametrize("way", ["restart", "kill_and_start"])
def test_a_node_knows_its_tables_after_a_start(new_node, way):
    node = new_node().start()
    create(node)
    node.sql("CREATE SCHEMA a")
    node.sql("CREATE SCHEMA a.b")
    node.sql("CREATE TABLE a.b.s (i INTEGER)")
    node.sql("CREATE TABLE first (i INTEGER)")
    node.sql("ALTER TABLE first RENAME TO last")
    for exchange in ("renamed, and copied", "replaced", "for a table from before"):
        node.sql("CHECKPOINT cp")
        getattr(node, way)()
        begin(node, CHANGES[0])
        run(node, EXCHANGES[exchange])
        # After a kill, the last checkpoint is from before the exchange.
        must_be_refused(node)
        getattr(node, way)()
        begin(node, CHANGES[0])
        node.sql("COMMIT", "open")
        run(node, ["DROP TABLE IF EXISTS old"])
    node.sql("INSERT INTO a.b.s VALUES (1)")
    assert len(node.sql("FROM s")) == 7
    assert node.stop() == 0


def with_plain(node, new_process):
    node.new_plain = lambda: new_process(f"plain-{node.name}")
    return node


def test_a_number_is_never_given_twice(new_node, new_process):
    node = with_plain(new_node(), new_process)
    given = set()
    for statements in (["CREATE TABLE a (i INTEGER)", "CREATE TABLE b (i INTEGER)"],
                       ["DROP TABLE b", "ALTER TABLE a RENAME TO c"],
                       ["CREATE TABLE a (i INTEGER)", "CREATE TABLE b (i INTEGER)", "DROP TABLE b"],
                       ["CREATE OR REPLACE TABLE a (i INTEGER)"],
                       ["CREATE SCHEMA x", "CREATE TABLE x.a (i INTEGER)", "DROP SCHEMA x CASCADE"],
                       ["CREATE SCHEMA x", "CREATE TABLE x.a (i INTEGER)", "ALTER TABLE x.a ADD COLUMN j INTEGER"]):  # fmt: skip
        node.start()
        run(node, statements)
        assert node.stop() == 0
        listed = numbers(node)
        new = set(listed.values()) - given
        assert not new or min(new) > max(given, default=1)
        given |= new
    assert set(listed) == {("main", "a"), ("main", "c"), ("x", "a")}


def test_the_list_of_numbers_stays_short(new_node, new_process):
    node = with_plain(new_node().start(), new_process)
    create(node)
    for _ in range(1500):
        node.sql("CREATE OR REPLACE TABLE passing (i INTEGER)")
    begin(node, CHANGES[0])
    run(node, EXCHANGES["replaced"])
    must_be_refused(node)
    node.restart()
    begin(node, CHANGES[0])
    run(node, EXCHANGES["replaced"])
    must_be_refused(node)
    assert node.stop() == 0
    assert set(numbers(node)) == {("main", "s"), ("main", "passing")}
    process = node.new_plain()
    process.sql(f"ATTACH '{node.data_dir}/store.duckdb' AS store (READ_ONLY)")
    assert process.value("SELECT count(*) FROM store.quack_internal.table_numbers") < 1100


def test_all_nodes_know_the_same_tables(new_cluster, new_process):
    """Also one that was away, and one that starts from what another one has stored."""
    cluster = new_cluster().start()
    create(cluster["n0"])
    for life, (change, exchange) in enumerate(zip(CHANGES, EXCHANGES)):
        node = next(node for node in cluster.alive() if node is not cluster.leader())
        node.kill()
        elsewhere = cluster.alive()[0]
        elsewhere.sql(f"CREATE TABLE made_{life} (i INTEGER)")
        elsewhere.sql(f"ALTER TABLE made_{life} RENAME TO kept_{life}")
        if life % 2:
            shutil.rmtree(node.data_dir)
        node.start()
        cluster.wait_equal()
        begin(node, change)
        begin(elsewhere, CHANGES[0])
        run(cluster.leader(), EXCHANGES[exchange])
        must_be_refused(node)
        must_be_refused(elsewhere)
        for other in cluster.alive():
            begin(other, CHANGES[0])
            other.sql("COMMIT", "open")
            other.sql(f"INSERT INTO kept_{life} VALUES (1)")
        run(elsewhere, ["DROP TABLE IF EXISTS old", "DROP TABLE IF EXISTS own"])
        cluster.wait_equal()
    cluster.stop()
    for node in cluster.nodes.values():
        with_plain(node, new_process)
    assert set(numbers(cluster)) == {("main", "s"), *(("main", f"kept_{life}") for life in range(len(EXCHANGES)))}
