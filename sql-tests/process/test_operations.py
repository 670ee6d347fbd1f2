"""docs/operations.md, rehearsed: an operator's worst day, by the very commands."""

import contextlib
import itertools
import os
import re
import shutil
import threading

import duckdb
import pytest
from quack_testing.cluster import wait_for
from quack_testing.process import ROOT, DatabaseError, ProcessEnded, pause
from quack_testing.quackd import QUACKCTL, quackctl, run

VALIDATION, NOT_FOUND, FAILED = 5, 3, 1


def done(*arguments):
    """Runs a command that must succeed; returns its JSON object."""
    code, printed = quackctl(*arguments)
    assert code == 0 and printed["ok"], printed
    return printed


def inspect(node):
    return done("inspect", "--data-dir", node.data_dir)


def contents(folder):
    """Everything in a folder: bytes, modes and times of change."""
    files = [path for path in folder.rglob("*")] + [folder]
    return {str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in files}


def fill(node, rows=20):
    node.sql("CREATE TABLE cp.t (i BIGINT PRIMARY KEY, v VARCHAR)")
    for number in range(rows):
        node.sql(f"INSERT INTO cp.t VALUES ({number}, 'row')")


def documented(folder, endpoint):
    """The commands of the page, in their order, with the paths and the address of this test."""
    page = (ROOT / "docs" / "operations.md").read_text()
    commands = re.findall(r"^ {4,}(quackctl .*|CALL quack_backup.*)$", page, re.MULTILINE)
    places = {"/var/lib/quack": str(folder), "/backup": str(folder / "backup"), "quack:n0:9494": endpoint}
    for place, here in places.items():
        commands = [command.replace(place, here) for command in commands]
    return commands


def test_the_commands_of_the_page_do_what_it_says(new_cluster, tmp_path):
    cluster = new_cluster().start()
    node = cluster["n0"]
    endpoint = f"quack:127.0.0.1:{node.port}"
    inspected, refused, recovered, backed_up, restored, exported = documented(tmp_path, endpoint)
    fill_groups(node)
    cluster.wait_equal()
    for member in cluster.nodes.values():
        member.kill()
    for member in (cluster["n1"], cluster["n2"]):
        shutil.rmtree(member.data_dir)

    def shell(command):
        return quackctl(*command.split()[1:])[0]

    assert [shell(inspected), shell(refused), shell(recovered)] == [0, VALIDATION, 0]
    node.start()
    node.sql(backed_up)
    assert node.stop() == 0
    shutil.rmtree(node.data_dir)
    assert [shell(restored), shell(exported)] == [0, 0]
    node.start()
    assert counts(node) == [(20, 10)]
    with duckdb.connect(str(tmp_path / "backup" / "tables.duckdb")) as plain:
        assert plain.sql("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM l)").fetchall() == [(20, 10)]


# Inspecting.


def test_a_stopped_node_is_inspected_and_stays_as_it_is(new_cluster):
    cluster = new_cluster().start()
    fill(cluster["n0"])
    cluster["n0"].sql("SELECT quack_multiraft_sql_set_enabled(true)")
    cluster["n0"].sql("CREATE TABLE cp.l (i BIGINT) WITH (quack_group = 'orders')")
    cluster["n0"].sql("INSERT INTO cp.l VALUES (1)")
    cluster.wait_equal()
    cluster.stop()
    node = cluster["n2"]
    before = contents(node.data_dir)
    os.chmod(node.data_dir / "lock", 0o400)
    printed = inspect(node)
    os.chmod(node.data_dir / "lock", 0o600)
    text = run(QUACKCTL, "inspect", "--data-dir", str(node.data_dir))
    assert contents(node.data_dir) == before

    identity = dict(line.split("=") for line in (node.data_dir / "identity").read_text().splitlines()[1:])
    assert printed["kind"] == "member"
    assert printed["identity"] == {
        "cluster_id": identity["cluster_id"],
        "node_id": "n2",
        "incarnation": 0,
        "starts": 1,
    }
    root, lane = printed["log"]["groups"]
    assert (root["name"], lane["name"]) == ("default", "orders")
    for group in (root, lane):
        assert group["first"] <= group["in_store"] <= group["committed"] <= group["last"]
        assert group["voters"] == ["n0", "n1", "n2"] and group["vote"] in [None, *group["voters"]]
    assert printed["checkpoint"] == root["in_store"] > 20
    assert [(member["node_id"], member["role"]) for member in printed["members"]] == [
        ("n0", "voter"),
        ("n1", "voter"),
        ("n2", "voter"),
    ]
    assert printed["members"][1]["endpoint"] == f"quack:127.0.0.1:{cluster.ports['n1']}"
    assert printed["damage"] == []
    assert text.returncode == 0 and identity["cluster_id"] in text.stdout and "no damage found" in text.stdout


