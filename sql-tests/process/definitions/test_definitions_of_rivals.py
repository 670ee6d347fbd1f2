"""Definitions beside another client's: who commits first wins, and what depends on a thing that is dropped is not lost.

Each interleaving runs on plain DuckDB with two connections, too. There the first writer wins, here the first committer.
"""

import pytest
from quack_testing.process import DatabaseError
from quack_testing.scenarios import IN_WORDS, Plain, Scenario, difference, filled, without_texts

THINGS = (
    "CREATE SCHEMA cp.{s}_f",
    "CREATE TABLE cp.{s}.t (i INTEGER PRIMARY KEY, v VARCHAR)",
    "INSERT INTO cp.{s}.t VALUES (1, 'x')",
    "CREATE SEQUENCE cp.{s}.q",
    "CREATE MACRO cp.{s}.m(i) AS i + 1",
    "CREATE TYPE cp.{s}.e AS ENUM ('x')",
    "CREATE VIEW cp.{s}.v AS FROM cp.{s}.t",
    "CREATE TABLE cp.{s}.u (i INTEGER)",
    "INSERT INTO cp.{s}.u VALUES (5)",
)
# What one client does in a transaction, and what the other commits meanwhile.
INTERLEAVINGS = {
    "schema_and_table": (("DROP SCHEMA cp.{s}_f CASCADE",), ("CREATE TABLE cp.{s}_f.t AS SELECT 1 AS i",)),
    "schema_and_table_with_rows": (("DROP SCHEMA cp.{s}_f CASCADE",), ("CREATE TABLE cp.{s}_f.t (i INTEGER)", "INSERT INTO cp.{s}_f.t VALUES (1), (2)")),
    "schema_without_cascade": (("DROP SCHEMA cp.{s}_f",), ("CREATE TABLE cp.{s}_f.t AS SELECT 1 AS i",)),
    "schema_and_view": (("DROP SCHEMA cp.{s}_f CASCADE",), ("CREATE VIEW cp.{s}_f.v AS SELECT 1 AS i",)),
    "schema_and_sequence": (("DROP SCHEMA cp.{s}_f CASCADE",), ("CREATE SEQUENCE cp.{s}_f.q",)),
    "schema_and_macro": (("DROP SCHEMA cp.{s}_f CASCADE",), ("CREATE MACRO cp.{s}_f.m() AS 1",)),
    "schema_and_type": (("DROP SCHEMA cp.{s}_f CASCADE",), ("CREATE TYPE cp.{s}_f.e AS ENUM ('x')",)),
    "schema_and_inner_schema": (("DROP SCHEMA cp.{s}_f CASCADE",), ("CREATE SCHEMA cp.{s}_f.deep", "CREATE TABLE cp.{s}_f.deep.t AS SELECT 1 AS i")),
    "schema_made_again": (("DROP SCHEMA cp.{s}_f CASCADE", "CREATE SCHEMA cp.{s}_f"), ("CREATE TABLE cp.{s}_f.t AS SELECT 1 AS i",)),
    "sequence_and_default": (("DROP SEQUENCE cp.{s}.q",), ("CREATE TABLE cp.{s}.n (i INTEGER, j BIGINT DEFAULT nextval('cp.{s}.q'))", "INSERT INTO cp.{s}.n (i) VALUES (1)")),
    "sequence_and_set_default": (("DROP SEQUENCE cp.{s}.q",), ("ALTER TABLE cp.{s}.u ALTER i SET DEFAULT nextval('cp.{s}.q')",)),
    "sequence_replaced": (("CREATE OR REPLACE SEQUENCE cp.{s}.q START 9",), ("CREATE TABLE cp.{s}.n (i INTEGER, j BIGINT DEFAULT nextval('cp.{s}.q'))",)),
    "sequence_and_view": (("DROP SEQUENCE cp.{s}.q",), ("CREATE VIEW cp.{s}.w AS SELECT nextval('cp.{s}.q') AS n",)),
    "macro_and_view": (("DROP MACRO cp.{s}.m",), ("CREATE VIEW cp.{s}.w AS SELECT cp.{s}.m(1) AS i",)),
    "macro_and_check": (("DROP MACRO cp.{s}.m",), ("CREATE TABLE cp.{s}.n (i INTEGER, CHECK (cp.{s}.m(i) < 9))", "INSERT INTO cp.{s}.n VALUES (1)")),
    "macro_and_generated": (("DROP MACRO cp.{s}.m",), ("CREATE TABLE cp.{s}.n (i INTEGER, g INTEGER AS (cp.{s}.m(i)))", "INSERT INTO cp.{s}.n VALUES (1)")),
    "macro_and_index": (("DROP MACRO cp.{s}.m",), ("CREATE INDEX by_m ON cp.{s}.u ((cp.{s}.m(i)))",)),
    "macro_and_default": (("DROP MACRO cp.{s}.m",), ("CREATE TABLE cp.{s}.n (i INTEGER DEFAULT cp.{s}.m(1))",)),
    "macro_and_macro": (("DROP MACRO cp.{s}.m",), ("CREATE MACRO cp.{s}.n(i) AS cp.{s}.m(i)",)),
    "macro_replaced": (("CREATE OR REPLACE MACRO cp.{s}.m(i) AS i + 2",), ("CREATE TABLE cp.{s}.n (i INTEGER, CHECK (cp.{s}.m(i) < 9))",)),
    "type_and_table": (("DROP TYPE cp.{s}.e",), ("CREATE TABLE cp.{s}.n (e cp.{s}.e)", "INSERT INTO cp.{s}.n VALUES ('x')")),
    "type_and_column": (("DROP TYPE cp.{s}.e",), ("ALTER TABLE cp.{s}.u ADD COLUMN e cp.{s}.e DEFAULT 'x'",)),
    "type_and_view": (("DROP TYPE cp.{s}.e",), ("CREATE VIEW cp.{s}.w AS SELECT 'x'::cp.{s}.e AS e",)),
    "table_and_view": (("DROP TABLE cp.{s}.u",), ("CREATE VIEW cp.{s}.w AS FROM cp.{s}.u",)),
    "table_and_index": (("DROP TABLE cp.{s}.u",), ("CREATE INDEX by_i ON cp.{s}.u (i)",)),
    "table_and_unique_index": (("DROP TABLE cp.{s}.u",), ("CREATE UNIQUE INDEX by_i ON cp.{s}.u (i)",)),
    "table_and_foreign_key": (("DROP VIEW cp.{s}.v", "DROP TABLE cp.{s}.t"), ("CREATE TABLE cp.{s}.n (i INTEGER REFERENCES cp.{s}.t (i))", "INSERT INTO cp.{s}.n VALUES (1)")),
    "table_and_macro": (("DROP TABLE cp.{s}.u",), ("CREATE MACRO cp.{s}.n() AS (SELECT max(i) FROM cp.{s}.u)",)),
    "table_and_trigger": (("DROP TABLE cp.{s}.u",), ("CREATE TRIGGER logs AFTER INSERT ON cp.{s}.u INSERT INTO cp.{s}.t VALUES (9, 'y')",)),
    "table_and_rows": (("DROP TABLE cp.{s}.u",), ("INSERT INTO cp.{s}.u VALUES (6)",)),
    "table_and_alter": (("DROP TABLE cp.{s}.u",), ("ALTER TABLE cp.{s}.u ADD COLUMN j INTEGER",)),
    "table_and_comment": (("DROP TABLE cp.{s}.u",), ("COMMENT ON TABLE cp.{s}.u IS 'kept'",)),
    "table_replaced_and_index": (("CREATE OR REPLACE TABLE cp.{s}.u AS SELECT 1 AS j",), ("CREATE INDEX by_i ON cp.{s}.u (i)",)),
    "table_renamed_and_index": (("ALTER TABLE cp.{s}.u RENAME TO w",), ("CREATE INDEX by_i ON cp.{s}.u (i)",)),
    "column_dropped_and_index": (("ALTER TABLE cp.{s}.u ADD COLUMN j INTEGER", "ALTER TABLE cp.{s}.u DROP COLUMN i"), ("CREATE INDEX by_i ON cp.{s}.u (i)",)),
    "column_renamed_and_view": (("ALTER TABLE cp.{s}.u RENAME i TO j",), ("CREATE VIEW cp.{s}.w AS SELECT i FROM cp.{s}.u",)),
    "alter_and_alter": (("ALTER TABLE cp.{s}.u ADD COLUMN j INTEGER",), ("ALTER TABLE cp.{s}.u ADD COLUMN k INTEGER",)),
    "alter_and_rows": (("ALTER TABLE cp.{s}.u ADD COLUMN j INTEGER",), ("INSERT INTO cp.{s}.u VALUES (6)",)),
    "index_and_rows": (("CREATE UNIQUE INDEX by_i ON cp.{s}.u (i)",), ("INSERT INTO cp.{s}.u VALUES (5)",)),
    "index_and_drop": (("CREATE INDEX by_i ON cp.{s}.u (i)",), ("DROP TABLE cp.{s}.u",)),
    "view_and_drop": (("CREATE VIEW cp.{s}.w AS FROM cp.{s}.u",), ("DROP TABLE cp.{s}.u",)),
    "default_and_drop": (("CREATE TABLE cp.{s}.n (i BIGINT DEFAULT nextval('cp.{s}.q'))",), ("DROP SEQUENCE cp.{s}.q",)),
    "check_and_drop": (("CREATE TABLE cp.{s}.n (i INTEGER, CHECK (cp.{s}.m(i) < 9))",), ("DROP MACRO cp.{s}.m",)),
    "type_used_and_drop": (("CREATE TABLE cp.{s}.n (e cp.{s}.e)",), ("DROP TYPE cp.{s}.e",)),
    "foreign_key_and_drop": (("CREATE TABLE cp.{s}.n (i INTEGER REFERENCES cp.{s}.t (i))",), ("DROP VIEW cp.{s}.v", "DROP TABLE cp.{s}.t")),
    "table_in_dropped_schema": (("CREATE TABLE cp.{s}_f.t AS SELECT 1 AS i",), ("DROP SCHEMA cp.{s}_f CASCADE",)),
    "same_name": (("CREATE TABLE cp.{s}.n AS SELECT 1 AS i",), ("CREATE TABLE cp.{s}.n AS SELECT 2 AS i",)),
    "same_view": (("CREATE OR REPLACE VIEW cp.{s}.v AS SELECT 1 AS i",), ("CREATE OR REPLACE VIEW cp.{s}.v AS SELECT 2 AS i",)),
    "same_drop": (("DROP TABLE cp.{s}.u",), ("DROP TABLE cp.{s}.u",)),
    "comments": (("COMMENT ON TABLE cp.{s}.u IS 'a'",), ("COMMENT ON TABLE cp.{s}.u IS 'b'",)),
    "unrelated": (("CREATE TABLE cp.{s}.n AS SELECT 1 AS i",), ("CREATE TABLE cp.{s}.o AS SELECT 2 AS i", "DROP MACRO cp.{s}.m")),
}  # fmt: skip
# Statements of another client that fail, and have nothing to do with what is open.
FAILING = (
    "DROP TABLE cp.{s}.missing",
    "CREATE TABLE cp.{s}.t (i INTEGER)",
    "CREATE VIEW cp.{s}.w AS FROM cp.{s}.missing",
    "ALTER TABLE cp.{s}.t ADD COLUMN v INTEGER",
    "ALTER TABLE cp.{s}.missing ADD COLUMN v INTEGER",
    "CREATE UNIQUE INDEX once ON cp.{s}.twice (i)",
    "CREATE SCHEMA cp.{s}",
    "DROP SCHEMA cp.{s}",
    "CREATE INDEX by_x ON cp.{s}.u (x)",
    "DROP SEQUENCE cp.{s}.missing",
    "ALTER TABLE cp.{s}.text ALTER v TYPE INTEGER",
    "ALTER TABLE cp.{s}.text ALTER w SET NOT NULL",
    "ALTER TABLE cp.{s}.twice ADD PRIMARY KEY (i)",
    "INSERT INTO cp.{s}.t VALUES (1, 'again')",
)
MORE = (
    "CREATE TABLE cp.{s}.twice AS FROM (VALUES (1), (1)) v(i)",
    "CREATE TABLE cp.{s}.text AS SELECT 'x' AS v, NULL::INTEGER AS w",
)


