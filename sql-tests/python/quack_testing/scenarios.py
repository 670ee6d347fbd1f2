"""Scenarios of definitions: what a client does, on one node or on three, beside plain DuckDB; and what must be so after it.

A definition is either refused to its client in words, with nothing changed, or it is there, on all nodes, and after a
kill and replay; and it does what it does in plain DuckDB. In both cases all nodes go on.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field

from quack_testing.cluster import Cluster, wait_for
from quack_testing.node import Node
from quack_testing.process import DatabaseError, Process, ProcessEnded

STATEMENT_SECONDS = 60
EQUAL_SECONDS = 20
# What a scenario asks for: as in plain DuckDB; refused in words; or one of the two.
WORKS, REFUSED, EITHER = "works", "refused", "either"
# Classes of errors that tell a client what it may do otherwise.
IN_WORDS = (
    "Binder Error", "Catalog Error", "Constraint Error", "Conversion Error", "Dependency Error", "Invalid Input Error",
    "Not implemented Error", "Parser Error", "Permission Error", "TransactionContext Error",
)  # fmt: skip
# What no refusal says, because it speaks of the node.
NEVER = re.compile(r"degraded|has stopped|differs from|does not serve", re.IGNORECASE)
ENDED = "ended"
# The tests read with these settings, regardless of those of a process: values are computed and shown alike.
READER = {
    "TimeZone": "'UTC'", "Calendar": "'gregorian'", "default_collation": "''", "default_null_order": "'NULLS_LAST'",
    "default_order": "'ASC'", "integer_division": "false", "old_implicit_casting": "false", "ieee_floating_point_ops": "true",
    "error_on_division_by_zero": "true", "regex_match_operator_semantics": "'partial'",
    "scalar_subquery_error_on_multiple_rows": "true", "order_by_non_integer_literal": "false", "lambda_syntax": "'DEFAULT'",
    "disable_timestamptz_casts": "false", "dialect_compatibility_mode": "'NONE'",
}  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """Texts have `{s}` for the scenario's own schema, also the beginning of names in `main`, and `{c}` for the catalog.

    A step is a text, which the client `a` runs, or a pair of a client and a text. `a` is at the first node, `b` at the
    second; on one node they are two connections. Errors of steps are compared with those of plain DuckDB.
    """

    name: str
    # The definitions. Where they may be refused, the first refusal is the end of them, and nothing has changed by it. A
    # list is a definition with what it is tried with, apart from the others.
    define: tuple
    expect: str = WORKS
    # What a refusal says, as a regular expression.
    words: str = ""
    # Steps before, which must work.
    before: tuple = ()
    # What every other node has or sets for itself, in a connection of its own; on one node: the same process.
    around: tuple = ()
    # Python code in the processes of `a` and of plain DuckDB, and in those of the others.
    python: str = ""
    python_around: str = ""
    # Steps and queries after the definitions.
    uses: tuple = ()
    # Queries that all clients are answered alike, also after the replay; and what their sessions set before them.
    probes: tuple = ()
    # Queries that `a` alone is answered as plain DuckDB does.
    own_probes: tuple = ()
    catalog: str = "cp"
    # The configuration of the database of `b`'s node, from its start on.
    config: dict = field(default_factory=dict)

    def __post_init__(self):
        assert self.expect in (WORKS, REFUSED, EITHER)

    @property
    def schema(self):
        return re.sub(r"\W+", "_", self.name).strip("_").lower()


def steps(texts):
    return [("a", text) if isinstance(text, str) else text for text in texts]


@dataclass(frozen=True)
class Answer:
    """What a step has given."""

    rows: tuple = ()
    error: str = ""

    @property
    def kind(self):
        return self.error.split(":", 1)[0]

    def like(self, other):
        return self.kind == other.kind and (self.error or other.error or self.rows == other.rows)

    def __str__(self):
        return self.error[:600] or f"rows {list(self.rows)[:20]}"


def ask(process, statement, connection):
    """Rows as texts that tell values apart, or the error."""
    try:
        return Answer(rows=tuple(map(repr, process.sql(statement, connection, timeout=STATEMENT_SECONDS))))
    except DatabaseError as error:
        return Answer(error=str(error))
    except ProcessEnded as error:
        return Answer(error=f"{ENDED}: {error}")
    except TimeoutError:
        return Answer(error=f"{ENDED}: no answer within {STATEMENT_SECONDS} s")


class Plain:
    """Plain DuckDB, with the catalog in memory; all clients are connections of it."""

    def __init__(self, folder, track, scenario):
        self.scenario = scenario
        # Tables that the nodes have refused to alter.
        self.altered = set()
        self.process = track(Process(folder, "plain"))
        self.process.sql(f"ATTACH ':memory:' AS {scenario.catalog}")
        self.process.request("prepare_connections", statements=[f"USE {scenario.catalog}"])
        self.process.sql(f"CREATE SCHEMA {scenario.schema}")

    def python(self, code):
        self.process.python(code)

    def ask(self, client, text):
        return ask(self.process, text, f"client {client}")

    def undo(self, definition):
        """Undoes a definition that the nodes have refused, as far as a picture shows it."""
        if made := re.match(r"CREATE (?:UNIQUE )?(TABLE|VIEW|MACRO|TYPE|INDEX) ([\w.]+)", definition):
            kind, name = made.groups()
            self.ask("a", f"DROP {kind} IF EXISTS {name if kind != 'INDEX' else self.scenario.schema + '.' + name}")
        elif made := re.match(r"ALTER TABLE ([\w.]+)", definition):
            self.altered.add(made.group(1).split(".")[-1].lower())

    def picture(self):
        return picture(self.process, self.scenario.catalog, self.scenario.schema)


class Stage:
    """One node, or three, for one scenario after another; one that has left its nodes unwell is followed by new nodes."""

    def __init__(self, folder, track, count):
        self.folder = folder
        self.track = track
        self.count = count
        self.built = 0
        self.cluster = None
        self.nodes = []
        self.catalog = None

    def enter(self, scenario):
        """Nodes that are well, with the scenario's environment; connections are new."""
        if self.nodes and self.catalog == scenario.catalog and not scenario.config and not self.unwell():
            for node in self.nodes:
                for client in "ab":
                    node.process.request("close_connection", connection=f"client {client}")
        else:
            self.build(scenario)
        self.nodes[0].sql(f"CREATE SCHEMA IF NOT EXISTS {scenario.catalog}.{scenario.schema}", "runner")

    def build(self, scenario):
        self.kill()
        self.built += 1
        self.catalog = scenario.catalog
        folder = self.folder / f"stage{self.count}-{self.built}"
        if self.count == 1:
            self.cluster = None
            self.nodes = [self.track(Node(folder))]
        else:
            self.cluster = Cluster(folder, self.count, self.track)
            self.nodes = list(self.cluster.nodes.values())
        self.nodes[0].catalog = scenario.catalog
        self.nodes[1 % self.count].config = scenario.config
        self.start()
        self.nodes[0].sql(f"CREATE TABLE IF NOT EXISTS {scenario.catalog}.main.well (node VARCHAR)", "runner")

    def start(self):
        for node in self.nodes:
            node.start(attach=False)
            node.process.python(f"import os; os.makedirs('{node.name}-files', exist_ok=True); os.chdir('{node.name}-files')")
        for node in self.nodes:
            node.attach()

    def kill(self):
        for node in self.nodes:
            if node.process is not None:
                node.kill()

    def node_of(self, client):
        return self.nodes[0 if client == "a" else 1 % self.count]

    def ask(self, client, text):
        return ask(self.node_of(client).process, text, f"client {client}")

    def python(self, code):
        self.nodes[0].process.python(code)

    def leave(self):
        """Ends the nodes, for the next scenario to have new ones."""
        self.kill()
        self.nodes = []

    def around(self, scenario):
        """Steps of the others' processes."""
        others = self.nodes[1:] or self.nodes
        for node in others:
            if scenario.python_around:
                node.process.python(scenario.python_around)
            for text in scenario.around:
                node.sql(filled(text, scenario), "around")

    def unwell(self):
        """What is wrong with the nodes, as a text: each of them serves, and writes."""
        for node in self.nodes:
            answer = ask(node.process, "SELECT DISTINCT state FROM quack_raft_status()", "runner")
            if answer.rows != ("('ok',)",):
                return f"{node.name} is not well: {answer}; {node.process.stderr_tail()[-500:]}"
        for node in self.nodes:
            answer = ask(node.process, f"INSERT INTO {node.catalog}.main.well VALUES ('{node.name}')", "runner")
            if answer.error:
                return f"{node.name} does not write: {answer}"
        return ""

    def settle(self):
        """Waits until all nodes hold the same."""

        def equal():
            return len({node.sql("FROM quack_state_hash()", "runner")[0][1:] for node in self.nodes}) == 1

        wait_for(equal, "equal state hashes", EQUAL_SECONDS)

    def pictures(self, scenario):
        return [picture(node.process, node.catalog, scenario.schema) for node in self.nodes]


