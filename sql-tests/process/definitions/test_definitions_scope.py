"""Definitions that reach what one node alone has: other databases, functions made in Python, files.

What a node evaluates when it applies an entry (checks, generated columns, indexes, defaults that fill a column) must not
reach any of it, so it is refused in words. Views and macros are refused or stored; no node stops because of them.
"""

import pytest
from quack_testing.scenarios import EITHER, REFUSED, Scenario

MEM = (
    "ATTACH ':memory:' AS mem",
    "CREATE TABLE mem.t AS SELECT 5 AS i",
    "CREATE MACRO mem.dbl(x) AS x * 2",
    "CREATE MACRO mem.all_of() AS TABLE FROM mem.t",
    "CREATE SEQUENCE mem.q",
    "CREATE TYPE mem.mood AS ENUM ('sad', 'glad')",
    "CREATE TABLE cp.{s}.t (i INTEGER)",
    "INSERT INTO cp.{s}.t VALUES (1)",
    "CREATE TABLE cp.{s}.l (i INTEGER)",
)
ROWS = ("INSERT INTO cp.{s}.t (i) VALUES (4)", ("b", "INSERT INTO cp.{s}.t (i) VALUES (3)"))

# What every node would evaluate by itself: refused.
EVALUATED = {
    "check_of_macro": "CREATE TABLE cp.{s}.u (i INTEGER, CHECK (mem.dbl(i) < 10))",
    "check_of_macro_in_main": "CREATE TABLE cp.{s}.u (i INTEGER, CHECK (mem.main.dbl(i) < 10))",
    "generated_column": "CREATE TABLE cp.{s}.u (i INTEGER, g INTEGER GENERATED ALWAYS AS (mem.dbl(i)))",
    "index": "CREATE INDEX by_dbl ON cp.{s}.t ((mem.dbl(i)))",
    "added_default": "ALTER TABLE cp.{s}.t ADD COLUMN j INTEGER DEFAULT mem.dbl(4)",
    "alter_type": "ALTER TABLE cp.{s}.t ALTER i TYPE BIGINT USING mem.dbl(i)",
    "check_of_cast": "CREATE TABLE cp.{s}.u (v VARCHAR, CHECK (v::mem.mood > 'sad'::mem.mood))",
    "added_sequence": "ALTER TABLE cp.{s}.t ADD COLUMN j BIGINT DEFAULT nextval('mem.q')",
    "generated_of_cast": "CREATE TABLE cp.{s}.u (v VARCHAR, g mem.mood AS (v::mem.mood))",
    "transaction": "BEGIN; CREATE TABLE cp.{s}.u (i INTEGER, CHECK (mem.dbl(i) < 10)); COMMIT",
}
# Evaluated at the origin of a write, or a type that can be written out: refused or working, as it may be.
AT_ORIGIN = {
    "default_of_macro": "CREATE TABLE cp.{s}.u (i INTEGER, j INTEGER DEFAULT mem.dbl(4))",
    "default_of_sequence": "CREATE TABLE cp.{s}.u (i INTEGER, j BIGINT DEFAULT nextval('mem.q'))",
    "set_default": "ALTER TABLE cp.{s}.t ALTER i SET DEFAULT mem.dbl(4)",
    "default_of_cast": "CREATE TABLE cp.{s}.u (i INTEGER, v VARCHAR DEFAULT 'sad'::mem.mood)",
    "type": "CREATE TABLE cp.{s}.u (i INTEGER, m mem.mood)",
    "nested_type": "CREATE TABLE cp.{s}.u (i INTEGER, m STRUCT(a mem.mood[]))",
    "type_of_query": "CREATE TABLE cp.{s}.u AS SELECT 1 AS i, 'sad'::mem.mood AS m",
    "added_type": "ALTER TABLE cp.{s}.t ADD COLUMN m mem.mood DEFAULT 'sad'",
    "changed_type": "ALTER TABLE cp.{s}.t ALTER i TYPE mem.mood USING 'sad'",
    "alias_of_type": "CREATE TYPE cp.{s}.kind AS mem.mood",
    "rows_of_query": "CREATE TABLE cp.{s}.u AS SELECT i, mem.dbl(i) AS j FROM mem.t",
}
STORED = {
    "view_of_table": "CREATE VIEW cp.{s}.v AS FROM mem.t",
    "view_of_macro": "CREATE VIEW cp.{s}.v AS SELECT mem.dbl(i) AS i FROM cp.{s}.t",
    "view_of_table_macro": "CREATE VIEW cp.{s}.v AS FROM mem.all_of()",
    "view_of_cast": "CREATE VIEW cp.{s}.v AS SELECT 'sad'::mem.mood AS m",
    "view_of_query": "CREATE VIEW cp.{s}.v AS FROM query('FROM mem.t')",
    "view_of_query_table": "CREATE VIEW cp.{s}.v AS FROM query_table('mem.t')",
    "view_of_subquery": "CREATE VIEW cp.{s}.v AS SELECT i FROM cp.{s}.t WHERE i < (SELECT max(i) FROM mem.t)",
    "view_of_catalog_function": "CREATE VIEW cp.{s}.v AS SELECT database_name FROM duckdb_databases()",
    "view_in_use": "USE mem; CREATE VIEW cp.{s}.v AS FROM t",
    "macro": "CREATE MACRO cp.{s}.m(i) AS mem.dbl(i)",
    "macro_of_table": "CREATE MACRO cp.{s}.m() AS TABLE FROM mem.t",
    "macro_of_subquery": "CREATE MACRO cp.{s}.m() AS (SELECT max(i) FROM mem.t)",
    "macro_of_query": "CREATE MACRO cp.{s}.m() AS TABLE FROM query('FROM mem.t')",
    "macro_of_names": "CREATE MACRO cp.{s}.m(n) AS TABLE FROM query_table(n)",
    "trigger": "CREATE TRIGGER logs AFTER INSERT ON cp.{s}.t INSERT INTO mem.t VALUES (1)",
    "trigger_that_reads": "CREATE TRIGGER logs AFTER INSERT ON cp.{s}.t INSERT INTO cp.{s}.l SELECT i FROM mem.t",
    "trigger_of_macro": "CREATE TRIGGER logs AFTER INSERT ON cp.{s}.t INSERT INTO cp.{s}.l SELECT mem.dbl(1)",
}
# By way of the catalog's own macros, which may be defined.
BY_MACRO = {
    "check_by_macro": "CREATE TABLE cp.{s}.u (i INTEGER, CHECK (cp.{s}.m(i) < 10))",
    "generated_by_macro": "CREATE TABLE cp.{s}.u (i INTEGER, g INTEGER AS (cp.{s}.m(i)))",
    "index_by_macro": "CREATE INDEX by_m ON cp.{s}.t ((cp.{s}.m(i)))",
    "added_default_by_macro": "ALTER TABLE cp.{s}.t ADD COLUMN j INTEGER DEFAULT cp.{s}.m(4)",
}


