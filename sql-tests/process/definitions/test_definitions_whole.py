"""A definition survives its journey through the log whole: every type, collation, option, comment and depth."""

import pytest
from quack_testing.scenarios import EITHER, Scenario

TYPES = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "UHUGEINT", "BIGNUM", "FLOAT", "DOUBLE", "DECIMAL(4,1)", "DECIMAL(9,3)", "DECIMAL(18,6)", "DECIMAL(38,10)", "VARCHAR",
    "BLOB", "BIT", "UUID", "DATE", "TIME", "TIMETZ", "TIME_NS", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS",
    "TIMESTAMPTZ", "INTERVAL", "JSON", "ENUM('a', 'b''c', 'Ä')", "INTEGER[]", "INTEGER[3]", "INTEGER[][]", "VARCHAR[2][]",
    "STRUCT(a INTEGER, b VARCHAR)", 'STRUCT("a b" INTEGER, "select" STRUCT("x""y" DATE))', "MAP(VARCHAR, INTEGER)",
    "MAP(STRUCT(a INTEGER), DOUBLE[])", "UNION(i INTEGER, v VARCHAR)", "VARIANT", "GEOMETRY", '"NULL"',
)  # fmt: skip
EACH = ", ".join(f"c{number} {name}" for number, name in enumerate(TYPES))
OF_TYPES = [
    Scenario("types_created", (f"CREATE TABLE cp.{{s}}.u (i INTEGER, {EACH})",),
             uses=("INSERT INTO cp.{s}.u (i) VALUES (1)", ("b", "INSERT INTO cp.{s}.u (i) VALUES (2)"))),
    Scenario("types_of_query", (f"CREATE TABLE cp.{{s}}.t (i INTEGER, {EACH})", "INSERT INTO cp.{s}.t (i) VALUES (1)",
                                "CREATE TABLE cp.{s}.u AS FROM cp.{s}.t")),
    Scenario("types_added", ("CREATE TABLE cp.{s}.u (i INTEGER)", "INSERT INTO cp.{s}.u VALUES (1)",
                             *(f"ALTER TABLE cp.{{s}}.u ADD COLUMN c{number} {name}" for number, name in enumerate(TYPES)))),
    Scenario("types_with_defaults", tuple(
        f"CREATE TABLE cp.{{s}}.u{number} (i INTEGER, c {name} DEFAULT NULL::{name})" for number, name in enumerate(TYPES))),
    Scenario("types_in_views", tuple(
        f"CREATE VIEW cp.{{s}}.u{number} AS SELECT NULL::{name} AS c" for number, name in enumerate(TYPES))),
    Scenario("types_in_macros", tuple(
        f"CREATE MACRO cp.{{s}}.u{number}() AS NULL::{name}" for number, name in enumerate(TYPES))),
    Scenario("types_in_checks", tuple(
        f"CREATE TABLE cp.{{s}}.u{number} (i INTEGER, CHECK (NULL::{name} IS NULL))" for number, name in enumerate(TYPES))),
    Scenario("types_named", tuple(f"CREATE TYPE cp.{{s}}.u{number} AS {name}" for number, name in enumerate(TYPES))),
    Scenario("types_of_null", ("CREATE TABLE cp.{s}.u AS SELECT NULL AS n, [] AS l, {'a': NULL} AS s, MAP {} AS m",)),
]  # fmt: skip
AGGREGATES = ("sum(1)", "avg(i)", "count(*)", "min('x')", "first(i)", "max(DATE '2020-01-01')", "stddev(i)", "bool_and(i > 1)",
              "approx_count_distinct(i)", "list(i)", "string_agg(i::VARCHAR, ',')", "quantile_cont(i, 0.5)")  # fmt: skip


