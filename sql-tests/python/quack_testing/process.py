"""Worker processes from the side of a test: requests, answers, and ends by process id.

Invariants: no process outlives its `Process`; a statement that gets no answer in time fails the test.
"""

import base64
import json
import os
import pickle
import signal
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WORKER = Path(__file__).with_name("worker.py")
PYTHON = os.environ.get("QUACK_PYTHON", str(ROOT / ".venv-duckdb/bin/python"))
STOCK_PYTHON = os.environ.get("QUACK_STOCK_PYTHON", str(ROOT / ".venv-stock/bin/python"))
QUACKCTL = os.environ.get("QUACK_CTL", str(ROOT / "dist/bin/quackctl"))
EXTENSION = os.environ.get("QUACK_EXTENSION", str(ROOT / "dist/extension/quack.duckdb_extension"))

ANSWER_SECONDS = 240
# Runs no statements first that others run (worker.py).
BARE_CONNECTION = "bare"
EXIT_SECONDS = 30


class DatabaseError(Exception):
    """DuckDB's error; its text begins with the class, such as "Constraint Error: ..."."""


class ProcessEnded(Exception):
    """The process ended, or was killed, before it answered."""


def pause(process):
    """Stops a process, a `Process` or a `Quackd`, in the middle of what it does, and returns when it stands still (or
    has ended): its threads go on for a moment after the signal."""
    process.popen.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.popen.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def resume(process):
    process.popen.send_signal(signal.SIGCONT)


class Process:
    """A process that hosts DuckDB; `environment` are variables besides those of the tests themselves.

    With `c_api` values are texts, as DuckDB writes them, and `query` gives columns and types, too; see capi.py."""

    def __init__(
        self, folder, name, python=PYTHON, stock=False, path=":memory:", config=None, environment=None, c_api=False
    ):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.c_api = c_api
        self.stderr_path = folder / f"{name}.stderr"
        with open(self.stderr_path, "ab") as stderr:
            self.popen = subprocess.Popen(
                [python, str(WORKER)],
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self.lock = threading.Lock()
        self.next_id = 0
        self.waiting = {}
        self.ended = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if not stock:
            config = {"allow_unsigned_extensions": "true", **(config or {})}
        self.request("open", path=path, config=config or {}, stock=stock, c_api=c_api)

    @property
    def pid(self):
        return self.popen.pid

    def _read(self):
        for line in self.popen.stdout:
            answer = json.loads(line)
            with self.lock:
                future = self.waiting.pop(answer["id"], None)
            if future is None:
                continue
            if "error" in answer:
                future.set_exception(DatabaseError(answer["error"].split("\nStack Trace:")[0] + answer.get("detail", "")))
            else:
                future.set_result(answer)
        with self.lock:
            self.ended = True
            waiting, self.waiting = self.waiting, {}
        for future in waiting.values():
            future.set_exception(ProcessEnded(f"{self.name} ended; {self.stderr_tail()}"))

    def submit(self, op, **fields):
        """Sends a request and returns the future of its answer."""
        future = Future()
        with self.lock:
            if self.ended:
                raise ProcessEnded(f"{self.name} ended; {self.stderr_tail()}")
            self.next_id += 1
            self.waiting[self.next_id] = future
            try:
                self.popen.stdin.write(json.dumps({"id": self.next_id, "op": op, **fields}) + "\n")
                self.popen.stdin.flush()
            except OSError as error:
                self.waiting.pop(self.next_id)
                raise ProcessEnded(f"{self.name} ended; {self.stderr_tail()}") from error
        return future

    def request(self, op, timeout=ANSWER_SECONDS, **fields):
        return self.submit(op, **fields).result(timeout)

    def start_sql(self, statement, connection="default", parameters=None):
        """Starts a statement; the result of the future holds the rows as Python values."""
        answered = self.submit(
            "execute", connection=connection, sql=statement, parameters=parameters, pickle=True
        )
        rows = Future()

        def done(future):
            if future.exception() is not None:
                rows.set_exception(future.exception())
            else:
                rows.set_result(pickle.loads(base64.b64decode(future.result()["pickled"])))

        answered.add_done_callback(done)
        return rows

    def sql(self, statement, connection="default", parameters=None, timeout=ANSWER_SECONDS):
        """Runs a statement to its end and returns the rows as tuples of Python values."""
        if self.c_api:
            return [tuple(row) for row in self.query(statement, connection, timeout)["rows"]]
        return self.start_sql(statement, connection, parameters).result(timeout)

    def query(self, statement, connection="default", timeout=ANSWER_SECONDS):
        """Runs a text to its end, with the C API; `columns`, `types` and `rows` of its result."""
        return self.request("query", timeout, connection=connection, sql=statement, rows=True, whole_types=True)

    def append(self, table, rows, connection="default", timeout=ANSWER_SECONDS):
        """Appends rows of texts to a table, (catalog, schema, name), with the appender of the C API."""
        return self.request("append", timeout, connection=connection, table=table, rows=rows)

    def value(self, statement, connection="default"):
        """Returns the one value that the statement gives."""
        ((value,),) = self.sql(statement, connection)
        return value

    def python(self, code, timeout=ANSWER_SECONDS):
        """Runs Python code in the process and returns what it assigned to `result`."""
        return self.request("python", timeout=timeout, code=code)["result"]

    def close_database(self):
        self.request("close")

    def exit(self, timeout=EXIT_SECONDS):
        """Ends the process in the ordinary way; returns the exit code, negative for a signal."""
        if self.popen.poll() is None:
            try:
                self.popen.stdin.close()
            except OSError:
                pass
        return self.wait(timeout)

    def kill(self):
        """Ends the process with SIGKILL and waits until it is gone."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGKILL)
        return self.wait(EXIT_SECONDS)

    def wait(self, timeout=EXIT_SECONDS):
        try:
            code = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"{self.name} did not end within {timeout} s; {self.stderr_tail()}") from None
        self.reader.join(EXIT_SECONDS)
        return code

    def stderr_tail(self):
        text = self.stderr_path.read_text(errors="replace")[-3000:]
        return f"its standard error: {text}" if text else "it wrote nothing to standard error"