def filled(text, scenario):
    return text.replace("{s}", scenario.schema).replace("{c}", scenario.catalog)


def read_alike(process):
    """Sets what the reader's connection needs; where the process lets it."""
    for name, value in READER.items():
        with suppress(DatabaseError):
            process.sql(f"SET SESSION {name} = {value}", "reader")


def picture(process, catalog, schema):
    """All that is defined in the scenario's schemas, and the rows, without the name of the catalog."""

    def rows(query):
        return process.sql(query, "reader")

    read_alike(process)
    paths, found = {}, {}
    own = rows(f"SELECT oid, parent_schema_oid, schema_name FROM duckdb_schemas() WHERE database_name = '{catalog}'")
    names = {oid: (parent, name) for oid, parent, name in own}
    for oid in names:
        path, at = [], oid
        while at in names:
            path.insert(0, names[at][1])
            at = names[at][0]
        paths[oid] = path

    def is_own(oid, name):
        return oid in paths and (paths[oid][0].startswith(schema) or name.startswith(schema))

    def list_of(kind, function, name, columns):
        query = f"SELECT schema_oid, {name}, {columns} FROM {function}() WHERE database_name = '{catalog}' ORDER BY ALL"
        for oid, of, *values in rows(query):
            if is_own(oid, of):
                found.setdefault((kind, ".".join(paths[oid]), of), []).append(unnamed(repr(values)))

    for oid, path in paths.items():
        if path[0].startswith(schema):
            found["schema", ".".join(path)] = [repr(rows(f"SELECT comment FROM duckdb_schemas() WHERE oid = {oid}"))]
    list_of("table", "duckdb_tables", "table_name", "comment, tags::VARCHAR")
    list_of("table text", "duckdb_tables", "table_name", "sql")
    list_of("column", "duckdb_columns", "table_name", "column_index, column_name, data_type, is_nullable, comment")
    list_of("default text", "duckdb_columns", "table_name", "column_index, column_default")
    list_of("constraint text", "duckdb_constraints", "table_name", "constraint_text")
    list_of("index", "duckdb_indexes", "index_name", "table_name, is_unique, comment")
    list_of("index text", "duckdb_indexes", "index_name", "sql")
    list_of("view", "duckdb_views", "view_name", "comment")
    list_of("view text", "duckdb_views", "view_name", "sql")
    list_of("sequence", "duckdb_sequences", "sequence_name", "min_value, max_value, increment_by, cycle, comment")
    list_of("type", "duckdb_types", "type_name", "logical_type, labels")
    list_of("trigger", "duckdb_triggers", "trigger_name", "table_name, action_timing, event_manipulation, columns")
    list_of("trigger text", "duckdb_triggers", "trigger_name", "sql")
    macros = "schema_name, function_name, parameters, comment"
    query = f"SELECT {macros}, macro_definition FROM duckdb_functions() WHERE database_name = '{catalog}' ORDER BY ALL"
    for of_schema, of, *values, text in rows(query):
        if of_schema.startswith(schema) or of.startswith(schema):
            found.setdefault(("macro", of_schema, of), []).append(repr(values))
            found.setdefault(("macro text", of_schema, of), []).append(unnamed(repr(text)))
    for oid, name in rows(f"SELECT schema_oid, table_name FROM duckdb_tables() WHERE database_name = '{catalog}'"):
        if is_own(oid, name):
            table = ".".join(f'"{part}"' for part in [catalog, *paths[oid], name])
            answer = ask(process, f"FROM {table}", "reader")
            found["rows", ".".join(paths[oid]), name] = sorted(answer.rows) or [answer.error]
    # In an order that no setting decides.
    found = {key: sorted(values) for key, values in found.items()}
    # A view counts as its text: whether it can be bound is each node's own.
    views = {key[1:] for key in found if key[0] == "view"}
    return {key: value for key, value in found.items() if not (key[0] in ("column", "default text") and key[1:] in views)}