def split(text):
    return tuple(text.split("; "))


DATABASES = [
    *(
        Scenario(f"mem_{name}", split(text), EITHER if name == "transaction" else REFUSED, r"\bmem\b", before=MEM)
        for name, text in EVALUATED.items()
    ),
    *(
        Scenario(f"mem_{name}", split(text), EITHER, r"\bmem\b|mood", before=MEM, uses=ROWS if "set_default" in name else ())
        for name, text in AT_ORIGIN.items()
    ),
    *(Scenario(f"mem_{name}", split(text), EITHER, r"\bmem\b|database", before=MEM) for name, text in STORED.items()),
    *(
        Scenario(f"mem_{name}", ("CREATE MACRO cp.{s}.m(i) AS mem.dbl(i)", text), REFUSED, r"\bmem\b", before=MEM)
        for name, text in BY_MACRO.items()
    ),
]

# Also with the name of one of DuckDB's own functions, and with that of a macro of the catalog.
CREATE_FUNCTIONS = """
import duckdb.sqltypes
for name in ("twice", "hidden", "{name}"):
    database.create_function(name, lambda x: x * 2, [duckdb.sqltypes.INTEGER], duckdb.sqltypes.INTEGER)
database.create_function("nothing", lambda: 7, [], duckdb.sqltypes.INTEGER)
"""
PYTHON = CREATE_FUNCTIONS.replace("{name}", "thrice")
PYTHON_BEFORE = ("CREATE TABLE cp.{s}.t (i INTEGER)", "CREATE TABLE cp.{s}.l (i INTEGER)", "INSERT INTO cp.{s}.t VALUES (1)")
PYTHON_EVALUATED = {
    "check": "CREATE TABLE cp.{s}.u (i INTEGER, CHECK (twice(i) < 10))",
    "generated": "CREATE TABLE cp.{s}.u (i INTEGER, g INTEGER GENERATED ALWAYS AS (twice(i)))",
    "index": "CREATE INDEX by_twice ON cp.{s}.t ((twice(i)))",
    "added_default": "ALTER TABLE cp.{s}.t ADD COLUMN j INTEGER DEFAULT twice(4)",
    "added_default_of_nothing": "ALTER TABLE cp.{s}.t ADD COLUMN j INTEGER DEFAULT nothing()",
    "alter_type": "ALTER TABLE cp.{s}.t ALTER i TYPE BIGINT USING twice(i)",
    "check_in_subexpression": "CREATE TABLE cp.{s}.u (i INTEGER, CHECK (CASE WHEN i > 3 THEN twice(i) ELSE 1 END < 10))",
    "index_in_lambda": "CREATE INDEX by_l ON cp.{s}.t ((list_transform([i], lambda x: twice(x))[1]))",
}
PYTHON_STORED = {
    "view": ("CREATE VIEW cp.{s}.v AS SELECT twice(i) AS i FROM cp.{s}.t",),
    "view_of_view": ("CREATE VIEW cp.{s}.v AS SELECT twice(i) AS i FROM cp.{s}.t", "CREATE VIEW cp.{s}.w AS FROM cp.{s}.v"),
    "macro": ("CREATE MACRO cp.{s}.m(i) AS twice(i)",),
    "macro_of_table": ("CREATE MACRO cp.{s}.m() AS TABLE SELECT twice(i) FROM cp.{s}.t",),
    "default": ("CREATE TABLE cp.{s}.u (i INTEGER, j INTEGER DEFAULT nothing())",),
    "set_default": ("ALTER TABLE cp.{s}.t ALTER i SET DEFAULT nothing()",),
    "trigger": ("CREATE TRIGGER logs AFTER INSERT ON cp.{s}.t INSERT INTO cp.{s}.l SELECT twice(1)",),
    "view_with_rows": ("CREATE VIEW cp.{s}.v AS SELECT twice(i) AS i FROM cp.{s}.t", "CREATE TABLE cp.{s}.u AS FROM cp.{s}.v"),
}
PYTHON_BY_MACRO = {
    "check_by_macro": ("CREATE MACRO cp.{s}.m(i) AS twice(i)", "CREATE TABLE cp.{s}.u (i INTEGER, CHECK (cp.{s}.m(i) < 10))"),
    "index_by_macro": ("CREATE MACRO cp.{s}.m(i) AS twice(i)", "CREATE INDEX by_m ON cp.{s}.t ((cp.{s}.m(i)))"),
    # The name is that of a function of DuckDB when the node that applies it has none in Python.
    "check_by_later_function": ("CREATE TABLE cp.{s}.u (i INTEGER, CHECK (nothing() + i < 10))",),
}
# Functions in Python at the others: they have the names of what definitions use.
PYTHON_AROUND = """
import duckdb.sqltypes
for name in ("abs", "upper", "m", "md5", "concat", "nextval"):
    try:
        database.create_function(name, lambda x: x, [duckdb.sqltypes.VARCHAR], duckdb.sqltypes.VARCHAR)
        database.create_function(name, lambda x: x + 100, [duckdb.sqltypes.INTEGER], duckdb.sqltypes.INTEGER)
    except Exception:
        pass
"""
COVERED = {
    "check": ("CREATE TABLE cp.{s}.u (i INTEGER, CHECK (abs(i) < 10))", "INSERT INTO cp.{s}.u VALUES (-1)"),
    "generated": ("CREATE TABLE cp.{s}.u (v VARCHAR, g VARCHAR AS (upper(v)))", "INSERT INTO cp.{s}.u VALUES ('a')"),
    "index": ("CREATE UNIQUE INDEX by_abs ON cp.{s}.t ((abs(i)))", "INSERT INTO cp.{s}.t VALUES (2)"),
    "macro": (
        "CREATE MACRO cp.{s}.m(i) AS i + 1",
        "CREATE TABLE cp.{s}.u (i INTEGER, CHECK (cp.{s}.m(i) < 10))",
        "INSERT INTO cp.{s}.u VALUES (-1)",
    ),
    "alter_type": ("ALTER TABLE cp.{s}.t ALTER i TYPE VARCHAR USING md5(concat(i::VARCHAR, 'x'))",),
    "view": ("CREATE VIEW cp.{s}.v AS SELECT abs(i) AS i FROM cp.{s}.t",),
    "added_default": ("ALTER TABLE cp.{s}.t ADD COLUMN j VARCHAR DEFAULT upper('x')", "FROM cp.{s}.t"),
}


