"""A script in two worlds: makes it, or runs one that is made, up to the first grave difference."""

import re
from dataclasses import dataclass, field

from quack_testing.fuzz import schema
from quack_testing.fuzz.generator import CHECK_EVERY
from quack_testing.fuzz.known import known
from quack_testing.fuzz.outcome import ENDED, ROWS, SUCCESS, Difference, compare
from quack_testing.fuzz.steps import CHECK, CLUSTER, KILL, RESTART, Step
from quack_testing.process import DatabaseError, ProcessEnded

WITHOUT = "database_oid, schema_oid"


def closed(column):
    """A text without the names of the catalog and of its first schema, which a cluster writes before names in definitions."""
    return f"replace(replace({column}, 'cp.', ''), 'main.', '') AS {column}"


# Catalog functions and what of them is compared. The estimated size counts deleted rows as long as they are there, and the
# start value of a sequence is the next value once a checkpoint with it has been read.
CATALOG = {
    "tables": f"* EXCLUDE ({WITHOUT}, table_oid, estimated_size) REPLACE ({closed('sql')})",
    "columns": f"* EXCLUDE ({WITHOUT}, table_oid) REPLACE ({closed('column_default')})",
    "constraints": f"* EXCLUDE ({WITHOUT}, table_oid) REPLACE ({closed('constraint_text')}, {closed('expression')})",
    "indexes": f"* EXCLUDE ({WITHOUT}, table_oid, index_oid) REPLACE ({closed('sql')}, {closed('expressions')})",
    "views": f"* EXCLUDE ({WITHOUT}, view_oid)",
    "sequences": f"* EXCLUDE ({WITHOUT}, sequence_oid, start_value)",
    "types": f"* EXCLUDE ({WITHOUT}, type_oid)",
    "schemas": "* EXCLUDE (oid, database_oid, parent_schema_oid)",
    "functions": f"* EXCLUDE (database_oid, function_oid) REPLACE ({closed('macro_definition')})",
    "triggers": f"* EXCLUDE ({WITHOUT}, trigger_oid) REPLACE ({closed('sql')})",
}
FOREIGN_KEYS = """SELECT schema_name, table_name, array_to_string(constraint_column_names, '|'), referenced_table,
    array_to_string(referenced_column_names, '|') FROM duckdb_constraints() WHERE constraint_type = 'FOREIGN KEY'"""
DRAWS = "SELECT schema_name || '.' || sequence_name, last_value FROM duckdb_sequences() WHERE database_name = 'cp'"
UPSERT = re.compile(r"^INSERT OR |^INSERT .* ON CONFLICT |INSERT OR .* RETURNING", re.DOTALL)
CHANGES_CATALOG = ("CREATE", "ALTER", "DROP", "COMMIT", "ROLLBACK")
# Of `duckdb_tables()`, without what says where a table is placed, which plain DuckDB does not know.
PLACED_TABLES = (f"estimated_size) REPLACE ({closed('sql')})", "estimated_size, sql, tags)")
ROWS_SHOWN_MAX = 2000
# After these a plain database is of no use any more.
BROKEN = ("FATAL Error", "INTERNAL Error")
# With these the query itself is wrong, and compares nothing.
NEVER_BOUND = ("Parser Error", "Binder Error", "Catalog Error")


@dataclass
class Run:
    """What came of a script."""

    steps: list = field(default_factory=list)
    difference: Difference = None
    # Explained differences, by reason, and weak ones.
    explained: dict = field(default_factory=dict)
    weak: list = field(default_factory=list)
    native_broken: str = ""
    # Why it ends early, if a known difference has left different rows.
    stopped: str = ""
    statements: int = 0
    failed: int = 0


