"""Random reads: joins, aggregates, windows, set operations, and looks into the catalog."""

from quack_testing.fuzz.expressions import scope_of
from quack_testing.fuzz.steps import Step

CATALOG = [
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "DESCRIBE {table}",
    "SUMMARIZE SELECT count(*) AS n FROM {table}",
    "PRAGMA table_info('{table}')",
    "PRAGMA show_tables",
    "SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_catalog = 'cp'",
    "SELECT * FROM information_schema.columns WHERE table_catalog = 'cp'",
    "SELECT * FROM information_schema.table_constraints WHERE table_catalog = 'cp'",
    "SELECT * FROM information_schema.key_column_usage WHERE table_catalog = 'cp'",
    "SELECT * FROM information_schema.referential_constraints WHERE constraint_catalog = 'cp'",
    "SELECT catalog_name, schema_name FROM information_schema.schemata WHERE catalog_name = 'cp'",
    "SELECT relname, relkind, relnatts FROM pg_catalog.pg_class WHERE relname SIMILAR TO '[tviq][0-9]+'",
    "SELECT table_name, column_names FROM (SHOW ALL TABLES)",
    "SELECT current_database(), current_schema(), current_catalog()",
    "SELECT type, name, tbl_name FROM sqlite_master",
]
WINDOWS = [
    "row_number() OVER (ORDER BY ALL)",
    "rank() OVER (ORDER BY {0})",
    "count(*) OVER (PARTITION BY {0})",
    "min({0}) OVER (ORDER BY {0})",
    "dense_rank() OVER (PARTITION BY {1} ORDER BY {0})",
]


class Queries:
    def __init__(self, random, expressions):
        self.random = random
        self.expressions = expressions

    def choose(self, model):
        tables = [table for table in model.tables if table.columns]
        if not tables:
            return None
        kinds = [
            self.plain, self.plain, self.grouped, self.joined, self.windowed, self.union, self.catalog, self.look_up, self.first,
        ]  # fmt: skip
        return self.random.choice(kinds)(model, self.random.choice(tables))

    def choose_alone(self, model):
        """A query of one table and few rows."""
        tables = [table for table in model.tables if table.columns]
        kinds = [self.grouped, self.look_up, self.catalog]
        return self.random.choice(kinds)(model, self.random.choice(tables)) if tables else None

    def some_columns(self, scope):
        chosen = self.random.sample(scope, self.random.randint(1, min(4, len(scope))))
        return ", ".join(text for text, _ in chosen)

    def plain(self, model, table):
        scope = scope_of(table)
        where = f" WHERE {self.expressions.predicate(scope)}" if self.random.random() < 0.7 else ""
        if self.random.random() < 0.3:
            limit = f" LIMIT {self.random.randint(0, 5)}" if self.random.random() < 0.5 else ""
            return Step(f"SELECT * FROM {table.full_name}{where} ORDER BY ALL{limit}", ordered=True)
        if model.views and self.random.random() < 0.2:
            return Step(f"FROM {self.random.choice(model.views)}")
        return Step(f"SELECT {self.some_columns(scope)} FROM {table.full_name}{where}")

    def look_up(self, model, table):
        """By a key, through an index."""
        if not table.keys:
            return self.plain(model, table)
        terms = []
        for name in self.random.choice(table.keys):
            of = table.column(name).type
            terms.append(f"{name} = {self.expressions.constant(of, 0)}::{of.text}")
        return Step(f"SELECT * FROM {table.full_name} WHERE {' AND '.join(terms)}")

    def first(self, model, table):
        """The first rows in the order of a key, of all or of each group: DuckDB finds them by few columns, and reads the rest."""
        if not table.keys:
            return self.plain(model, table)
        names = self.random.choice(table.keys)
        by, where = ", ".join(names), " AND ".join(f"{name} IS NOT NULL" for name in names)
        if self.random.random() < 0.7:
            offset = f" OFFSET {self.random.randint(1, 3000)}" if self.random.random() < 0.3 else ""
            limit = f"LIMIT {self.random.randint(1, 8)}{offset}"
            return Step(f"SELECT * FROM {table.full_name} WHERE {where} ORDER BY {by} {limit}", ordered=True)
        group = self.random.choice(scope_of(table))[0]
        numbered = f"SELECT *, row_number() OVER (PARTITION BY {group} ORDER BY {by}) AS rn FROM {table.full_name} WHERE {where}"
        return Step(f"SELECT * FROM ({numbered}) WHERE rn <= {self.random.randint(1, 3)}")

    def grouped(self, model, table):
        scope = scope_of(table)
        by = self.some_columns(scope)
        values = ", ".join(self.expressions.aggregate(scope) for _ in range(self.random.randint(1, 3)))
        having = f" HAVING {self.expressions.aggregate(scope)} IS NOT NULL" if self.random.random() < 0.2 else ""
        by_all = self.random.random() < 0.3
        return Step(
            f"SELECT {values} FROM {table.full_name}"
            if by_all
            else f"SELECT {by}, {values} FROM {table.full_name} GROUP BY {by}{having}"
        )

    def joined(self, model, table):
        other = self.random.choice(model.tables)
        left, right = scope_of(table, "l"), scope_of(other, "r")
        pairs = [(a, b) for a, of in left for b, its in right if of == its]
        on = " = ".join(self.random.choice(pairs)) if pairs else self.expressions.predicate(left + right)
        kind = self.random.choice(["JOIN", "LEFT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN"])
        columns = self.some_columns(left if kind in ("SEMI JOIN", "ANTI JOIN") else left + right)
        return Step(f"SELECT {columns} FROM {table.full_name} l {kind} {other.full_name} r ON ({on})")

    def windowed(self, model, table):
        scope = scope_of(table)
        names = [text for text, _ in scope]
        window = self.random.choice(WINDOWS[1:]).format(self.random.choice(names), self.random.choice(names))
        return Step(f"SELECT {self.some_columns(scope)}, {window} FROM {table.full_name}")

    def union(self, model, table):
        other = self.random.choice(model.tables)
        pairs = [(a, b) for a, of in scope_of(table) for b, its in scope_of(other) if of == its]
        if not pairs:
            return self.grouped(model, table)
        left, right = self.random.choice(pairs)
        kind = self.random.choice(["UNION", "UNION ALL", "EXCEPT", "INTERSECT ALL"])
        return Step(f"SELECT {left} AS c FROM {table.full_name} {kind} SELECT {right} FROM {other.full_name}")

    def catalog(self, model, table):
        return Step(self.random.choice(CATALOG).format(table=table.full_name))
