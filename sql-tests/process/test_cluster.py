"""Clusters of several nodes: quorum, failover, return, membership, and what each node may read."""

import shutil

import pytest
from quack_testing.cluster import Certificates, wait_for
from quack_testing.load import LINEARIZABLE, Load
from quack_testing.node import stock_client
from quack_testing.process import DatabaseError


def create(cluster):
    cluster["n0"].sql("CREATE TABLE cp.t (i BIGINT PRIMARY KEY, v VARCHAR)")
    # A node that has not applied it yet does not know the table.
    cluster.wait_equal()


def count(node):
    return node.value("SELECT count(*) FROM cp.t")


def waiting(node):
    """What a node says that it waits for."""
    ((state, reason),) = node.sql("SELECT state, reason FROM quack_raft_status()")
    return reason if state == "joining" else None


def test_every_node_takes_writes_and_holds_everything(cluster):
    create(cluster)
    for number in range(30):
        cluster[f"n{number % 3}"].sql(f"INSERT INTO cp.t VALUES ({number}, 'row {number}')")
    cluster["n1"].sql("UPDATE cp.t SET v = 'changed' WHERE i < 10")
    cluster["n2"].sql("DELETE FROM cp.t WHERE i >= 25")
    cluster.wait_equal()
    for node in cluster.alive():
        assert node.sql("SELECT count(*), count(*) FILTER (v = 'changed') FROM cp.t") == [(25, 10)]
    with pytest.raises(DatabaseError, match="Constraint Error: Duplicate key"):
        cluster["n1"].sql("INSERT INTO cp.t VALUES (7, 'again')")


def test_a_statement_that_meets_a_conflict_with_another_node_runs_again(cluster):
    cluster["n0"].sql("CREATE TABLE cp.counter (id INTEGER PRIMARY KEY, n BIGINT)")
    cluster["n0"].sql("INSERT INTO cp.counter VALUES (1, 0)")
    cluster.wait_equal()
    raised = [
        node.process.start_sql("UPDATE cp.counter SET n = n + 1 WHERE id = 1", connection=f"c{number}")
        for number in range(10)
        for node in cluster.alive()
    ]
    assert [future.result(60) for future in raised] == [[(1,)]] * 30
    cluster.wait_equal()
    assert {node.value("SELECT n FROM cp.counter") for node in cluster.alive()} == {30}


def test_upserts_on_all_nodes_meet_at_the_same_keys(cluster):
    cluster["n0"].sql("CREATE TABLE cp.seen (k INTEGER PRIMARY KEY, n BIGINT)")
    cluster.wait_equal()
    upsert = "INSERT INTO cp.seen VALUES ({key}, 1) ON CONFLICT (k) DO UPDATE SET n = n + 1"
    nothing = "INSERT INTO cp.seen VALUES ({key}, 0) ON CONFLICT DO NOTHING"
    started = [
        node.process.start_sql(statement.format(key=key), connection=f"c{key}")
        for key in range(20)
        for node in cluster.alive()
        for statement in (upsert, nothing)
    ]
    for future in started:
        future.result(60)
    cluster.wait_equal()
    # In any order, every upsert counted once.
    for node in cluster.alive():
        assert node.sql("SELECT count(*), min(n), max(n) FROM cp.seen") == [(20, 3, 3)]


def test_stock_clients_see_the_same_at_every_node(cluster, tmp_path, track):
    create(cluster)
    clients = [track(stock_client(tmp_path, f"stock-{node.name}", node.uri)) for node in cluster.alive()]
    for number, client in enumerate(clients):
        client.sql(f"INSERT INTO cp.t VALUES ({number}, 'stock')")
    cluster.wait_equal()
    for client in clients:
        assert client.value("SELECT count(*) FROM cp.t") == 3


def test_the_leader_is_killed_and_nothing_acknowledged_is_lost(cluster):
    create(cluster)
    for number in range(20):
        cluster["n0"].sql(f"INSERT INTO cp.t VALUES ({number}, 'before')")
    leader = cluster.leader()
    leader.kill()
    for node in cluster.alive():
        assert wait_for(lambda: count(node) >= 20, "all rows")
        node.sql(f"INSERT INTO cp.t VALUES ({100 + node.port}, 'after')")
    leader.start()
    cluster.wait_equal()
    assert count(leader) == 22