def test_a_running_node_is_not_inspected(node):
    code, printed = quackctl("inspect", "--data-dir", node.data_dir)
    assert code == FAILED and f"in use by process {node.process.pid}" in printed["message"]
    assert node.value("SELECT 1") == 1


def test_a_killed_node_without_a_checkpoint_is_inspected(new_node):
    node = new_node().start()
    fill(node, 3)
    node.kill()
    printed = inspect(node)
    assert printed["checkpoint"] is None and printed["log"]["groups"][0]["last"] >= 4
    node.start()
    assert node.value("SELECT count(*) FROM cp.t") == 3


def damage_of(node):
    code, printed = quackctl("inspect", "--data-dir", node.data_dir)
    assert (code == FAILED) == bool(printed["damage"])
    return printed["damage"]


def test_damage_is_named(new_node):
    node = new_node().start()
    fill(node)
    assert node.stop() == 0
    log, store = node.data_dir / "log" / "0000000001.log", node.data_dir / "store.duckdb"
    for path, offset, words in [(log, 700, "the log is corrupt"), (store, 5000, "the store '"), (store, 10, "the store '")]:
        good = path.read_bytes()
        path.write_bytes(good[:offset] + bytes([good[offset] ^ 1]) + good[offset + 1 :])
        (found,) = damage_of(node)
        assert words in found
        path.write_bytes(good)
    for path, words in [(log, "the folder holds no log"), (store, "what lies between is missing")]:
        path.rename(node.data_dir / "elsewhere")
        (found,) = damage_of(node)
        assert words in found
        (node.data_dir / "elsewhere").rename(path)
    assert damage_of(node) == []
    identity = node.data_dir / "identity"
    identity.write_text(identity.read_text().replace("incarnation=0", "incarnation=1"))
    code, printed = quackctl("inspect", "--data-dir", node.data_dir)
    assert code == FAILED and "is damaged (its checksum does not match)" in printed["message"]


def test_what_is_no_members_folder_is_named(tmp_path):
    assert done("inspect", "--data-dir", tmp_path)["kind"] == "empty"
    assert quackctl("inspect", "--data-dir", tmp_path / "absent")[0] == NOT_FOUND
    assert quackctl("inspect")[0] == VALIDATION


# Recovering.


def recover(node, *arguments):
    return quackctl("recover", "--data-dir", node.data_dir, *arguments)


def fill_groups(node):
    """Rows in the default group and in another one."""
    fill(node)
    node.sql("SELECT quack_multiraft_sql_set_enabled(true)")
    node.sql("CREATE TABLE cp.l (i BIGINT) WITH (quack_group = 'orders')")
    for number in range(10):
        node.sql(f"INSERT INTO cp.l VALUES ({number})")


def counts(node):
    return node.sql("SELECT (SELECT count(*) FROM cp.t), (SELECT count(*) FROM cp.l)")


def roles(node):
    return dict(node.sql("SELECT node_id, role FROM quack_nodes('cp')"))


