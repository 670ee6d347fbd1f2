"""Statements that meet a conflict run again by themselves, and mean the same."""

import json
import subprocess

from quack_testing.process import EXTENSION, PYTHON, ROOT

HOST = ROOT / "sql-tests/python/quack_testing/hot_counter_host.py"
ROUNDS = 100


def test_a_counter_that_all_threads_raise_in_different_ways_is_exact(tmp_path):
    output = subprocess.run(
        [PYTHON, HOST, EXTENSION, tmp_path / "n0", str(ROUNDS)], capture_output=True, text=True, timeout=120, check=True
    )
    report = json.loads(output.stdout)
    assert report["errors"] == []
    assert set(report["raised"].values()) == {ROUNDS}
    assert report["counter"] == [[ROUNDS * len(report["raised"])], [0]]
    assert report["seen_are_different"]


def test_what_an_appender_writes_is_not_looked_for_in_its_text(new_node):
    node = new_node(c_api=True).start()
    node.sql("CREATE TABLE plain (a INTEGER PRIMARY KEY, b VARCHAR)")
    node.sql("CREATE TABLE log (n INTEGER)")
    node.sql("CREATE TABLE logged (a INTEGER PRIMARY KEY, b VARCHAR)")
    node.sql("CREATE TRIGGER count AFTER INSERT ON logged INSERT INTO log VALUES (1)")
    for table in ("plain", "logged"):
        node.process.append(("cp", "main", table), [["1", "one"], ["2", "two"]])
        assert node.sql(f"FROM {table} ORDER BY a") == [("1", "one"), ("2", "two")]
    assert node.sql("FROM log") == [("1",)]