def test_without_a_quorum_nothing_is_written_and_local_reads_go_on(cluster):
    create(cluster)
    cluster["n0"].sql("INSERT INTO cp.t VALUES (1, 'x')")
    cluster.wait_equal()
    cluster["n1"].kill()
    cluster["n2"].kill()
    wait_for(lambda: cluster["n0"].sql("SELECT leader_id FROM quack_raft_status()") == [(None,)], "no leader")
    with pytest.raises(DatabaseError, match="no leader.*quack_raft_status"):
        cluster["n0"].sql("INSERT INTO cp.t VALUES (2, 'x')")
    assert count(cluster["n0"]) == 1
    # What was given up may have happened, or not; what comes now must.
    cluster["n1"].start()
    wait_for(lambda: cluster["n0"].sql("INSERT INTO cp.t VALUES (3, 'x')"), "a quorum")
    cluster["n2"].start()
    cluster.wait_equal()
    assert cluster["n2"].value("SELECT count(*) FROM cp.t WHERE i IN (1, 3)") == 2


def test_all_nodes_are_killed_and_come_back(cluster):
    create(cluster)
    for number in range(30):
        cluster[f"n{number % 3}"].sql(f"INSERT INTO cp.t VALUES ({number}, 'x')")
    before = cluster.wait_equal()
    for node in cluster.alive():
        node.kill()
    cluster.start()
    assert cluster.wait_equal() == before


def test_an_ordinary_stop_hands_leadership_over(cluster):
    create(cluster)
    leader = cluster.leader()
    assert leader.stop() == 0
    assert cluster.leader() is not leader
    cluster.alive()[0].sql("INSERT INTO cp.t VALUES (1, 'x')")
    leader.start()
    cluster.wait_equal()


def test_a_node_with_an_empty_disk_comes_back_by_itself(cluster):
    create(cluster)
    cluster["n0"].sql("INSERT INTO cp.t SELECT range, repeat('x', 100) FROM range(50000)")
    cluster["n0"].sql("CREATE INDEX by_v ON cp.t (v)")
    cluster["n0"].sql("CREATE VIEW cp.w AS SELECT count(*) AS n FROM t")
    node = next(node for node in cluster.alive() if node is not cluster.leader())
    for life in (1, 2):
        node.kill()
        shutil.rmtree(node.data_dir)
        node.start()
        cluster.wait_equal()
        assert node.value("SELECT n FROM cp.w") == 50000 + life - 1
        members = f"SELECT incarnation, role FROM quack_nodes('cp') WHERE node_id = '{node.name}'"
        wait_for(lambda: node.sql(members) == [(life, "voter")], "a vote")
        node.sql(f"INSERT INTO cp.t VALUES ({100000 + life}, 'back')")
    # Its new life survives a restart like any other.
    node.kill_and_start()
    cluster.wait_equal()


def test_a_node_that_was_away_for_too_long_is_rebuilt(cluster):
    create(cluster)
    node = next(node for node in cluster.alive() if node is not cluster.leader())
    node.sql("INSERT INTO cp.t VALUES (-1, 'before')")
    node.kill()
    # More than the others keep of their logs.
    others = cluster.alive()
    for part in range(8):
        rows = f"range({part * 2000}, {(part + 1) * 2000}) r(i)"
        others[0].sql(f"INSERT INTO cp.t SELECT i, string_agg(md5((i * 1000 + j)::VARCHAR), '') FROM {rows}, range(700) s(j) GROUP BY i")
    cluster.wait_equal()
    for other in others:
        other.sql("CHECKPOINT cp")
    node.start(attach=False)
    state = "SELECT state, reason FROM quack_raft_status()"
    ((_, reason),) = wait_for(lambda: [row for row in node.sql(state) if row[0] == "degraded"] or None, "the node to notice")
    assert "no longer reaches back" in reason
    node.kill_and_start()
    cluster.wait_equal()
    assert node.value("SELECT v FROM cp.t WHERE i = -1") == "before"
    assert not (node.data_dir / "rebuild").exists()


