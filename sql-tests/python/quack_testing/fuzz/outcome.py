"""What a statement has given: rows or an error; and how two outcomes differ."""

import re
from collections import Counter
from dataclasses import dataclass

# Kinds of differences, the grave ones first. Only a different text of the same error is a weak one.
ENDED, SUCCESS, CLASS, COLUMNS, TYPES, ROWS, ORDER, TEXT = (
    "process ended", "success", "error class", "columns", "types", "rows", "order of rows", "error text",
)  # fmt: skip
SHOWN_ROWS = 12


@dataclass
class Outcome:
    error: str = ""
    columns: tuple = ()
    types: tuple = ()
    rows: tuple = ()
    ended: bool = False

    @property
    def error_class(self):
        return self.error.split(":", 1)[0]

    @property
    def first_line(self):
        return self.error.split("\n", 1)[0]

    def shown(self):
        if self.ended:
            return f"the process ended: {self.error}"
        if self.error:
            return self.error[:600]
        rows = [" | ".join("NULL" if value is None else value for value in row) for row in self.rows[:SHOWN_ROWS]]
        more = [f"... {len(self.rows)} rows"] if len(self.rows) > SHOWN_ROWS else []
        head = " | ".join(f"{name} {of}" for name, of in zip(self.columns, self.types))
        return "\n".join([head, *rows, *more]) if head else "done"


@dataclass
class Difference:
    """One difference between plain DuckDB and the cluster."""

    kind: str
    native: str
    cluster: str
    # The step that showed it, as text, and its number.
    step: str = ""
    number: int = -1

    @property
    def weak(self):
        return self.kind == TEXT

    def signature(self):
        """What stays the same when the script becomes shorter."""
        parts = (self.native, self.cluster) if self.kind in (SUCCESS, CLASS, TEXT, ENDED) else ()
        return (self.kind, self.step.split(" ", 1)[0], *(blurred(part.split("\n")[0]) for part in parts))


def blurred(text):
    """A message without names, numbers and values."""
    text = re.sub(r"\"[^\"]*\"|'[^']*'", "x", text)
    text = re.sub(r"\b[a-z]{1,2}\d+\b|-?\d+(\.\d+)?", "n", text)
    return text[:120]


def compare(native, cluster, ordered):
    """The gravest difference of two outcomes, or None."""
    shown = (native.shown(), cluster.shown())
    if native.ended or cluster.ended:
        return Difference(ENDED, *shown)
    if bool(native.error) != bool(cluster.error):
        return Difference(SUCCESS, *shown)
    if native.error:
        if native.error_class != cluster.error_class:
            return Difference(CLASS, *shown)
        return Difference(TEXT, *shown) if native.first_line != cluster.first_line else None
    if native.columns != cluster.columns:
        return Difference(COLUMNS, *shown)
    if native.types != cluster.types:
        return Difference(TYPES, *shown)
    return compare_rows(native, cluster, ordered)


def compare_rows(native, cluster, ordered):
    if native.rows == cluster.rows:
        return None
    left, right = Counter(native.rows), Counter(cluster.rows)
    if left == right:
        return Difference(ORDER, native.shown(), cluster.shown()) if ordered else None
    only = [list((left - right).elements())[:SHOWN_ROWS], list((right - left).elements())[:SHOWN_ROWS]]
    head = f"{', '.join(native.columns)}\n"
    return Difference(ROWS, *(f"{head}only here: {rows}" for rows in only))