def interleave(target, scenario, steps, settle):
    """Runs the steps; the statements of each client that count in the end, and whether all of its have."""
    done, open_of, good, last = {"a": [], "b": []}, {}, {"a": True, "b": True}, "a"
    for client, text in steps:
        if client != last:
            settle()
        last = client
        answer = target.ask(client, filled(text, scenario))
        assert not answer.error or answer.kind in IN_WORDS, f"{text}: {answer}"
        good[client] = good[client] and not answer.error
        if text == "BEGIN":
            open_of[client] = []
        elif text == "COMMIT":
            # DuckDB says nothing when it commits a transaction of which a statement has failed: it rolls it back.
            done[client] += open_of[client] if good[client] else []
            del open_of[client]
        elif not answer.error:
            open_of.get(client, done[client]).append(text)
    return done, good


def play_interleaving(stage, new_plain, scenario, steps):
    """Both take effect only if they do in plain DuckDB; otherwise one is refused, which of them may differ, and the other
    one's work is all there, as if it had been alone."""
    stage.enter(scenario)
    beside, alone = new_plain("beside"), new_plain("alone")
    for text in THINGS:
        for target in (stage, beside, alone):
            assert not target.ask("a", filled(text, scenario)).error
    _, expected = interleave(beside, scenario, steps, lambda: None)
    done, given = interleave(stage, scenario, steps, stage.settle)
    assert any(given.values()), "both are refused"
    assert not all(given.values()) or all(expected.values()), f"plain DuckDB refuses one: {expected}"
    # With both, it is what plain DuckDB has after both, of which one may be broken.
    if not all(given.values()):
        for client in "ba":
            for text in done[client]:
                assert not (answer := alone.ask(client, filled(text, scenario))).error, f"{text}: {answer}"
    there = beside if all(given.values()) else alone
    assert not stage.unwell()
    stage.settle()
    before = stage.pictures(scenario)
    wrong = difference(without_texts(there.picture()), without_texts(before[0]))
    assert not wrong, f"plain DuckDB <> here: {wrong}"
    stage.kill()
    stage.start()
    assert not stage.unwell()
    stage.settle()
    assert stage.pictures(scenario) == before


