"""Transactions at random on a cluster, each kind with a promise of its own; all of it is checked at the end.

Lists that are appended to and read, in any combination, for the general checker (`isolation`): in a column of lists, and
as rows with a number for each list. Accounts, of which every transaction sees the same sum. Forks: independent writes, of
which no two readers may see different ones first. Counters that are read and then written. Tables that come with their
rows and go. And a transaction reads all that it has written, before and after its end.
"""

from collections import Counter

from quack_testing import isolation
from quack_testing.history import FAILED, OK
from quack_testing.isolation_checks import (
    ACCOUNT_START,
    ACCOUNTS,
    MADE_ROWS,
    check_answers,
    check_tables,
    read_everything,
)
from quack_testing.linearizability import UNKNOWN
from quack_testing.transaction_client import TransactionClient
from quack_testing.transactions import APPEND, READ

# Keys in use at a time, and how long before the next ones: few transactions meet on a key, often.
LISTS_AT_ONCE, ROWS_AT_ONCE = 4, 2
EPOCH_SECONDS = 1.5
EPOCHS = 4000
COUNTERS = 3
CLIENTS, STOCK_CLIENTS = 6, 2
# The tables, each with the column by which it may be sharded.
SHARD_KEYS = {"lists": "k", "listed": "k", "accounts": "id", "forks": "g", "counters": "id", "own": "k"}
PROGRESS = "UPDATE cp.counters SET n = n WHERE id = 0"


def create_tables(node):
    for statement in (
        "CREATE TABLE cp.lists (k BIGINT PRIMARY KEY, v BIGINT[])",
        # Half of the lists are there from the beginning, so that both inserts and updates are the first append.
        f"INSERT INTO cp.lists SELECT range * 2, [] FROM range({EPOCHS * LISTS_AT_ONCE // 2})",
        "CREATE TABLE cp.listed (k BIGINT, n BIGINT, v BIGINT, PRIMARY KEY (k, n))",
        "CREATE TABLE cp.accounts (id INTEGER PRIMARY KEY, n BIGINT)",
        f"INSERT INTO cp.accounts SELECT range, {ACCOUNT_START} FROM range({ACCOUNTS})",
        "CREATE TABLE cp.forks (g BIGINT, k BIGINT)",
        "CREATE TABLE cp.counters (id INTEGER PRIMARY KEY, n BIGINT)",
        f"INSERT INTO cp.counters SELECT range, 0 FROM range({COUNTERS})",
        "CREATE TABLE cp.own (k BIGINT PRIMARY KEY, v VARCHAR)",
    ):
        node.sql(statement)


