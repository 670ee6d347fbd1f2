"""Random changes of the catalog: CREATE, ALTER, DROP, COMMENT."""

from quack_testing.fuzz.expressions import scope_of
from quack_testing.fuzz.steps import Step
from quack_testing.fuzz.tables import Tables
from quack_testing.fuzz.values import parse, random_type, value

SCHEMAS = ["s1", "s2"]
# What a column's type is changed to, more often than by chance alone.
COMMON_TYPES = ["VARCHAR", "BIGINT", "INTEGER", "DOUBLE", "HUGEINT", "VARCHAR[]"]


class Definitions:
    def __init__(self, random, expressions):
        self.random = random
        self.expressions = expressions
        self.tables = Tables(random, expressions)
        self.count = 0

    def new_name(self, prefix):
        """Mostly a new name, sometimes one that may be in use."""
        self.count += 1
        number = self.random.randint(1, self.count) if self.random.random() < 0.15 else self.count
        return f"{prefix}{number}"

    def place(self, model, name):
        others = [schema for schema in model.schemas if schema != "main"]
        return f"{self.random.choice(others)}.{name}" if others and self.random.random() < 0.25 else name

    def create_table(self, model):
        name = self.place(model, self.new_name("t"))
        return Step(self.tables.create(model, name).replace("{SELF}", name))

    def create_temporary(self, model):
        name = self.new_name("tt")
        return Step(self.tables.create(model, name, temporary=True).replace("{SELF}", name), pins=True)

    def create_as(self, model):
        tables = [table for table in model.tables if table.columns]
        return Step(self.tables.create_as(model, self.place(model, self.new_name("t")))) if tables else None

    def create_schema(self, model):
        return Step(f"CREATE SCHEMA {self.random.choice(['', 'IF NOT EXISTS '])}{self.random.choice(SCHEMAS)}")

    def create_sequence(self, model):
        name = self.place(model, self.new_name("q"))
        options = self.random.choice(
            ["", " START 5", " INCREMENT BY 3", " MINVALUE 1 MAXVALUE 6 CYCLE", " INCREMENT -1", " MAXVALUE 4"]
        )
        return Step(f"CREATE {self.random.choice(['', '', 'OR REPLACE '])}SEQUENCE {name}{options}")

    def use_sequence(self, model):
        if not model.sequences:
            return None
        name = self.random.choice(model.sequences)
        return Step(self.random.choice([f"SELECT nextval('{name}')", f"SELECT nextval('{name}') FROM range(3)"]))

    def create_type(self, model):
        name = self.new_name("y")
        what = self.random.choice(
            ["ENUM ('a', 'b', 'c')", "INTEGER", "STRUCT(a INTEGER, b VARCHAR)", "VARCHAR[]", "DECIMAL(9,2)"]
        )
        return Step(f"CREATE TYPE {name} AS {what}")

    def create_view(self, model):
        tables = [table for table in model.permanent() if table.columns]
        if not tables:
            return None
        table = self.random.choice(tables)
        scope = scope_of(table)
        name = self.place(model, self.new_name("v"))
        columns = self.random.choice(
            ["*", self.random.choice(scope)[0], f"count(*) AS n, min({self.random.choice(scope)[0]})"]
        )
        where = f" WHERE {self.expressions.predicate(scope)}" if self.random.random() < 0.5 else ""
        form = self.random.choice(["CREATE VIEW", "CREATE OR REPLACE VIEW"])
        return Step(f"{form} {name} AS SELECT {columns} FROM {table.full_name}{where}")

    def create_macro(self, model):
        name = self.place(model, self.new_name("m"))
        bodies = ["(x) AS x + 1", "(x, y := 2) AS x * y", "(x) AS CASE WHEN x IS NULL THEN 'none' ELSE x::VARCHAR END"]
        tables = model.permanent()
        if tables:
            bodies.append(f"() AS TABLE SELECT count(*) AS n FROM {self.random.choice(tables).full_name}")
            bodies.append(f"(x) AS (SELECT count(*) + x FROM {self.random.choice(tables).full_name})")
        return Step(f"CREATE {self.random.choice(['', 'OR REPLACE '])}MACRO {name}{self.random.choice(bodies)}")

    def use_macro(self, model):
        if not model.macros:
            return None
        name, kind = self.random.choice(model.macros).split("/")
        return Step(f"FROM {name}()" if kind == "table_macro" else f"SELECT {name}({self.random.randint(1, 9)})")

    def create_index(self, model):
        tables = [table for table in model.permanent() if table.stored]
        if not tables:
            return None
        table = self.random.choice(tables)
        columns = self.random.sample(table.stored, min(len(table.stored), self.random.choice([1, 1, 2])))
        names = ", ".join(column.name for column in columns)
        if self.random.random() < 0.15 and columns[0].type.name == "VARCHAR":
            names = f"(lower({columns[0].name}))"
        unique = self.random.choice(["", "", "UNIQUE "])
        name = f"{self.random.choice(['', 'IF NOT EXISTS '])}{self.new_name('i')}"
        return Step(f"CREATE {unique}INDEX {name} ON {table.full_name} ({names})")

    def create_trigger(self, model):
        """Into a table without triggers of its own, so that triggers do not call each other."""
        tables = [table for table in model.permanent() if table.columns]
        if len(tables) < 2:
            return None
        table, other = self.random.sample(tables, 2)
        event, rows = self.random.choice([("INSERT", "NEW"), ("UPDATE", "NEW"), ("UPDATE", "OLD"), ("DELETE", "OLD")])
        scope = [(f"r.{column.name}", column.type) for column in table.stored]
        values = ", ".join(self.expressions.of_type(column.type, scope) for column in other.stored)
        names = ", ".join(column.name for column in other.stored)
        body = f"INSERT INTO {other.full_name} ({names}) SELECT {values} FROM r ORDER BY ALL"
        name = self.new_name("g")
        return Step(f"CREATE TRIGGER {name} AFTER {event} ON {table.full_name} REFERENCING {rows} TABLE AS r {body}")

    def comment(self, model):
        texts = ["'a comment'", "'it''s'", "NULL"]
        tables = [table for table in model.permanent() if table.columns]
        if not tables:
            return None
        table = self.random.choice(tables)
        column = self.random.choice(table.columns).name
        targets = [f"TABLE {table.full_name}", f"COLUMN {table.full_name}.{column}"]
        targets += [f"VIEW {view}" for view in model.views] + [f"SEQUENCE {name}" for name in model.sequences]
        targets += [f"INDEX {name}" for name in model.indexes] + [f"TYPE {name}" for name in model.types]
        return Step(f"COMMENT ON {self.random.choice(targets)} IS {self.random.choice(texts)}")

    def drop(self, model):
        """Of all kinds; types in use are an exception, see docs/transactions.md."""
        choices = [f"TABLE {table.full_name}" for table in model.tables]
        for kind in ("view", "sequence", "index", "schema"):
            choices += [f"{kind.upper()} {name}" for name in getattr(model, {"index": "indexes"}.get(kind, kind + "s"))]
        for macro in model.macros:
            name, kind = macro.split("/")
            choices.append(f"MACRO {'TABLE ' if kind == 'table_macro' else ''}{name}")
        choices += [f"TRIGGER {name} ON {table}" for table, name in model.triggers]
        if not choices:
            return None
        tail = self.random.choice(["", "", " CASCADE"])
        what = self.random.choice(choices)
        if self.random.random() < 0.1:
            kind, name = what.split(" ", 1)
            what = f"{kind} IF EXISTS {name}"
        return Step(f"DROP {what}{tail}")

    def alter(self, model):
        tables = [table for table in model.tables if table.stored]
        if not tables:
            return None
        table = self.random.choice(tables)
        kinds = [
            *[self.add_column] * 3, self.drop_column, self.rename_column, self.rename_table, *[self.change_type] * 3,
            self.set_default, self.set_null, self.add_constraint, self.nested_field, self.drop_constraint,
        ]  # fmt: skip
        change = self.random.choice(kinds)(model, table, self.random.choice(table.stored))
        return Step(f"ALTER TABLE {table.full_name} {change}")

    def add_column(self, model, table, column):
        name, definition = self.new_name("n"), "nextval"
        # Which row draws which number follows from the order of the rows, which an upsert changes.
        while "nextval" in definition:
            definition, _ = self.tables.column(model, name)
        return f"ADD COLUMN {self.random.choice(['', 'IF NOT EXISTS '])}{definition}"

    def drop_column(self, model, table, column):
        return f"DROP COLUMN {column.name}{self.random.choice(['', ' CASCADE'])}"

    def rename_column(self, model, table, column):
        return f"RENAME {self.random.choice(['', 'COLUMN '])}{column.name} TO {self.new_name('r')}"

    def rename_table(self, model, table, column):
        return f"RENAME TO {self.new_name('t')}"

    def change_type(self, model, table, column):
        new = self.random.choice([*COMMON_TYPES, random_type(self.random)])
        using = ""
        if self.random.random() < 0.5:
            scope = [(other.name, other.type) for other in table.stored]
            using = f" USING {self.expressions.of_type(parse(new), scope)}"
        return f"ALTER {column.name} {self.random.choice(['SET DATA TYPE', 'TYPE'])} {new}{using}"

    def set_default(self, model, table, column):
        if self.random.random() < 0.3:
            return f"ALTER {column.name} DROP DEFAULT"
        return f"ALTER {column.name} SET DEFAULT {self.tables.default(model, column.type)}"

    def set_null(self, model, table, column):
        return f"ALTER {column.name} {self.random.choice(['SET', 'DROP'])} NOT NULL"

    def export_and_import(self, model):
        """The whole catalog as files, which are read again when everything is gone."""
        texts = ["EXPORT DATABASE cp TO '{FOLDER}/export'"]
        texts += [f"DROP TRIGGER {name} ON {table}" for table, name in model.triggers]
        texts += [f"DROP VIEW {name}" for name in model.views]
        texts += [f"DROP TABLE {table.full_name} CASCADE" for table in reversed(model.permanent())]
        texts += ["DROP MACRO " + ("TABLE " if name.endswith("table_macro") else "") + name.split("/")[0] for name in model.macros]
        texts += [f"DROP SEQUENCE {name}" for name in model.sequences]
        texts += [f"DROP TYPE {name}" for name in model.types]
        texts += [f"DROP SCHEMA {name} CASCADE" for name in model.schemas if name != "main"]
        return [Step(text) for text in [*texts, "IMPORT DATABASE '{FOLDER}/export'"]]

    def add_constraint(self, model, table, column):
        columns = self.random.sample(table.stored, min(len(table.stored), self.random.choice([1, 1, 2])))
        names = ", ".join(column.name for column in columns)
        scope = [(column.name, column.type) for column in columns]
        choices = [
            f"PRIMARY KEY ({names})",
            f"PRIMARY KEY ({names})",
            f"UNIQUE ({names})",
            f"CHECK ({self.tables.check(scope)})",
        ]
        choices.append(f"CONSTRAINT {self.new_name('k')} CHECK ({self.tables.check(scope)})")
        return f"ADD {self.random.choice(choices)}"

    def drop_constraint(self, model, table, column):
        names = table.constraint_names or ["nothing"]
        return f"DROP CONSTRAINT {self.random.choice(names)}"

    def nested_field(self, model, table, column):
        structs = [column for column in table.stored if column.type.name == "STRUCT"]
        if not structs:
            return self.add_column(model, table, column)
        column = self.random.choice(structs)
        field = self.random.choice(column.type.parts)[0]
        of = random_type(self.random, 1)
        default = f" DEFAULT {value(self.random, parse(of), 0)}" if self.random.random() < 0.3 else ""
        choices = [
            f"ADD COLUMN {column.name}.{self.new_name('z')} {of}{default}",
            f"DROP COLUMN {column.name}.{field}",
            f"RENAME {column.name}.{field} TO {self.new_name('z')}",
        ]
        return self.random.choice(choices)
