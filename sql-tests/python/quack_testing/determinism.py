"""Writes with every function on a cluster: what one node has evaluated, all of them must hold.

Calls run in batches, one statement for many of them, each kind of write on another node. A statement that fails is cut
in halves until the calls that fail are alone; these are tried in the same way outside of the replicated catalog.
"""

from collections import Counter
from dataclasses import dataclass, field

from quack_testing import functions
from quack_testing.cluster import wait_for
from quack_testing.functions import Call
from quack_testing.process import DatabaseError

BATCH = 25
# What each node of a cluster has set for itself; an evaluation that takes place on another node shows.
PLACES = {
    "n0": {"TimeZone": "'UTC'", "threads": "1"},
    "n1": {"TimeZone": "'Asia/Kolkata'", "threads": "2", "default_order": "'DESC'", "default_null_order": "'NULLS_FIRST'"},
    "n2": {"TimeZone": "'America/New_York'", "threads": "4", "Calendar": "'japanese'", "integer_division": "true"},
}
NATIVE = "native"
SHOWN_MAX = 20
# After these a database is of no use any more.
BROKEN = ("FATAL Error", "INTERNAL Error")


def set_places(cluster):
    """Makes nodes differ in what their sessions see."""
    for name, settings in PLACES.items():
        for setting, value in settings.items():
            cluster[name].sql(f"SET GLOBAL {setting} = {value}")


@dataclass
class Found:
    """What came of it."""

    written: Counter = field(default_factory=Counter)
    # Errors of calls that DuckDB itself does not take: error by title.
    refused: dict = field(default_factory=dict)
    # Errors on the cluster alone.
    different: list = field(default_factory=list)

    def summary(self):
        classes = Counter(str(error).split(":")[0] for error in self.refused.values())
        return "\n".join(
            [
                f"determinism: {sum(self.written.values())} calls written: {dict(sorted(self.written.items()))}",
                f"refused by DuckDB itself: {len(self.refused)}, {dict(classes.most_common())}",
                f"refused by the cluster alone: {len(self.different)}",
                *self.different[:SHOWN_MAX],
            ]
        )