class Client(TransactionClient):
    """One client."""

    # DuckDB itself does not notice that a row is deleted by one and updated by another transaction; off for it alone.
    deletes = True
    weights = {"lists": 40, "bank": 12, "total": 8, "fork": 8, "forks": 8, "increment": 12, "own_writes": 8, "make": 2}

    def epoch(self):
        return int(self.history.now() / 1e9 / EPOCH_SECONDS) % EPOCHS

    # Lists.

    def lists(self):
        """A few appends and reads of any lists."""
        single = self.random.random() < 0.15
        fields = {"is_single": single}
        with self.transaction(fields, begin=None if single else self.begin()) as operation:
            for _ in range(1 if single else self.random.randint(1, 5)):
                work = self.random.choices([self.append, self.read_list, self.read_all], [5, 4, 2])[0]
                work(operation["operations"])
            if not single:
                self.maybe_change_mind()

    def begin(self):
        return self.random.choice(["BEGIN", "BEGIN TRANSACTION", "START TRANSACTION"])

    def list_key(self):
        return self.epoch() * LISTS_AT_ONCE + self.random.randrange(LISTS_AT_ONCE)

    def rows_key(self):
        return self.epoch() * ROWS_AT_ONCE + self.random.randrange(ROWS_AT_ONCE)

    def append(self, operations):
        value = self.fresh()
        if self.random.random() < 0.3:
            key = self.rows_key()
            # Before it is sent: afterwards its outcome may be unknown.
            operations.append((APPEND, f"r{key}", value))
            self.sql(
                "INSERT INTO cp.listed SELECT $1::BIGINT, coalesce(max(n), 0) + 1, $2::BIGINT FROM cp.listed WHERE k = $1",
                [key, value],
            )
            return
        key = self.list_key()
        operations.append((APPEND, f"l{key}", value))
        self.random.choice([self.append_by_upsert, self.append_by_merge, self.append_by_two])(key, value)

    def append_by_upsert(self, key, value):
        self.sql(
            "INSERT INTO cp.lists VALUES ($1, [$2]) ON CONFLICT (k) DO UPDATE SET v = list_concat(lists.v, excluded.v)",
            [key, value],
        )

    def append_by_merge(self, key, value):
        self.sql(
            "MERGE INTO cp.lists USING (SELECT $1::BIGINT AS k, [$2::BIGINT] AS v) s ON lists.k = s.k "
            "WHEN MATCHED THEN UPDATE SET v = list_concat(lists.v, s.v) WHEN NOT MATCHED THEN INSERT VALUES (s.k, s.v)",
            [key, value],
        )

    def append_by_two(self, key, value):
        """An update, and an insert if there was nothing to update: in a transaction only; an upsert otherwise."""
        if self.ending:
            self.append_by_upsert(key, value)
            return
        ((count,),) = self.sql("UPDATE cp.lists SET v = list_append(v, $2) WHERE k = $1", [key, value])
        if count == 0:
            self.sql("INSERT INTO cp.lists VALUES ($1, [$2])", [key, value])

    def read_list(self, operations):
        if self.random.random() < 0.3:
            key = self.rows_key()
            rows = self.sql("SELECT v FROM cp.listed WHERE k = $1 ORDER BY n", [key])
            operations.append((READ, f"r{key}", [value for (value,) in rows]))
            return
        key = self.list_key()
        rows = self.sql("SELECT v FROM cp.lists WHERE k = $1", [key])
        operations.append((READ, f"l{key}", rows[0][0] if rows else []))

    def read_all(self, operations):
        """All lists in use, by one statement."""
        first = self.epoch() * LISTS_AT_ONCE
        rows = dict(self.sql("SELECT k, v FROM cp.lists WHERE k BETWEEN $1 AND $2", [first, first + LISTS_AT_ONCE - 1]))
        for key in range(first, first + LISTS_AT_ONCE):
            operations.append((READ, f"l{key}", rows.get(key, [])))

    # Accounts.

    def bank(self):
        """Moves something between two accounts, by what it has read before or relative to what is there."""
        one, other = self.random.sample(range(ACCOUNTS), 2)
        amount = self.random.randrange(1, 20)
        with self.transaction({"kind": "bank", "from": one, "to": other, "amount": amount}) as operation:
            if self.random.random() < 0.5 or not self.deletes:
                held = {key: self.balance(key) for key in (one, other)}
                operation["read"] = held
                self.sql("UPDATE cp.accounts SET n = ? WHERE id = ?", [held[one] - amount, one])
                self.maybe_sum(operation, -amount)
                self.sql("UPDATE cp.accounts SET n = ? WHERE id = ?", [held[other] + amount, other])
            else:
                # Its row goes and comes again.
                ((held,),) = self.sql("DELETE FROM cp.accounts WHERE id = ? RETURNING n", [one])
                self.maybe_sum(operation, -held)
                self.sql("UPDATE cp.accounts SET n = n + ? WHERE id = ?", [amount, other])
                self.sql("INSERT INTO cp.accounts VALUES (?, ?)", [one, held - amount])
            self.maybe_sum(operation, 0)
            self.maybe_change_mind()

    def balance(self, key):
        ((value,),) = self.sql("SELECT n FROM cp.accounts WHERE id = ?", [key])
        return value

    def maybe_sum(self, operation, difference):
        """The sum that the transaction sees, which is wrong by what it has done itself so far."""
        if self.random.random() < 0.5:
            ((total,),) = self.sql("SELECT sum(n)::BIGINT FROM cp.accounts")
            operation.setdefault("sums", []).append(total - difference)

    def total(self):
        """Reads the accounts in several ways, among each other."""
        with self.transaction({"kind": "total"}) as operation:
            sums = operation.setdefault("sums", [])
            for _ in range(self.random.randint(1, 3)):
                if self.random.random() < 0.5:
                    sums.append(sum(self.balance(key) for key in range(ACCOUNTS)))
                else:
                    self.maybe_sum(operation, 0)

    # Forks.

    def fork(self):
        """One of some independent writes."""
        group = self.epoch()
        key = self.fresh()
        with self.transaction({"kind": "fork", "group": group, "key": key}):
            self.sql("INSERT INTO cp.forks VALUES (?, ?)", [group, key])

    def forks(self):
        group = self.epoch()
        with self.transaction({"kind": "forks", "group": group}) as operation:
            operation["seen"] = [[key for (key,) in self.sql("SELECT k FROM cp.forks WHERE g = ?", [group])]]
            if self.random.random() < 0.5:
                operation["seen"].append([key for (key,) in self.sql("SELECT k FROM cp.forks WHERE g = ?", [group])])

    # Counters.

    def increment(self):
        """Reads and then writes; again if another one was first."""
        key = self.random.randrange(COUNTERS)
        for _ in range(3):
            with self.transaction({"kind": "increment", "key": key}) as operation:
                ((value,),) = self.sql("SELECT n FROM cp.counters WHERE id = ?", [key])
                self.sql("UPDATE cp.counters SET n = ? WHERE id = ?", [value + 1, key])
            if not operation["conflict"] or self.process is None:
                return

    # Tables.

    def make(self):
        """Creates a table with its rows, and mostly drops it again."""
        table = f"made_{self.fresh()}"
        with self.transaction({"kind": "make", "table": table}) as operation:
            self.sql(f"CREATE TABLE cp.{table} (i INTEGER PRIMARY KEY)")
            self.sql(f"INSERT INTO cp.{table} FROM range({MADE_ROWS})")
            if self.random.random() < 0.5:
                self.sql(f"ALTER TABLE cp.{table} ADD COLUMN j INTEGER DEFAULT 1")
                self.sql(f"UPDATE cp.{table} SET j = i")
            self.maybe_change_mind()
        if operation["outcome"] == OK and self.random.random() < 0.8:
            with self.transaction({"kind": "unmake", "table": table}):
                self.sql(f"DELETE FROM cp.{table} WHERE i = 0")
                self.sql(f"DROP TABLE cp.{table}")

    # Own writes.

    def own_writes(self):
        """A transaction reads what it has written; afterwards all clients do, or none."""
        key = self.fresh()
        with self.transaction({"kind": "own", "key": key, "wrong": []}) as operation:
            value = self.write_and_read(operation, key)
            if self.random.random() < 0.2:
                operation["wanted"] = None
                self.maybe_change_mind(1)
        if operation["outcome"] == UNKNOWN or self.home is None:
            return
        wanted = value if operation["outcome"] == OK else None
        with self.transaction({"kind": "own", "key": key, "wrong": []}, begin=None) as after:
            self.expect(after, key, wanted, "after its end")

    def write_and_read(self, operation, key):
        """Some changes of one row, each looked at; returns what the row is in the end."""
        value = None
        for number in range(self.random.randint(1, 6)):
            text = f"{self.number}-{number}"
            how, value = self.change(key, value, text)
            self.expect(operation, key, value, how)
        return value

    def change(self, key, value, text):
        """Any change that fits; returns its name and the new value."""
        if self.random.random() < 0.3:
            self.sql(
                "MERGE INTO cp.own USING (SELECT $1::BIGINT AS k, $2::VARCHAR AS v) s ON own.k = s.k "
                "WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.k, s.v)",
                [key, text],
            )
            return "merge", text
        if value is None:
            self.sql("INSERT INTO cp.own VALUES (?, ?)", [key, text])
            return "insert", text
        how = self.random.choice(["update", "delete", "replace"])
        if how == "update":
            self.sql("UPDATE cp.own SET v = v || ? WHERE k = ?", [text, key])
            return how, value + text
        if how == "delete":
            self.sql("DELETE FROM cp.own WHERE k = ?", [key])
            return how, None
        self.sql("INSERT OR REPLACE INTO cp.own VALUES (?, ?)", [key, text])
        return how, text

    def expect(self, operation, key, value, how):
        rows = self.sql("SELECT v FROM cp.own WHERE k = ?", [key])
        wanted = [] if value is None else [(value,)]
        if rows != wanted:
            operation["wrong"].append(f"{how}: {rows} and not {wanted}")


