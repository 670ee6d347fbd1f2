"""No statement of a client ends its node, however deeply it nests what: values, types, expressions, queries."""

from importlib.metadata import version

import pytest
from quack_testing import node as nodes
from quack_testing.process import DatabaseError

LEVELS = 20_000
MANY = 2_000_000
# Deep enough to be beyond DuckDB's own limit of 1,000, and within it: a subquery counts as several levels.
BEYOND, WITHIN = 5_000, 150

TOO_DEEP = "arrays and objects within one another|nested too deeply"
LAMBDAS = 8
LIMIT = "(?i)max(imum)? (expression|tree) depth"


def array(levels):
    return f"(repeat('[', {levels}) || repeat(']', {levels}))"


def objects(levels):
    return f"(repeat('{{\"a\":', {levels}) || '1' || repeat('}}', {levels}))"


def structure(levels):
    return f"(repeat('[', {levels}) || '\"INT\"' || repeat(']', {levels}))"


def grown(levels):
    """A VARIANT that gets one level more in each round."""
    return (
        "(WITH RECURSIVE r AS (SELECT 1 AS n, 1::VARIANT AS v UNION ALL "
        f"SELECT n + 1, [v]::VARIANT FROM r WHERE n < {levels}) SELECT arg_max(v, n) FROM r)"
    )


def grouped(levels):
    """The same, by an aggregate."""
    return (
        "(WITH RECURSIVE r AS (SELECT 1 AS n, 1::VARIANT AS v UNION ALL "
        f"SELECT max(n) + 1, variant_group_object('a', v) FROM r WHERE n < {levels} HAVING max(n) IS NOT NULL) "
        "SELECT arg_max(v, n) FROM r)"
    )


# Values, each with the error that DuckDB or the extension answers with.
VALUES = {
    "json_to_variant_to_text": (f"length(({array(LEVELS)}::JSON::VARIANT)::VARCHAR)", TOO_DEEP),
    "objects_to_variant_to_text": (f"length(({objects(LEVELS)}::JSON::VARIANT)::VARCHAR)", TOO_DEEP),
    "json_to_variant": (f"variant_typeof({array(MANY)}::JSON::VARIANT)", TOO_DEEP),
    "json_in_lists_to_variant": (f"variant_typeof([[{array(MANY)}::JSON]]::VARIANT)", TOO_DEEP),
    "json_in_structs_to_variant": (f"variant_typeof({{'a': {{'b': {array(MANY)}::JSON}}}}::VARIANT)", TOO_DEEP),
    "json_in_maps_to_variant": (f"variant_typeof(MAP {{'a': {array(MANY)}::JSON}}::VARIANT)", TOO_DEEP),
    "json_behind_a_quote": (f"variant_typeof(('[\"\\\\\",\"[\",' || {array(MANY)} || ']')::JSON::VARIANT)", TOO_DEEP),
    "grown_variant": (f"variant_typeof({grown(1_500)})", TOO_DEEP),
    "grouped_variant": (f"variant_typeof({grouped(1_500)})", TOO_DEEP),
    "json_contains": (f"json_contains({array(MANY)}, {array(MANY)})", TOO_DEEP),
    "json_deserialize_sql": (f"json_deserialize_sql({objects(MANY)}::JSON)", TOO_DEEP),
    "json_structure": (f"json_structure({array(MANY)})", "recursion depth" if version("duckdb") == "2.0.0" else None),
    "json_transform": (f"json_transform('[]', {structure(LEVELS)})", TOO_DEEP),
    "json_transform_strict": (f"json_transform_strict('[]', {structure(LEVELS)})", TOO_DEEP),
    "from_json": (f"from_json('[]', {structure(LEVELS)})", TOO_DEEP),
    "from_json_strict": (f"from_json_strict('[]', {structure(LEVELS)})", TOO_DEEP),
    "geometry": (f"(repeat('GEOMETRYCOLLECTION (', {LEVELS}) || 'POINT (1 1)' || repeat(')', {LEVELS}))::GEOMETRY", "recursion depth"),
    "json_merge_patch": (f"length(json_merge_patch({objects(MANY)}, {objects(MANY)}))", None),
    "json_normalize": (f"length(json_normalize({objects(MANY)}))", None),
    "lambdas": ("list_transform([1], lambda x: " * LAMBDAS + "1" + ")" * LAMBDAS, None),
    "too_many_lambdas": ("list_transform([1], lambda x: " * 30 + "1" + ")" * 30, "lambdas within one another"),
    "filters": ("array_filter([1], lambda x: 0 < len(" * 30 + "[1]" + "))" * 30, "lambdas within one another"),
    "reductions": ("reduce([1, 2], lambda x, y: " * 30 + "1" + ")" * 30, "lambdas within one another"),
    "comprehensions": ("[" * 30 + "1" + " for x in [1]]" * 30, "lambdas within one another"),
    "like": (f"repeat('a', {MANY}) LIKE repeat('%a', {MANY // 2})", None),
    "glob": (f"repeat('a', {MANY}) GLOB repeat('*a', {MANY // 2})", None),
    "regex": (f"regexp_matches('a', repeat('(', {LEVELS}) || 'a' || repeat(')', {LEVELS}))", None),
    "deepest_variant": (f"length(({array(1_000)}::JSON::VARIANT)::VARCHAR)", None),
    "shallow_json_with_brackets_in_a_text": (f"variant_typeof(('[\"' || repeat('[', {MANY}) || '\"]')::JSON::VARIANT)", None),
}  # fmt: skip