def of_states():
    for number, aggregate in enumerate(AGGREGATES):
        text = f"CREATE TABLE cp.{{s}}.u AS SELECT {aggregate} EXPORT_STATE AS state FROM range(9) r(i)"
        yield Scenario(f"state_{number}_of_query", (text,), EITHER, "state|type|aggregate|serial")
    yield Scenario(
        "state_combined",
        ("CREATE TABLE cp.{s}.u AS SELECT i % 2 AS k, sum(i) EXPORT_STATE AS state FROM range(9) r(i) GROUP BY ALL",),
        EITHER, "state|type|aggregate",
        uses=("CREATE TABLE cp.{s}.v AS SELECT k, finalize(state) AS n FROM cp.{s}.u ORDER BY ALL",),
        probes=("SELECT k, finalize(state) FROM cp.{s}.u ORDER BY ALL",),
    )  # fmt: skip
    yield Scenario("state_in_view", ("CREATE VIEW cp.{s}.v AS SELECT sum(1) EXPORT_STATE AS state",), EITHER, "state|type")


DEEP_TYPE = "INTEGER"
for level in range(60):
    DEEP_TYPE = f"STRUCT(a{level} {DEEP_TYPE})"
WIDE = ", ".join(f"f{number} INTEGER" for number in range(500))
PARTS = {
    "deep_struct": (f"CREATE TABLE cp.{{s}}.u (s {DEEP_TYPE})", f"CREATE TABLE cp.{{s}}.v AS SELECT NULL::{DEEP_TYPE} AS s"),
    "deep_list": (f"CREATE TABLE cp.{{s}}.u (l INTEGER{'[]' * 100})",),
    "wide_struct": (f"CREATE TABLE cp.{{s}}.u (s STRUCT({WIDE}))",),
    "many_members": (f"CREATE TYPE cp.{{s}}.e AS ENUM ({', '.join(repr(f'm{n}') for n in range(3000))})",
                     "CREATE TABLE cp.{s}.u (e cp.{s}.e)", "INSERT INTO cp.{s}.u VALUES ('m7'), ('m2999')"),
    "enum_of_query": ("CREATE TABLE cp.{s}.t AS SELECT 'x' || i AS v FROM range(20) r(i)",
                      "CREATE TYPE cp.{s}.e AS ENUM (SELECT v FROM cp.{s}.t ORDER BY v)", "CREATE TABLE cp.{s}.u (e cp.{s}.e)",
                      "INSERT INTO cp.{s}.u VALUES ('x3')"),
    "collations": ("CREATE TABLE cp.{s}.u (a VARCHAR COLLATE NOCASE, b VARCHAR COLLATE NOACCENT.NOCASE UNIQUE, c VARCHAR COLLATE de)",
                   "INSERT INTO cp.{s}.u VALUES ('a', 'ä', 'ö')", "INSERT INTO cp.{s}.u VALUES ('A', 'Ä', 'o')",
                   "CREATE TABLE cp.{s}.v AS FROM cp.{s}.u", "CREATE VIEW cp.{s}.w AS SELECT a COLLATE NOCASE AS a FROM cp.{s}.u"),
    "generated": ("CREATE TABLE cp.{s}.u (i INTEGER, v VARCHAR, g INTEGER AS (i * 2), h AS (g + length(v)) VIRTUAL, CHECK (i < 40))",
                  "INSERT INTO cp.{s}.u (i, v) VALUES (1, 'x')", "INSERT INTO cp.{s}.u (i, v) VALUES (45, 'x')"),
    "compression": ("CREATE TABLE cp.{s}.u (i INTEGER USING COMPRESSION rle, v VARCHAR USING COMPRESSION dictionary, f VARCHAR USING COMPRESSION fsst)",
                    "INSERT INTO cp.{s}.u VALUES (1, 'a', 'b')"),
    "constraints": ("CREATE TABLE cp.{s}.p (a INTEGER, b VARCHAR, PRIMARY KEY (a, b), UNIQUE (b, a))",
                    "CREATE TABLE cp.{s}.u (x INTEGER NOT NULL UNIQUE, a INTEGER, b VARCHAR, FOREIGN KEY (a, b) REFERENCES cp.{s}.p (a, b), "
                    "CONSTRAINT positive CHECK (x > 0))", "INSERT INTO cp.{s}.u VALUES (1, NULL, NULL)", "INSERT INTO cp.{s}.u VALUES (1, NULL, NULL)",
                    "INSERT INTO cp.{s}.u VALUES (-1, NULL, NULL)"),
    "comments": ("CREATE TABLE cp.{s}.u (\"a \"\"b\" INTEGER)", "CREATE INDEX ix ON cp.{s}.u (\"a \"\"b\")", "CREATE SEQUENCE cp.{s}.q",
                 "CREATE TYPE cp.{s}.e AS ENUM ('x')", "CREATE MACRO cp.{s}.m() AS 1", "CREATE MACRO cp.{s}.mt() AS TABLE SELECT 1 AS i",
                 "CREATE VIEW cp.{s}.v AS SELECT 1 AS i", "COMMENT ON TABLE cp.{s}.u IS 'it''s; a \"table\"'",
                 "COMMENT ON COLUMN cp.{s}.u.\"a \"\"b\" IS 'c'", "COMMENT ON SEQUENCE cp.{s}.q IS 'q'", "COMMENT ON TYPE cp.{s}.e IS 'e'",
                 "COMMENT ON MACRO cp.{s}.m IS 'm'", "COMMENT ON MACRO TABLE cp.{s}.mt IS 'mt'", "COMMENT ON VIEW cp.{s}.v IS 'v'",
                 "COMMENT ON COLUMN cp.{s}.v.i IS 'column of a view'", "COMMENT ON INDEX cp.{s}.ix IS 'ix'",
                 "COMMENT ON TABLE cp.{s}.u IS NULL", "COMMENT ON TABLE cp.{s}.u IS ''"),
    "names": ('CREATE TABLE cp.{s}."select" ("from" INTEGER, "a.b" VARCHAR)', 'CREATE TABLE cp.{s}."x""y" ("rowid" INTEGER, "z;--" DATE)',
              'CREATE TABLE cp.{s}."ä ö" ("ü" INTEGER CHECK ("ü" > 0))', 'CREATE VIEW cp.{s}."v""w" AS SELECT "ü" AS "a""b" FROM cp.{s}."ä ö"',
              'CREATE MACRO cp.{s}."m n"("p q") AS "p q" + 1', 'CREATE INDEX "i""x" ON cp.{s}."ä ö" ("ü")',
              'DROP INDEX cp.{s}."i""x"', 'DROP VIEW cp.{s}."v""w"', 'ALTER TABLE cp.{s}."ä ö" RENAME "ü" TO "quack_row_id"', 'INSERT INTO cp.{s}."ä ö" VALUES (1)'),
    "names_of_the_code": ("CREATE TABLE cp.{s}.quack_internal (quack_position INTEGER, quack_row_id INTEGER, quack_group VARCHAR)",
                          "INSERT INTO cp.{s}.quack_internal VALUES (1, 2, 'x')", "BEGIN", "CREATE TABLE cp.{s}.u (i INTEGER)",
                          "DELETE FROM cp.{s}.quack_internal WHERE quack_position = 1", "COMMIT"),
    "expressions": ("CREATE VIEW cp.{s}.v AS WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 5) "
                    "SELECT i, sum(i) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) AS s FROM r ORDER BY i",
                    "CREATE VIEW cp.{s}.w AS PIVOT (SELECT * FROM cp.{s}.v) ON i IN (1, 2) USING sum(s)",
                    "CREATE VIEW cp.{s}.x AS FROM (VALUES (1, 'a'), (2, NULL)) t(i, v) SELECT * EXCLUDE (v), COLUMNS('v') AS w",
                    "CREATE VIEW cp.{s}.y AS SELECT 0.1::FLOAT AS f, 1e300 AS d, -0.0::DOUBLE AS z, 'NaN'::DOUBLE AS n, "
                    "12345678901234567890123456789.123456789::DECIMAL(38,9) AS e, '\\x00'::BLOB AS b, E'\\n\\t' AS t, chr(1) AS c",
                    "CREATE MACRO cp.{s}.f(a, b := 5) AS a + b, (a, b, c) AS a * b * c",
                    "CREATE MACRO cp.{s}.g(a) AS TABLE SELECT a AS i UNION ALL SELECT a + 1",
                    "SELECT cp.{s}.f(1), cp.{s}.f(1, b := 2), cp.{s}.f(1, 2, 3)", "FROM cp.{s}.g(1)", "FROM cp.{s}.x ORDER BY ALL", "FROM cp.{s}.y"),
    "sequences": ("CREATE SEQUENCE cp.{s}.q INCREMENT BY -3 MINVALUE -100 MAXVALUE 10 START 4 CYCLE",
                  "CREATE TABLE cp.{s}.u (i BIGINT DEFAULT (nextval('cp.{s}.q') * 2 + 1))", "INSERT INTO cp.{s}.u DEFAULT VALUES"),
    "alters": ("CREATE TABLE cp.{s}.u (i INTEGER, s STRUCT(a INTEGER, b STRUCT(c INTEGER)))", "INSERT INTO cp.{s}.u VALUES (1, {'a': 1, 'b': {'c': 2}})",
               "ALTER TABLE cp.{s}.u ADD COLUMN s.d VARCHAR DEFAULT 'x'", "ALTER TABLE cp.{s}.u RENAME s.b.c TO e", "ALTER TABLE cp.{s}.u DROP COLUMN s.a",
               "ALTER TABLE cp.{s}.u ALTER i SET NOT NULL", "ALTER TABLE cp.{s}.u ALTER i SET DEFAULT 3 + 4", "ALTER TABLE cp.{s}.u ALTER i DROP NOT NULL",
               "ALTER TABLE cp.{s}.u ADD PRIMARY KEY (i)", "ALTER TABLE cp.{s}.u ALTER i DROP DEFAULT"),
    "indexes": ("CREATE TABLE cp.{s}.u (i INTEGER, v VARCHAR)", "CREATE INDEX a ON cp.{s}.u (i, lower(v))",
                "CREATE UNIQUE INDEX b ON cp.{s}.u ((i % 10), v)", "INSERT INTO cp.{s}.u VALUES (1, 'x')", "INSERT INTO cp.{s}.u VALUES (11, 'x')"),
    "triggers": ("CREATE TABLE cp.{s}.u (i INTEGER, v VARCHAR)", "CREATE TABLE cp.{s}.l (i INTEGER, w VARCHAR)",
                 "CREATE TRIGGER a AFTER UPDATE ON cp.{s}.u REFERENCING NEW TABLE AS n OLD TABLE AS o INSERT INTO cp.{s}.l SELECT n.i, o.v FROM n JOIN o USING (i)",
                 "INSERT INTO cp.{s}.u VALUES (1, 'x')", "UPDATE cp.{s}.u SET v = 'y'"),
}  # fmt: skip

