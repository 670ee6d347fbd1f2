"""Worlds with a mistake, which the fuzzer must find: plain DuckDB, but for what the class says."""

from dataclasses import replace

from quack_testing.fuzz.outcome import Outcome
from quack_testing.fuzz.worlds import Native


class Same(Native):
    """No mistake: two plain files must do the same, or the scripts depend on chance."""


class ForgetsUpdates(Native):
    """Every third UPDATE is not run, and said to be done."""

    updates = 0

    def run(self, step):
        if step.sql.startswith("UPDATE"):
            self.updates += 1
            if self.updates % 3 == 0:
                counted = super().run(replace(step, sql='SELECT 1::BIGINT AS "Count"'))
                return counted if "RETURNING" not in step.sql else super().run(step)
        return super().run(step)


class SortsWrong(Native):
    """The rows of a query with ORDER BY come in the opposite order."""

    def run(self, step):
        outcome = super().run(step)
        return replace(outcome, rows=outcome.rows[::-1]) if step.ordered else outcome


class HidesErrors(Native):
    """A key that is there twice is no error."""

    def run(self, step):
        outcome = super().run(step)
        return Outcome() if "Duplicate key" in outcome.error else outcome


class LosesComments(Native):
    """COMMENT ON does nothing: to be seen in the catalog alone."""

    def run(self, step):
        if step.sql.startswith("COMMENT"):
            return super().run(replace(step, sql=step.sql.rsplit(" IS ", 1)[0] + " IS NULL"))
        return super().run(step)


MISTAKES = (ForgetsUpdates, SortsWrong, HidesErrors, LosesComments)