def test_a_survivor_becomes_a_cluster_that_the_old_folders_never_join(new_cluster):
    cluster = new_cluster().start()
    survivor, *others = cluster.nodes.values()
    fill_groups(survivor)
    cluster.wait_equal()
    for node in cluster.nodes.values():
        node.kill()
    before = {path: content for path, content in contents(survivor.data_dir).items() if not path.endswith("/lock")}

    code, printed = recover(survivor)
    assert code == VALIDATION and "--force-new-cluster" in printed["message"]
    code, printed = recover(survivor, "--force-new-cluster")
    assert code == VALIDATION
    for node in others:
        assert f"'{node.name}' (quack:127.0.0.1:{node.port})" in printed["message"]
    assert "--lost n1 --lost n2" in printed["message"]
    code, printed = recover(survivor, "--force-new-cluster", "--lost", "n1")
    assert code == VALIDATION and "'n2' (" in printed["message"] and "'n1' (" not in printed["message"]
    code, printed = recover(survivor, "--force-new-cluster", "--lost", "n1", "--lost", "n7")
    assert code == VALIDATION and "'n7' is no other voter" in printed["message"]
    after = {path: content for path, content in contents(survivor.data_dir).items() if not path.endswith("/lock")}
    assert after == before

    former = inspect(survivor)["identity"]
    code, printed = recover(survivor, "--force-new-cluster", "--lost", "n1", "--lost", "n2")
    assert code == 0, printed
    assert printed["former_cluster_id"] == former["cluster_id"] != printed["cluster_id"]
    assert (printed["node_id"], printed["incarnation"], printed["removed"]) == ("n0", 1, ["n1", "n2"])
    assert printed["left_out"] is None and [group["group"] for group in printed["groups"]] == [1, 2]
    recovered = inspect(survivor)
    assert (recovered["kind"], recovered["identity"]["cluster_id"]) == ("unsettled", printed["cluster_id"])
    assert recovered["log"]["groups"][0]["voters"] == recovered["log"]["groups"][1]["voters"] == ["n0"]
    code, printed = recover(survivor, "--force-new-cluster", "--lost", "n1", "--lost", "n2")
    assert code == VALIDATION, "it is a cluster of its own already"

    survivor.start()
    assert counts(survivor) == [(20, 10)]
    assert roles(survivor) == {"n0": "voter"}
    survivor.sql("INSERT INTO cp.t VALUES (100, 'new cluster')")
    survivor.sql("INSERT INTO cp.l VALUES (100)")
    wait_for(lambda: not (survivor.data_dir / "superseded").exists(), "the store to be the new cluster's")
    survivor.restart()

    # The folders that were said to be lost come back: they go on without the survivor, or not at all.
    for node in others:
        node.start(attach=False)
    for node in others:
        node.attach()
    others[0].sql("INSERT INTO cp.t VALUES (200, 'old cluster')")
    for node in others:
        survivor.sql(f"CALL quack_add_node('cp', '{node.name}:voter=quack:127.0.0.1:{node.port}')")
    others[0].sql("INSERT INTO cp.t VALUES (201, 'old cluster')")
    survivor.sql("INSERT INTO cp.t VALUES (101, 'new cluster')")
    assert survivor.sql("SELECT i FROM cp.t WHERE i >= 100 ORDER BY i") == [(100,), (101,)]
    assert others[1].sql("SELECT count(*) FROM cp.t WHERE v = 'new cluster'") == [(0,)]
    assert roles(survivor) == {"n0": "voter", "n1": "joining", "n2": "joining"}
    assert survivor.value("SELECT role FROM quack_raft_status() WHERE group_name = 'default'") == "leader"
    for node in others:
        node.kill()

    # With empty folders they are members of the new one, which does not need them until they have joined.
    survivor.restart()
    for node in others:
        node.data_dir.rename(node.data_dir.with_name(f"{node.name}-lost"))
        node.start()
    wait_for(lambda: list(roles(survivor).values()) == ["voter"] * 3, "three voters")
    cluster.wait_equal()
    assert counts(others[1]) == [(22, 11)]


def test_what_was_not_known_to_be_committed_is_taken(new_cluster):
    cluster = new_cluster().start()
    fill(cluster["n0"])
    cluster.wait_equal()
    survivor = cluster.leader()
    refused = "SELECT count(*) FROM quack_multiraft_sql_contract_status() WHERE state = 'refused'"
    wait_for(lambda: survivor.value(refused) == 0, "all members to be in the log")
    others = cluster.others(survivor)
    for node in others:
        pause(node.process)
    survivor.process.start_sql("INSERT INTO cp.t VALUES (100, 'not acknowledged')")
    last = "SELECT last_index > commit_index FROM quack_raft_status() WHERE group_name = 'default'"
    wait_for(lambda: survivor.sql(last, "another") == [(True,)], "the entry in the log")
    for node in cluster.nodes.values():
        node.kill()
    lost = [argument for node in others for argument in ("--lost", node.name)]
    code, printed = recover(survivor, "--force-new-cluster", *lost)
    assert code == 0 and printed["groups"][0]["last"] > printed["groups"][0]["committed"]
    survivor.start()
    assert survivor.sql("SELECT v FROM cp.t WHERE i = 100") == [("not acknowledged",)]