class Writes:
    """The statements, on all nodes of a cluster."""

    def __init__(self, cluster, in_transactions=False):
        self.cluster = cluster
        self.in_transactions = in_transactions
        self.nodes = cluster.alive()
        self.turn = 0
        self.tables = 0
        self.found = Found()
        self.calls_of = {}

    def prepare(self, skipped):
        """Makes what calls refer to, on the cluster and beside it; returns the calls."""
        first, *others = self.nodes
        code = f"from quack_testing import functions\nresult = functions.find_calls(database, {sorted(skipped)!r})"
        calls = [Call(**fields) for fields in first.process.python(code)]
        for node in others:
            node.sql("USE memory", NATIVE)
            node.sql(f"CREATE TABLE args (id INTEGER PRIMARY KEY, {functions.table_columns()})", NATIVE)
            node.sql(f"INSERT INTO args {functions.table_rows()}", NATIVE)
            node.sql("CREATE SEQUENCE numbers", NATIVE)
        first.sql("USE memory", NATIVE)
        first.sql(f"CREATE TABLE cp.args (id INTEGER PRIMARY KEY, {functions.table_columns()})")
        first.sql(f"INSERT INTO cp.args {functions.table_rows()}")
        first.sql("CREATE SEQUENCE cp.numbers")
        for node in self.nodes:
            for connection in ("default", NATIVE):
                node.sql("SELECT nextval('numbers')", connection)
                node.sql(f"SET VARIABLE place = '{node.name}'", connection)
        self.found.refused = {call.title: call.error for call in calls if call.error}
        return [call for call in calls if not call.error]

    def run(self, calls):
        for shape, (size, statements) in SHAPES.items():
            # A window needs a subquery around it in some places.
            for is_window in (False, True):
                chosen = [call for call in calls if call.shape == shape and (call.kind == "window") == is_window]
                for start in range(0, len(chosen), size):
                    self.batch(chosen[start : start + size], statements)

    def convert(self, calls):
        """Functions of rows in ALTER TABLE, which travels as text."""
        chosen = [call for call in calls if call.shape == "row" and call.kind != "window"]
        for start in range(0, len(chosen), BATCH):
            self.batch(chosen[start : start + BATCH], of_conversions)

    def batch(self, calls, statements):
        """Runs the statements for these calls, or finds out which of them cannot be run."""
        self.tables += 1
        self.turn += 1
        self.calls_of[self.tables] = calls
        try:
            for number, statement in enumerate(self.ordered(statements(calls, self.tables))):
                node = self.nodes[(self.turn + (0 if self.in_transactions else number)) % len(self.nodes)]
                node.sql(statement)
        except DatabaseError as error:
            roll_back(node)
            if len(calls) == 1:
                self.refused(calls[0], statements, node, statement, str(error))
            else:
                half = len(calls) // 2
                self.batch(calls[:half], statements)
                self.batch(calls[half:], statements)
            return
        self.found.written.update(call.kind for call in calls)

    def ordered(self, statements):
        """With transactions, tables are made before one and everything else happens in it."""
        statements = list(statements)
        if not self.in_transactions:
            return statements
        made = [statement for statement in statements if statement.startswith("CREATE")]
        return [*made, "BEGIN", *(statement for statement in statements if statement not in made), "COMMIT"]

    def refused(self, call, statements, node, statement, error):
        """Whether DuckDB refuses it, too, with the settings of the same node."""
        text = error.split("\n")[0]
        if error.startswith(BROKEN):
            self.found.different.append(f"{call.title}: {text} in {statement[:300]}")
            raise AssertionError(self.found.different[-1])
        try:
            for native in self.ordered(statements([call], self.tables)):
                node.sql(native, NATIVE)
                if native == statement:
                    break
        except DatabaseError as native_error:
            roll_back(node, NATIVE)
            if str(native_error).split(":")[0] == error.split(":")[0]:
                self.found.refused[call.title] = text
                return
            text += " instead of " + str(native_error).split("\n")[0]
        self.found.different.append(f"{call.title}: {text} in {statement[:300]}")

    def wrong(self):
        """All nodes have applied the same and hold the same; returns the calls that have left different rows."""

        def applied():
            rows = {node.sql("SELECT applied_index, state FROM quack_raft_status()")[0] for node in self.nodes}
            return rows if len(rows) == 1 else None

        ((_, state),) = wait_for(applied, "one position on all nodes")
        assert state == "ok", state
        tables = [row for (row,) in self.nodes[0].sql("SELECT table_name FROM duckdb_tables() WHERE database_name = 'cp'")]
        wrong = []
        for table in sorted(tables):
            if self.differs(f"SELECT count(*), sum(hash(t)::HUGEINT) FROM cp.{table} t"):
                wrong += [f"{table}: {title}" for title in self.blame(table)]
        return wrong

    def differs(self, query):
        return len({tuple(node.sql(query)) for node in self.nodes}) > 1

    def blame(self, table):
        """The titles of the calls of which a table holds different results."""
        calls = self.calls_of.get(int(table[1:]) if table[1:].isdigit() else None, [])
        if table.startswith("t"):
            queries = [f"SELECT sum(hash(r{number})::HUGEINT) FROM cp.{table}" for number in range(len(calls))]
        else:
            queries = [f"SELECT count(*), sum(hash(t)::HUGEINT) FROM cp.{table} t WHERE n = {n}" for n in range(len(calls))]
        if len(calls) < 2:
            return [call.title for call in calls] or ["it"]
        return [call.title for call, query in zip(calls, queries) if self.differs(query)]


def roll_back(node, connection="default"):
    """Ends a transaction if there is one."""
    try:
        node.sql("ROLLBACK", connection)
    except DatabaseError as error:
        assert "no transaction is active" in str(error)


def key(number):
    """Every other table has a primary key: rows with a key and rows without take different ways."""
    return "PRIMARY KEY" if number % 2 else ""


def result_columns(calls):
    return ", ".join(f"r{number} {call.columns[0][1]}" for number, call in enumerate(calls))


def texts(calls):
    return ", ".join(call.text for call in calls)


