"""Differences that are known, each with its reason and its document. A difference that is not here fails the run.

An entry names the kinds of difference, and what the step, plain DuckDB's answer and the cluster's must match.
"""

import re
from dataclasses import dataclass

from quack_testing.fuzz.outcome import CLASS, SUCCESS, TEXT


@dataclass(frozen=True)
class Known:
    reason: str
    kinds: tuple
    step: str = ""
    native: str = ""
    cluster: str = ""

    def explains(self, difference):
        return (
            difference.kind in self.kinds
            and re.search(self.step, difference.step, re.DOTALL) is not None
            and re.search(self.native, difference.native, re.DOTALL) is not None
            and re.search(self.cluster, difference.cluster, re.DOTALL) is not None
        )


KNOWN = []


def explanation(difference):
    """The reason of a known difference, or nothing."""
    return next((known.reason for known in KNOWN if known.explains(difference)), "")