def test_there_is_nothing_to_recover_of_a_node_alone_or_a_running_one(new_node):
    node = new_node().start()
    code, printed = recover(node, "--force-new-cluster")
    assert code == FAILED and "in use by process" in printed["message"]
    assert node.stop() == 0
    code, printed = recover(node, "--force-new-cluster")
    assert code == VALIDATION and "is the only voter of its cluster" in printed["message"]
    (node.data_dir / "rebuild").touch()
    code, printed = recover(node, "--force-new-cluster")
    assert code == FAILED and "it is no survivor" in printed["message"]
    assert not (node.data_dir / "superseded").exists()


# Backing up and restoring.


def restore(folder, name, backup, *arguments):
    """Restores a backup as the node `name` in `folder`."""
    return quackctl("restore", "--from", backup, "--data-dir", folder / name, *arguments)


def test_a_backup_of_a_busy_cluster_is_one_moment_of_it_and_becomes_another_cluster(new_cluster, new_node, tmp_path):
    cluster = new_cluster().start()
    source, writer = cluster["n1"], cluster["n2"]
    fill_groups(source)
    cluster.wait_equal()
    source.sql("CREATE TABLE cp.pair (i BIGINT)")
    acknowledged, stop = [0], threading.Event()

    def write():
        for number in itertools.count(1):
            if stop.is_set():
                return
            writer.sql(
                f"BEGIN; INSERT INTO cp.t VALUES ({1000 + number}, 'pair'); INSERT INTO cp.pair VALUES ({number}); COMMIT",
                "writer",
            )
            acknowledged[0] = number

    thread = threading.Thread(target=write)
    thread.start()
    try:
        wait_for(lambda: acknowledged[0] >= 20, "some writes")
        before = acknowledged[0]
        # What this node has applied is backed up: it has seen those writes.
        wait_for(lambda: source.value("SELECT count(*) FROM cp.pair") >= before, "them on the other node")
        ((folder, position, size),) = source.sql(f"CALL quack_backup('cp', '{tmp_path / 'backup'}')")
        after = acknowledged[0]
        wait_for(lambda: acknowledged[0] > after, "writes behind the backup")
    finally:
        stop.set()
        thread.join()
    assert folder == str(tmp_path / "backup") and size == (tmp_path / "backup" / "store.duckdb").stat().st_size

    code, printed = restore(tmp_path / "restored", "n1", tmp_path / "backup")
    assert code == 0, printed
    assert printed["position"] >= position > 20
    assert (printed["node_id"], printed["incarnation"], printed["removed"]) == ("n1", 1, ["n0", "n2"])
    restored = new_node("n1")
    restored.data_dir = tmp_path / "restored" / "n1"
    inspected = inspect(restored)
    assert inspected["identity"]["cluster_id"] == printed["cluster_id"] != printed["former_cluster_id"]
    assert inspected["damage"] == []
    restored.start()
    pairs = [number for (number,) in restored.sql("SELECT i FROM cp.pair ORDER BY i")]
    assert pairs == list(range(1, len(pairs) + 1)) and len(pairs) >= before
    assert restored.sql("SELECT i - 1000 FROM cp.t WHERE v = 'pair' ORDER BY i") == [(number,) for number in pairs]
    assert restored.value("SELECT count(*) FROM cp.l") == 10
    restored.sql("INSERT INTO cp.l VALUES (100)")
    restored.sql("INSERT INTO cp.pair VALUES (-1)")
    restored.kill_and_start()
    assert restored.value("SELECT count(*) FROM cp.pair") == len(pairs) + 1
    # The cluster that was backed up knows nothing of it.
    assert source.value("SELECT count(*) FROM cp.pair WHERE i = -1") == 0
    cluster.wait_equal()


def test_a_restored_cluster_grows(new_node, new_cluster, tmp_path):
    node = new_node("alone").start()
    fill(node)
    node.sql(f"CALL quack_backup('cp', '{tmp_path / 'backup'}')")
    assert node.stop() == 0
    cluster = new_cluster()
    first, *others = cluster.nodes.values()
    endpoint = f"quack:127.0.0.1:{first.port}"
    code, printed = restore(tmp_path, "n0", tmp_path / "backup", "--node-id", "n0", "--endpoint", endpoint)
    assert code == 0, printed
    first.start()
    assert first.sql("SELECT address FROM quack_nodes('cp') WHERE role = 'voter'") == [(endpoint,)]
    for node in others:
        first.sql(f"CALL quack_add_node('cp', '{node.name}:voter=quack:127.0.0.1:{node.port}')")
        node.start()
    wait_for(lambda: list(roles(first).values()) == ["voter"] * 3, "three voters")
    others[0].sql("INSERT INTO cp.t VALUES (100, 'later')")
    cluster.wait_equal()
    assert others[1].value("SELECT count(*) FROM cp.t") == 21


