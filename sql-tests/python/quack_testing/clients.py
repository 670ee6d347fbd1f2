"""Clients of a cluster under faults: threads that do operations at random and record what they were told."""

import random
import threading
import time
from concurrent.futures import TimeoutError as NoAnswer

from quack_testing.history import (
    FAILED,
    OK,
    check_counters,
    check_counts,
    check_inserts,
    check_loads,
    check_registers,
    check_sums,
)
from quack_testing.linearizability import UNKNOWN
from quack_testing.process import DatabaseError, ProcessEnded

REGISTERS = 20_000
# Registers in use at a time, and how long before the next ones: few clients meet on a register, often.
REGISTERS_AT_ONCE = 3
REGISTER_SECONDS = 1.5
COUNTERS = 3
ACCOUNTS = 8
ACCOUNT_START = 1000
# A load travels in some parts of 4 MiB.
LOAD_ROWS = 10_000
LOAD_VALUE = "repeat(md5((? + i)::VARCHAR), 40)"
ANSWER_SECONDS = 40
INTERRUPTED_SECONDS = 10
PAUSE_SECONDS = 0.05
# At most this long between two operations. Faults are found by their variety, not by the load.
THINK_SECONDS = 0.03
# What an error says of a write that may have taken effect, or has.
MAY_BE_THERE = ("outcome of the write is unknown", "has taken effect")
# How often each operation is drawn.
WEIGHTS = {
    "read": 25, "write": 12, "cas": 12, "replace": 4,
    "insert": 14, "increment": 10, "count": 4, "transfer": 6, "sum": 4, "status": 2, "load": 0.5,
}  # fmt: skip


CLIENTS = 6
# The tables, each with the column by which it may be sharded.
SHARD_KEYS = {"registers": "k", "counters": "id", "accounts": "id", "keyed": "k", "bag": "node", "loads": "i"}
# What goes through as soon as a node takes writes, without effect.
PROGRESS = "UPDATE cp.counters SET n = n WHERE id = 0"


def create_tables(node):
    for statement in (
        "CREATE TABLE cp.registers (k BIGINT PRIMARY KEY, v BIGINT)",
        f"INSERT INTO cp.registers SELECT range, 0 FROM range({REGISTERS})",
        "CREATE TABLE cp.counters (id INTEGER PRIMARY KEY, n BIGINT)",
        f"INSERT INTO cp.counters SELECT range, 0 FROM range({COUNTERS})",
        "CREATE TABLE cp.accounts (id INTEGER PRIMARY KEY, n BIGINT)",
        f"INSERT INTO cp.accounts SELECT range, {ACCOUNT_START} FROM range({ACCOUNTS})",
        "CREATE TABLE cp.keyed (k BIGINT PRIMARY KEY, node VARCHAR)",
        # Without a key, so that a row that is inserted twice is there twice.
        "CREATE TABLE cp.bag (k BIGINT, node VARCHAR)",
        "CREATE TABLE cp.loads (k BIGINT, i BIGINT, v VARCHAR)",
    ):
        node.sql(statement)


def check_tables(history, node):
    """What a node holds at the end, against what the clients were told."""
    rows = {
        (table, key): count
        for table in ("keyed", "bag")
        for key, count in node.sql(f"SELECT k, count(*) FROM cp.{table} GROUP BY k")
    }
    counters = dict(node.sql("SELECT id, n FROM cp.counters"))
    loads = dict(node.sql("SELECT k, count(DISTINCT (i, v)) FROM cp.loads GROUP BY k"))
    wrong = check_inserts(history, rows) + check_counters(history, counters) + check_loads(history, loads)
    total = node.value("SELECT sum(n) FROM cp.accounts")
    if int(total) != ACCOUNTS * ACCOUNT_START:
        wrong.append(f"the accounts hold {total}")
    return [f"{node.name}: {line}" for line in wrong]


def check_answers(history):
    """What the clients read, against each other."""
    return check_registers(history, 0) + check_counts(history) + check_sums(history, ACCOUNTS * ACCOUNT_START)


def check(history, nodes, consistency):
    """All that must hold at the end. Less than linearizable is not made allowances for: it must be found."""
    return [line for node in nodes for line in check_tables(history, node)] + check_answers(history)


def summary(history):
    """Further lines about what happened."""
    return []


def make_clients(run):
    """The clients of a run under faults."""
    return [Client(number, run.seed, run.ready, run.history, run.stop_clients) for number in range(CLIENTS)]


