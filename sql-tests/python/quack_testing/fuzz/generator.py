"""Scripts from a seed: which kinds of statements there are, and which comes next.

Each script takes a part of the kinds only, chosen by its seed: what never stands beside something else gets its chance.
"""

import random

from quack_testing.fuzz.definitions import Definitions
from quack_testing.fuzz.expressions import Expressions
from quack_testing.fuzz.known import is_avoided
from quack_testing.fuzz.queries import Queries
from quack_testing.fuzz.placing import ENABLE, place
from quack_testing.fuzz.second import Second
from quack_testing.fuzz.steps import CHECK, CLUSTER, KILL, RESTART, SQL, Step
from quack_testing.fuzz.writes import Writes

STEPS_MIN, STEPS_MAX = 40, 160
CHECK_EVERY = 12
PREPARED = ("INSERT", "UPDATE", "DELETE", "SELECT", "MERGE")
# Kinds that a script may be without, and the share of scripts that have them.
OPTIONAL = {
    "create_temporary": 0.15,
    "create_as": 0.6,
    "create_schema": 0.5,
    "create_sequence": 0.6,
    "create_type": 0.5,
    "create_view": 0.5,
    "create_macro": 0.4,
    "create_index": 0.6,
    "create_trigger": 0.25,
    "comment": 0.4,
    "drop": 0.6,
    "alter": 0.7,
}


class Generator:
    """Makes the next steps, looking at the catalog as it is."""

    def __init__(self, seed, length=None):
        self.random = random.Random(seed)
        self.expressions = Expressions(self.random)
        self.definitions = Definitions(self.random, self.expressions)
        self.writes = Writes(self.random, self.expressions)
        self.queries = Queries(self.random, self.expressions)
        self.kinds = [kind for kind, share in OPTIONAL.items() if self.random.random() < share]
        self.transactions = self.random.random() < 0.7
        self.restarts = self.random.random() < 0.4
        self.prepares = self.random.random() < 0.3
        # Tables as large as the borders that DuckDB's storage has.
        self.large = self.random.random() < 0.06
        self.lanes = self.random.random() < 0.25
        self.exports = self.random.random() < 0.15
        self.second = Second(self.random) if self.random.random() < 0.4 else None
        self.in_transaction = False
        # Whether its last step has failed, after which a transaction takes little but ROLLBACK.
        self.failed = False
        own_length = self.random.randint(STEPS_MIN, STEPS_MAX)
        self.length = length or own_length
        self.prepared = 0
        # Tables that have been seen, so that a new one is filled first.
        self.filled = set()

    def first(self):
        """What the script begins with, when the catalog is empty."""
        steps = 1 + self.random.randint(0, 2)
        makers = [self.definitions.create_table] * steps
        for kind in ("create_type", "create_sequence", "create_schema"):
            if kind in self.kinds:
                makers.insert(0, getattr(self.definitions, kind))
        if self.lanes:
            makers.insert(0, lambda model: Step(ENABLE, CLUSTER))
        return makers

    def next(self, model):
        """One step or several."""
        made = None
        while not made:
            made = self.choose(model)
            if self.in_transaction and isinstance(made, Step) and is_avoided(made.sql):
                made = None
        steps = made if isinstance(made, list) else [made]
        return [new for step in steps for new in self.maybe_prepared(step)]

    def choose(self, model):
        if self.in_transaction and self.failed and self.random.random() < 0.6:
            self.in_transaction = False
            return Step(self.random.choice(["COMMIT", "ROLLBACK", "ROLLBACK"]))
        new = [table for table in model.tables if table.full_name not in self.filled and table.stored]
        self.filled.update(table.full_name for table in new)
        if new:
            fill = self.writes.fill_large if self.large else self.writes.fill
            return [fill(table) for table in new if self.random.random() < 0.9]
        if self.lanes and not self.failed and self.random.random() < 0.05:
            return place(self.random, model)
        if self.second and self.random.random() < 0.12:
            return self.second.next(model)
        choice = self.random.random()
        if self.transactions and choice < 0.12:
            return self.transaction()
        if 0.12 <= choice < 0.126 and self.restarts and not self.in_transaction:
            return self.restart()
        if 0.126 <= choice < 0.132:
            # Whether others are in its way is another matter in plain DuckDB.
            return None if self.second and self.second.in_transaction else Step("CHECKPOINT cp")
        if choice < 0.36 and self.kinds or not model.tables:
            kind = self.random.choice(self.kinds + (["create_table"] if len(model.tables) < 8 else []))
            if kind in ("create_index", "alter") and self.second and self.second.in_transaction:
                # Plain DuckDB indexes the rows that the other one sees as well, or refuses to.
                return None
            return getattr(self.definitions, kind)(model)
        if choice < 0.4:
            return self.random.choice([self.definitions.use_sequence, self.definitions.use_macro])(model)
        if choice < 0.75:
            return self.writes.choose_alone(model) if self.large else self.writes.choose(model)
        return self.queries.choose_alone(model) if self.large else self.queries.choose(model)

    def transaction(self):
        if not self.in_transaction:
            self.in_transaction = True
            return Step(self.random.choice(["BEGIN", "BEGIN", "START TRANSACTION"]))
        if self.random.random() < 0.4:
            return None
        self.in_transaction = False
        return Step(self.random.choice(["COMMIT", "COMMIT", "ROLLBACK"]))

    def maybe_prepared(self, step):
        """The same, by a prepared statement."""
        if not self.prepares or self.random.random() > 0.1:
            return [step]
        if step.action != SQL or step.sql.split()[0] not in PREPARED:
            return [step]
        self.prepared += 1
        name = f"p{self.prepared}"
        again = Step(f"EXECUTE {name}", ordered=step.ordered)
        return [Step(f"PREPARE {name} AS {step.sql}", pins=True), again, again]

    def last(self, model):
        """What every script ends with."""
        steps = []
        if self.in_transaction:
            steps.append(Step("COMMIT"))
        if self.second and self.second.in_transaction:
            steps.append(self.second.end())
        steps.append(self.check())
        if self.exports:
            steps += self.definitions.export_and_import(model)
            steps.append(self.check())
        if self.random.random() < 0.5:
            steps += [self.restart(), self.check()]
        return steps

    def restart(self):
        if self.second:
            self.second.in_transaction = False
        return Step(self.random.choice(["", KILL, KILL]), RESTART)

    def check(self):
        return Step(action=CHECK)
