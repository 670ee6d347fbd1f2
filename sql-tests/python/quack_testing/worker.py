"""A process that hosts DuckDB and does what it reads, one JSON object a line.

It has no part in deciding what is right: it opens, executes, interrupts, closes and exits, and answers with
rows or with the text of DuckDB's error, which begins with the error's class ("Constraint Error: ..."). Each
named connection has a thread of its own, so that a test can have several statements in flight.

Requests have an `id`, which the answer repeats, and an `op`:

- open: path, config, stock (load the stock client), prepare, a list of statements, folder, to work in, and c_api,
  to go past the Python API; see capi.py
- execute: connection, sql, parameters, pickle (rows as Python values instead of text)
- query: connection, sql, rows, whole_types (with the names of fields and members); with the C API only: runs a text, and
  gives the rows, if wanted, as DuckDB writes them
- append: connection, table (its catalog, schema and name), rows; with the C API only: by an appender
- read_expected: path, columns; the values of a file of results
- interrupt, close_connection: connection
- python: code, run in this process with `duckdb`, `database` and `connections` in reach; answers `result`
- close: every connection; exit: close nothing, end the process
"""

import base64
import json
import os
import pickle
import queue
import sys
import threading
import traceback

ANSWERS = threading.Lock()
# DuckDB prints profiles and the like to the standard output, which would come between the answers.
CHANNEL = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def python_api():
    """DuckDB's Python package, which takes longer to come than DuckDB itself: imported where it is used."""
    import duckdb

    return duckdb


def answer(request, **fields):
    line = json.dumps({"id": request["id"], **fields}) + "\n"
    with ANSWERS:
        CHANNEL.write(line)
        CHANNEL.flush()


def text(value, nested=False):
    """Renders a value as DuckDB would, near enough for expectations; NULL at the top is None."""
    if value is None:
        return "NULL" if nested else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (bytes, bytearray)):
        return "".join(chr(b) if 32 <= b < 127 and b not in b"\\'\"" else f"\\x{b:02X}" for b in value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{text(k, True)}: {text(v, True)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(text(v, True) for v in value) + ")"
    if isinstance(value, list):
        return "[" + ", ".join(text(v, True) for v in value) + "]"
    return str(value)


class Connection:
    """A DuckDB connection and the thread on which its statements run, in order."""

    def __init__(self, connection):
        self.connection = connection
        self.requests = queue.Queue()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while (request := self.requests.get()) is not None:
            try:
                answer(request, **getattr(self, request["op"])(request))
            except Exception as error:
                answer(request, error=str(error), error_class=type(error).__name__)

    def execute(self, request):
        result = self.connection.execute(request["sql"], request.get("parameters"))
        description = result.description or []
        rows = result.fetchall()
        fields = {"columns": [c[0] for c in description], "types": [str(c[1]) for c in description]}
        if request.get("pickle"):
            return {**fields, "pickled": base64.b64encode(pickle.dumps(rows)).decode()}
        return {**fields, "rows": [[text(value) for value in row] for row in rows]}

    def query(self, request):
        columns, types, rows = self.connection.query(request["sql"], request["rows"], request.get("whole_types", False))
        return {"columns": columns, "types": types, "rows": rows}

    def append(self, request):
        self.connection.append(request["table"], request["rows"])
        return {}


class Worker:
    def __init__(self):
        self.database = None
        self.prepare = []
        self.connections = {}

    def open(self, request):
        if "folder" in request:
            os.chdir(request["folder"])
        path, config = request.get("path", ":memory:"), request.get("config", {})
        if request.get("c_api"):
            from quack_testing import capi

            self.database = capi.Database(path, config)
        else:
            self.database = python_api().connect(path, config=config)
        if request.get("stock"):
            from quack_testing import stock

            stock.load(self.database, python_api().__version__)
        self.prepare = request.get("prepare", [])
        return {"pid": os.getpid()}

    def connection(self, name):
        if name not in self.connections:
            self.connections[name] = Connection(self.database.cursor())
            self.prepare_connection(name)
        return self.connections[name]

    def execute(self, request):
        self.connection(request.get("connection", "default")).requests.put(request)

    query = append = execute

    def read_expected(self, request):
        columns = {name: "VARCHAR" for name in request["columns"]}
        with python_api().connect() as plain:
            result = plain.read_csv(request["path"], header=True, sep="|", columns=columns, auto_detect=False)
            return {"rows": [["NULL" if value is None else value for value in row] for row in result.fetchall()]}

    def prepare_connections(self, request):
        """Statements that every connection but the one called "bare" runs first, from now on, such as USE."""
        self.prepare = request["statements"]
        for name in self.connections:
            self.prepare_connection(name)
        return {}

    def prepare_connection(self, name):
        for statement in self.prepare if name != "bare" else []:
            self.connections[name].connection.execute(statement)

    def interrupt(self, request):
        self.connection(request.get("connection", "default")).connection.interrupt()
        return {}

    def close_connection(self, request):
        connection = self.connections.pop(request.get("connection", "default"), None)
        if connection:
            connection.requests.put(None)
            connection.thread.join()
            connection.connection.close()
        return {}

    def python(self, request):
        names = {"duckdb": python_api(), "worker": self, "database": self.database, "connections": self.connections}
        exec(request["code"], names)
        return {"result": names.get("result")}

    def close(self, request):
        for name in list(self.connections):
            self.close_connection({"connection": name})
        if self.database is not None:
            self.database.close()
            self.database = None
        return {}

    def exit(self, request):
        answer(request)
        sys.exit(request.get("code", 0))

    def run(self):
        for line in sys.stdin:
            request = json.loads(line)
            try:
                fields = getattr(self, request["op"])(request)
            except Exception as error:
                detail = "" if type(error).__module__ == "_duckdb" else traceback.format_exc()
                answer(request, error=str(error), error_class=type(error).__name__, detail=detail)
            else:
                if fields is not None:
                    answer(request, **fields)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    Worker().run()
