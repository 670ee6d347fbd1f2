"""Hosts that are set up otherwise: nodes do the same in all of them, or say what is in the way."""

import os
import signal
from pathlib import Path

import pytest
from quack_testing.cluster import wait_for
from quack_testing.node import TOKEN
from quack_testing.ports import free_ports
from quack_testing.process import EXTENSION, DatabaseError, Process

ROWS = "SELECT i, md5(i::VARCHAR) || repeat('x', 900) FROM range({first}, {first} + 10000) r(i)"

# Onto the standard streams, in case that they are open again.
PRINT = """
import os
for stream in (1, 2):
    try:
        os.write(stream, b"a line that some library prints")
    except OSError:
        pass
"""


def states(cluster):
    return {node.sql("SELECT state FROM quack_raft_status()")[0][0] for node in cluster.alive()}


def load_after(node, code):
    """Has the process run some Python code before the extension is loaded, at each start from now on."""

    def load():
        node.process = Process(node.folder, node.name, config=node.config, environment=node.environment)
        node.process.python(code)
        node.process.sql(f"LOAD '{EXTENSION}'")

    node.load = load


def test_a_relative_folder_stays_where_it_was_when_the_process_goes_elsewhere(new_node, tmp_path):
    node = new_node()
    node.data_dir = "data"
    node.start()
    node.sql("CREATE TABLE t (i INTEGER, s VARCHAR)")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    node.process.python(f"import os; os.chdir({str(elsewhere)!r})")
    for first in range(0, 60_000, 10_000):
        node.sql(f"INSERT INTO t {ROWS.format(first=first)}")
    node.sql("CHECKPOINT cp")
    assert os.listdir(elsewhere) == []
    node.kill()
    node.start()
    assert node.sql("SELECT count(*), count(DISTINCT i) FROM t") == [(60_000, 60_000)]


def test_nothing_that_a_process_prints_goes_into_the_log(new_node):
    node = new_node().start()
    node.sql("CREATE TABLE t (i INTEGER, s VARCHAR)")
    node.process.python("import os; os.close(1); os.close(2)")
    for first in range(0, 60_000, 10_000):
        node.sql(f"INSERT INTO t {ROWS.format(first=first)}")
        node.process.python(PRINT)
    node.kill()
    node.start()
    assert node.sql("SELECT count(*), count(DISTINCT i) FROM t") == [(60_000, 60_000)]


@pytest.mark.parametrize("folder", ["~/data", "file:///tmp/data", "data?x=1"])
def test_a_folder_that_duckdb_would_take_for_something_else_is_refused(new_node, folder):
    node = new_node()
    node.data_dir = folder
    with pytest.raises(DatabaseError, match="is not the path of a folder: write the whole path"):
        node.start()


def test_what_a_file_can_hold_is_no_setting_of_the_process(new_cluster):
    cluster = new_cluster(3)
    cluster["n1"].config = {"storage_compatibility_version": "v0.10.2"}
    cluster.start()
    n0, n1 = cluster["n0"], cluster["n1"]
    n0.sql("CREATE TABLE cp.t (v VARIANT)")
    n0.sql("INSERT INTO cp.t VALUES (42::VARIANT)")
    n0.sql("CREATE MACRO cp.m (a INTEGER) AS a")
    cluster.wait_equal()
    n1.sql("CHECKPOINT cp")
    n1.kill()
    n1.start()
    cluster.wait_equal()
    assert states(cluster) == {"ok"}


# Numbers next to 0 count as 0; numbers are rounded up.
FLOATING_POINT = """
import ctypes
library = ctypes.CDLL("libm.so.6")
class Environment(ctypes.Structure):
    _fields_ = [("other", ctypes.c_uint8 * 28), ("mxcsr", ctypes.c_uint32)]
environment = Environment()
library.fegetenv(ctypes.byref(environment))
environment.mxcsr |= 0x8040
library.fesetenv(ctypes.byref(environment))
library.fesetround(0x800)
"""


