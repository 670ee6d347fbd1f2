"""Transactions that append to lists and read them, and what their reads tell about the order of all versions.

After Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", VLDB 2021: a transaction
that reads a list sees in which order its values were appended, and each value is appended once at most.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from quack_testing.history import FAILED, OK
from quack_testing.linearizability import UNKNOWN

APPEND, READ = "append", "read"


@dataclass(eq=False)
class Transaction:
    """One transaction as its client saw it, and below what follows from all others.

    `operations` are (APPEND, key, value) and (READ, key, list of values), in order; all values of a key are different.
    """

    name: str
    outcome: str
    start: int
    end: int
    operations: list
    session: object = None
    # It began when everything else had ended, and reads on a cluster that has come to rest.
    is_final: bool = False
    committed: bool = False
    # None if it is unknown when it took effect.
    known_end: int | None = None
    # By key: what it appended, in order; and what it read of others, the longest when it read several times.
    appended: dict = field(default_factory=dict)
    seen: dict = field(default_factory=dict)

    def __repr__(self):
        shown = ", ".join(
            f"append({key}, {value})" if kind == APPEND else f"read({key}) = {shorten(value)}"
            for kind, key, value in self.operations
        )
        return f"{self.name} [{self.outcome}]: {shown}"


def shorten(values):
    return str(list(values)) if len(values) <= 8 else f"[…{len(values) - 6} values, " + str(list(values[-6:]))[1:]


def of_history(history):
    """The transactions of a record, in which they have the kind "transaction"."""
    return [
        Transaction(
            f"T{number}@{operation.get('node', '')}",
            operation["outcome"],
            operation["start"],
            operation["end"],
            [(kind, key, value) for kind, key, value in operation["operations"]],
            operation.get("session"),
            operation.get("final", False),
        )
        for number, operation in enumerate(history.of("transaction"))
    ]


class Versions:
    """The order of the versions of every list, and what is wrong with the reads by themselves."""

    def __init__(self, transactions):
        self.transactions = transactions
        self.wrong = []
        # By key and value, who appended it; by key, who has appended and who has read.
        self.writers = {}
        self.writing, self.reading = defaultdict(list), defaultdict(list)
        for transaction in transactions:
            self._split(transaction)
        self.orders = self._orders()
        self._decide()
        self._check_reads()

    def _split(self, transaction):
        """Separates what a transaction read of others from its own, and checks that its reads agree."""
        expected = {}
        transaction.appended, transaction.seen = {}, {}
        for kind, key, value in transaction.operations:
            own = transaction.appended.setdefault(key, [])
            if kind == APPEND:
                own.append(value)
                if (key, value) in self.writers:
                    raise ValueError(f"{value} is appended twice to {key}")
                self.writers[key, value] = transaction
                continue
            values = list(value)
            foreign = values[: len(values) - len(own)] if own else values
            if values[len(foreign) :] != own:
                self.wrong.append(f"internal: does not read its own appends {own} to {key}: {transaction}")
                foreign = [found for found in values if found not in own]
            if expected.setdefault(key, foreign) != foreign:
                self.wrong.append(f"internal: reads {key} twice and differently: {transaction}")
            transaction.seen.setdefault(key, foreign)
        transaction.appended = {key: values for key, values in transaction.appended.items() if values}
        for key in transaction.appended:
            self.writing[key].append(transaction)
        for key in transaction.seen:
            self.reading[key].append(transaction)

    def _orders(self):
        """By key the longest list that a transaction has read of others; all other lists must be beginnings of it."""
        orders = defaultdict(list)
        for transaction in self.transactions:
            for key, values in transaction.seen.items():
                if len(values) > len(orders[key]):
                    orders[key] = values
        return orders

    def _decide(self):
        """A transaction with an unknown outcome is committed if another one has read its writes."""
        for transaction in self.transactions:
            transaction.committed = transaction.outcome == OK
            transaction.known_end = transaction.end
        for reader in self.transactions:
            for key, values in reader.seen.items():
                for value in values:
                    writer = self.writers.get((key, value))
                    if writer and writer.outcome == UNKNOWN:
                        writer.committed = True
                        # It took effect at an unknown time: it is only known that another transaction has seen it.
                        writer.known_end = None

    def _check_reads(self):
        for transaction in self.transactions:
            for key, values in transaction.seen.items():
                self._check_read(transaction, key, values)

    def _check_read(self, transaction, key, values):
        order = self.orders[key]
        if len(set(values)) < len(values):
            self.wrong.append(f"duplicate: {key} is {shorten(values)}: {transaction}")
        if values != order[: len(values)]:
            others = shorten(order)
            self.wrong.append(f"incompatible order: {key} is {shorten(values)}, and {others} for others: {transaction}")
        for value in values:
            writer = self.writers.get((key, value))
            if writer is None:
                self.wrong.append(f"garbage: no transaction appended {value} to {key}: {transaction}")
            elif writer.outcome == FAILED:
                self.wrong.append(f"G1a: {value} of {key} was rolled back: {transaction} reads from {writer}")
            elif writer is transaction:
                self.wrong.append(f"internal: {value} of {key} is there before it was appended: {transaction}")
        last = self.writers.get((key, values[-1])) if values else None
        if last and last is not transaction and last.appended[key][-1] != values[-1]:
            self.wrong.append(f"G1b: reads {values[-1]} of {key}, which is not the last of {last}: {transaction}")

    def writers_of(self, key):
        """The committed transactions that have appended to a list, in the order of versions, and those that come after
        everything that was read, in no order."""
        ordered = []
        for value in self.orders[key]:
            writer = self.writers.get((key, value))
            if writer and writer.committed and (not ordered or ordered[-1] is not writer):
                ordered.append(writer)
        known = set(self.orders[key])
        unread = [
            transaction
            for transaction in self.writing[key]
            if transaction.committed and not known.issuperset(transaction.appended[key])
        ]
        return ordered, unread
