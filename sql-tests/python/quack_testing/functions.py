"""Calls of every function that DuckDB says it has: an expression for each overload, with arguments of its types.

Several arguments are tried until DuckDB itself takes a call.
"""

from dataclasses import asdict, dataclass

from quack_testing.function_arguments import ARGUMENTS, choices, column, table_columns, table_rows


@dataclass
class Function:
    """One overload, as `duckdb_functions()` lists it."""

    name: str
    kind: str
    types: list
    varargs: str | None
    stability: str | None

    def title(self):
        types = ", ".join(str(name) for name in self.types) + (f", {self.varargs}…" if self.varargs else "")
        return f"{self.kind} {self.name}({types})"


def argument_lists(function):
    """Lists of arguments to try, the likely ones first."""
    for text in ARGUMENTS.get(function.name, []):
        yield [text]
    for extra in (1, 0, 2) if function.varargs else (0,):
        types = [name or "ANY" for name in function.types] + [function.varargs] * extra
        if not types:
            yield []
            continue
        columns, constants = zip(*map(choices, types))

        def at(number, options):
            return [place[number % len(place)] for place in options]

        for number in range(max(map(len, columns))):
            yield at(number, columns)
        # Of constants, those of the first place vary slowest: where there are two texts, one is mostly a format.
        for number in range(max(map(len, constants))):
            yield at(number, columns[:1] + constants[1:])
            yield at(number, constants[:1] + columns[1:])
            yield at(number, constants)
        for number in range(max(map(len, columns[0:1]))):
            yield at(number, columns[:1]) + at(0, constants[1:])


@dataclass
class Call:
    """A call that DuckDB takes, or the last error that it gave for one."""

    title: str
    name: str
    kind: str
    # What it gives: a value for a "row" or for a "group" of rows, or a "table".
    shape: str
    text: str = ""
    # Names and types of what comes of it: one for a value, all columns for a table.
    columns: tuple = ()
    error: str | None = None


QUERY = """
SELECT function_name, function_type, coalesce(parameter_types, []), varargs, stability FROM duckdb_functions()
WHERE function_type != 'pragma' GROUP BY ALL ORDER BY ALL
"""
TABLES = ("table", "table_macro")
TABLE_ROWS = 20


def texts(function):
    """Calls to try, as SQL. What cannot be stored is stored as text."""
    name = '"' + function.name.replace('"', '""') + '"'
    over = " OVER (ORDER BY id)" if function.kind == "window" else ""
    if function.kind in TABLES:
        # Parameters by name follow those by position in the list, and nothing tells the one from the other.
        lists = [[text] for text in ARGUMENTS.get(function.name, [])]
        for count in range(min(len(function.types), 3) + 1):
            options = [choices(name or "ANY")[1] for name in function.types[:count]]
            lists += [[place[number % len(place)] for place in options] for number in range(3 if count else 1)]
        for arguments_ in lists:
            yield f"SELECT * FROM {name}({', '.join(arguments_)}) LIMIT {TABLE_ROWS}"
            yield f"SELECT COLUMNS(*)::VARCHAR FROM {name}({', '.join(arguments_)}) LIMIT {TABLE_ROWS}"
    else:
        for arguments_ in argument_lists(function):
            text = f"{name}({', '.join(arguments_)}){over}"
            yield text
            yield f"({text})::VARCHAR"


def find_call(connection, function):
    """The first call of a function that DuckDB takes."""
    shape = "table" if function.kind in TABLES else "row"
    call = Call(function.title(), function.name, function.kind, shape)
    for call.text in texts(function):
        query = call.text if shape == "table" else f"SELECT {call.text} AS value FROM args"
        try:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE found AS {query}")
            call.columns = connection.execute(
                "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'found' ORDER BY column_index"
            ).fetchall()
            # Some types have no name that could be written.
            types = ", ".join(f"c{number} {type_name}" for number, (_, type_name) in enumerate(call.columns))
            connection.execute(f"CREATE OR REPLACE TEMP TABLE named ({types})")
            ((rows,),) = connection.execute("SELECT count(*) FROM found").fetchall()
        except Exception as error:
            call.error = str(error).split("\n")[0]
            continue
        call.error = None
        if shape == "row" and rows == 1:
            call.shape = "group"
        break
    return call


def prepare(connection):
    """Makes what arguments refer to, in the default catalog."""
    connection.execute(f"CREATE TABLE args (id INTEGER PRIMARY KEY, {table_columns()})")
    connection.execute(f"INSERT INTO args {table_rows()}")


def make_files(connection):
    """Files for the functions that read some, in the folder of the process."""
    for kind in ("csv", "json", "parquet"):
        connection.execute(f"COPY (SELECT id, {column('VARCHAR')} FROM args) TO 'arguments.{kind}'")
    connection.execute("ATTACH 'arguments.duckdb' AS file")
    connection.execute("CREATE TABLE file.args AS FROM args")
    connection.execute("DETACH file")


def find_calls(database, skipped):
    """A call of each overload, as dicts; runs in the process whose functions they are."""
    connection = database.cursor()
    prepare(connection)
    make_files(connection)
    connection.execute("CREATE SEQUENCE numbers")
    connection.execute("SELECT nextval('numbers')")
    connection.execute("SET VARIABLE place = 'here'")
    functions = [Function(*row) for row in connection.execute(QUERY).fetchall()]
    return [asdict(find_call(connection, function)) for function in functions if function.name not in skipped]