def check(history, nodes, consistency):
    """All that must hold at the end."""
    read_everything(history, nodes[0])
    order = isolation.STRICT if consistency == "linearizable" else isolation.PER_SESSION
    return [line for node in nodes for line in check_tables(history, node)] + check_answers(history, order)


def make_clients(run):
    """The clients of a run under faults: in the nodes' processes, and stock clients over the network."""
    from quack_testing.stock_transactions import StockClient

    common = (run.seed, run.ready, run.history, run.stop_clients)
    threads = [Client(number, *common) for number in range(CLIENTS)]
    return threads + [StockClient(CLIENTS + number, *common, run=run) for number in range(STOCK_CLIENTS)]


def summary(history):
    """What happened, in numbers."""
    outcomes = Counter((operation["kind"], operation["outcome"]) for operation in history.operations)
    conflicts = Counter(operation["kind"] for operation in history.operations if operation.get("conflict"))
    # Without the promised order of snapshots: violations of that are reported elsewhere.
    verdict = isolation.check_history(history, isolation.NONE)
    lines = [f"  transactions: {dict(Counter(operation['outcome'] for operation in history.operations))}"]
    for kind in sorted({kind for kind, _ in outcomes}):
        counts = {outcome: outcomes[kind, outcome] for outcome in (OK, FAILED, UNKNOWN)}
        lines.append(f"  {kind}: {counts}, of which {conflicts[kind]} met a conflict")
    return [*lines, f"  lists: {verdict.summary()}"]