FUNCTIONS = [
    *(
        Scenario(f"python_{name}", (text,), REFUSED, "twice|nothing", before=PYTHON_BEFORE, python=PYTHON)
        for name, text in PYTHON_EVALUATED.items()
    ),
    *(
        Scenario(f"python_{name}", texts, EITHER, "twice|nothing", before=PYTHON_BEFORE, python=PYTHON)
        for name, texts in PYTHON_STORED.items()
    ),
    *(
        Scenario(f"python_{name}", texts, REFUSED, "twice|nothing", before=PYTHON_BEFORE, python=PYTHON)
        for name, texts in PYTHON_BY_MACRO.items()
    ),
    *(
        Scenario(
            f"python_around_{name}", texts, EITHER, "made for itself, or changed", before=PYTHON_BEFORE, python_around=PYTHON_AROUND
        )
        for name, texts in COVERED.items()
    ),
]

WRITE_FILE = """
with open("x.csv", "w") as file:
    file.write("i,v\\n1,one\\n2,two\\n")
"""
FILES = [
    # Only `a` has the file, in the folder in which its process works; after the kill, it works in another one.
    Scenario("file_view", ("CREATE VIEW cp.{s}.v AS FROM 'x.csv'",), EITHER, "file|csv", python=WRITE_FILE),
    Scenario("file_view_of_function", ("CREATE VIEW cp.{s}.v AS FROM read_csv('x.csv')",), EITHER, "file|csv", python=WRITE_FILE),
    Scenario(
        "file_view_of_view",
        ("CREATE VIEW cp.{s}.v AS FROM 'x.csv'", "CREATE VIEW cp.{s}.w AS SELECT i FROM cp.{s}.v WHERE i > 1"),
        EITHER,
        "file|csv",
        python=WRITE_FILE,
    ),
    Scenario("file_view_of_text", ("CREATE VIEW cp.{s}.v AS FROM read_text('x.csv')",), EITHER, "file|csv", python=WRITE_FILE),
    Scenario("file_view_of_glob", ("CREATE VIEW cp.{s}.v AS FROM glob('*.csv')",), EITHER, "file|glob", python=WRITE_FILE),
    Scenario("file_view_with_names", ("CREATE VIEW cp.{s}.v (a, b) AS FROM 'x.csv'",), EITHER, "file|csv", python=WRITE_FILE),
    Scenario("file_view_replaced", ("CREATE VIEW cp.{s}.v AS SELECT 1 AS i", "CREATE OR REPLACE VIEW cp.{s}.v AS FROM 'x.csv'"),
             EITHER, "file|csv", python=WRITE_FILE),
    Scenario("file_view_comment", ("CREATE VIEW cp.{s}.v AS FROM 'x.csv'", "COMMENT ON COLUMN cp.{s}.v.i IS 'of a file'",
                                   "ALTER VIEW cp.{s}.v RENAME TO w"), EITHER, "file|csv", python=WRITE_FILE),
    Scenario("file_macro", ("CREATE MACRO cp.{s}.m() AS TABLE FROM 'x.csv'",), EITHER, "file|csv", python=WRITE_FILE),
    Scenario("file_scalar_macro", ("CREATE MACRO cp.{s}.m() AS (SELECT max(i) FROM 'x.csv')",), EITHER, "file|csv",
             python=WRITE_FILE),
    Scenario(
        "file_trigger",
        ("CREATE TRIGGER logs AFTER INSERT ON cp.{s}.t INSERT INTO cp.{s}.l SELECT i FROM 'x.csv'",),
        EITHER,
        "file|csv",
        before=("CREATE TABLE cp.{s}.t (i INTEGER)", "CREATE TABLE cp.{s}.l (i INTEGER)"),
        python=WRITE_FILE,
    ),
    # Rows of a file travel as rows.
    Scenario("file_rows", ("CREATE TABLE cp.{s}.u AS FROM 'x.csv'", "INSERT INTO cp.{s}.u FROM 'x.csv'"), python=WRITE_FILE,
             probes=("FROM cp.{s}.u ORDER BY ALL",)),
    Scenario("file_in_transaction", ("BEGIN", "CREATE VIEW cp.{s}.v AS FROM 'x.csv'", "CREATE TABLE cp.{s}.u AS FROM cp.{s}.v",
                                     "COMMIT"), EITHER, "file|csv", python=WRITE_FILE),
]  # fmt: skip
# Views of what a process alone knows by name.
REPLACED = [
    Scenario("variable_view", ("CREATE VIEW cp.{s}.v AS SELECT getvariable('place') AS p",), EITHER, "variable",
             before=("SET VARIABLE place = 'here'",)),
    Scenario("variable_check", ("CREATE TABLE cp.{s}.u (i INTEGER, CHECK (i < getvariable('most')))",), EITHER, "variable",
             before=("SET VARIABLE most = 9",)),
    Scenario("temporary_view", ("CREATE VIEW cp.{s}.v AS FROM temporary",), EITHER, "temp",
             before=("CREATE TEMP TABLE temporary AS SELECT 1 AS i",)),
    Scenario("temporary_macro_in_check", ("CREATE TABLE cp.{s}.u (i INTEGER, CHECK (own(i) < 9))",), REFUSED, "own|temp",
             before=("CREATE TEMP MACRO own(i) AS i + 1",)),
    Scenario("temporary_type", ("CREATE TABLE cp.{s}.u (i own)",), EITHER, "own|temp",
             before=("CREATE TEMP TYPE own AS ENUM ('x')",)),
    Scenario("temporary_sequence", ("CREATE TABLE cp.{s}.u (i BIGINT DEFAULT nextval('own'))",), EITHER, "own|temp",
             before=("CREATE TEMP SEQUENCE own",)),
    Scenario("memory_macro_in_check", ("CREATE TABLE cp.{s}.u (i INTEGER, CHECK (memory.main.own(i) < 9))",), REFUSED,
             "own|memory", before=("CREATE MACRO memory.main.own(i) AS i + 1",)),
]  # fmt: skip


@pytest.mark.parametrize("scenario", [*DATABASES, *FUNCTIONS, *FILES, *REPLACED], ids=lambda scenario: scenario.name)
def test_a_definition_reaches_nothing_that_one_node_alone_has(play, scenario):
    play(scenario)
