"""A store with snapshot isolation that lives in memory, and ways to break it: what a checker of histories is tried on.

Clients take turns at random; each transaction's start and end are the moments at which its client begins and learns the
outcome. Every mutation breaks one promise.
"""

import random

from quack_testing.history import FAILED, OK
from quack_testing.linearizability import UNKNOWN
from quack_testing.transactions import APPEND, READ, Transaction

MUTATIONS = (
    "no conflict check", "conflict check of one key", "reads what is committed", "dirty reads", "old snapshots",
    "a snapshot for each key", "acknowledged and lost", "half applied", "rolled back and applied", "applied twice",
    "own appends not read", "reads between appends", "order differs for some",
)  # fmt: skip


class Store:
    """Lists by key, with all their versions: `log` holds what each commit has appended, in order."""

    def __init__(self, mutation=None, draw=None):
        self.mutation = mutation
        self.draw = draw
        self.log = []
        self.open = []

    def value(self, key, position):
        values = [value for appended in self.log[:position] for value in appended.get(key, [])]
        return values

    def is_broken(self, mutation, share=0.5):
        return self.mutation == mutation and self.draw.random() < share


class Session:
    """A transaction that is open."""

    def __init__(self, store):
        self.store = store
        self.position = len(store.log)
        if store.is_broken("old snapshots", 0.2):
            self.position = max(0, self.position - store.draw.randrange(1, 4))
        self.positions = {}
        self.appended = {}
        store.open.append(self)

    def read(self, key):
        store = self.store
        position = self.position
        if store.mutation == "reads what is committed":
            position = len(store.log)
        if store.mutation == "a snapshot for each key":
            at = max(0, self.position - store.draw.randrange(3))
            position = self.positions.setdefault(key, at)
        values = store.value(key, position)
        if store.mutation == "dirty reads":
            values += [value for other in store.open if other is not self for value in other.appended.get(key, [])]
        if store.mutation == "reads between appends" and position < len(store.log):
            values += store.log[position].get(key, [])[:1]
        if store.is_broken("order differs for some", 0.1):
            values.reverse()
        return values + ([] if store.mutation == "own appends not read" else self.appended.get(key, []))

    def append(self, key, value):
        self.appended.setdefault(key, []).append(value)

    def conflicts(self):
        if self.store.mutation == "no conflict check":
            return False
        keys = sorted(self.appended)
        if self.store.mutation == "conflict check of one key":
            keys = keys[:1]
        return any(key in appended for appended in self.store.log[self.position :] for key in keys)

    def end(self, commit):
        """Returns whether it is committed."""
        store = self.store
        store.open.remove(self)
        if not self.appended:
            return commit
        if not commit or self.conflicts():
            if store.is_broken("rolled back and applied", 0.1):
                store.log.append(self.appended)
            return False
        applied = dict(self.appended)
        if store.is_broken("half applied", 0.3):
            applied = dict(list(applied.items())[:1])
        if not store.is_broken("acknowledged and lost", 0.05):
            store.log.append(applied)
        if store.is_broken("applied twice", 0.1):
            store.log.append(applied)
        return True


class Client:
    """One client: it draws what its transaction does, a step at a time."""

    def __init__(self, number, simulation):
        self.number = number
        self.simulation = simulation
        self.session = None

    def step(self):
        run, draw = self.simulation, self.simulation.draw
        if self.session is None:
            self.start, self.operations = run.tick(), []
            self.left = draw.randrange(1, 5)
            self.session = Session(run.store)
        elif self.left:
            self.left -= 1
            key = draw.randrange(run.keys)
            if draw.random() < 0.5:
                value = run.tick()
                self.session.append(key, value)
                self.operations.append((APPEND, key, value))
            else:
                self.operations.append((READ, key, self.session.read(key)))
        else:
            committed = self.session.end(commit=draw.random() < 0.9)
            outcome = OK if committed else FAILED
            if self.session.appended and draw.random() < 0.1:
                # No answer came: it may be committed, or not.
                outcome = UNKNOWN
            run.record(self.operations, outcome, self.start, f"client {self.number}")
            self.session = None


class Simulation:
    """A whole run; `transactions` is what the clients saw."""

    def __init__(self, seed, mutation=None, steps=600, clients=5, keys=4):
        self.draw = random.Random(f"{seed} {mutation}")
        self.store = Store(mutation, self.draw)
        self.keys = keys
        self.time = 0
        self.transactions = []
        everyone = [Client(number, self) for number in range(clients)]
        for _ in range(steps):
            self.draw.choice(everyone).step()
        start = self.tick()
        final = Session(self.store)
        operations = [(READ, key, final.read(key)) for key in range(keys)]
        self.record(operations, OK, start, "final")
        self.transactions[-1].is_final = True

    def tick(self):
        self.time += 1
        return self.time

    def record(self, operations, outcome, start, session):
        name = f"T{len(self.transactions)}"
        self.transactions.append(Transaction(name, outcome, start, self.tick(), operations, session))