def test_only_a_whole_backup_is_restored_and_only_into_an_empty_folder(node, tmp_path):
    fill(node, 3)
    backup = tmp_path / "backup"
    backup.mkdir()
    (backup / "photo.jpg").touch()
    with pytest.raises(DatabaseError, match="holds 'photo.jpg': a backup is written into a new or an empty folder"):
        node.sql(f"CALL quack_backup('cp', '{backup}')")
    (backup / "photo.jpg").unlink()
    node.sql(f"CALL quack_backup('cp', '{backup}')")
    with pytest.raises(DatabaseError, match="a backup is written into a new or an empty folder"):
        node.sql(f"CALL quack_backup('cp', '{backup}')")
    assert restore(tmp_path, "n0", tmp_path / "absent")[0] == VALIDATION
    code, printed = restore(tmp_path, "n0", backup)
    assert code == FAILED and "in use by process" in printed["message"]
    assert node.stop() == 0
    code, printed = restore(tmp_path, "n0", backup)
    assert code == VALIDATION and "a backup is restored into a new or an empty folder" in printed["message"]

    store = backup / "store.duckdb"
    good = store.read_bytes()
    store.write_bytes(good[:9000] + bytes([good[9000] ^ 1]) + good[9001:])
    code, printed = restore(tmp_path, "other", backup)
    assert code == FAILED and "is not what was backed up" in printed["message"]
    assert not (tmp_path / "other" / "identity").exists()
    store.write_bytes(good)
    # A restoration that has failed, or was interrupted, is begun again.
    assert restore(tmp_path, "other", backup)[0] == 0
    manifest = backup / "backup"
    manifest.unlink()
    code, printed = restore(tmp_path, "another", backup)
    assert code == VALIDATION and "holds no complete backup" in printed["message"]


@pytest.mark.parametrize("ending", ["kill", "stop"])
def test_a_backup_that_a_process_does_not_survive_is_none_and_the_node_goes_on(new_node, tmp_path, ending):
    node = new_node(default_catalog=False).start()
    rows = 400_000
    node.sql("CREATE TABLE cp.t (i BIGINT, v VARCHAR)")
    for first in range(0, rows, 100_000):
        node.sql(f"INSERT INTO cp.t SELECT {first} + range, repeat(md5(({first} + range)::VARCHAR), 4) FROM range(100000)")
    interrupted = 0
    for number in range(5):
        folder = tmp_path / f"backup-{number}"
        backing_up = node.process.start_sql(f"CALL quack_backup('cp', '{folder}')", "backup")
        wait_for(lambda folder=folder: (folder / "store.duckdb").exists(), "the beginning of a backup")
        if ending == "kill":
            node.kill()
            node.start()
        else:
            node.stop_serving()
            node.serve()
            node.attach()
        with contextlib.suppress(DatabaseError, ProcessEnded):
            backing_up.result()
        code, printed = restore(tmp_path, f"restored-{number}", folder)
        if (folder / "backup").exists():
            assert code == 0, printed
        else:
            interrupted += 1
            assert code == VALIDATION and "holds no complete backup" in printed["message"]
        node.sql(f"INSERT INTO cp.t VALUES ({rows + number}, 'later')")
    print(f"{interrupted} of 5 were interrupted")
    node.sql(f"CALL quack_backup('cp', '{tmp_path / 'whole'}')")
    assert restore(tmp_path, "whole-restored", tmp_path / "whole")[0] == 0
    restored = new_node("n0")
    restored.data_dir = tmp_path / "whole-restored"
    assert node.stop() == 0
    restored.start()
    assert restored.sql("SELECT count(*), count(DISTINCT i) FROM cp.t") == [(rows + 5, rows + 5)]


# Exporting.


def export(node, file, *options):
    return quackctl("export", "--data-dir", node.data_dir, "--to", file, *options)