def test_a_restarted_cluster_remembers_members_that_were_rebuilt(cluster):
    create(cluster)
    node = cluster["n1"]
    node.kill()
    shutil.rmtree(node.data_dir)
    node.start()
    cluster.wait_equal()
    for node in cluster.alive():
        node.kill()
    cluster.start()
    cluster["n1"].sql("INSERT INTO cp.t VALUES (1, 'x')")
    cluster.wait_equal()


def test_two_emptied_nodes_never_found_a_second_cluster_over_the_third(cluster):
    create(cluster)
    cluster["n0"].sql("INSERT INTO cp.t VALUES (1, 'precious')")
    cluster.wait_equal()
    for name in ("n0", "n1"):
        cluster[name].kill()
        shutil.rmtree(cluster[name].data_dir)
        cluster[name].start(attach=False)
    for name in ("n0", "n1"):
        wait_for(lambda: "admission" in (waiting(cluster[name]) or ""), "a node that waits")
    assert count(cluster["n2"]) == 1
    # They must not have made up their minds meanwhile.
    assert all("admission" in waiting(cluster[name]) for name in ("n0", "n1"))


def test_a_cluster_is_founded_only_when_all_are_there(new_cluster):
    cluster = new_cluster()
    cluster["n0"].start(attach=False)
    cluster["n1"].start(attach=False)
    wait_for(lambda: "n2" in (waiting(cluster["n0"]) or ""), "a node that waits")
    cluster["n2"].start(attach=False)
    for node in cluster.alive():
        node.attach()
    cluster["n0"].sql("CREATE TABLE cp.t (i INTEGER)")
    cluster.wait_equal()


def test_nodes_with_different_peers_name_the_difference(new_cluster):
    cluster = new_cluster()
    other = cluster["n2"]
    other.options["peers"] = cluster.peers().replace("n1:voter", "n1:learner")
    for node in cluster.nodes.values():
        node.start(attach=False)
    reason = wait_for(lambda: (reason := waiting(cluster["n0"])) and "other peers" in reason and reason, "the difference")
    assert "node 'n2'" in reason and "n1:learner" in reason and "n1:voter" in reason


def test_a_certificate_of_another_authority_is_kept_out(new_cluster, tmp_path):
    cluster = new_cluster()
    stranger = Certificates(tmp_path / "stranger")
    cluster["n2"].options.update(stranger.issue("n2"))
    for node in cluster.nodes.values():
        node.start(attach=False)
    def reason():
        text = (waiting(cluster["n0"]) or "").lower()
        return "n2" in text and "certificate" in text

    wait_for(reason, "a reason that speaks of the certificate")


def test_linearizable_reads_need_the_quorum_and_see_every_acknowledged_write(cluster, new_process):
    create(cluster)
    reader = cluster["n2"]
    reader.kill()
    reader.start(attach=False)
    reader.sql(f"ATTACH '{reader.uri}' AS cp (TYPE quack, TOKEN 'token-of-the-tests', CONSISTENCY 'linearizable')")
    for number in range(100):
        cluster[f"n{number % 2}"].sql(f"INSERT INTO cp.t VALUES ({number}, 'x')")
        assert count(reader) == number + 1
    cluster["n0"].kill()
    cluster["n1"].kill()
    with pytest.raises(DatabaseError, match="quorum"):
        count(reader)
    # What the node does for itself needs no quorum.
    assert len(reader.sql("FROM quack_state_hash()")) == 1
    assert reader.stop() == 0
    # Its last checkpoint holds everything.
    store = new_process()
    store.sql(f"ATTACH '{reader.data_dir}/store.duckdb' AS store (READ_ONLY)")
    assert store.value("SELECT count(*) FROM store.main.t") == 100


