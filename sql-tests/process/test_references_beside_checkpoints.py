"""All nodes check foreign keys alike, even if one of them writes a checkpoint meanwhile."""

import threading
import time

import pytest
from quack_testing.process import DatabaseError

SECONDS = 5
CHILDREN = {
    "updated": "UPDATE cp.t1 SET c = [{i}] WHERE k % 20 = {i} % 20",
    "deleted and inserted": "BEGIN; CREATE TEMP TABLE o AS FROM cp.t1 WHERE k % 20 = {i} % 20; DELETE FROM cp.t1 WHERE k % 20 = "
    "{i} % 20; INSERT INTO cp.t1 FROM o; DROP TABLE o; COMMIT",
}


@pytest.mark.parametrize("change", CHILDREN)
def test_rows_that_are_referred_to_are_deleted_beside_checkpoints(cluster, change):
    nodes = list(cluster.nodes.values())
    for statement in (
        "CREATE TABLE cp.t0 (k BIGINT PRIMARY KEY)",
        "CREATE TABLE cp.t1 (k BIGINT, p BIGINT REFERENCES t0 (k), c INTEGER[])",
        "INSERT INTO cp.t0 SELECT x FROM range(20) r(x)",
        "INSERT INTO cp.t1 SELECT x, x % 20, [1] FROM range(300) r(x)",
    ):
        nodes[0].sql(statement)
    cluster.wait_equal()
    end, wrong = time.monotonic() + SECONDS, []

    def loop(node, name, make):
        i = 0
        while time.monotonic() < end and not wrong:
            i += 1
            try:
                for statement in make(i).split("; "):
                    node.sql(statement, name)
            except DatabaseError as error:
                if not any(words in str(error) for words in ("onstraint", "onflict", "CHECKPOINT", "checkpoint")):
                    wrong.append(f"{name}: {error}")
                if "BEGIN" in make(i):
                    node.sql("ROLLBACK", name)

    work = [
        *((node, f"checkpoint {node.name}", lambda i: "CHECKPOINT cp") for node in nodes[1:]),
        (nodes[0], "children", lambda i: CHILDREN[change].format(i=i)),
        (nodes[0], "parents", lambda i: f"DELETE FROM cp.t0 WHERE k = {i % 20}"),
        (nodes[0], "others", lambda i: f"DELETE FROM cp.t0 WHERE k = {(i + 7) % 20}"),
    ]
    threads = [threading.Thread(target=loop, args=arguments) for arguments in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert [node.sql("SELECT state, reason FROM quack_raft_status()") for node in nodes] == [[("ok", None)]] * 3
    cluster.wait_equal()
    assert nodes[0].value("SELECT count(*) FROM cp.t1") == 300
