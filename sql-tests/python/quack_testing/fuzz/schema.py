"""What is in the catalog `cp`, as the generator sees it: read from the world of plain DuckDB."""

import re
from dataclasses import dataclass, field, replace

from quack_testing.fuzz.values import Type, parse

COLUMNS = """SELECT database_name, schema_name, table_name, column_name, data_type, is_generated, is_nullable,
    column_default IS NOT NULL, coalesce(column_default, '') LIKE '%nextval%' FROM duckdb_columns()
    WHERE database_name IN ('cp', 'temp') AND NOT internal ORDER BY table_oid, column_index"""
CONSTRAINTS = """SELECT database_name, schema_name, table_name, constraint_type,
    array_to_string(constraint_column_names, '|'), constraint_name, referenced_table
    FROM duckdb_constraints() WHERE database_name IN ('cp', 'temp') ORDER BY ALL"""
TABLES = """SELECT database_name, schema_name, table_name FROM duckdb_tables()
    WHERE database_name IN ('cp', 'temp') AND NOT internal ORDER BY table_oid"""
NAMES = {
    "views": "SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = 'cp' AND NOT internal ORDER BY ALL",
    "sequences": "SELECT schema_name, sequence_name FROM duckdb_sequences() WHERE database_name = 'cp' ORDER BY ALL",
    "indexes": "SELECT schema_name, index_name FROM duckdb_indexes() WHERE database_name = 'cp' ORDER BY ALL",
    "schemas": "SELECT '', schema_name FROM duckdb_schemas() WHERE database_name = 'cp' AND NOT internal ORDER BY ALL",
    "types": "SELECT schema_name, type_name FROM duckdb_types() WHERE database_name = 'cp' AND NOT internal ORDER BY ALL",
    "macros": """SELECT schema_name, function_name || '/' || function_type FROM duckdb_functions()
        WHERE database_name = 'cp' AND NOT internal ORDER BY ALL""",
}
TRIGGERS = "SELECT table_name, trigger_name FROM duckdb_triggers() WHERE database_name = 'cp' ORDER BY ALL"


@dataclass
class Column:
    name: str
    type: Type
    generated: bool
    nullable: bool
    has_default: bool
    # A row's value depends on when it is evaluated.
    draws: bool


@dataclass
class Table:
    database: str
    schema: str
    name: str
    columns: list = field(default_factory=list)
    # Columns of each key, the primary key in front.
    keys: list = field(default_factory=list)
    constraint_names: list = field(default_factory=list)
    parents: list = field(default_factory=list)

    @property
    def full_name(self):
        if self.database == "temp":
            return f"temp.{self.name}"
        return self.name if self.schema == "main" else f"{self.schema}.{self.name}"

    @property
    def stored(self):
        return [column for column in self.columns if not column.generated]

    def column(self, name):
        return next(column for column in self.columns if column.name == name)

    def key_columns(self):
        return {name for key in self.keys for name in key}


@dataclass
class Model:
    """Everything in the catalog, by kind."""

    tables: list = field(default_factory=list)
    views: list = field(default_factory=list)
    sequences: list = field(default_factory=list)
    indexes: list = field(default_factory=list)
    schemas: list = field(default_factory=list)
    types: list = field(default_factory=list)
    macros: list = field(default_factory=list)
    triggers: list = field(default_factory=list)

    def permanent(self):
        return [table for table in self.tables if table.database == "cp"]


# The parts of a model, and what a definition of a kind changes of them; others may change all.
PARTS = {"tables", "triggers", *NAMES}
CHANGED = {
    "TABLE": {"tables", "indexes", "triggers"},
    "VIEW": {"views", "triggers"},
    "SEQUENCE": {"sequences"},
    "INDEX": {"indexes"},
    "TYPE": {"types"},
    "TRIGGER": {"triggers"},
    "MACRO": {"macros"},
    "FUNCTION": {"macros"},
}
DEFINES = re.compile(r"(?:CREATE|ALTER|DROP) (?:OR REPLACE |TEMP |UNIQUE )*(\w+)")
# It takes longer to list functions, as DuckDB lists its own, too, than to list all else.
CHANGES_MACROS = re.compile(r"MACRO|FUNCTION|SCHEMA|COMMIT|ROLLBACK")


def changed_by(sql):
    """The parts of the model that a statement may change."""
    if sql.startswith("COMMENT"):
        return set()
    found = DEFINES.match(sql)
    if found and found[1] in CHANGED and not sql.endswith("CASCADE"):
        return CHANGED[found[1]]
    return PARTS if CHANGES_MACROS.search(sql) else PARTS - {"macros"}


def read(rows_of, model, changed):
    """`model` with its `changed` parts read again; `rows_of` runs a query and gives its rows as texts."""
    parts = {kind: [qualified(*row) for row in rows_of(NAMES[kind])] for kind in changed & NAMES.keys()}
    if "tables" in changed:
        parts["tables"] = read_tables(rows_of)
    if "triggers" in changed:
        parts["triggers"] = [tuple(row) for row in rows_of(TRIGGERS)]
    return replace(model, **parts)


def read_tables(rows_of):
    """All tables with their columns and constraints."""
    tables = {tuple(row): Table(*row) for row in rows_of(TABLES)}
    for database, schema, table, name, type_name, generated, nullable, default, draws in rows_of(COLUMNS):
        # Views have columns, too.
        if (database, schema, table) in tables:
            facts = [fact == "true" for fact in (generated, nullable, default, draws)]
            column = Column(quoted(name), parse(type_name), *facts)
            tables[database, schema, table].columns.append(column)
    for database, schema, name, kind, columns, constraint, parent in rows_of(CONSTRAINTS):
        table = tables[database, schema, name]
        if kind in ("PRIMARY KEY", "UNIQUE"):
            key = [quoted(column) for column in columns.split("|")]
            table.keys.insert(0 if kind == "PRIMARY KEY" else len(table.keys), key)
        if kind == "FOREIGN KEY":
            table.parents.append(parent)
        if constraint:
            table.constraint_names.append(quoted(constraint))
    return list(tables.values())


def quoted(name):
    plain = name.replace("_", "a").isalnum() and name.isascii() and name.islower() and name != "select"
    return name if plain else f'"{name}"'


def qualified(schema, name):
    return name if schema in ("main", "") else f"{schema}.{name}"