def test_how_a_process_rounds_decides_nothing(new_cluster):
    cluster = new_cluster(3)
    load_after(cluster["n1"], FLOATING_POINT)
    cluster.start()
    n0 = cluster["n0"]
    n0.sql("CREATE TABLE cp.t (d DOUBLE, CHECK (d * 0.5 > 0))")
    n0.sql("INSERT INTO cp.t VALUES (1e-310), (1)")
    n0.sql("CREATE TABLE cp.u (d DOUBLE)")
    n0.sql("INSERT INTO cp.u SELECT i / 7 FROM range(1000) r(i)")
    n0.sql("ALTER TABLE cp.u ALTER d TYPE DOUBLE USING d / 3.0 * 1.1")
    cluster.wait_equal()
    assert states(cluster) == {"ok"}


def test_a_host_of_small_stacks_opens_what_others_have_defined(new_cluster):
    cluster = new_cluster(3).start()
    n0, n1 = cluster["n0"], cluster["n1"]
    n0.sql("CREATE TABLE cp.t (i INTEGER)")
    n0.sql("SET max_expression_depth = 100000")
    n0.sql(f"CREATE VIEW cp.v AS SELECT {'(' * 1800}i{' + 1)' * 1800} AS x FROM cp.t")
    cluster.wait_equal()
    n1.sql("CHECKPOINT cp")
    n1.kill()
    load_after(n1, "import threading; threading.stack_size(2 << 20)")
    n1.start()
    n0.sql("INSERT INTO cp.t VALUES (1)")
    cluster.wait_equal()


@pytest.mark.parametrize("temp_directory", ["/dev/null/x", ""])
def test_memory_ends_for_no_node_though_nothing_can_be_moved_to_files(new_cluster, temp_directory):
    cluster = new_cluster(3).start()
    n0, n1 = cluster["n0"], cluster["n1"]
    n1.sql(f"SET GLOBAL temp_directory = '{temp_directory}'")
    n1.sql("SET GLOBAL memory_limit = '60MB'")
    n0.sql("CREATE TABLE cp.t (i INTEGER PRIMARY KEY, s VARCHAR)")
    for first in range(0, 120_000, 10_000):
        n0.sql(f"INSERT INTO cp.t {ROWS.format(first=first)}")
    cluster.wait_equal()
    n1.sql("CHECKPOINT cp")
    assert states(cluster) == {"ok"}


def test_a_database_of_the_process_is_not_taken_for_the_catalog(new_cluster):
    """Where the process calls the catalog otherwise than all nodes do."""
    cluster = new_cluster(3)
    n0, n1 = cluster["n0"], cluster["n1"]
    n1.catalog, n1.default_catalog = "other", False
    cluster.start()
    n0.sql("CREATE MACRO cp.f(a) AS a + 1")
    n0.sql("CREATE TABLE cp.t (i INTEGER PRIMARY KEY, g INTEGER GENERATED ALWAYS AS (cp.f(i)))")
    n0.sql("INSERT INTO cp.t (i) VALUES (1)")
    n1.sql("ATTACH ':memory:' AS cp")
    n1.sql("CREATE MACRO cp.f(a) AS a * 1000")
    for text in ("FROM other.t", "INSERT INTO other.t (i) VALUES (2)", "DELETE FROM other.t"):
        with pytest.raises(DatabaseError, match='this process has a database "cp" of its own'):
            n1.sql(text)
    n0.sql("INSERT INTO cp.t (i) VALUES (3)")
    n1.sql("DETACH cp")
    wait_for(lambda: n1.sql("FROM other.t ORDER BY i") == [(1, 2), (3, 4)], "the rows of n0")
    cluster.wait_equal()


OVERLOAD = "database.create_function('concat', lambda x: '5', ['INTEGER'], 'VARCHAR')"
OWN = "database.create_function('own', lambda x: x + 1, ['INTEGER'], 'INTEGER')"


