"""What the clients of a cluster saw: every operation with its start, its end and its outcome, and what must hold of it.

An operation ends in one of three ways: "ok"; "failed", for certain without effect; "unknown", when the error says so,
the process died or no answer came.
"""

import json
import threading
import time
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict

from quack_testing.linearizability import UNKNOWN, Step, Undecided, linearizable, shortest_violation

OK, FAILED = "ok", "failed"
SHOWN_MAX = 30


class History:
    """A record that many threads write to; each operation is a dict, complete once it has an outcome."""

    def __init__(self, path=None):
        self.operations = []
        self.events = []
        self.lock = threading.Lock()
        self.file = open(path, "w") if path else None
        self.start = time.monotonic_ns()

    def now(self):
        """Nanoseconds since the record began."""
        return time.monotonic_ns() - self.start

    def add(self, operation):
        with self.lock:
            self.operations.append(operation)
            self._write(operation)

    def event(self, what):
        """Notes something that is no operation, such as a fault."""
        event = {"event": what, "start": self.now()}
        with self.lock:
            self.events.append(event)
            self._write(event)

    def _write(self, line):
        if self.file:
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()

    def outcomes(self):
        return Counter(operation["outcome"] for operation in self.operations)

    def of(self, *kinds):
        return [operation for operation in self.operations if operation["kind"] in kinds]

    @classmethod
    def load(cls, path):
        history = cls()
        with open(path) as lines:
            for line in lines:
                entry = json.loads(line)
                (history.events if "event" in entry else history.operations).append(entry)
        return history


def steps_of(operations):
    """The register operations of a history, by key, as the checker takes them."""
    by_key = defaultdict(list)
    for operation in operations:
        outcome = operation["outcome"]
        if operation["kind"] not in ("read", "write", "cas") or outcome == FAILED:
            continue
        unknown = outcome == UNKNOWN
        by_key[operation["key"]].append(
            Step(
                operation["kind"],
                operation["start"],
                None if unknown else operation["end"],
                operation.get("old"),
                operation.get("new"),
                UNKNOWN if unknown else operation.get("result"),
                f"{operation.get('client', '')}@{operation.get('node', '')}",
            )
        )
    return by_key


def check_registers(history, initial):
    """Returns what is wrong with the registers."""
    wrong = []
    for key, steps in sorted(steps_of(history.operations).items()):
        try:
            if not linearizable(steps, initial):
                shown = shortest_violation(steps, initial)[-SHOWN_MAX:]
                wrong.append(f"register {key} is not linearizable:\n" + "\n".join(f"    {step}" for step in shown))
        except Undecided as undecided:
            wrong.append(f"register {key} was not decided: {undecided}")
    return wrong


def check_inserts(history, rows):
    """`rows` is the count of each key that was inserted, by (table, key), at the end."""
    wrong = []
    for operation in history.of("insert"):
        place = (operation["table"], operation["key"])
        count, outcome = rows.get(place, 0), operation["outcome"]
        if outcome == OK and count == 0:
            wrong.append(f"lost: {operation}")
        elif outcome == FAILED and count:
            wrong.append(f"failed for certain, and yet there: {operation}")
        if count > 1:
            wrong.append(f"{count} times: {operation}")
    known = {(operation["table"], operation["key"]) for operation in history.of("insert")}
    wrong += [f"no client inserted {place}" for place in rows if place not in known]
    return wrong


def check_loads(history, rows):
    """Each load is there as a whole or not at all; `rows` is the count of rows of each key at the end."""
    wrong = []
    taken_away = {o["key"]: o["outcome"] for o in history.of("unload") if o["outcome"] != FAILED}
    for load in history.of("load"):
        key, whole = load["key"], load["rows"]
        allowed = {OK: {whole}, FAILED: {0}, UNKNOWN: {0, whole}}[load["outcome"]]
        if key in taken_away:
            allowed = {0} if taken_away[key] == OK else allowed | {0}
        if rows.get(key, 0) not in allowed:
            wrong.append(f"{rows.get(key, 0)} rows and not {sorted(allowed)}: {load}")
    known = {load["key"] for load in history.of("load")}
    wrong += [f"no client loaded {key}" for key in rows if key not in known]
    return wrong


def check_counters(history, final):
    """Each counter ends between what was acknowledged and that with all unknown ones."""
    wrong = []
    for key, value in final.items():
        raised = [o["outcome"] for o in history.of("increment") if o["key"] == key]
        least = raised.count(OK)
        most = least + raised.count(UNKNOWN)
        if not least <= value <= most:
            wrong.append(f"counter {key} is {value} at the end, and not between {least} and {most}")
    return wrong


def check_counts(history):
    """A counter that is read holds all that was acknowledged before the read began, and nothing begun after its end."""
    starts, ends = defaultdict(list), defaultdict(list)
    for operation in history.of("increment"):
        if operation["outcome"] != FAILED:
            starts[operation["key"]].append(operation["start"])
        if operation["outcome"] == OK:
            ends[operation["key"]].append(operation["end"])
    for times in (*starts.values(), *ends.values()):
        times.sort()
    wrong = []
    for read in history.of("count"):
        if read["outcome"] == OK:
            least = bisect_left(ends[read["key"]], read["start"])
            most = bisect_right(starts[read["key"]], read["end"])
            if not least <= read["result"] <= most:
                wrong.append(f"counter not between {least} and {most}: {read}")
    return wrong


def check_sums(history, total):
    """Transfers between accounts, which never change the sum."""
    return [
        f"the accounts hold {read['result']} and not {total}: {read}"
        for read in history.of("sum")
        if read["outcome"] == OK and read["result"] != total
    ]