@pytest.mark.parametrize("in_transactions", [False, True], ids=["statements", "transactions"])
@pytest.mark.parametrize("name", INTERLEAVINGS)
def test_of_two_definitions_no_more_take_effect_than_in_plain_duckdb(stage, tmp_path, track, name, in_transactions):
    own, others = INTERLEAVINGS[name]
    of_other = ("BEGIN", *others, "COMMIT") if in_transactions else others
    steps = [("a", text) for text in ("BEGIN", *own)] + [("b", text) for text in of_other] + [("a", "COMMIT")]
    scenario = Scenario(f"rival{int(in_transactions)}_{name}", ("",))
    try:
        play_interleaving(stage, lambda of: Plain(tmp_path / of, track, scenario), scenario, steps)
    except BaseException:
        stage.leave()
        raise


@pytest.mark.parametrize("number", range(len(FAILING)))
def test_a_definition_that_fails_ends_no_other_transaction(play, number):
    """Of two clients that have made definitions of their own, and not of the one whose statement fails either."""
    own = ("BEGIN", "CREATE TABLE cp.{s}.n AS SELECT 1 AS i", "ALTER TABLE cp.{s}.u ADD COLUMN j INTEGER", "INSERT INTO cp.{s}.u VALUES (7, 8)")
    fails = ("b", FAILING[number])
    play(Scenario(f"failing_{number}", (*own, fails, "INSERT INTO cp.{s}.n VALUES (2)", fails, "COMMIT"), before=(*THINGS, *MORE)))