def choice(calls):
    """A condition that takes each call's value where the row's `n` is its number."""
    cases = " ".join(f"WHEN {number} THEN hash({call.text})" for number, call in enumerate(calls))
    return f"CASE n {cases} END % 2 = 0"


def of_rows(calls, table):
    """Functions of a row: all its columns are there, so that an update looks at nothing else."""
    columns = functions.table_columns()
    yield f"CREATE TABLE t{table} (id INTEGER {key(table)}, {columns}, {result_columns(calls)})"
    yield f"INSERT INTO t{table} SELECT args.*, {texts(calls)} FROM args"
    if calls[0].kind == "window":
        changes = ", ".join(f"r{number} = w.r{number}" for number in range(len(calls)))
        values = ", ".join(f"{call.text} AS r{number}" for number, call in enumerate(calls))
        yield f"UPDATE t{table} SET {changes} FROM (SELECT id AS i, {values} FROM args) w WHERE id = w.i AND id % 2 = 0"
        source = f"SELECT id, n, {choice(calls)} AS gone FROM args, range({len(calls)}) s(n)"
        condition = f"(id, n) IN (SELECT (id, n) FROM ({source}) WHERE gone)"
    else:
        changes = ", ".join(f"r{number} = {call.text}" for number, call in enumerate(calls))
        yield f"UPDATE t{table} SET {changes} WHERE id % 2 = 0"
        condition = choice(calls)
    yield f"CREATE TABLE d{table} (n BIGINT, id INTEGER, {columns})"
    yield f"INSERT INTO d{table} SELECT n, args.* FROM args, range({len(calls)}) s(n)"
    yield f"DELETE FROM d{table} WHERE {condition}"


def of_groups(calls, table):
    """Aggregates."""
    yield f"CREATE TABLE t{table} (id INTEGER {key(table)}, {result_columns(calls)})"
    yield f"INSERT INTO t{table} SELECT id % 3, {texts(calls)} FROM args GROUP BY 1"
    changes = ", ".join(f"r{number} = (SELECT {call.text} FROM args)" for number, call in enumerate(calls))
    yield f"UPDATE t{table} SET {changes} WHERE id < 2"
    yield f"CREATE TABLE d{table} (n BIGINT, id INTEGER)"
    yield f"INSERT INTO d{table} SELECT n, id FROM args, range({len(calls)}) s(n)"
    cases = " ".join(f"WHEN {number} THEN (SELECT hash({call.text}) FROM args)" for number, call in enumerate(calls))
    yield f"DELETE FROM d{table} WHERE (CASE n {cases} END + id) % 2 = 0"


def of_tables(calls, table):
    """Table functions, one at a time."""
    (call,) = calls
    columns = ", ".join(f"c{number} {type_name}" for number, (_, type_name) in enumerate(call.columns))
    yield f"CREATE TABLE t{table} (id INTEGER {key(table)}, text VARCHAR, {columns})"
    yield f"INSERT INTO t{table} SELECT row_number() OVER (), NULL, * FROM ({call.text})"
    all_rows = f"SELECT string_agg(f::VARCHAR, '|') FROM ({call.text}) f"
    yield f"UPDATE t{table} SET text = id || ({all_rows}) WHERE id % 2 = 0"
    yield f"DELETE FROM t{table} WHERE (hash(({all_rows})) + id) % 3 = 0"


def of_conversions(calls, table):
    """What every node evaluates for itself: the change of a column's type."""
    yield f"CREATE TABLE u{table} (n BIGINT, id INTEGER, {functions.table_columns()}, value UTINYINT)"
    yield f"INSERT INTO u{table} SELECT n, args.*, NULL FROM args, range({len(calls)}) s(n)"
    cases = " ".join(f"WHEN {number} THEN hash({call.text})" for number, call in enumerate(calls))
    yield f"ALTER TABLE u{table} ALTER value TYPE UBIGINT USING CASE n {cases} END"


# How many calls a statement takes, and the statements.
SHAPES = {"row": (BATCH, of_rows), "group": (BATCH, of_groups), "table": (1, of_tables)}