# Where DuckDB evaluates a value before there is a plan.
EARLY = {
    "table_function": "FROM range(length(({value})::VARCHAR)::BIGINT)",
    "variable": "SET VARIABLE deep = ({value})",
    "limit": "SELECT 1 LIMIT length(({value})::VARCHAR)",
    "filter": "FROM range(2) WHERE ({value}) IS NOT NULL",
    "try_cast": "SELECT TRY_CAST({array}::JSON AS VARIANT)",
    "insert": "CREATE TEMP TABLE deep (v VARIANT); INSERT INTO deep SELECT {array}::JSON",
}


def nested(levels):
    """SQL that nests."""
    return {
        "parentheses": "SELECT " + "(" * levels + "1" + ")" * levels,
        "lists": "SELECT typeof(" + "[" * levels + "1" + "]" * levels + ")",
        "structs": "SELECT typeof(" + "{'a': " * levels + "1" + "}" * levels + ")",
        "sums": "SELECT 1" + " + 1" * levels,
        "signs": "SELECT " + "- " * levels + "1",
        "negations": "SELECT " + "NOT " * levels + "true",
        "calls": "SELECT " + "abs(" * levels + "1" + ")" * levels,
        "cases": "SELECT " + "CASE WHEN true THEN " * levels + "1" + " END" * levels,
        "casts": "SELECT 1" + "::INT" * levels,
        "conjunctions": "SELECT true" + " AND true" * levels,
        "list_types": "SELECT NULL::INT" + "[]" * levels,
        "struct_types": "SELECT NULL::" + "STRUCT(a " * levels + "INT" + ")" * levels,
        "created_types": "CREATE TEMP TYPE deep AS INT" + "[]" * levels,
        "scalar_subqueries": "SELECT " + "(SELECT " * levels + "1" + ")" * levels,
        "subqueries": "FROM " + "(FROM " * levels + "(SELECT 1)" + ")" * levels,
        "parenthesised_queries": "(" * levels + "SELECT 1" + ")" * levels,
        "except": "SELECT 1" + " EXCEPT SELECT 2" * levels,
        "cross_products": "SELECT count(*) FROM (SELECT 1)" + ", (SELECT 1)" * levels,
        "with": "WITH t0 AS (SELECT 1 AS a)"
        + "".join(f", t{i + 1} AS (FROM t{i})" for i in range(levels))
        + f" FROM t{levels}",
        "in_lists": "SELECT " + "1 IN (" * levels + "1" + ")" * levels,
    }


NESTED = {f"{name}_{levels}": (text, levels) for levels in (WITHIN, BEYOND) for name, text in nested(levels).items()}
# They are flat, or nothing in them nests.
TAKEN = ("conjunctions", "parenthesised_queries")


def query(client, sql):
    return client.sql("FROM quack_query_by_name('cp', ?)", parameters=[sql])


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A node, and a client of it."""
    from conftest import tracking

    with tracking() as add:
        node = add(nodes.Node(tmp_path_factory.mktemp("served"), "n0")).start()
        client = add(nodes.stock_client(node.folder, "client", node.uri))
        yield node, client
        assert node.stop() == 0, node.process.stderr_tail()


@pytest.fixture(params=["network", "process"])
def run(request, served):
    """Runs a statement through a client, and in the process; the node must live on."""
    node, client = served

    def run(sql, error):
        def attempt():
            return query(client, sql) if request.param == "network" else node.sql(sql)

        if error:
            with pytest.raises(DatabaseError, match=error):
                attempt()
        else:
            attempt()
        assert node.value("SELECT 42") == 42
        assert query(client, "SELECT 42") == [(42,)]

    return run


@pytest.mark.parametrize("name", VALUES)
def test_deep_values_end_no_node(run, name):
    value, error = VALUES[name]
    run(f"SELECT {value}", error)


@pytest.mark.parametrize("name", EARLY)
def test_deep_values_end_no_node_before_there_is_a_plan(run, name):
    value = f"{array(MANY)}::JSON::VARIANT"
    run(EARLY[name].format(value=value, array=array(MANY)), TOO_DEEP)


@pytest.mark.parametrize("name", NESTED)
def test_deep_statements_end_no_node(served, name):
    node, client = served
    text, levels = NESTED[name]
    refused = levels == BEYOND and not name.startswith(TAKEN)
    if refused:
        with pytest.raises(DatabaseError, match=LIMIT):
            query(client, text)
    else:
        query(client, text)
    query(client, "DROP TYPE IF EXISTS temp.deep")
    assert node.value("SELECT 42") == 42