def test_what_a_cluster_takes_is_known_on_every_node(cluster):
    create(cluster)
    cluster.wait_equal()
    contract = "SELECT feature, state, entry_version, duckdb_versions FROM quack_multiraft_sql_contract_status() ORDER BY ALL"
    for node in cluster.alive():
        rows = {feature: rest for feature, *rest in node.sql(contract)}
        assert set(rows) == {"rows", "schema", "sequences", "groups", "members", "verification"}
        assert rows["schema"] == ["available", 8, [node.value("SELECT version()")]]
        assert rows["groups"][0] == "off"
    cluster["n1"].sql("SELECT quack_multiraft_sql_set_enabled(true)")
    cluster.wait_equal()
    for node in cluster.alive():
        assert {state for _, state, *_ in node.sql(contract)} == {"available"}
    # Also of a member that no other node can reach.
    cluster["n2"].kill()
    cluster["n0"].sql("CREATE TABLE cp.u (i INTEGER)")
    wait_for(lambda: cluster["n1"].value("SELECT count(*) FROM cp.u") == 0, "the table")


def test_the_status_can_be_read_without_a_quorum_regardless_of_the_default_catalog(new_cluster):
    cluster = new_cluster(consistency="linearizable").start()
    reader = cluster["n2"]
    cluster["n0"].kill()
    cluster["n1"].kill()
    with pytest.raises(DatabaseError, match="quorum.*quack_raft_status"):
        reader.sql("FROM duckdb_tables()")
    assert len(reader.sql("FROM quack_raft_status()")) == 1


def test_a_node_whose_tables_differ_is_found_and_stops(cluster, new_process):
    create(cluster)
    cluster["n0"].sql("INSERT INTO cp.t SELECT range, 'x' FROM range(10000)")
    cluster.wait_equal()
    verify = "SELECT node_id, state FROM quack_verify('cp') ORDER BY ALL"
    assert cluster["n1"].sql(verify) == [("n0", "equal"), ("n1", "equal"), ("n2", "equal")]
    # Another process changes one value in a node's file, behind its back.
    assert cluster["n2"].stop() == 0
    other = new_process()
    other.sql(f"ATTACH '{cluster['n2'].data_dir}/store.duckdb' AS store")
    other.sql("UPDATE store.main.t SET v = 'y' WHERE i = 77")
    other.sql("DETACH store")
    # The operator takes the node's word for a mistake.
    (cluster["n2"].data_dir / "checkpoints").unlink()
    cluster["n2"].start()
    cluster["n2"].sql("PREPARE reading AS SELECT v FROM cp.t WHERE i = 77")
    assert cluster["n0"].sql(verify) == [("n0", "equal"), ("n1", "equal"), ("n2", "different")]
    ((state, reason),) = cluster["n2"].sql("SELECT state, reason FROM quack_raft_status()")
    assert state == "degraded" and "differs from the quorum" in reason
    # The node gives no client data that may be wrong; its own status can be read, also with `cp` as default.
    for statement in ("INSERT INTO cp.t VALUES (-1, 'x')", "SELECT count(*) FROM cp.t", "EXECUTE reading"):
        with pytest.raises(DatabaseError, match="degraded.*differs from the quorum"):
            cluster["n2"].sql(statement)
    assert cluster["n2"].sql("SELECT state FROM quack_raft_status() ORDER BY term") == [("degraded",)]
    cluster["n2"].sql("USE memory")
    cluster["n1"].sql("INSERT INTO cp.t VALUES (-1, 'x')")
    # As it says: the next start has it rebuilt.
    cluster["n2"].kill_and_start()
    cluster.wait_equal()
    assert cluster["n0"].sql(verify) == [("n0", "equal"), ("n1", "equal"), ("n2", "equal")]
    wait_for(lambda: not (cluster["n2"].data_dir / "superseded").exists(), "the old files to go")