UP = "SET max_expression_depth = 100000"


def nested_views(count):
    return ("CREATE VIEW cp.{s}.v0 AS SELECT 1 AS i", *(f"CREATE VIEW cp.{{s}}.v{n} AS FROM cp.{{s}}.v{n - 1}" for n in range(1, count)))


def nested_macros(count):
    return ("CREATE MACRO cp.{s}.m0(i) AS i + 1", *(f"CREATE MACRO cp.{{s}}.m{n}(i) AS cp.{{s}}.m{n - 1}(i) + 1" for n in range(1, count)))


def deep(count, opened, inner, closed):
    return opened * count + inner + closed * count


DEEP = {
    "parentheses_in_check": f"CREATE TABLE cp.{{s}}.u (i INTEGER, CHECK ({deep(5000, '(', 'i > 0', ')')}))",
    "operators_in_check": f"CREATE TABLE cp.{{s}}.u (i INTEGER, CHECK ({deep(5000, '(1 + ', 'i', ')')} > 0))",
    "negations_in_check": f"CREATE TABLE cp.{{s}}.u (i INTEGER, CHECK ({deep(5000, 'NOT (', 'i > 0', ')')}))",
    "functions_in_check": f"CREATE TABLE cp.{{s}}.u (i INTEGER, CHECK ({deep(2500, 'abs(', 'i', ')')} > 0))",
    "sum_in_default": f"CREATE TABLE cp.{{s}}.u (j INTEGER, i INTEGER DEFAULT {'1 + ' * 5000}1)",
    "sum_in_generated": f"CREATE TABLE cp.{{s}}.u (i INTEGER, g INTEGER AS ({'i + ' * 5000}1))",
    "sum_in_index": f"CREATE INDEX by_sum ON cp.{{s}}.t (({'i + ' * 5000}1))",
    "sum_in_view": f"CREATE VIEW cp.{{s}}.v AS SELECT {'1 + ' * 5000}1 AS i",
    "subqueries_in_view": f"CREATE VIEW cp.{{s}}.v AS SELECT {deep(2500, '(SELECT ', '1', ')')} AS i",
    "from_in_view": f"CREATE VIEW cp.{{s}}.v AS {deep(2500, 'SELECT * FROM (', 'SELECT 1 AS i', ')')}",
    "sum_in_macro": f"CREATE MACRO cp.{{s}}.m(i) AS {'i + ' * 5000}1",
    "many_or": f"CREATE TABLE cp.{{s}}.u (i INTEGER, CHECK ({' OR '.join(f'i = {n}' for n in range(20000))}))",
    "many_or_in_view": f"CREATE VIEW cp.{{s}}.v AS SELECT i FROM cp.{{s}}.t WHERE {' OR '.join(f'i = {n}' for n in range(20000))}",
    "sum_in_using": f"ALTER TABLE cp.{{s}}.t ALTER i TYPE BIGINT USING {'i + ' * 5000}1",
    "type": f"CREATE TABLE cp.{{s}}.u (l INTEGER{'[]' * 2500})",
    "struct": f"CREATE TABLE cp.{{s}}.u (l {deep(1500, 'STRUCT(a ', 'INTEGER', ')')})",
    "casts": f"CREATE TABLE cp.{{s}}.u (i INTEGER, CHECK ({deep(2500, 'CAST(', 'i', ' AS BIGINT)')} > 0))",
    "union_in_view": f"CREATE VIEW cp.{{s}}.v AS {' UNION ALL '.join(['SELECT 1 AS i'] * 3000)}",
    "values_in_view": f"CREATE VIEW cp.{{s}}.v AS FROM (VALUES {', '.join(['(1)'] * 20000)})",
}  # fmt: skip
DEEP_WORDS = "depth|deep|nest|large|memory|stack|expression"


def of_depth():
    before = ("CREATE TABLE cp.{s}.t (i INTEGER)", "INSERT INTO cp.{s}.t VALUES (1)")
    for name, text in DEEP.items():
        yield Scenario(f"deep_{name}", (text,), EITHER, DEEP_WORDS, before=(*before, UP))
        yield Scenario(f"usual_depth_{name}", (text,), EITHER, DEEP_WORDS, before=before)
    for name, texts in {"views": nested_views(2500), "macros": nested_macros(1000)}.items():
        yield Scenario(f"deep_{name}", texts, EITHER, DEEP_WORDS, before=(UP,))


def named(scenario):
    return scenario.name


@pytest.mark.parametrize("scenario", [*OF_TYPES, *of_states()], ids=named)
def test_every_type_survives(play, scenario):
    play(scenario)


@pytest.mark.parametrize("name", PARTS)
def test_every_part_of_a_definition_survives(play, name):
    play(Scenario(f"part_{name}", PARTS[name]))


@pytest.mark.parametrize("scenario", of_depth(), ids=named)
def test_a_deep_definition_is_refused_or_works_and_stops_no_node(play, scenario):
    play(scenario)
