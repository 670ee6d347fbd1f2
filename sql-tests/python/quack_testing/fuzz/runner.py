"""A script in two worlds: makes it, or runs one that is made, up to the first grave difference."""

from dataclasses import dataclass, field

from quack_testing.fuzz import schema
from quack_testing.fuzz.generator import CHECK_EVERY
from quack_testing.fuzz.known import explanation
from quack_testing.fuzz.outcome import ENDED, ROWS, Difference, compare
from quack_testing.fuzz.steps import CHECK, RESTART, SQL, Step

WITHOUT = "database_oid, schema_oid"
# Catalog functions and what of them is compared. The estimated size counts deleted rows as long as they are there.
CATALOG = {
    "tables": f"* EXCLUDE ({WITHOUT}, table_oid, estimated_size)",
    "columns": f"* EXCLUDE ({WITHOUT}, table_oid)",
    "constraints": f"* EXCLUDE ({WITHOUT}, table_oid)",
    "indexes": f"* EXCLUDE ({WITHOUT}, table_oid, index_oid)",
    "views": f"* EXCLUDE ({WITHOUT}, view_oid)",
    "sequences": f"* EXCLUDE ({WITHOUT}, sequence_oid)",
    "types": f"* EXCLUDE ({WITHOUT}, type_oid)",
    "schemas": "* EXCLUDE (oid, database_oid, parent_schema_oid)",
    "functions": "* EXCLUDE (database_oid, function_oid)",
    "triggers": f"* EXCLUDE ({WITHOUT}, trigger_oid, table_oid)",
}
CHANGES_CATALOG = ("CREATE", "ALTER", "DROP", "COMMENT", "COMMIT", "ROLLBACK")
# After these a plain database is of no use any more.
BROKEN = ("FATAL Error", "INTERNAL Error")


@dataclass
class Run:
    """What came of a script."""

    steps: list = field(default_factory=list)
    difference: Difference = None
    # Explained differences, by reason, and weak ones.
    explained: dict = field(default_factory=dict)
    weak: list = field(default_factory=list)
    native_broken: str = ""
    statements: int = 0
    failed: int = 0


class Runner:
    def __init__(self, native, cluster):
        self.native = native
        self.cluster = cluster
        self.run = Run()

    def generate(self, generator):
        """Makes the script while it runs."""
        model = schema.Model()
        for make in generator.first():
            self.take(make(model))
            model = self.look(model)
        while len(self.run.steps) < generator.length and not self.ended():
            for step in generator.next(model):
                worked = self.take(step)
                if self.ended():
                    return self.run
                if worked and step.sql.startswith(CHANGES_CATALOG) or step.action == RESTART:
                    model = self.look(model)
            if len(self.run.steps) % CHECK_EVERY == 0:
                self.take(generator.check())
        if generator.in_transaction and not self.ended():
            self.take(Step("COMMIT"))
        for step in generator.last():
            self.take(step)
        return self.run

    def replay(self, steps):
        for step in steps:
            self.take(step)
        return self.run

    def ended(self):
        return self.run.difference is not None or bool(self.run.native_broken)

    def take(self, step):
        """Runs a step in both worlds; whether it worked."""
        if self.ended():
            return False
        self.run.steps.append(step)
        if step.action == RESTART:
            self.restart()
            return True
        if step.action == CHECK:
            self.check_all(step)
            return True
        return self.both(step)

    def restart(self):
        self.native.restart()
        try:
            self.cluster.restart()
        except Exception as error:  # Whatever keeps a node from coming back is what is looked for.
            self.found(Difference(ENDED, "restarted", f"{type(error).__name__}: {error}"), Step(action=RESTART))

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
        return not native.error

    def found(self, difference, step):
        difference.step = step.sql or step.action
        difference.number = len(self.run.steps) - 1
        reason = explanation(difference)
        if reason:
            self.run.explained[reason] = self.run.explained.get(reason, 0) + 1
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
            self.both(Step(f"FROM {name if database == 'cp' else 'temp.' + name}", connection=step.connection))
        for function, columns in CATALOG.items():
            where = "database_name IN ('cp', 'temp')" + ("" if function == "schemas" else " AND NOT internal")
            if function in ("constraints", "indexes", "sequences", "triggers"):
                where = "database_name IN ('cp', 'temp')"
            if not self.ended():
                self.both(Step(f"SELECT {columns} FROM duckdb_{function}() WHERE {where}", connection=step.connection))

    def look(self, model):
        """The catalog of plain DuckDB, or what was known of it while a transaction is aborted."""

        def rows_of(query):
            outcome = self.native.run(Step(query))
            if outcome.error:
                raise LookupError(outcome.error)
            return outcome.rows

        try:
            return schema.read(rows_of)
        except LookupError:
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
