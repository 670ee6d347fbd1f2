"""Whether a history of transactions is one of snapshot isolation.

Anomalies have Adya's names ("Weak Consistency", 1999): G0 dirty write, G1a aborted read, G1b intermediate read, G1c
circular flow, G-single one anti-dependency in a cycle (lost update: on one key), G-nonadjacent several that do not follow
each other (long fork); and G-SIb, a cycle with one anti-dependency and the order of time or of a session in it. G2-item,
a cycle in which two anti-dependencies follow each other, such as write skew, is what snapshot isolation allows.

The reads of a transaction count even if it was rolled back or its outcome is unknown: it takes part as one that only reads.
"""

from collections import Counter
from dataclasses import dataclass, field

from quack_testing.cycles import RW, Graph, cycles_without_adjacent
from quack_testing.history import OK
from quack_testing.transactions import Versions, of_history

WW, WR, SESSION, TIME = "ww", "wr", "session", "time"
DEPENDENCIES = {WW, WR, SESSION, TIME}
STRICT, PER_SESSION, NONE = "strict", "session", "none"
SHOWN_MAX = 20


@dataclass
class Verdict:
    """What a check has found."""

    anomalies: list = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)
    # Pairs of transactions of which each has overwritten what the other has read: allowed.
    write_skews: int = 0

    def names(self):
        return {anomaly.split(":")[0] for anomaly in self.anomalies}

    def summary(self):
        counts = ", ".join(f"{number} {what}" for what, number in sorted(self.counts.items()))
        lines = [f"{counts}; write skews, which are allowed: {self.write_skews}; anomalies: {len(self.anomalies)}"]
        return "\n".join(lines + self.anomalies[:SHOWN_MAX])


@dataclass(frozen=True)
class Moment:
    """A node of the graph that is no transaction: all before it have ended, all behind it begin later."""

    number: int


def check_history(history, order=STRICT):
    return check(of_history(history), order)


def check(transactions, order=STRICT):
    """Checks transactions; `order` is what a snapshot must hold besides: everything committed before the transaction
    began (STRICT), or by the same session (PER_SESSION)."""
    versions = Versions(transactions)
    graph = dependencies(versions)
    if order == STRICT:
        add_time(graph, transactions)
    elif order == PER_SESSION:
        add_sessions(graph, transactions)
    verdict = Verdict(list(versions.wrong))
    for cycle in cycles_without_adjacent(graph, DEPENDENCIES):
        verdict.anomalies.append(describe(graph, cycle))
    verdict.anomalies += lost(versions, order)
    verdict.counts = Counter(transaction.outcome for transaction in transactions)
    verdict.write_skews = write_skews(graph)
    return verdict


def dependencies(versions):
    """The graph of what transactions have seen and overwritten of each other."""
    graph = Graph()
    for key in sorted({*versions.writing, *versions.reading}, key=str):
        ordered, unread = versions.writers_of(key)
        for one, other in zip(ordered, ordered[1:]):
            graph.add(one, other, WW, key)
        for other in unread:
            if ordered:
                graph.add(ordered[-1], other, WW, key)
        for reader in versions.reading[key]:
            add_read(graph, versions, key, reader, unread)
    return graph


def add_read(graph, versions, key, reader, unread):
    """The edges of one read: from who wrote what was read, and to who has overwritten it."""
    values, order = reader.seen[key], versions.orders[key]
    if values:
        writer = versions.writers.get((key, values[-1]))
        if writer and writer.committed:
            graph.add(writer, reader, WR, key)
    for value in order[len(values) :]:
        writer = versions.writers.get((key, value))
        if writer and writer.committed and writer is not reader:
            graph.add(reader, writer, RW, key)
            return
    for writer in unread:
        graph.add(reader, writer, RW, key)


def add_time(graph, transactions):
    """The order of time, by a chain of moments instead of an edge for each pair."""
    ended = sorted((t for t in transactions if t.known_end is not None), key=lambda t: t.known_end)
    begun = sorted(transactions, key=lambda t: t.start)
    passed = 0
    for transaction in begun:
        while passed < len(ended) and ended[passed].known_end < transaction.start:
            graph.add(ended[passed], Moment(passed), TIME)
            if passed:
                graph.add(Moment(passed - 1), Moment(passed), TIME)
            passed += 1
        if passed:
            graph.add(Moment(passed - 1), transaction, TIME)


def add_sessions(graph, transactions):
    """The order of each session's own transactions."""
    last = {}
    for transaction in sorted(transactions, key=lambda t: t.start):
        if transaction.session is not None:
            if transaction.session in last:
                graph.add(last[transaction.session], transaction, SESSION)
            if transaction.known_end is not None:
                last[transaction.session] = transaction


def describe(graph, states):
    """The name of a cycle and its edges."""
    kinds, lines = [], []
    previous = None
    for (one, _), (other, by_rw) in zip(states, states[1:]):
        found = graph.kinds(one, other)
        kind = RW if by_rw else next(kind for kind in (WW, WR, SESSION, TIME) if kind in found)
        kinds.append((kind, found[kind]))
        if isinstance(one, Moment):
            continue
        if previous is not None:
            lines.append(f"    {previous} → {one}")
        lines.append(f"  {one}")
        previous = f"{kind} {found[kind] if found[kind] is not None else ''}".rstrip()
    lines.append(f"    {previous} → the first")
    return f"{name(kinds)}:\n" + "\n".join(lines)


def name(kinds):
    """What a cycle of these edges is called."""
    only = {kind for kind, _ in kinds}
    anti = [key for kind, key in kinds if kind == RW]
    ordered = only & {SESSION, TIME}
    if len(anti) > 1:
        return "G-nonadjacent" + ("" if not ordered else f"-{min(ordered)}")
    if anti:
        if ordered:
            return f"G-SIb-{min(ordered)}"
        return "lost update" if {key for kind, key in kinds if kind != WR} == set(anti) and WW in only else "G-single"
    basis = "G0" if WR not in only else "G1c"
    return basis + ("" if not ordered else f"-{min(ordered)}")


def lost(versions, order):
    """Appends that were acknowledged and that a later reader of the list did not find."""
    wrong = []
    last = {}
    for reader in versions.transactions:
        for key in reader.seen:
            if (order == STRICT or reader.is_final) and (key not in last or reader.start > last[key].start):
                last[key] = reader
    for transaction in versions.transactions:
        for key, values in transaction.appended.items():
            reader = last.get(key)
            if reader is None or transaction.outcome != OK or transaction.end >= reader.start:
                continue
            missing = [value for value in values if value not in reader.seen[key]]
            if missing:
                wrong.append(f"lost: {missing} of {key} in {reader}: {transaction}")
    return wrong


def write_skews(graph):
    """How many pairs of transactions have each overwritten what the other has read."""
    found = 0
    for one, others in list(graph.edges.items()):
        for other, kinds in others.items():
            if RW in kinds and RW in graph.edges.get(other, {}).get(one, {}):
                found += 1
    return found // 2
