"""MERGE with several actions, whose rows come from several threads at the same time: RETURNING gives what plain DuckDB's gives."""

import duckdb
from quack_testing.node import Node

ROUNDS = 150
SETUP = [
    "CREATE OR REPLACE TABLE {at}t (id INTEGER PRIMARY KEY, x VARCHAR)",
    "INSERT INTO {at}t SELECT range, 'old' FROM range(6)",
]
MERGE = """MERGE INTO {at}t AS t USING (SELECT unnest([2, 3, 4, 5, 6, 7, 8, 9, 10, 11]) AS id) s ON (t.id = s.id)
    WHEN MATCHED AND s.id < 4 THEN UPDATE SET x = 'updated'
    WHEN MATCHED THEN DELETE
    WHEN NOT MATCHED BY SOURCE THEN UPDATE SET x = 'without'
    WHEN NOT MATCHED AND s.id < 8 THEN INSERT (id, x) VALUES (s.id, 'first')
    WHEN NOT MATCHED AND s.id < 10 THEN INSERT (id, x) VALUES (s.id, 'second')
    WHEN NOT MATCHED THEN INSERT (id, x) VALUES (s.id, 'third')
    RETURNING merge_action, *"""


def test_all_actions_return_their_rows(tmp_path, track):
    plain = duckdb.connect()
    plain.execute("SET threads = 1")
    for statement in SETUP:
        plain.execute(statement.format(at=""))
    expected = plain.execute(MERGE.format(at="")).fetchall()
    node = track(Node(tmp_path))
    node.start()
    node.sql("SET threads = 4")
    for number in range(ROUNDS):
        for statement in SETUP:
            node.sql(statement.format(at="cp."))
        if number % 2:
            node.sql("BEGIN")
        # In the order of the actions.
        assert node.sql(MERGE.format(at="cp.")) == expected
        if number % 2:
            node.sql("COMMIT")
    assert node.sql("SELECT count(*) FROM cp.t") == plain.execute("SELECT count(*) FROM t").fetchall()