@pytest.mark.parametrize("checkpoint", ["FORCE CHECKPOINT cp", "CHECKPOINT cp"])
@pytest.mark.parametrize("held", ["CREATE TABLE cp.{s}.n AS SELECT 1 AS i", "ALTER TABLE cp.{s}.u ADD COLUMN j INTEGER",
                                  "DROP TABLE cp.{s}.u", "CREATE INDEX by_i ON cp.{s}.u (i)", "INSERT INTO cp.{s}.u VALUES (1)"])  # fmt: skip
def test_a_checkpoint_beside_an_open_definition_stops_nothing(stage, held, checkpoint):
    """The transaction may be ended by it; but the node goes on, and all hold the same."""
    scenario = Scenario(f"checkpoint_{held.split()[0]}_{held.split()[1]}_{checkpoint.split()[0]}", ("",))
    stage.leave()
    stage.enter(scenario)
    for text in THINGS:
        stage.nodes[0].sql(text.replace("{s}", scenario.schema), "client b")
    stage.settle()
    stage.nodes[0].sql("BEGIN", "client a")
    stage.nodes[0].sql(held.replace("{s}", scenario.schema), "client a")
    try:
        stage.nodes[0].sql(checkpoint, "client b")
    except DatabaseError as error:
        assert "INTERNAL" not in str(error) and "FATAL" not in str(error), error
    # Also with the transaction still open.
    assert not stage.unwell()
    stage.settle()
    try:
        stage.nodes[0].sql("COMMIT", "client a")
    except DatabaseError as error:
        assert str(error).startswith("TransactionContext Error"), error
    assert not stage.unwell()
    stage.settle()
    before = stage.pictures(scenario)
    stage.kill()
    stage.start()
    assert not stage.unwell()
    stage.settle()
    assert stage.pictures(scenario) == before
    stage.leave()


def test_a_second_attach_takes_nothing_from_others(stage):
    """Not the name `cp`, and not the consistency."""
    scenario = Scenario("attached_twice", ("",))
    stage.leave()
    stage.enter(scenario)
    node = stage.nodes[0]
    node.sql("CREATE TABLE cp.attached_twice.t (i INTEGER)", "first")
    try:
        node.sql(f"ATTACH '{node.uri}' AS second (TYPE quack, TOKEN 'token-of-the-tests', CONSISTENCY 'session')", "second")
    except DatabaseError as error:
        # It may be refused in words.
        assert not str(error).startswith(("INTERNAL", "FATAL")), error
    else:
        node.sql("INSERT INTO second.attached_twice.t VALUES (1)", "second")
        assert node.sql("FROM second.attached_twice.t", "second") == [(1,)]
    for connection in ("first", "client a", "third"):
        node.sql("INSERT INTO cp.attached_twice.t VALUES (2)", connection)
        assert (2,) in node.sql("FROM cp.attached_twice.t", connection)
        # The default catalog of the connection is still there.
        node.sql("FROM attached_twice.t", connection)
    assert not stage.unwell()
    stage.leave()