def test_the_tables_of_a_survivor_become_a_plain_duckdb_file(new_cluster, tmp_path):
    cluster = new_cluster().start()
    node, *others = cluster.nodes.values()
    fill_groups(node)
    node.sql("CREATE SCHEMA cp.s")
    node.sql("CREATE SEQUENCE cp.s.q")
    node.sql("CREATE TABLE cp.s.u (i BIGINT DEFAULT nextval('cp.s.q'), v VARCHAR CHECK (v <> ''), PRIMARY KEY (i))")
    node.sql("INSERT INTO cp.s.u (v) VALUES ('one'), ('two')")
    node.sql("CREATE VIEW cp.s.v AS SELECT count(*) AS n FROM cp.s.u")
    cluster.wait_equal()
    file = tmp_path / "exported" / "tables.duckdb"
    file.parent.mkdir()
    code, printed = export(node, file)
    assert code == FAILED and "in use by process" in printed["message"]
    for member in cluster.nodes.values():
        member.kill()
    for member in others:
        shutil.rmtree(member.data_dir)
    # A node that is to be rebuilt has tables, too.
    (node.data_dir / "rebuild").touch()
    before = contents(node.data_dir)
    code, printed = export(node, file)
    assert code == 0, printed
    assert (printed["tables"], printed["node_id"], printed["left_out"]) == (3, "n0", None)
    assert contents(node.data_dir) == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.stat().st_mode & 0o777 == 0o600

    with duckdb.connect(str(file)) as plain:
        assert plain.sql("SELECT count(*) FROM t").fetchall() == [(20,)]
        assert plain.sql("SELECT i FROM l ORDER BY i").fetchall() == [(number,) for number in range(10)]
        assert plain.sql("FROM s.u ORDER BY i").fetchall() == [(1, "one"), (2, "two")]
        assert plain.sql("FROM s.v").fetchall() == [(2,)]
        plain.execute("INSERT INTO s.u (v) VALUES ('three')")
        assert plain.sql("SELECT max(i) FROM s.u").fetchall() == [(3,)]
        with pytest.raises(duckdb.ConstraintException):
            plain.execute("INSERT INTO s.u VALUES (1, 'again')")


def test_the_tables_of_a_survivor_become_parquet_files(new_node, tmp_path):
    node = new_node().start()
    fill(node, 3)
    node.sql("CREATE TABLE cp.kinds AS SELECT [1, 2] AS l, {'a': 'x'} AS s, 1.5::DECIMAL(9, 2) AS d, '\\xAA'::BLOB AS b, NULL::UUID AS u")
    expected = node.sql("SELECT kinds::VARCHAR FROM cp.kinds")
    assert node.stop() == 0
    folder = tmp_path / "tables"
    code, printed = export(node, folder, "--format", "parquet")
    assert code == 0, printed
    assert printed["tables"] == 2 and folder.stat().st_mode & 0o777 == 0o700
    with duckdb.connect() as plain:
        assert plain.sql(f"SELECT count(*) FROM '{folder}/t.parquet'").fetchall() == [(3,)]
        plain.execute(f"IMPORT DATABASE '{folder}'")
        assert plain.sql("SELECT count(*) FROM t").fetchall() == [(3,)]
        assert plain.sql("SELECT kinds::VARCHAR FROM kinds").fetchall() == expected
    assert export(node, folder, "--format", "parquet")[0] == VALIDATION


def test_nothing_is_exported_over_a_file_or_from_what_is_no_node(new_node, tmp_path):
    node = new_node().start()
    fill(node, 3)
    assert node.stop() == 0
    file = tmp_path / "tables.duckdb"
    file.write_text("precious")
    code, printed = export(node, file)
    assert code == VALIDATION and "exists already" in printed["message"] and file.read_text() == "precious"
    file.unlink()
    assert quackctl("export", "--data-dir", tmp_path, "--to", file)[0] == VALIDATION
    log = node.data_dir / "log" / "0000000001.log"
    good = log.read_bytes()
    log.write_bytes(good[:700] + bytes([good[700] ^ 1]) + good[701:])
    code, printed = export(node, file)
    assert code == FAILED and "the log is corrupt" in printed["message"]
    assert not file.exists() and not list(tmp_path.glob("*.unfinished"))
    log.write_bytes(good)
    assert export(node, file)[0] == 0
    node.start()
    assert node.value("SELECT count(*) FROM cp.t") == 3
