"""docs/operations.md, rehearsed: an operator's worst day, by the very commands."""

import os

from quack_testing.cluster import wait_for
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


# Inspecting.


def test_a_stopped_node_is_inspected_and_stays_as_it_is(new_cluster):
    cluster = new_cluster().start()
    fill(cluster["n0"])
    cluster["n0"].sql("SELECT quack_multiraft_sql_set_enabled(true)")
    cluster["n0"].sql("CREATE TABLE cp.l (i BIGINT) WITH (quack_group = 'orders')")
    cluster["n0"].sql("INSERT INTO cp.l VALUES (1)")
    cluster.wait_equal()
    wait_for(lambda: len(cluster["n2"].sql("FROM quack_nodes('cp')")) == 3, "all members in the log")
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
