"""Tables in groups on clusters: every node knows the same of them, also after faults."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest
from quack_testing import node as nodes
from quack_testing.cluster import wait_for
from quack_testing.process import DatabaseError

PLACEMENTS = "SELECT * EXCLUDE group_id FROM quack_table_groups('cp') ORDER BY ALL"
IDS = "SELECT DISTINCT group_name, group_id FROM quack_table_groups('cp') ORDER BY ALL"


def enable(node, enabled=True):
    assert node.value(f"SELECT quack_multiraft_sql_set_enabled({str(enabled).lower()})") is enabled


def same_on_all(cluster, query):
    """What all nodes answer, as soon as they answer the same."""
    def agree():
        answers = {str(node.sql(query)): node.sql(query) for node in cluster.alive()}
        return list(answers.values()) if len(answers) == 1 else None

    return wait_for(agree, f"the same answer to {query}")[0]


def test_the_switch_holds_on_all_nodes_and_after_a_restart(cluster):
    with pytest.raises(DatabaseError, match="Groups of tables are switched off in this cluster"):
        cluster["n2"].sql("CREATE TABLE cp.t (id INTEGER) WITH (quack_group = 'one')")
    enable(cluster["n1"])
    cluster.wait_equal()
    for name in cluster.names:
        cluster[name].sql(f"CREATE TABLE cp.{name} (id INTEGER) WITH (quack_group = '{name}')")
    cluster.wait_equal()
    for node in cluster.alive():
        node.kill()
    cluster.start()
    cluster["n0"].sql("ALTER TABLE cp.n1 SET GROUP 'n0'")
    rows = same_on_all(cluster, PLACEMENTS)
    assert rows == [
        ("main", "n0", None, None, "n0", 1),
        ("main", "n1", None, None, "n0", 2),
        ("main", "n2", None, None, "n2", 1),
    ]
    enable(cluster["n2"], False)
    cluster.wait_equal()
    with pytest.raises(DatabaseError, match="switched off"):
        cluster["n1"].sql("ALTER TABLE cp.n1 SET GROUP 'n1'")


def test_all_nodes_write_to_tables_in_groups_and_hold_the_same(cluster):
    enable(cluster["n0"])
    cluster["n0"].sql("CREATE TABLE cp.parent (id INTEGER PRIMARY KEY) WITH (quack_group = 'parents')")
    cluster["n0"].sql(
        "CREATE TABLE cp.child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id), tenant VARCHAR) "
        "WITH (quack_shard_key = 'tenant', quack_initial_groups = 4)"
    )
    cluster["n0"].sql("CREATE TABLE cp.plain (id INTEGER PRIMARY KEY)")
    cluster["n0"].sql("INSERT INTO cp.parent FROM range(1000)")
    cluster.wait_equal()

    def write(number):
        node = cluster[f"n{number % 3}"]
        connection = f"c{number}"
        for turn in range(10):
            first = number * 1_000_000 + turn * 1000
            rows = f"SELECT {first} + i, i, 'tenant ' || i % 13 FROM range(500) r(i)"
            assert node.sql(f"INSERT INTO cp.child {rows}", connection) == [(500,)]
            node.sql("BEGIN", connection)
            node.sql(f"INSERT INTO cp.plain VALUES ({first})", connection)
            node.sql(f"DELETE FROM cp.child WHERE id BETWEEN {first} AND {first + 99}", connection)
            moved = f"id BETWEEN {first + 100} AND {first + 199}"
            node.sql(f"UPDATE cp.child SET tenant = 'moved' WHERE {moved}", connection)
            node.sql("COMMIT", connection)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    cluster.wait_equal()
    counts = "SELECT count(*), count(*) FILTER (tenant = 'moved'), (SELECT count(*) FROM cp.plain) FROM cp.child"
    assert same_on_all(cluster, counts) == [(6 * 10 * 400, 6 * 10 * 100, 60)]
    with pytest.raises(DatabaseError, match="Duplicate key|PRIMARY KEY|primary key"):
        cluster["n1"].sql("INSERT INTO cp.child VALUES (100, 1, 'another tenant, and so another lane')")
    with pytest.raises(DatabaseError, match="Violates foreign key constraint"):
        cluster["n2"].sql("INSERT INTO cp.child VALUES (-1, 5000, 'tenant 1')")
    with pytest.raises(DatabaseError, match="Violates foreign key constraint"):
        cluster["n0"].sql("DELETE FROM cp.parent")


def test_tables_change_their_groups_while_all_nodes_write_to_them(new_cluster):
    # The node that changes a table must know how the one before it has left it.
    cluster = new_cluster(consistency="linearizable").start()
    enable(cluster["n0"])
    cluster["n0"].sql("CREATE TABLE cp.t (id BIGINT PRIMARY KEY, tenant VARCHAR)")
    cluster.wait_equal()
    changes = [
        "SET (quack_shard_key = 'tenant', quack_initial_groups = 2)",
        "SET GROUPS 5",
        "SET GROUPS 1",
        "SET GROUP 'pinned'",
        "SET GROUP DEFAULT",
    ]

    def write(number):
        node = cluster[f"n{number % 3}"]
        for turn in range(30):
            first = number * 1_000_000 + turn * 100
            rows = f"SELECT {first} + i, 'tenant ' || i FROM range(100) r(i)"
            assert node.sql(f"INSERT INTO cp.t {rows}", f"c{number}") == [(100,)]

    with ThreadPoolExecutor(6) as pool:
        writers = [pool.submit(write, number) for number in range(6)]
        turn = 0
        while turn < 20 or not all(writer.done() for writer in writers):
            cluster[f"n{turn % 3}"].sql(f"ALTER TABLE cp.t {changes[turn % len(changes)]}", "changes")
            turn += 1
        for writer in writers:
            writer.result()
    cluster.wait_equal()
    assert same_on_all(cluster, "SELECT count(*), count(DISTINCT id) FROM cp.t") == [(18_000, 18_000)]
    assert same_on_all(cluster, "SELECT DISTINCT epoch FROM quack_table_groups('cp')") == [(turn + 1,)]


def test_a_node_that_has_lost_its_disk_learns_where_tables_are(cluster):
    enable(cluster["n0"])
    cluster["n0"].sql("CREATE TABLE cp.t (id INTEGER, tenant VARCHAR) WITH (quack_shard_key = 'tenant')")
    cluster["n0"].sql("ALTER TABLE cp.t SET GROUPS 3")
    cluster["n0"].sql("CREATE TABLE cp.u (id INTEGER) WITH (quack_group = 'one')")
    cluster["n0"].sql("INSERT INTO cp.t SELECT i, 'tenant ' || i FROM range(1000) r(i)")
    cluster.wait_equal()
    placements, ids = same_on_all(cluster, PLACEMENTS), same_on_all(cluster, IDS)
    lost = cluster["n2"]
    lost.kill()
    shutil.rmtree(lost.data_dir)
    lost.start()
    cluster.wait_equal()
    assert same_on_all(cluster, PLACEMENTS) == placements
    assert same_on_all(cluster, IDS) == ids
    assert lost.sql("INSERT INTO cp.t SELECT i, 'tenant ' || i FROM range(1000) r(i)") == [(1000,)]
    lost.sql("ALTER TABLE cp.t SET GROUPS 2")
    cluster.wait_equal()


def test_a_stock_client_writes_to_tables_in_groups(node, tmp_path, track):
    enable(node)
    node.sql("CREATE TABLE cp.pinned (id INTEGER PRIMARY KEY, name VARCHAR) WITH (quack_group = 'one')")
    node.sql("CREATE TABLE cp.spread (id INTEGER, tenant VARCHAR) WITH (quack_shard_key = 'tenant')")
    client = track(nodes.stock_client(tmp_path, "client", node.uri))
    assert client.sql("INSERT INTO cp.spread SELECT i, 'tenant ' || i % 10 FROM range(200000) r(i)") == [(200_000,)]
    assert client.sql("INSERT INTO cp.pinned VALUES (1, 'one')") == [(1,)]
    assert client.sql("SELECT count(*), count(DISTINCT tenant) FROM cp.spread") == [(200_000, 10)]
    client.sql("CREATE TABLE cp.more AS SELECT i AS id FROM range(10) r(i)")
    assert node.sql("SELECT table_name, group_name FROM quack_table_groups('cp') WHERE shard IS NULL ORDER BY ALL") == [
        ("more", "default"),
        ("pinned", "one"),
    ]
    lanes = "SELECT group_name FROM quack_group_status('cp') WHERE kind = 'lane' AND bytes > 0 ORDER BY ALL"
    assert ("one",) in node.sql(lanes)


def test_a_plain_duckdb_reads_the_file_of_a_node_with_tables_in_groups(node, new_process):
    enable(node)
    node.sql("CREATE TABLE cp.pinned (id INTEGER PRIMARY KEY, name VARCHAR) WITH (quack_group = 'one')")
    node.sql("CREATE TABLE cp.spread WITH (quack_shard_key = 'id') AS SELECT i AS id FROM range(1000) r(i)")
    node.sql("ALTER TABLE cp.spread SET GROUPS 2")
    assert node.stop() == 0
    plain = new_process()
    plain.sql(f"ATTACH '{node.data_dir}/store.duckdb' AS store (READ_ONLY)")
    assert plain.value("SELECT count(*) FROM store.main.spread") == 1000
    tags = "SELECT table_name, tags['quack_group'], tags['quack_shard_key'] FROM duckdb_tables()"
    assert plain.sql(f"{tags} WHERE schema_name = 'main' ORDER BY ALL") == [("pinned", "one", None), ("spread", None, "id")]


def test_a_restart_in_the_midst_of_a_cut_doubles_no_row(node):
    """Commits within a cut have one position in the root: the last of them counts."""
    last = "SELECT log_index, hex(state) FROM cp.quack_internal.applied ORDER BY log_index DESC, rowid DESC LIMIT 1"
    enable(node)
    node.sql("CREATE TABLE cp.t (i BIGINT) WITH (quack_group = 'lane')")
    node.sql("INSERT INTO cp.t VALUES (0)")
    before = node.sql(last)[0][1]
    for number in range(1, 5):
        node.sql(f"INSERT INTO cp.t VALUES ({number})")
    index, after = node.sql(last)[0]
    node.sql("CHECKPOINT cp")
    node.kill()
    # As if all of that had been in one cut, and a commit in its midst.
    with duckdb.connect(str(node.data_dir / "store.duckdb")) as store:
        store.execute("DELETE FROM quack_internal.applied")
        for state in (before, after):
            store.execute(f"INSERT INTO quack_internal.applied VALUES ({index}, unhex('{state}'))")
        store.execute("CHECKPOINT")
    (node.data_dir / "checkpoints").unlink()
    node.start()
    node.sql("INSERT INTO cp.t VALUES (5)")
    assert node.sql("FROM cp.t ORDER BY i") == [(number,) for number in range(6)]



def test_a_group_goes_while_a_large_statement_has_parts_in_it(cluster):
    """The parts are read when the statement's last entry comes, also behind a checkpoint and a kill."""
    enable(cluster["n0"])
    cluster["n0"].sql("CREATE TABLE cp.t (i BIGINT, v VARCHAR) WITH (quack_group = 'lane')")
    cluster["n0"].sql("CREATE TABLE cp.other (i BIGINT)")
    cluster.wait_equal()
    rows = 150_000
    large = cluster["n0"].process.start_sql(
        f"INSERT INTO cp.t SELECT range, repeat(md5(range::VARCHAR), 40) FROM range({rows})", connection="large"
    )
    applied = "SELECT bytes > 8_000_000 FROM quack_group_status('cp') WHERE group_name = 'lane'"
    wait_for(lambda: cluster["n1"].sql(applied) == [(True,)], "some parts")
    assert not large.done(), "the statement is too small for this machine"
    cluster["n1"].sql("ALTER TABLE cp.t SET GROUP DEFAULT")
    inserted, checkpoints = 0, 0
    while not large.done():
        cluster["n1"].sql(f"INSERT INTO cp.other VALUES ({inserted})")
        inserted += 1
        for node in cluster.alive():
            try:
                node.sql("CHECKPOINT cp")
                checkpoints += 1
            except DatabaseError as error:
                # While the applier writes. There is another turn.
                assert "Cannot CHECKPOINT" in str(error), error
    assert large.result() == [(rows,)]
    assert checkpoints > 0
    for node in cluster.alive():
        node.kill()
    cluster.start()
    cluster.wait_equal()
    for node in cluster.alive():
        assert node.sql("SELECT count(*), count(DISTINCT i) FROM cp.t") == [(rows, rows)]
        assert node.sql("SELECT count(*) FROM cp.other") == [(inserted,)]
