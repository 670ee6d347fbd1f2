"""Settings in which a definition is made, or which a node alone has, decide nothing of what it means elsewhere and later.

A client's setting that would give a definition another meaning is a reason to refuse it in words; otherwise the
definition does for its client what it does in plain DuckDB. What one node's host sets changes nothing at all.
"""

import re

import pytest
from quack_testing.scenarios import EITHER, Scenario

# By setting: a value, the default, and definitions with what they are tried with. The client has the setting for its session.
SETTINGS = {
    "old_implicit_casting": ("true", "false", {
        "check": ("CREATE TABLE cp.{s}.u (v VARCHAR, CHECK (v > 5))", "INSERT INTO cp.{s}.u VALUES ('10'), ('7')"),
        "view": ("CREATE VIEW cp.{s}.v AS SELECT '10' || 5 > 5 AS b, v FROM cp.{s}.t WHERE v > 5",),
        "generated": ("CREATE TABLE cp.{s}.u (v VARCHAR, g BOOLEAN AS (v > 5))", "INSERT INTO cp.{s}.u VALUES ('10')"),
        "index": ("CREATE INDEX by_b ON cp.{s}.t ((v > 5))", "INSERT INTO cp.{s}.t VALUES (3, '7', 1)"),
        "default": ("CREATE TABLE cp.{s}.u (v VARCHAR, b BOOLEAN DEFAULT ('10'::VARCHAR > 5))", "INSERT INTO cp.{s}.u (v) VALUES (1)"),
        "using": ("ALTER TABLE cp.{s}.t ALTER v TYPE BOOLEAN USING v > 5",),
        "added": ("ALTER TABLE cp.{s}.t ADD COLUMN b BOOLEAN DEFAULT ('10'::VARCHAR > 5)",),
        "query": ("CREATE TABLE cp.{s}.u AS SELECT v > 5 AS b FROM cp.{s}.t",),
        "macro": ("CREATE MACRO cp.{s}.m(v) AS v::VARCHAR > 5", "SELECT cp.{s}.m('10')"),
    }),
    "integer_division": ("true", "false", {
        "check": ("CREATE TABLE cp.{s}.u (i INTEGER, CHECK (i / 2 = 2))", "INSERT INTO cp.{s}.u VALUES (5)"),
        "view": ("CREATE VIEW cp.{s}.v AS SELECT i / 2 AS h FROM cp.{s}.t",),
        "generated": ("CREATE TABLE cp.{s}.u (i INTEGER, g INTEGER AS (i / 2))", "INSERT INTO cp.{s}.u VALUES (5)"),
        "generated_of_any_type": ("CREATE TABLE cp.{s}.u (i INTEGER, g AS (i / 2))", "INSERT INTO cp.{s}.u VALUES (5)"),
        "index": ("CREATE UNIQUE INDEX by_half ON cp.{s}.t ((i / 2))", "INSERT INTO cp.{s}.t VALUES (5, 'x', 1)"),
        "default": ("CREATE TABLE cp.{s}.u (v VARCHAR, h DOUBLE DEFAULT 7 / 2)", "INSERT INTO cp.{s}.u (v) VALUES ('x')"),
        "using": ("ALTER TABLE cp.{s}.t ALTER i TYPE DOUBLE USING i / 2",),
        "added": ("ALTER TABLE cp.{s}.t ADD COLUMN h DOUBLE DEFAULT 7 / 2",),
        "query": ("CREATE TABLE cp.{s}.u AS SELECT i / 2 AS h FROM cp.{s}.t",),
        "macro": ("CREATE MACRO cp.{s}.m(i) AS i / 2", "SELECT cp.{s}.m(7)"),
    }),
    "default_collation": ("NOCASE", "''", {
        "column": ("CREATE TABLE cp.{s}.u (v VARCHAR)", "INSERT INTO cp.{s}.u VALUES ('a'), ('A')"),
        "key": ("CREATE TABLE cp.{s}.u (v VARCHAR PRIMARY KEY)", "INSERT INTO cp.{s}.u VALUES ('a')", "INSERT INTO cp.{s}.u VALUES ('A')"),
        "check": ("CREATE TABLE cp.{s}.u (v VARCHAR, CHECK (v = 'a'))", "INSERT INTO cp.{s}.u VALUES ('A')"),
        "index": ("CREATE UNIQUE INDEX by_v ON cp.{s}.t (v)", "INSERT INTO cp.{s}.t VALUES (4, 'A', 1)"),
        "query": ("CREATE TABLE cp.{s}.u AS SELECT DISTINCT v FROM cp.{s}.t",),
        "added": ("ALTER TABLE cp.{s}.t ADD COLUMN c VARCHAR DEFAULT 'x'", "FROM cp.{s}.t WHERE c = 'X' ORDER BY i"),
        "view": ("CREATE VIEW cp.{s}.v AS SELECT v FROM cp.{s}.t WHERE v = 'A' ORDER BY ALL",),
        "using": ("ALTER TABLE cp.{s}.t ALTER v TYPE BOOLEAN USING v = 'A'",),
    }),
    "default_null_order": ("'NULLS_FIRST'", "'NULLS_LAST'", {
        "view": ("CREATE VIEW cp.{s}.v AS SELECT i FROM cp.{s}.t ORDER BY n LIMIT 1",),
        "query": ("CREATE TABLE cp.{s}.u AS SELECT i FROM cp.{s}.t ORDER BY n LIMIT 1",),
        "check": ("CREATE TABLE cp.{s}.u (l INTEGER[], CHECK (list_sort(l)[1] IS NULL))", "INSERT INTO cp.{s}.u VALUES ([1, NULL])"),
        "default": ("CREATE TABLE cp.{s}.u (v VARCHAR, l INTEGER DEFAULT list_sort([1, NULL])[1])", "INSERT INTO cp.{s}.u (v) VALUES (1)"),
        "using": ("ALTER TABLE cp.{s}.t ALTER i TYPE INTEGER USING list_sort([i, NULL])[1]",),
        "generated": ("CREATE TABLE cp.{s}.u (i INTEGER, g INTEGER AS (list_sort([i, NULL])[1]))", "INSERT INTO cp.{s}.u VALUES (1)"),
        "macro": ("CREATE MACRO cp.{s}.m() AS (SELECT i FROM cp.{s}.t ORDER BY n LIMIT 1)", "SELECT cp.{s}.m()"),
        "index": ("CREATE INDEX by_l ON cp.{s}.t ((list_sort([i, NULL])[1]))",),
    }),
    "default_order": ("'DESC'", "'ASC'", {
        "view": ("CREATE VIEW cp.{s}.v AS SELECT i FROM cp.{s}.t ORDER BY i LIMIT 1",),
        "check": ("CREATE TABLE cp.{s}.u (l INTEGER[], CHECK (list_sort(l)[1] = 2))", "INSERT INTO cp.{s}.u VALUES ([1, 2])"),
        "macro": ("CREATE MACRO cp.{s}.m() AS (SELECT i FROM cp.{s}.t ORDER BY i LIMIT 1)", "SELECT cp.{s}.m()"),
    }),
    "ieee_floating_point_ops": ("false", "true", {
        "check": ("CREATE TABLE cp.{s}.u (i DOUBLE, CHECK (1.0 / i IS NULL))", "INSERT INTO cp.{s}.u VALUES (0)"),
        "view": ("CREATE VIEW cp.{s}.v AS SELECT 1.0::DOUBLE / 0 AS x",),
        "default": ("CREATE TABLE cp.{s}.u (v VARCHAR, x DOUBLE DEFAULT 1.0::DOUBLE / 0)", "INSERT INTO cp.{s}.u (v) VALUES ('x')"),
        "added": ("ALTER TABLE cp.{s}.t ADD COLUMN x DOUBLE DEFAULT 1.0::DOUBLE / 0",),
        "using": ("ALTER TABLE cp.{s}.t ALTER i TYPE DOUBLE USING i::DOUBLE / 0",),
    }),
    "error_on_division_by_zero": ("false", "true", {
        "check": ("CREATE TABLE cp.{s}.u (i INTEGER, CHECK (1 // i IS NULL))", "INSERT INTO cp.{s}.u VALUES (0)"),
        "added": ("ALTER TABLE cp.{s}.t ADD COLUMN x INTEGER DEFAULT 1 // 0",),
    }),
    "lambda_syntax": ("'ENABLE_SINGLE_ARROW'", "'DEFAULT'", {
        "view": ("CREATE VIEW cp.{s}.v AS SELECT list_transform([i], x -> x + 1) AS l FROM cp.{s}.t ORDER BY ALL",),
        "macro": ("CREATE MACRO cp.{s}.m(l) AS list_transform(l, x -> x + 1)", "SELECT cp.{s}.m([1])"),
        "using": ("ALTER TABLE cp.{s}.t ALTER i TYPE INTEGER USING list_transform([i], x -> x + 1)[1]",),
        "query": ("CREATE TABLE cp.{s}.u AS SELECT list_transform([i], x -> x + 1) AS l FROM cp.{s}.t",),
        "index": ("CREATE INDEX by_l ON cp.{s}.t ((list_transform([i], x -> x + 1)[1]))",),
    }),
    "TimeZone": ("'America/New_York'", "'UTC'", {
        "check": ("CREATE TABLE cp.{s}.u (z TIMESTAMPTZ, CHECK (date_part('hour', z) < 5))", "INSERT INTO cp.{s}.u VALUES ('2020-01-01 03:00:00')"),
        "generated": ("CREATE TABLE cp.{s}.u (z TIMESTAMPTZ, g VARCHAR AS (z::VARCHAR))", "INSERT INTO cp.{s}.u VALUES ('2020-01-01 03:00:00')"),
        "view": ("CREATE VIEW cp.{s}.v AS SELECT '2020-01-01 03:00:00'::TIMESTAMPTZ AS z",),
        "default": ("CREATE TABLE cp.{s}.u (i INTEGER, z TIMESTAMPTZ DEFAULT '2020-01-01 03:00:00')", "INSERT INTO cp.{s}.u (i) VALUES (1)"),
        "added": ("ALTER TABLE cp.{s}.t ADD COLUMN z TIMESTAMPTZ DEFAULT '2020-01-01 03:00:00'",),
        "using": ("ALTER TABLE cp.{s}.t ALTER v TYPE TIMESTAMPTZ USING '2020-01-01 03:00:00'::TIMESTAMPTZ",),
        "index": ("CREATE INDEX by_hour ON cp.{s}.t ((('2020-01-01 0' || i || ':00:00')::TIMESTAMPTZ))",),
        "query": ("CREATE TABLE cp.{s}.u AS SELECT '2020-01-01 03:00:00'::TIMESTAMPTZ AS z",),
        "macro": ("CREATE MACRO cp.{s}.m() AS '2020-01-01 03:00:00'::TIMESTAMPTZ", "SELECT cp.{s}.m()"),
    }),
    "Calendar": ("'buddhist'", "'gregorian'", {
        "check": ("CREATE TABLE cp.{s}.u (z TIMESTAMPTZ, CHECK (date_part('year', z) > 2500))", "INSERT INTO cp.{s}.u VALUES ('2020-01-01 03:00:00')"),
        "generated": ("CREATE TABLE cp.{s}.u (z TIMESTAMPTZ, g BIGINT AS (date_part('year', z)))", "INSERT INTO cp.{s}.u VALUES ('2020-01-01 03:00:00')"),
        "added": ("ALTER TABLE cp.{s}.t ADD COLUMN y BIGINT DEFAULT date_part('year', '2020-01-01 03:00:00'::TIMESTAMPTZ)",),
    }),
    "preserve_identifier_case": ("'lowercase'", "'preserve_case'", {
        "columns": ("CREATE TABLE cp.{s}.Upper (Name INTEGER)", "INSERT INTO cp.{s}.upper VALUES (1)"),
        "query": ("CREATE TABLE cp.{s}.Upper AS SELECT 1 AS Name",),
        "view": ("CREATE VIEW cp.{s}.V AS SELECT I AS Name FROM cp.{s}.T",),
        "struct": ("CREATE TABLE cp.{s}.u (s STRUCT(Aa INTEGER))", "INSERT INTO cp.{s}.u VALUES ({'Aa': 1})"),
        "macro": ("CREATE MACRO cp.{s}.Upper(Aa) AS Aa + 1", "SELECT cp.{s}.upper(1)"),
        "type": ("CREATE TYPE cp.{s}.Mood AS ENUM ('A')", "CREATE TABLE cp.{s}.u (m cp.{s}.mood)"),
        "added": ("ALTER TABLE cp.{s}.t ADD COLUMN Cc INTEGER DEFAULT 1",),
        "renamed": ("ALTER TABLE cp.{s}.t RENAME i TO Ii",),
        "index": ("CREATE INDEX By_I ON cp.{s}.t (I)"),
    }),
    "order_by_non_integer_literal": ("true", "false", {
        "view": ("CREATE VIEW cp.{s}.v AS SELECT i FROM cp.{s}.t WHERE i = 1 ORDER BY 'x'",),
        "macro": ("CREATE MACRO cp.{s}.m() AS (SELECT i FROM cp.{s}.t WHERE i = 1 ORDER BY 'x')", "SELECT cp.{s}.m()"),
    }),
    "scalar_subquery_error_on_multiple_rows": ("false", "true", {
        "view": ("CREATE VIEW cp.{s}.v AS SELECT (SELECT 1 FROM cp.{s}.t) AS i",),
        "macro": ("CREATE MACRO cp.{s}.m() AS (SELECT 1 FROM cp.{s}.t)", "SELECT cp.{s}.m()"),
    }),
    "regex_match_operator_semantics": ("'full'", "'partial'", {
        "check": ("CREATE TABLE cp.{s}.u (v VARCHAR, CHECK (v ~ 'a'))", "INSERT INTO cp.{s}.u VALUES ('a')", "INSERT INTO cp.{s}.u VALUES ('ba')"),
        "view": ("CREATE VIEW cp.{s}.v AS SELECT 'ba' ~ 'a' AS b",),
        "using": ("ALTER TABLE cp.{s}.t ALTER v TYPE BOOLEAN USING v ~ ''",),
    }),
    "disable_timestamptz_casts": ("true", "false", {
        "added": ("ALTER TABLE cp.{s}.t ADD COLUMN z TIMESTAMPTZ DEFAULT '2020-01-01 03:00:00+00'",),
    }),
    "legacy_disable_null_type": ("true", "false", {
        "query": ("CREATE TABLE cp.{s}.u AS SELECT NULL AS n",),
        "view": ("CREATE VIEW cp.{s}.v AS SELECT NULL AS n",),
    }),
    "dialect_compatibility_mode": ("'SPARK'", "'NONE'", {
        "check": ("CREATE TABLE cp.{s}.u (i INTEGER, CHECK (i / 2 = 2))", "INSERT INTO cp.{s}.u VALUES (5)"),
        "view": ("CREATE VIEW cp.{s}.v AS SELECT 7 / 2 AS h",),
    }),
}  # fmt: skip
BEFORE = (
    "CREATE TABLE cp.{s}.t (i INTEGER, v VARCHAR, n INTEGER)",
    "INSERT INTO cp.{s}.t VALUES (1, '10', 3), (2, '4', NULL)",
)
# The words of a refusal: it names the setting, or the part of the definition that DuckDB itself does not take.
WORDS = ".+"


