"""A statement larger than any entry of the log is one statement still: atomic, and in bounded memory."""

import os
import threading
import time

import pytest

from quack_testing.process import DatabaseError

ROWS = int(os.environ.get("QUACK_LARGE_ROWS", "20000000"))
MEMORY_LIMIT = "1GB"
# What DuckDB may use, and as much again for what is on its way through the log.
RESIDENT_BYTES_MAX = 2 * 10**9


def resident_bytes_max(process):
    with open(f"/proc/{process.pid}/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def test_a_very_large_copy_is_atomic_and_bounded(new_node, tmp_path):
    node = new_node(config={"memory_limit": MEMORY_LIMIT, "temp_directory": f"{tmp_path}/spill"}).start()
    node.sql(
        f"COPY (SELECT i AS id, (i * 7919) % 1000 AS tenant, 'payload ' || i AS payload FROM range({ROWS}) r(i)) "
        f"TO '{tmp_path}/rows.parquet'"
    )
    node.sql("CREATE TABLE t (id BIGINT, tenant INTEGER, payload VARCHAR)")
    running = node.process.start_sql(f"COPY t FROM '{tmp_path}/rows.parquet'", "loader")
    seen = set()
    while not running.done():
        seen.add(node.value("SELECT count(*) FROM t", "watcher"))
        time.sleep(0.05)
    assert running.result(0) == [(ROWS,)]
    assert seen <= {0, ROWS}, f"a part of the statement was visible: {sorted(seen)[:5]}"
    assert resident_bytes_max(node.process) < RESIDENT_BYTES_MAX
    expected = [(ROWS, ROWS * (ROWS - 1) // 2, ROWS)]
    assert node.sql("SELECT count(*), sum(id), count(DISTINCT id) FROM t") == expected
    node.kill_and_start()
    assert node.sql("SELECT count(*), sum(id), count(DISTINCT id) FROM t") == expected
    assert node.stop() == 0


@pytest.mark.parametrize("end", ["error", "interrupt", "kill"])
def test_a_large_statement_that_does_not_end_leaves_nothing(new_node, end):
    node = new_node().start()
    node.sql("CREATE TABLE t (id BIGINT, payload VARCHAR)")
    node.sql("INSERT INTO t VALUES (-1, 'before')")
    # Large enough to be in the middle of it after half a second; an error comes at the end of less.
    rows = 3_000_000 if end == "error" else 50_000_000
    bad = f"CASE WHEN i = {rows - 1} THEN error('at the very end') ELSE i END" if end == "error" else "i"
    running = node.process.start_sql(
        f"INSERT INTO t SELECT {bad}, repeat('x', 100) FROM range({rows}) r(i)", "loader"
    )
    if end == "error":
        with pytest.raises(DatabaseError, match="at the very end"):
            running.result(120)
    elif end == "interrupt":
        time.sleep(0.5)
        node.process.request("interrupt", connection="loader")
        with pytest.raises(DatabaseError, match="[Ii]nterrupt"):
            running.result(120)
    else:
        time.sleep(0.5)
        node.kill()
        with pytest.raises(Exception, match="ended"):
            running.result(120)
        node.start()
    assert node.sql("FROM t") == [(-1, "before")]
    assert node.sql("INSERT INTO t SELECT i, 'after' FROM range(10) r(i)") == [(10,)]
    node.kill_and_start()
    assert node.value("SELECT count(*) FROM t") == 11
    assert node.stop() == 0


def test_reads_go_on_while_a_large_statement_is_applied(new_node):
    node = new_node().start()
    node.sql("CREATE TABLE small AS SELECT i AS id FROM range(1000) r(i)")
    node.sql("CREATE TABLE t (id BIGINT, payload VARCHAR)")
    running = node.process.start_sql("INSERT INTO t SELECT i, repeat('x', 50) FROM range(5000000) r(i)", "loader")
    waits = []

    def read():
        while not running.done():
            start = time.monotonic()
            assert node.value("SELECT sum(id) FROM small", "reader") == 499500
            waits.append(time.monotonic() - start)

    reader = threading.Thread(target=read)
    reader.start()
    assert running.result(300) == [(5000000,)]
    reader.join()
    assert len(waits) > 20 and max(waits) < 2.0, (len(waits), max(waits))
    assert node.stop() == 0
