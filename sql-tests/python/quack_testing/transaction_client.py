"""A client whose operations are transactions of several statements: BEGIN, statements, COMMIT or ROLLBACK.

Until COMMIT is sent everything that goes wrong is without effect for certain. Only of a COMMIT can the outcome be
unknown: the error says so, the process died, or no answer came.
"""

from concurrent.futures import TimeoutError as NoAnswer
from contextlib import contextmanager

from quack_testing.clients import Client
from quack_testing.history import FAILED, OK
from quack_testing.linearizability import UNKNOWN
from quack_testing.process import DatabaseError, ProcessEnded

UNKNOWN_TEXT = "outcome of the write is unknown"
# Another transaction has written the same before: what first committer wins means for the second one.
CONFLICT_TEXTS = ("Conflict", "conflict", "Duplicate key", "duplicate key", "was changed", "has been altered")


class RolledBack(Exception):
    """The client has changed its mind."""


def is_conflict(text):
    return any(part in text for part in CONFLICT_TEXTS)


class TransactionClient(Client):
    """What the operations of its subclasses are made of."""

    begin_first = None

    def sql(self, statement, parameters=None):
        begin, self.begin_first = self.begin_first, None
        if begin:
            super().sql(begin)
        return super().sql(statement, parameters)

    @contextmanager
    def transaction(self, fields, begin="BEGIN"):
        """Runs the block between BEGIN and COMMIT, and records it; the block gets the record to fill in.

        BEGIN is sent with the first statement, so that its failure is one of the block. Every statement by `self.sql`
        belongs to it. With `begin` None each commits by itself: then there may be one at most that writes."""
        operation = {"kind": "transaction", "operations": [], **fields}
        operation.update(client=self.number, node=self.home, session=f"{self.name()} of {self.process.pid}")
        operation.update(start=self.history.now(), outcome=OK)
        self.sent = False
        self.ending = begin is None
        self.begin_first = begin
        try:
            yield operation
            if begin and not self.begin_first:
                self.ending = True
                self.sql("COMMIT")
        except RolledBack:
            operation["outcome"] = FAILED
            operation["error"] = "ROLLBACK"
        except DatabaseError as error:
            text = str(error)
            unknown = self.ending and self.sent and self.is_unknown(text)
            operation.update(outcome=UNKNOWN if unknown else FAILED, error=text[:300])
        except (NoAnswer, ProcessEnded) as error:
            unknown = self.ending and self.sent
            operation.update(outcome=UNKNOWN if unknown else FAILED, error=type(error).__name__)
        self.begin_first = None
        operation["end"] = self.history.now()
        operation["conflict"] = is_conflict(operation.get("error", ""))
        self.history.add(operation)
        if operation["outcome"] != OK and not self.rolled_back(operation):
            self.leave()

    def is_unknown(self, text):
        """Whether the error of a COMMIT leaves it open if there was one."""
        return UNKNOWN_TEXT in text

    def rolled_back(self, operation):
        """Whether the connection is at once fit for the next transaction: after its own ROLLBACK, and after a conflict."""
        if operation["outcome"] != FAILED or not (operation["conflict"] or operation["error"] == "ROLLBACK"):
            return False
        try:
            self.sql("ROLLBACK")
        except DatabaseError as error:
            # After an autocommit statement, or a COMMIT that was refused.
            return "no transaction is active" in str(error)
        except (NoAnswer, ProcessEnded):
            return False
        return True

    def maybe_change_mind(self, share=0.05):
        if self.random.random() < share:
            raise RolledBack