class Runner:
    def __init__(self, native, cluster):
        self.native = native
        self.cluster = cluster
        self.run = Run()
        # Parts of the catalog that have not been read since they may have changed, and whether macros have not been compared.
        self.changed = set()
        self.macros_changed = True

    def generate(self, generator):
        """Makes the script while it runs."""
        model = schema.Model()
        for make in generator.first():
            step = make(model)
            self.take(step)
            model = self.look(model, step)
        while len(self.run.steps) < generator.length and not self.ended():
            for step in generator.next(model):
                worked = self.take(step)
                generator.failed = not worked
                if self.ended():
                    return self.run
                if worked and step.sql.startswith(CHANGES_CATALOG) or step.action == RESTART:
                    model = self.look(model, step)
            if len(self.run.steps) % CHECK_EVERY == 0:
                self.take(generator.check())
        for step in generator.last(model):
            self.take(step)
        return self.run

    def replay(self, steps):
        for step in steps:
            self.take(step)
        return self.run

    def ended(self):
        return self.run.difference is not None or bool(self.run.native_broken or self.run.stopped)

    def take(self, step):
        """Runs a step in both worlds; whether it worked."""
        if self.ended():
            return False
        self.run.steps.append(step)
        self.macros_changed |= step.action == RESTART or bool(schema.CHANGES_MACROS.search(step.sql))
        if step.action == RESTART:
            self.restart(step)
            return True
        if step.action == CHECK:
            self.check_all(step)
            return True
        if step.action == CLUSTER:
            if self.cluster.is_replicated:
                self.cluster_alone(step)
            return True
        return self.both(step)

    def cluster_alone(self, step):
        outcome = self.cluster.run(step)
        # An aborted transaction takes nothing at all, which nothing of both worlds has shown yet.
        if outcome.ended or (outcome.error and "transaction is aborted" not in outcome.error):
            self.found(Difference(ENDED if outcome.ended else SUCCESS, "not asked", outcome.error), step)

    def orphans(self):
        """A difference if rows of the cluster refer to rows that are not there."""
        keys = self.cluster.run(Step(FOREIGN_KEYS))
        for schema_name, table, columns, parent, parent_columns in keys.rows:
            pairs = zip(columns.split("|"), parent_columns.split("|"))
            same = " AND ".join(f'c."{mine}" = p."{its}"' for mine, its in pairs)
            full = " AND ".join(f'c."{mine}" IS NOT NULL' for mine in columns.split("|"))
            query = f'FROM "{schema_name}"."{table}" c ANTI JOIN "{schema_name}"."{parent}" p ON ({same}) WHERE {full}'
            found = self.cluster.run(Step(query))
            if found.rows:
                return Difference(ROWS, "", f"rows without a parent: {found.shown()}", query)
        return None

    def restart(self, step):
        try:
            self.native.restart(step.sql == KILL)
        except (DatabaseError, ProcessEnded) as error:
            self.run.native_broken = f"restart: {error}"
            return
        try:
            self.cluster.restart(step.sql == KILL)
        except (DatabaseError, ProcessEnded, AssertionError) as error:
            self.found(Difference(ENDED, "restarted", f"{type(error).__name__}: {error}"), step)
            return
        self.compare_draws("restart")

    def compare_draws(self, after):
        """What has been drawn from sequences, where it is known to differ; see known.py."""
        native, cluster = (dict(world.run(Step(DRAWS)).rows) for world in (self.native, self.cluster))
        if native.keys() == cluster.keys() and any(cluster[name] != native[name] for name in native):
            difference = Difference(ROWS, str(native), str(cluster))
            self.found(difference, Step(f"{DRAWS} -- after {after}"))

    def both(self, step):
        native = self.native.run(step)
        self.run.statements += 1
        self.run.failed += bool(native.error)
        if native.ended or native.error.startswith(BROKEN) or "has been invalidated" in native.error:
            self.run.native_broken = f"{step.sql}: {native.first_line}"
            return False
        difference = compare(native, self.cluster.run(step), step.ordered)
        if difference:
            self.found(difference, step)
        elif native.error and UPSERT.search(step.sql):
            self.compare_draws("upsert")
        return not native.error

    def found(self, difference, step):
        difference.step = step.sql or step.action
        difference.number = len(self.run.steps) - 1
        entry = known(difference, [step.sql for step in self.run.steps])
        if entry:
            self.run.explained[entry.reason] = self.run.explained.get(entry.reason, 0) + 1
            if entry.ends:
                self.run.stopped = entry.reason
                self.run.difference = self.orphans()
        elif difference.weak:
            self.run.weak.append(difference)
        else:
            self.run.difference = difference

    def check_all(self, step):
        """All tables and views, and the rows of the catalog's functions."""
        found = self.native.run(Step(schema.TABLES, connection=step.connection))
        if found.error:
            return
        names = [(database, f'"{schema_name}"."{table}"') for database, schema_name, table in found.rows]
        for database, name in names:
            self.check_table(name if database == "cp" else "temp." + name, step.connection)
        placed = any(step.action == CLUSTER for step in self.run.steps)
        functions = [function for function in CATALOG if function != "functions" or self.macros_changed]
        self.macros_changed = False
        for function in functions:
            columns = CATALOG[function]
            if placed:
                columns = columns.replace(PLACED_TABLES[0], PLACED_TABLES[1])
            where = "database_name IN ('cp', 'temp')" + ("" if function == "schemas" else " AND NOT internal")
            if function in ("constraints", "indexes", "sequences", "triggers"):
                where = "database_name IN ('cp', 'temp')"
            query = Step(f"SELECT {columns} FROM duckdb_{function}() WHERE {where}", connection=step.connection)
            if not self.ended() and not self.both(query):
                error = self.native.run(query).error
                assert not error.startswith(NEVER_BOUND), f"{query.sql}: {error}"

    def check_table(self, name, connection):
        """All rows, or a hash of them where they are many."""
        count = self.native.run(Step(f"SELECT count(*) FROM {name}", connection=connection))
        many = not count.error and int(count.rows[0][0]) > ROWS_SHOWN_MAX
        query = f"SELECT count(*), bit_xor(hash(t::VARCHAR)) FROM {name} t" if many else f"FROM {name}"
        self.both(Step(query, connection=connection))

    def look(self, model, step):
        """The catalog of plain DuckDB behind a step; or `model`, which it was before, while a transaction is aborted."""

        def rows_of(query):
            outcome = self.native.run(Step(query))
            if outcome.error:
                raise LookupError(outcome.error)
            return outcome.rows

        self.changed |= schema.PARTS if step.action == RESTART else schema.changed_by(step.sql)
        try:
            model = schema.read(rows_of, model, self.changed)
        except LookupError:
            return model
        self.changed = set()
        return model

    def finish(self):
        """What the cluster says of itself at the end."""
        if self.ended():
            return self.run
        try:
            wrong = self.cluster.check()
        except Exception as error:  # Waiting for equal nodes in vain is a difference, too.
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            self.found(Difference(ROWS, "ok", wrong), Step("the end"))
        return self.run
