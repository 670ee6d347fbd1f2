"""Checkpoints that are asked for again and again beside commits, in a host that has DuckDB write some of its own: every
statement ends."""

import threading

from quack_testing.node import Node

CHECKPOINTS = 200
# A checkpoint looks at all of them before it begins.
TABLES = 300
SECONDS_MAX = 60


def test_every_commit_ends_beside_checkpoints(tmp_path, track):
    node = track(Node(tmp_path))
    node.start()
    node.sql("SET GLOBAL checkpoint_threshold = '1B'")
    node.sql("BEGIN")
    for number in range(TABLES):
        node.sql(f"CREATE TABLE wide{number} (a INTEGER, b INTEGER)")
    node.sql("CREATE TABLE t (a INTEGER)")
    node.sql("COMMIT")
    done = threading.Event()
    inserted = []

    def insert():
        while not done.is_set():
            node.sql("INSERT INTO t VALUES (1)", "writer", timeout=SECONDS_MAX)
            inserted.append(1)

    writer = threading.Thread(target=insert)
    writer.start()
    try:
        for _ in range(CHECKPOINTS):
            node.sql("CHECKPOINT cp", "keeper", timeout=SECONDS_MAX)
    finally:
        done.set()
        writer.join()
    assert node.sql("SELECT count(*) FROM t") == [(len(inserted),)] and len(inserted) > 10
    node.kill_and_start()
    assert node.sql("SELECT count(*) FROM t") == [(len(inserted),)]