def test_members_are_added_promoted_and_removed_by_sql(cluster):
    create(cluster)
    cluster["n0"].sql("INSERT INTO cp.t SELECT range, 'x' FROM range(1000)")
    node = cluster.add("n3", role="learner")
    member = f"n3:learner=quack:127.0.0.1:{node.port}"
    cluster["n1"].sql(f"CALL quack_add_node('cp', '{member}')")
    node.start()
    cluster.wait_equal()
    role = "SELECT role FROM quack_nodes('cp') WHERE node_id = 'n3'"
    wait_for(lambda: cluster["n0"].sql(role) == [("learner",)], "a learner")
    node.sql("INSERT INTO cp.t VALUES (5000, 'from the learner')")
    cluster["n2"].sql(f"CALL quack_add_node('cp', '{member.replace('learner', 'voter')}')")
    wait_for(lambda: cluster["n0"].sql(role) == [("voter",)], "a voter")
    cluster["n0"].sql("CALL quack_transfer_leader('cp', 'n3')")
    wait_for(lambda: cluster.leader() is node, "leadership of n3")
    with pytest.raises(DatabaseError, match="it leads"):
        cluster["n0"].sql("CALL quack_remove_node('cp', 'n3')")
    for unknown in ("CALL quack_remove_node('cp', 'n9')", "CALL quack_transfer_leader('cp', 'n9')"):
        with pytest.raises(DatabaseError, match="no member"):
            cluster["n0"].sql(unknown)
    cluster["n0"].sql("CALL quack_transfer_leader('cp', 'n1')")
    wait_for(lambda: cluster.leader(among=[cluster["n1"], node]) is cluster["n1"], "leadership of n1")
    cluster["n0"].sql("CALL quack_remove_node('cp', 'n3')")
    node.kill()
    assert [name for (name,) in cluster["n2"].sql("SELECT node_id FROM quack_nodes('cp')")] == ["n0", "n1", "n2"]
    cluster["n2"].sql("INSERT INTO cp.t VALUES (5001, 'without it')")
    cluster.wait_equal()


def role(node, name):
    """What role a node says another has; None when it is no member."""
    rows = node.sql(f"SELECT role FROM quack_nodes('cp') WHERE node_id = '{name}'")
    return rows[0][0] if rows else None


def grow(cluster, load, name):
    """A further voter: first a learner, which clients may turn to at once."""
    node = cluster.add(name, role="learner")
    by = cluster.alive()[0]
    member = f"{name}:learner=quack:127.0.0.1:{node.port}"
    by.sql(f"CALL quack_add_node('cp', '{member}')")
    node.start()
    load.use(node)
    load.wait_for_writes(5, name)
    by.sql(f"CALL quack_add_node('cp', '{member.replace('learner', 'voter')}')")
    wait_for(lambda: role(by, name) == "voter", f"a vote of {name}")
    load.wait_for_writes(20)


def shrink(cluster, load, node):
    """Removes a member; if it leads, it hands leadership over before."""
    by = cluster.others(node)[0]
    if cluster.leader() is node:
        with pytest.raises(DatabaseError, match="it leads"):
            by.sql(f"CALL quack_remove_node('cp', '{node.name}')")
        by.sql(f"CALL quack_transfer_leader('cp', '{by.name}')")
        wait_for(lambda: cluster.leader() is not node, f"another leader than {node.name}")
    by.sql(f"CALL quack_remove_node('cp', '{node.name}')")
    wait_for(lambda: role(by, node.name) is None, f"the end of {node.name}")
    # Clients that are still there are told that they cannot write or read any more, and go elsewhere.
    load.wait_for_writes(20, *(other.name for other in cluster.others(node)))
    with pytest.raises(DatabaseError):
        node.sql("SELECT count(*) FROM cp.keyed")
    load.leave(node)
    node.kill()
    del cluster.nodes[node.name]


def test_clients_see_one_register_while_three_nodes_become_five_and_three_others(new_cluster):
    cluster = new_cluster(**LINEARIZABLE).start()
    with Load(cluster, count=5) as load:
        load.wait_for_writes(20)
        for name in ("n3", "n4"):
            grow(cluster, load, name)
        assert cluster.leader().sql("SELECT len(voters) FROM quack_raft_status()") == [(5,)]
        # Two of five may be gone.
        for node in cluster.others(cluster.leader())[:2]:
            load.leave(node)
            node.kill()
        load.wait_for_writes(20)
        for node in cluster.nodes.values():
            if node not in cluster.alive():
                node.start()
                load.use(node)
        # One that leads, and then one that does not.
        shrink(cluster, load, cluster.leader())
        shrink(cluster, load, cluster.others(cluster.leader())[0])
        assert cluster.leader().sql("SELECT len(voters) FROM quack_raft_status()") == [(3,)]
        load.wait_for_writes(20)
    load.check()
    assert len(cluster.nodes) == 3