def named(text, name):
    """A text with tables and the like of its own."""
    return re.sub(r"(cp\.\{s\}\.)(\w+)", rf"\1\2_{name}", text)


def of_setting(setting):
    """Steps before, and the definitions of a setting, each with what it is tried with."""
    _, _, definitions = SETTINGS[setting]
    before = [named(text, name) for name in definitions for text in BEFORE]
    groups = [[named(text, name) for text in texts] for name, texts in definitions.items()]
    for group in groups:
        if view := re.match(r"CREATE VIEW (\S+)", group[0]):
            group.append(f"FROM {view.group(1)}")
    return before, groups


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_of_the_session_is_refused_or_means_what_it_means(play, setting):
    before, groups = of_setting(setting)
    change = f"SET SESSION {setting} = {SETTINGS[setting][0]}"
    play(Scenario(f"session_{setting}", tuple(groups), EITHER, WORDS, before=(*before, change)))


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_of_another_host_decides_nothing(play, setting):
    """Set GLOBAL where `a` is not, or, on one node, beside it: `a` has what is usual."""
    before, groups = of_setting(setting)
    value, usual, _ = SETTINGS[setting]
    change = f"SET SESSION {setting} = {usual}"
    around = (f"SET GLOBAL {setting} = {value}",)
    play(Scenario(f"host_{setting}", tuple(groups), before=(*before, change), around=around))


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_of_the_own_host_is_refused_or_means_what_it_means(play, setting):
    before, groups = of_setting(setting)
    change = f"SET GLOBAL {setting} = {SETTINGS[setting][0]}"
    play(Scenario(f"global_{setting}", tuple(groups), EITHER, WORDS, before=(*before, change)))