class Client(threading.Thread):
    """One client: an operation at a time, on a node of its choice among those that are `ready`."""

    weights = WEIGHTS

    def __init__(self, number, seed, ready, history, stop):
        super().__init__(daemon=True)
        self.number = number
        self.random = random.Random(f"{seed} client {number}")
        self.ready = ready
        self.history = history
        self.stop = stop
        self.sequence = 0
        self.connection = 0
        self.seen = {}
        # The load of this client that is, or may be, in the table.
        self.loaded = None
        self.process = None
        self.home = None
        self.failure = None

    def run(self):
        try:
            while not self.stop.is_set():
                self.operate()
        except Exception as error:  # A mistake of the client's own must fail the run, not end a thread.
            self.failure = error
            raise

    def operate(self):
        # Mostly the same node, so that its session has a history.
        if self.home is None or self.random.random() < 0.1:
            self.home = self.random.choice(sorted(self.ready))
        self.process = self.ready[self.home]
        if self.process is None:
            self.home = None
            time.sleep(PAUSE_SECONDS)
            return
        (kind,) = self.random.choices(list(self.weights), list(self.weights.values()))
        getattr(self, kind)()
        time.sleep(self.random.random() * THINK_SECONDS)

    def fresh(self):
        """A value, or key, that no other operation uses."""
        self.sequence += 1
        return self.number * 10_000_000 + self.sequence

    def register(self):
        epoch = int(self.history.now() / 1e9 / REGISTER_SECONDS)
        return (epoch * REGISTERS_AT_ONCE + self.random.randrange(REGISTERS_AT_ONCE)) % REGISTERS

    def record(self, operation, work):
        """Does the work, which completes the operation's fields, and records it with its outcome."""
        operation.update(client=self.number, node=self.home, start=self.history.now(), outcome=OK)
        self.sent = False
        try:
            work(operation)
        except DatabaseError as error:
            text = str(error)
            unknown = self.sent and any(words in text for words in MAY_BE_THERE)
            operation.update(outcome=UNKNOWN if unknown else FAILED, error=text[:300])
        except (NoAnswer, ProcessEnded) as error:
            operation.update(outcome=UNKNOWN if self.sent else FAILED, error=type(error).__name__)
        operation["end"] = self.history.now()
        self.history.add(operation)
        if operation["outcome"] != OK:
            self.leave()

    def leave(self):
        """Gives the connection up, because its state is unknown: the next operation has another one."""
        try:
            self.process.submit("execute", connection=self.name(), sql="ROLLBACK")
        except ProcessEnded:
            pass
        self.connection += 1
        self.home = None
        time.sleep(self.random.random() * PAUSE_SECONDS)

    def name(self):
        return f"client{self.number}-{self.connection}"

    def sql(self, statement, parameters=None):
        future = self.process.start_sql(statement, self.name(), parameters)
        self.sent = True
        try:
            return future.result(ANSWER_SECONDS)
        except NoAnswer:
            self.history.event(f"no answer to {statement} {parameters} from {self.home}")
            self.process.submit("interrupt", connection=self.name())
            try:
                return future.result(INTERRUPTED_SECONDS)
            except DatabaseError as error:
                # It may have been interrupted before or after it was sent to the others.
                raise NoAnswer(str(error)) from error

    def read(self):
        key = self.register()

        def work(operation):
            ((value,),) = self.sql("SELECT v FROM cp.registers WHERE k = ?", [key])
            self.seen[key] = operation["result"] = value

        self.record({"kind": "read", "key": key}, work)

    def write(self):
        key, new = self.register(), self.fresh()

        def work(_):
            assert self.sql("UPDATE cp.registers SET v = ? WHERE k = ?", [new, key]) == [(1,)]

        self.record({"kind": "write", "key": key, "new": new}, work)

    def replace(self):
        key, new = self.register(), self.fresh()

        def work(_):
            self.sql("INSERT OR REPLACE INTO cp.registers VALUES (?, ?)", [key, new])

        self.record({"kind": "write", "key": key, "new": new, "how": "replace"}, work)

    def cas(self):
        key, new = self.register(), self.fresh()
        old = self.seen.pop(key, 0)

        def work(operation):
            ((count,),) = self.sql("UPDATE cp.registers SET v = ? WHERE k = ? AND v = ?", [new, key, old])
            operation["result"] = count == 1
            if count:
                self.seen[key] = new

        self.record({"kind": "cas", "key": key, "old": old, "new": new}, work)

    def insert(self):
        key = self.fresh()
        table = self.random.choice(["keyed", "bag"])

        def work(_):
            assert self.sql(f"INSERT INTO cp.{table} VALUES (?, ?)", [key, self.home]) == [(1,)]

        self.record({"kind": "insert", "table": table, "key": key}, work)

    def load(self):
        """Inserts many rows in one statement, or takes those of last time away."""
        if self.loaded is not None:
            return self.unload()
        self.loaded = self.fresh()

        def work(_):
            statement = f"INSERT INTO cp.loads SELECT ?, i, {LOAD_VALUE} FROM range({LOAD_ROWS}) r(i)"
            assert self.sql(statement, [self.loaded, self.loaded]) == [(LOAD_ROWS,)]

        self.record({"kind": "load", "key": self.loaded, "rows": LOAD_ROWS}, work)

    def unload(self):
        key, self.loaded = self.loaded, None

        def work(_):
            ((count,),) = self.sql("DELETE FROM cp.loads WHERE k = ?", [key])
            assert count in (0, LOAD_ROWS), f"{count} rows of load {key}"

        self.record({"kind": "unload", "key": key}, work)

    def increment(self):
        key = self.random.randrange(COUNTERS)

        def work(_):
            assert self.sql("UPDATE cp.counters SET n = n + 1 WHERE id = ?", [key]) == [(1,)]

        self.record({"kind": "increment", "key": key}, work)

    def count(self):
        key = self.random.randrange(COUNTERS)

        def work(operation):
            ((operation["result"],),) = self.sql("SELECT n FROM cp.counters WHERE id = ?", [key])

        self.record({"kind": "count", "key": key}, work)

    def transfer(self):
        """Moves something from one account to another in one statement."""
        one, other = self.random.sample(range(ACCOUNTS), 2)
        amount = self.random.randrange(1, 20)
        statement = "UPDATE cp.accounts SET n = n + CASE id WHEN ? THEN -? ELSE ? END WHERE id IN (?, ?)"

        def work(_):
            assert self.sql(statement, [one, amount, amount, one, other]) == [(2,)]

        self.record({"kind": "transfer", "from": one, "to": other, "amount": amount}, work)

    def sum(self):
        def work(operation):
            ((total,),) = self.sql("SELECT sum(n)::BIGINT FROM cp.accounts")
            operation["result"] = total

        self.record({"kind": "sum"}, work)

    def status(self):
        """What the node itself says of the cluster, which needs no quorum."""

        def work(operation):
            # There is no row while the node is being attached.
            operation["result"] = str(self.sql("FROM quack_raft_status()")[:1])[:200]

        self.record({"kind": "status"}, work)