def test_five_nodes_with_a_learner_work_with_two_dead(new_cluster):
    cluster = new_cluster(5, learners=["n4"]).start()
    create(cluster)
    cluster["n4"].sql("INSERT INTO cp.t VALUES (1, 'from the learner')")
    cluster["n3"].kill()
    cluster["n4"].kill()
    cluster.leader()
    wait_for(lambda: cluster["n0"].sql("INSERT INTO cp.t VALUES (2, 'x')"), "a write")
    cluster["n3"].start()
    cluster["n4"].start()
    cluster.wait_equal()


@pytest.mark.parametrize(
    "change, message",
    [
        ("CALL quack_add_node('cp', 'n9')", "no '='"),
        ("CALL quack_add_node('cp', 'n9:boss=quack:localhost:9')", "no role 'boss'"),
        ("CALL quack_add_node('cp', 'n9:voter=quack:localhost')", "no port"),
        ("CALL quack_remove_node('cp', 'n9')", "started alone: .* start it again with peers"),
        ("CALL quack_add_node('nope', 'n9:voter=quack:localhost:9')", "no server of this process serves"),
        ("FROM quack_nodes('nope')", "no server of this process serves"),
        ("ATTACH 'quack:localhost:1' AS x (TYPE quack, CONSISTENCY 'strong')", "consistency 'strong' is not known"),
        ("ATTACH 'quack:localhost:1' AS x (TYPE quack, CERT_FILE '/nowhere')", "no file '/nowhere'"),
    ],
)
def test_bad_changes_say_what_to_do(node, change, message):
    with pytest.raises(DatabaseError, match=message):
        node.sql(change)


def test_a_node_that_was_alone_grows_into_a_cluster(new_cluster, tmp_path):
    cluster = new_cluster()
    first = cluster["n0"]
    options, first.options = first.options, {}
    first.start()
    first.sql("CREATE TABLE cp.t (i BIGINT PRIMARY KEY, v VARCHAR)")
    first.sql("INSERT INTO cp.t SELECT range, 'alone' FROM range(1000)")
    assert first.stop() == 0
    first.options = options
    cluster.start()
    voters = "SELECT len(voters) FROM quack_raft_status()"
    wait_for(lambda: first.value(voters) == 3, "three voters")
    cluster["n2"].sql("INSERT INTO cp.t VALUES (-1, 'together')")
    cluster.wait_equal()
    assert count(cluster["n1"]) == 1001
    # And it is not started alone again by mistake.
    assert first.stop() == 0
    first.options = {}
    with pytest.raises(DatabaseError, match="belongs to a node of a cluster: give peers"):
        first.start()


def test_a_node_that_is_removed_and_added_again_with_its_old_folder_is_a_new_member(new_cluster):
    """Its old life takes no writes, says so, and its process lives on; started again, it takes a copy."""
    cluster = new_cluster(3).start()
    n0, n1 = cluster["n0"], cluster["n1"]
    n0.sql("CREATE TABLE cp.t (i INTEGER PRIMARY KEY)")
    cluster.wait_equal()
    if cluster.leader() is n1:
        n1.sql("CALL quack_transfer_leader('cp', 'n0')")
        wait_for(lambda: cluster.leader() not in (None, n1), "another leader")
    n0.sql("CALL quack_remove_node('cp', 'n1')")
    n0.sql(f"CALL quack_add_node('cp', 'n1:voter=quack:127.0.0.1:{n1.port}')")

    def is_told():
        try:
            n1.sql("INSERT INTO cp.t VALUES (1)")
        except DatabaseError as error:
            return "its place in the cluster is that of a later life" in str(error)
        return False

    wait_for(is_told, "the words of the refusal")
    assert n1.sql("SELECT 42") == [(42,)]
    n0.sql("INSERT INTO cp.t VALUES (2)")
    assert n0.sql("FROM cp.t") == [(2,)]
    n1.kill_and_start()
    n1.sql("INSERT INTO cp.t VALUES (3)")
    cluster.wait_equal()
    assert n0.sql("FROM cp.t ORDER BY i") == [(2,), (3,)]
