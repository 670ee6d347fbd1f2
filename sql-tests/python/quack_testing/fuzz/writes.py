"""Random writes: INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY, appender."""

from quack_testing.fuzz.expressions import scope_of
from quack_testing.fuzz.steps import APPEND, Step
from quack_testing.fuzz.values import value

# Where DuckDB's storage changes what it does: a chunk, a row group, and beyond.
BORDERS = (0, 1, 2047, 2048, 2049, 122_879, 122_880, 122_881, 300_000)


# Rows that DuckDB works on at a time.
ONE_VECTOR = 2000


class Writes:
    def __init__(self, random, expressions):
        self.random = random
        self.expressions = expressions
        self.files = 0

    def choose(self, model):
        tables = [table for table in model.tables if table.stored]
        if not tables:
            return None
        table = self.random.choice(tables)
        kinds = [
            *[self.insert_values] * 7, *[self.insert_select] * 3, self.insert_defaults, *[self.upsert] * 4,
            *[self.update] * 7, *[self.update_from] * 3,
            *[self.delete] * 2, self.delete_using, *[self.merge] * 5, self.append, self.copy,
            self.in_with, self.truncate if self.random.random() < 0.1 else self.update,
        ]  # fmt: skip
        return self.random.choice(kinds)(model, table)

    def choose_alone(self, model):
        """A write that looks at no other table, because tables are large."""
        tables = [table for table in model.tables if table.stored]
        if not tables:
            return None
        kinds = [self.insert_values, self.upsert, *[self.update] * 4, *[self.delete] * 2, self.insert_defaults, self.append]
        return self.random.choice(kinds)(model, self.random.choice(tables))

    def returning(self, scope):
        """Nothing, all columns, or expressions."""
        choice = self.random.random()
        if choice < 0.65:
            return ""
        if choice < 0.85:
            return " RETURNING *"
        text = self.random.choice(scope)[0].split(".", 1)[1]
        return f" RETURNING {text}, {text} IS NULL AS missing"

    def columns_to_write(self, table):
        """All that are stored, or some of them."""
        columns = table.stored
        if self.random.random() < 0.3:
            columns = [column for column in columns if self.random.random() < 0.8 or not column.nullable]
        return columns or table.stored

    def row(self, columns, nulls=0.1):
        values = []
        for column in columns:
            default = column.has_default and self.random.random() < 0.2
            values.append("DEFAULT" if default else value(self.random, column.type, nulls if column.nullable else 0.01))
        return f"({', '.join(values)})"

    def target(self, table, columns):
        return f"{table.full_name} ({', '.join(column.name for column in columns)})"

    def source(self, model, columns, most=None):
        """A query with at most so many rows for these columns, in an order that decides which row comes first."""
        other = self.random.choice(model.tables)
        scope = scope_of(other)
        values = ", ".join(self.expressions.of_type(column.type, scope) + f" AS {column.name}" for column in columns)
        where = f" WHERE {self.expressions.predicate(scope)}" if scope and self.random.random() < 0.6 else ""
        return f"SELECT {values} FROM {other.full_name}{where} ORDER BY ALL{f' LIMIT {most}' if most else ''}"

    def insert_values(self, model, table):
        columns = self.columns_to_write(table)
        clash = self.clash(table)
        count = min(self.random.choice([1, 1, 2, 3, 8]), self.most_rows(table) if clash else 8)
        rows = ", ".join(self.row(columns) for _ in range(count))
        return Step(f"INSERT{clash} INTO {self.target(table, columns)} VALUES {rows}{self.returning(scope_of(table))}")

    def clash(self, table):
        """What to do about keys that are there already."""
        if len(table.keys) != 1 and self.random.random() < 0.9:
            return ""
        return self.random.choice(["", "", " OR REPLACE", " OR IGNORE"])

    def most_rows(self, table):
        """How many rows of one statement may clash: which of two is stored is decided by DuckDB's threads when there are more
        than a vector holds, or several keys, in each of which NULL clashes with NULL."""
        return 1 if len(table.keys) > 1 else ONE_VECTOR

    def fill(self, table):
        """Rows for a new table, those that its constraints let in."""
        rows = ", ".join(self.row(table.stored, 0.05) for _ in range(self.random.randint(4, 12)))
        form = "INSERT OR IGNORE INTO" if len(table.keys) == 1 else "INSERT INTO"
        return Step(f"{form} {self.target(table, table.stored)} VALUES {rows}")

    def fill_large(self, table):
        """As many rows as a chunk or a row group of DuckDB has, or one more or less."""
        rows = self.random.choice(BORDERS)
        keys = table.key_columns()
        values = [self.of_number(column, column.name in keys) for column in table.stored]
        return Step(f"INSERT INTO {self.target(table, table.stored)} SELECT {', '.join(values)} FROM range({rows}) n(n)")

    def of_number(self, column, is_key):
        """A value for each number; few different ones, unless they are to be keys."""
        of = column.type
        if is_key and (of.is_integer or of.name in ("DOUBLE", "VARCHAR")):
            return f"n::{of.text}"
        if is_key and of.name == "DATE":
            return "DATE '2000-01-01' + n::INTEGER"
        few = [value(self.random, of, 0.2 if column.nullable and not is_key else 0) for _ in range(3)]
        return f"CASE n % 3 WHEN 0 THEN {few[0]} WHEN 1 THEN {few[1]} ELSE {few[2]} END"

    def insert_select(self, model, table):
        columns = self.columns_to_write(table)
        if self.random.random() < 0.2:
            source = self.source(model, columns)
            return Step(f"INSERT INTO {table.full_name} BY NAME ({source}){self.returning(scope_of(table))}")
        clash = self.clash(table)
        source = self.source(model, columns, self.most_rows(table) if clash else None)
        return Step(f"INSERT{clash} INTO {self.target(table, columns)} {source}{self.returning(scope_of(table))}")

    def insert_defaults(self, model, table):
        return Step(f"INSERT INTO {table.full_name} DEFAULT VALUES{self.returning(scope_of(table))}")

    def upsert(self, model, table):
        if not table.keys:
            return self.insert_values(model, table)
        key = self.random.choice(table.keys)
        columns = self.columns_to_write(table)
        rows = ", ".join(self.row(columns) for _ in range(self.random.choice([1, 2, 3])))
        others = [column for column in table.stored if column.name not in key or self.random.random() < 0.05]
        action = "NOTHING"
        if others and self.random.random() < 0.8:
            scope = scope_of(table) + scope_of(table, "excluded")
            some = self.random.sample(others, self.random.randint(1, len(others)))
            changes = ", ".join(f"{column.name} = {self.expressions.of_type(column.type, scope)}" for column in some)
            where = f" WHERE {self.expressions.predicate(scope)}" if self.random.random() < 0.3 else ""
            action = f"UPDATE SET {changes}{where}"
        conflict = f"ON CONFLICT ({', '.join(key)}) DO {action}"
        source = f"VALUES {rows}" if self.random.random() < 0.8 else self.source(model, columns, ONE_VECTOR)
        return Step(f"INSERT INTO {self.target(table, columns)} {source} {conflict}{self.returning(scope_of(table))}")

    def changes(self, table, scope):
        columns = table.stored
        chosen = self.random.sample(columns, self.random.randint(1, min(3, len(columns))))
        changes = []
        for column in chosen:
            new = self.expressions.of_type(column.type, scope)
            # DuckDB's upserts store rows in the order of a hash table, in which a later UPDATE draws.
            if column.has_default and not column.draws and self.random.random() < 0.2:
                new = "DEFAULT"
            changes.append(f"{column.name} = {new}")
        return ", ".join(changes)

    def where(self, scope, share=0.85):
        return f" WHERE {self.expressions.predicate(scope)}" if self.random.random() < share else ""

    def update(self, model, table):
        scope = scope_of(table)
        changes = self.changes(table, scope)
        if self.random.random() < 0.15:
            column = self.random.choice(table.stored)
            changes = f"{column.name} = (SELECT max({column.name}) FROM {table.full_name})"
        where = self.where(scope)
        if self.random.random() < 0.15:
            other = self.random.choice(model.tables)
            condition = self.expressions.predicate(scope + scope_of(other, "o"))
            where = f" WHERE EXISTS (FROM {other.full_name} o WHERE {condition})"
        return Step(f"UPDATE {table.full_name} SET {changes}{where}{self.returning(scope)}")

    def matched(self, table, other):
        """A condition by which a row of `table` meets one row of a grouped query over `other` at most, and that query."""
        pairs = [(a, b) for a in table.columns for b in other.columns if a.type == b.type]
        if not pairs:
            return None
        mine, its = self.random.choice(pairs)
        if self.random.random() < 0.5:
            values = ", ".join(self.expressions.constant(mine.type, 0) for _ in range(self.random.randint(1, 12)))
            query = f"(SELECT DISTINCT unnest([{values}])::{mine.type.text} AS k)"
            return f"{table.name}.{mine.name} = s.k", query, [("s.k", mine.type)]
        text, of = self.random.choice(scope_of(other))
        query = f"(SELECT {its.name} AS k, max({text}) AS m FROM {other.full_name} GROUP BY ALL)"
        return f"{table.name}.{mine.name} = s.k", query, [("s.k", mine.type), ("s.m", of)]

    def update_from(self, model, table):
        found = self.matched(table, self.random.choice(model.tables))
        if not found:
            return self.update(model, table)
        condition, query, scope = found
        changes = self.changes(table, scope_of(table) + scope)
        extra = f" AND {self.expressions.predicate(scope_of(table) + scope)}" if self.random.random() < 0.4 else ""
        where = f"{condition}{extra}{self.returning(scope_of(table))}"
        return Step(f"UPDATE {table.full_name} SET {changes} FROM {query} s WHERE {where}")

    def delete(self, model, table):
        """Rather few rows, so that the others have something to work with."""
        scope = scope_of(table)
        where = self.where(scope, 0.98)
        if where and self.random.random() < 0.6:
            where += f" AND {self.expressions.predicate(scope)}"
        return Step(f"DELETE FROM {table.full_name}{where}{self.returning(scope)}")

    def delete_using(self, model, table):
        found = self.matched(table, self.random.choice(model.tables))
        if not found:
            return self.delete(model, table)
        condition, query, scope = found
        extra = self.expressions.predicate(scope_of(table) + scope)
        where = f"{condition} AND {extra}{self.returning(scope_of(table))}"
        return Step(f"DELETE FROM {table.full_name} USING {query} s WHERE {where}")

    def truncate(self, model, table):
        return Step(f"TRUNCATE {table.full_name}")

    def merge(self, model, table):
        found = self.matched(table, self.random.choice(model.tables))
        if not found:
            return self.delete(model, table)
        condition, query, scope = found
        both = scope_of(table) + scope
        actions = []
        for number in range(self.random.randint(1, 3), 0, -1):
            actions.append(self.merge_action(table, both, scope, number > 1 or self.random.random() < 0.4))
        returning = self.random.choice(["", "", "", " RETURNING *", " RETURNING merge_action, *"])
        return Step(f"MERGE INTO {table.full_name} USING {query} s ON ({condition}) {' '.join(actions)}{returning}")

    def merge_action(self, table, both, scope, conditional):
        kind = self.random.random()
        extra = f" AND {self.expressions.predicate(both)}" if conditional else ""
        if kind < 0.4:
            return f"WHEN MATCHED{extra} THEN UPDATE SET {self.changes(table, both)}"
        if kind < 0.5:
            return f"WHEN MATCHED{extra} THEN {self.random.choice(['DELETE', 'DO NOTHING'])}"
        if kind < 0.6:
            own = f" AND {self.expressions.predicate(scope_of(table))}"
            what = self.random.choice(["DELETE", f"UPDATE SET {self.changes(table, scope_of(table))}"])
            return f"WHEN NOT MATCHED BY SOURCE{own} THEN {what}"
        extra = f" AND {self.expressions.predicate(scope)}" if conditional else ""
        columns = self.columns_to_write(table)
        values = ", ".join(self.expressions.of_type(column.type, scope) for column in columns)
        names = ", ".join(column.name for column in columns)
        return f"WHEN NOT MATCHED{extra} THEN INSERT ({names}) VALUES ({values})"

    def in_with(self, model, table):
        """A write in WITH, and what it gives written elsewhere or read."""
        write = self.random.choice([self.insert_values, self.update, self.delete])(model, table)
        inner = write.sql.split(" RETURNING ")[0] + " RETURNING *"
        return Step(f"WITH w AS ({inner}) SELECT count(*) AS n FROM w")

    def append(self, model, table):
        if table.database != "cp" or len(table.stored) != len(table.columns):
            return self.insert_values(model, table)
        rows = []
        for _ in range(self.random.randint(1, 4)):
            rows.append([None if self.random.random() < 0.1 else str(self.random.randint(0, 30)) for _ in table.columns])
        return Step(action=APPEND, table=("cp", table.schema, table.name), rows=rows)

    def copy(self, model, table):
        """Into a file and out of it, as one step: the file is there in any world then."""
        self.files += 1
        columns = ", ".join(column.name for column in table.stored)
        form = self.random.choice(["csv", "parquet", "json"])
        file = f"{{FOLDER}}/f{self.files}.{form}"
        return [
            Step(f"COPY (SELECT {columns} FROM {table.full_name} ORDER BY ALL) TO '{file}'"),
            Step(f"COPY {table.full_name} ({columns}) FROM '{file}'"),
        ]