def unnamed(text):
    """Without the name under which a node has attached the catalog."""
    return re.sub(r'\b(cp|foo|bar)\.|"(cp|foo|bar)"\.', "", text)


def difference(left, right):
    """Where two pictures differ, as a text."""
    keys = [key for key in sorted({*left, *right}) if left.get(key) != right.get(key)]
    return "\n".join(f"{key}: {left.get(key)} <> {right.get(key)}" for key in keys)


def without_texts(found):
    """What of a picture is compared with plain DuckDB, which qualifies names in its texts otherwise."""
    return {key: value for key, value in found.items() if not key[0].endswith(" text")}


class Play:
    """One scenario on a stage, step by step beside plain DuckDB."""

    def __init__(self, scenario, stage, plain):
        self.scenario = scenario
        self.stage = stage
        self.plain = plain
        self.last_client = "a"

    def both(self, client, text):
        """The same step in both; a client sees what the other has done before."""
        text = filled(text, self.scenario)
        expected = self.plain.ask(client, text)
        if client != self.last_client:
            self.stage.settle()
        self.last_client = client
        return text, expected, self.stage.ask(client, text)

    def same(self, client, text):
        text, expected, given = self.both(client, text)
        if expected.kind != ENDED:
            assert given.like(expected), f"{text[:500]}\n  plain DuckDB: {expected}\n  here: {given}"
        self.ordinary(text, given)

    def ordinary(self, text, given):
        """An error, if it is one, is of the client's statement."""
        if given.error:
            assert given.kind in IN_WORDS and not NEVER.search(given.error), f"{text[:500]}: {given}"

    def define(self):
        """Whether all definitions are there."""
        if isinstance(self.scenario.define[0], list):
            self.define_apart()
            return True
        return all(self.define_one(client, text) for client, text in steps(self.scenario.define))

    def define_apart(self):
        wrong = []
        for definition, *uses in self.scenario.define:
            try:
                if self.define_one("a", definition):
                    for client, text in steps(uses):
                        self.same(client, text)
                else:
                    # Where it is refused, plain DuckDB does not have it either.
                    self.plain.undo(filled(definition, self.scenario))
            except AssertionError as error:
                wrong.append(str(error))
                self.well("\n".join(wrong))
        assert not wrong, "\n".join(wrong)

    def define_one(self, client, text):
        """Whether a definition is there."""
        if self.scenario.expect == WORKS:
            self.same(client, text)
            return True
        before = self.stage.pictures(self.scenario)[0]
        text, expected, given = self.both(client, text)
        self.ordinary(text, given)
        if given.error:
            if not expected.error:
                assert re.search(self.scenario.words, given.error, re.IGNORECASE), f"not a reason: {text[:500]}: {given}"
            assert not difference(before, self.stage.pictures(self.scenario)[0]), f"refused, but not undone: {text[:500]}"
            return False
        assert not expected.error or expected.kind == ENDED, f"{text[:500]}: plain DuckDB refuses: {expected}"
        assert self.scenario.expect != REFUSED or text != self.refusable(), f"{text[:500]}: taken, but it depends on this node"
        return True

    def refusable(self):
        """The definition that must be refused, the last one but for the end of a transaction."""
        return filled([text for _, text in steps(self.scenario.define) if text != "COMMIT"][-1], self.scenario)

    def run(self):
        scenario, stage = self.scenario, self.stage
        if scenario.python:
            stage.python(scenario.python)
            self.plain.python(scenario.python)
        for client, text in steps(scenario.before):
            text, expected, given = self.both(client, text)
            assert not expected.error and not given.error, f"{text}: plain DuckDB: {expected}; here: {given}"
        stage.around(scenario)
        there = self.define()
        self.well("after the definitions")
        if there:
            for client, text in steps(scenario.uses):
                self.same(client, text)
            for text in scenario.own_probes:
                self.same("a", text)
            self.probe()
            self.well("after the statements that use them")
            given, expected = (
                {key: value for key, value in without_texts(found).items() if key[-1].lower() not in self.plain.altered}
                for found in (stage.pictures(scenario)[0], self.plain.picture())
            )
            assert not difference(expected, given), f"plain DuckDB <> here: {difference(expected, given)}"
        before = self.equal()
        stage.kill()
        self.replay()
        assert not difference(before, self.equal()), f"before the kill <> after: {difference(before, self.equal())}"
        if there:
            self.probe()

    def replay(self):
        """The nodes come again after kill -9, without what their processes have had."""
        try:
            self.stage.start()
        except (DatabaseError, ProcessEnded) as error:
            raise AssertionError(f"after kill -9 the node does not start: {error}") from error
        self.well("after kill -9 and replay")

    def probe(self):
        for text in map(lambda text: filled(text, self.scenario), self.scenario.probes):
            expected = self.plain.ask("probe", text)
            for node in self.stage.nodes:
                statement = text.replace(f"{self.scenario.catalog}.", f"{node.catalog}.")
                given = ask(node.process, statement, "probe")
                assert given.like(expected), f"{node.name}: {statement}\n  plain DuckDB: {expected}\n  here: {given}"

    def well(self, when):
        unwell = self.stage.unwell()
        assert not unwell, f"{when}: {unwell}"

    def equal(self):
        """The one picture of all nodes."""
        self.stage.settle()
        first, *others = self.stage.pictures(self.scenario)
        for other in others:
            assert not difference(first, other), f"nodes differ: {difference(first, other)}"
        return first
