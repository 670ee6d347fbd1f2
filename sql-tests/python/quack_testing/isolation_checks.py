"""What must hold of the transactions of `isolation_clients`, each kind by its own promise, and all lists by the checker."""

from collections import Counter, defaultdict

from quack_testing import isolation
from quack_testing.history import FAILED, OK, check_counters
from quack_testing.linearizability import UNKNOWN
from quack_testing.transactions import READ

ACCOUNTS = 8
ACCOUNT_START = 1000
MADE_ROWS = 10


def check_tables(history, node):
    """What a node holds at the end, against what the clients were told."""
    counters = dict(node.sql("SELECT id, n FROM cp.counters"))
    wrong = check_counters(history, counters)
    total = node.value("SELECT sum(n) FROM cp.accounts")
    if int(total) != ACCOUNTS * ACCOUNT_START:
        wrong.append(f"the accounts hold {total}")
    wrong += check_fork_rows(history, Counter(key for (key,) in node.sql("SELECT k FROM cp.forks")))
    wrong += check_made(history, node)
    return [f"{node.name}: {line}" for line in wrong]


def check_made(history, node):
    """Tables are there with all their rows, or not at all."""
    query = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'cp' AND table_name LIKE 'made%'"
    there = {table: node.value(f"SELECT count(*) FROM cp.{table}") for (table,) in node.sql(query)}
    dropped = {operation["table"]: operation["outcome"] for operation in history.of("unmake")}
    wrong = []
    for operation in history.of("make"):
        outcomes = (operation["outcome"], dropped.get(operation["table"], FAILED))
        count = there.pop(operation["table"], None)
        allowed = {(OK, FAILED): {MADE_ROWS}, (OK, OK): {None}, (FAILED, FAILED): {None}}.get(outcomes, {None, MADE_ROWS})
        if count not in allowed:
            wrong.append(f"{count} rows and not one of {allowed}: {operation}")
    return wrong + [f"no client made {table}" for table in there]


def check_fork_rows(history, rows):
    """Single inserts are there once if they were acknowledged, and never if they were refused."""
    wrong = []
    for operation in history.of("fork"):
        count = rows.get(operation["key"], 0)
        fits = {OK: count == 1, FAILED: count == 0, UNKNOWN: count <= 1}[operation["outcome"]]
        if not fits:
            wrong.append(f"{count} times: {operation}")
    return wrong


def read_everything(history, node):
    """A last transaction that reads all lists, by which the order of all appends is known."""
    start = history.now()
    lists = dict(node.sql("SELECT k, v FROM cp.lists WHERE len(v) > 0"))
    rows = defaultdict(list)
    for key, value in node.sql("SELECT k, v FROM cp.listed ORDER BY k, n"):
        rows[key].append(value)
    read = {**{f"l{key}": value for key, value in lists.items()}, **{f"r{key}": value for key, value in rows.items()}}
    used = {key for operation in history.of("transaction") for _, key, _ in operation["operations"]}
    operations = [(READ, key, read.get(key, [])) for key in sorted(used | read.keys())]
    fields = {"node": node.name, "start": start, "end": history.now(), "outcome": OK, "final": True}
    history.add({"kind": "transaction", "operations": operations, **fields})


def check_answers(history, order=isolation.STRICT):
    """What the clients read, against each other."""
    wrong = [f"isolation: {anomaly}" for anomaly in isolation.check_history(history, order).anomalies]
    return wrong + check_totals(history) + check_forks(history) + check_own(history)


def check_totals(history):
    total = ACCOUNTS * ACCOUNT_START
    return [
        f"the accounts hold {read} and not {total}: {operation}"
        for operation in history.of("bank", "total")
        for read in operation.get("sums", [])
        if read != total
    ]


def check_forks(history):
    """Any two readers of a group: one has seen all that the other has."""
    wrong, groups = [], defaultdict(set)
    for operation in history.of("forks"):
        seen = [frozenset(keys) for keys in operation.get("seen", [])]
        if len(set(seen)) > 1:
            wrong.append(f"read twice and differently: {operation}")
        groups[operation["group"]].update(seen)
    for group, seen in groups.items():
        ordered = sorted(seen, key=len)
        for less, more in zip(ordered, ordered[1:]):
            if not less <= more:
                wrong.append(f"long fork in {group}: {sorted(less)} and {sorted(more)}")
    return wrong


def check_own(history):
    return [f"own writes: {operation}" for operation in history.of("own") if operation["wrong"]]
