"""The file of a node's store: the process that serves it opens it no second time, and no other process opens it at all."""

import shutil
import subprocess

import pytest
from quack_testing.process import PYTHON, DatabaseError

IN_USE = "already attached|Unique file handle conflict"


@pytest.fixture(params=["the path", "a symbolic link", "a detour"])
def path(request, node, tmp_path):
    if request.param == "a symbolic link":
        (tmp_path / "link").symlink_to(node.data_dir)
        return tmp_path / "link" / "store.duckdb"
    return node.data_dir / ("../n0/store.duckdb" if request.param == "a detour" else "store.duckdb")


def other_process_opens(path, options=""):
    """Whether another process can attach the file."""
    code = f"import duckdb; duckdb.connect().execute(\"ATTACH '{path}' AS other {options}\")"
    return subprocess.run([PYTHON, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize("options", ["", "(READ_ONLY)", "(TYPE duckdb)"])
def test_a_node_does_not_attach_its_own_store(node, path, options):
    node.sql("CREATE TABLE cp.t AS SELECT range AS i FROM range(1000)")
    node.sql("CHECKPOINT cp")
    with pytest.raises(DatabaseError, match=IN_USE):
        node.sql(f"ATTACH '{path}' AS store {options}")
    assert not other_process_opens(path) and not other_process_opens(path, "(READ_ONLY)")
    node.kill_and_start()
    assert node.value("SELECT count(*) FROM cp.t") == 1000


@pytest.mark.parametrize("read_only", [False, True])
def test_no_other_instance_of_the_process_opens_the_store(node, path, read_only):
    node.sql("CREATE TABLE cp.t AS SELECT range AS i FROM range(1000)")
    code = f"""
try:
    duckdb.connect({str(path)!r}, read_only={read_only})
    result = "opened"
except duckdb.Error as error:
    result = str(error)
"""
    result = node.process.request("python", code=code)["result"]
    assert "Unique file handle conflict" in result, result


def test_a_store_that_its_process_has_attached_is_not_served(node):
    node.sql("CREATE TABLE cp.t AS SELECT 1 AS i")
    assert node.stop() == 0
    node.load()
    node.process.sql(f"ATTACH '{node.data_dir}/store.duckdb' AS store")
    with pytest.raises(DatabaseError, match="this process has opened the node's store .*: detach or close that, and serve again"):
        node.serve()
    node.process.sql("DETACH store")
    node.serve()
    node.attach()
    assert node.sql("FROM cp.t") == [(1,)]


def test_the_store_is_free_when_its_server_has_stopped(new_node):
    node = new_node(default_catalog=False).start()
    node.sql("CREATE TABLE cp.t AS SELECT 1 AS i")
    node.stop_serving()
    node.sql(f"ATTACH '{node.data_dir}/store.duckdb' AS store (READ_ONLY)")
    assert node.sql("FROM store.t") == [(1,)]
    node.sql("DETACH store")
    assert other_process_opens(node.data_dir / "store.duckdb")
    node.serve()
    node.attach()
    assert node.sql("FROM cp.t") == [(1,)]
    assert node.stop() == 0


def test_a_store_that_another_program_has_written_to_is_refused_until_its_log_is_gone(new_node):
    """DuckDB would replay that program's write-ahead log into the store."""
    node = new_node().start()
    node.sql("CREATE TABLE cp.t AS SELECT 1 AS i")
    assert node.stop() == 0
    store = node.data_dir / "store.duckdb"
    code = f"import duckdb, os; c = duckdb.connect('{store}'); c.execute('INSERT INTO t VALUES (2)'); os._exit(0)"
    subprocess.run([PYTHON, "-c", code], check=True)
    wal = node.data_dir / "store.duckdb.wal"
    assert wal.exists()
    with pytest.raises(DatabaseError, match=r"store.duckdb.wal' lies beside the node's store: another program has opened"):
        node.start()
    wal.rename(node.data_dir.parent / "aside.wal")
    node.start()
    assert node.sql("FROM cp.t") == [(1,)]
    node.sql("CHECKPOINT cp")
    node.sql("INSERT INTO cp.t VALUES (3)")
    node.kill_and_start()
    assert node.sql("FROM cp.t ORDER BY i") == [(1,), (3,)]


@pytest.mark.parametrize("change", ["a write", "a copy"])
def test_a_store_that_is_not_as_its_node_left_it_is_refused(new_node, tmp_path, change):
    """Another program has written to it, and closed it; or it is that of an earlier time."""
    node = new_node().start()
    node.sql("CREATE TABLE cp.t AS SELECT 1 AS i")
    assert node.stop() == 0
    store = node.data_dir / "store.duckdb"
    if change == "a copy":
        shutil.copy(store, tmp_path / "copy")
        node.start()
        node.sql("INSERT INTO cp.t VALUES (2)")
        assert node.stop() == 0
        shutil.copy(tmp_path / "copy", store)
    else:
        code = f"import duckdb; duckdb.connect('{store}').execute('INSERT INTO t VALUES (2)')"
        subprocess.run([PYTHON, "-c", code], check=True)
        assert not (node.data_dir / "store.duckdb.wal").exists()
    with pytest.raises(DatabaseError, match="has seen .* checkpoints, and this node has made .*start this node with an empty folder"):
        node.start()
    # The operator's own decision.
    (node.data_dir / "checkpoints").unlink()
    if change == "a write":
        node.start()
        assert node.sql("FROM cp.t ORDER BY i") == [(1,), (2,)]


def test_a_look_into_the_store_of_a_node_that_does_not_run_changes_nothing(new_node):
    node = new_node().start()
    node.sql("CREATE TABLE cp.t AS SELECT 1 AS i")
    for options in ("", ", read_only=True"):
        assert node.stop() == 0
        code = f"import duckdb; print(duckdb.connect('{node.data_dir}/store.duckdb'{options}).sql('FROM t').fetchall())"
        subprocess.run([PYTHON, "-c", code], check=True)
        node.start()
        assert node.sql("FROM cp.t") == [(1,)]
        node.kill_and_start()