def test_functions_of_one_process_are_no_part_of_definitions(new_cluster):
    cluster = new_cluster(3).start()
    n0, n1 = cluster["n0"], cluster["n1"]
    n0.process.python(OVERLOAD)
    n0.process.python(OWN)
    n1.sql("CREATE TABLE cp.t (i INTEGER, CHECK (concat(i) <> '5'), g VARCHAR AS (concat(i)))")
    n1.sql("CREATE INDEX x ON cp.t ((concat(i)))")
    for node in (n0, n1):
        node.sql("INSERT INTO cp.t VALUES (8)")
        with pytest.raises(DatabaseError, match="CHECK constraint failed"):
            node.sql("INSERT INTO cp.t VALUES (5)")
    for call in ("own(i)", "concat(i)::INTEGER"):
        for definition in (
            f"CREATE TABLE cp.refused (i INTEGER, CHECK ({call} > 0))",
            f"CREATE TABLE cp.refused (i INTEGER, g INTEGER AS ({call}))",
            f"CREATE VIEW cp.refused AS SELECT {call} FROM cp.t",
            f"CREATE MACRO cp.refused(i) AS {call}",
            f"CREATE INDEX refused ON cp.t (({call}))",
        ):
            with pytest.raises(DatabaseError, match="which this process has made for itself, or changed"):
                n0.sql(definition)
    cluster.wait_equal()
    for node in cluster.alive():
        node.kill_and_start()
    cluster.wait_equal()
    assert states(cluster) == {"ok"}


def test_the_environment_decides_about_no_stack(new_cluster):
    cluster = new_cluster(3)
    cluster["n1"].environment = {"RUST_MIN_STACK": "16384"}
    cluster.start()
    cluster["n1"].sql("CREATE TABLE cp.t (i INTEGER)")
    cluster["n1"].sql("INSERT INTO cp.t SELECT range FROM range(10000)")
    cluster.wait_equal()
    assert states(cluster) == {"ok"}


CLOSED_AND_SERVED_AGAIN = """
for number in range(4):
    host = duckdb.connect(config={{"allow_unsigned_extensions": "true"}})
    host.execute("LOAD '{extension}'")
    uri = host.execute(
        "CALL quack_serve('quack:127.0.0.1:{port}', token := '{token}', node_id := 'n0', data_dir := '{folder}')"
    ).fetchall()[0][0]
    host.execute(f"ATTACH '{{uri}}' AS cp (TYPE quack, TOKEN '{token}')")
    host.execute("CREATE TABLE IF NOT EXISTS cp.t (i INTEGER)")
    host.execute(f"INSERT INTO cp.t VALUES ({{number}})")
    result = host.execute("SELECT count(*) FROM cp.t").fetchall()
    host.close()
"""


def test_a_process_closes_a_database_and_serves_its_folder_again(new_process, tmp_path):
    """The server ends when its instance is closed, though its own end closes the instance's last part."""
    (port,) = free_ports(1)
    code = CLOSED_AND_SERVED_AGAIN.format(extension=EXTENSION, port=port, token=TOKEN, folder=tmp_path / "data")
    process = new_process()
    assert process.python(code) == [[4]]

    def guardians():
        tasks = f"/proc/{process.popen.pid}/task"
        return [task for task in os.listdir(tasks) if "quack" in Path(tasks, task, "comm").read_text()]

    wait_for(lambda: guardians() == [], "the last server to end")


FORKS = """
import os, time
result = os.fork()
if result == 0:
    for descriptor in range(3):
        os.close(descriptor)
    time.sleep(600)
    os._exit(0)
"""


def test_a_child_of_a_killed_process_keeps_neither_its_port_nor_its_folder(new_cluster):
    cluster = new_cluster(3).start()
    n0, n1 = cluster["n0"], cluster["n1"]
    n0.sql("CREATE TABLE cp.t AS SELECT 42 AS i")
    child = n0.process.python(FORKS)
    try:
        n0.sql("INSERT INTO cp.t VALUES (43)")
        n0.kill_and_start()
        n1.sql("INSERT INTO cp.t VALUES (44)")
        cluster.wait_equal()
        assert n0.sql("FROM cp.t ORDER BY i") == [(42,), (43,), (44,)]
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)
