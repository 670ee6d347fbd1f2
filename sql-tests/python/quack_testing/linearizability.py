"""Whether a history of operations on a register could have happened one after the other.

The search is that of Wing and Gong ("Testing and verifying concurrent objects", 1993) with the memory of Lowe
("Testing for linearizability", 2017), key by key, which suffices because linearizability is local (Horn and Kroening,
"Faster linearizability checking via P-compositionality", 2015). An operation with an unknown outcome may take effect
at any moment after its start, or never.
"""

from dataclasses import dataclass

UNKNOWN = "unknown"
# Configurations that one search may look at; a history that needs more has too many unknown outcomes on one key.
CONFIGURATIONS_MAX = 2_000_000


@dataclass(frozen=True)
class Step:
    """One operation on one register.

    kind: "read" (result: the value), "write" (new), "cas" (old, new; result: whether it took effect).
    end is None and result UNKNOWN for an operation of unknown outcome.
    """

    kind: str
    start: int
    end: int | None
    old: object = None
    new: object = None
    result: object = None
    label: str = ""

    @property
    def is_unknown(self):
        return self.end is None

    def apply(self, value):
        """The register's value after this operation, or no value (False, None) where it cannot have happened."""
        if self.kind == "read":
            return self.result == value, value
        if self.kind == "write":
            return True, self.new
        if self.is_unknown:
            # Without effect it need not be placed anywhere.
            return value == self.old, self.new
        return (value == self.old) == self.result, self.new if self.result else value


class Undecided(Exception):
    """The search was given up."""


class _Event:
    __slots__ = ("step", "bit", "match", "before", "after")

    def __init__(self, step, bit):
        self.step, self.bit = step, bit
        self.match = self.before = self.after = None


def _link(steps):
    """The history as a list of calls and returns in the order of time. An unknown outcome has no return."""
    events = []
    for bit, step in enumerate(steps):
        call = _Event(step, 1 << bit)
        # At the same instant a call comes before a return: they may have overlapped.
        events.append((step.start, 0, bit, call))
        if not step.is_unknown:
            call.match = _Event(None, 0)
            events.append((step.end, 1, bit, call.match))
    head = last = _Event(None, 0)
    for *_, event in sorted(events, key=lambda entry: entry[:3]):
        last.after, event.before, last = event, last, event
    return head


def _lift(event):
    for entry in (event, event.match):
        if entry is not None:
            entry.before.after = entry.after
            if entry.after is not None:
                entry.after.before = entry.before


def _unlift(event):
    for entry in (event.match, event):
        if entry is not None:
            entry.before.after = entry
            if entry.after is not None:
                entry.after.before = entry


def linearizable(steps, initial=None, configurations_max=CONFIGURATIONS_MAX):
    """Whether some order explains the history of one register."""
    steps = relevant(steps)
    missing = sum(not step.is_unknown for step in steps)
    head, value, done, stack, seen = _link(steps), initial, 0, [], set()
    event = head.after
    while missing:
        step = event.step
        if step is not None:
            possible, after = step.apply(value)
            configuration = (done | event.bit, after)
            if possible and configuration not in seen:
                if len(seen) >= configurations_max:
                    raise Undecided(f"{len(seen)} configurations of {len(steps)} operations were not enough")
                seen.add(configuration)
                stack.append((event, value))
                value, done = after, done | event.bit
                missing -= not step.is_unknown
                _lift(event)
                event = head.after
            else:
                event = event.after
        elif not stack:
            return False
        else:
            # An operation has returned that could not be placed: take the latest decision back.
            event, value = stack.pop()
            done &= ~event.bit
            missing += not event.step.is_unknown
            _unlift(event)
            event = event.after
    return True


def relevant(steps):
    """Leaves out unknown outcomes that cannot explain anything: a value that no client has seen, and that no failed
    comparison may have met, is as good as never written. Each of the others doubles the search."""
    seen = {value for step in steps for value in (step.old, step.result)}
    refused = max((step.end for step in steps if step.kind == "cas" and step.result is False), default=-1)
    return [step for step in steps if not step.is_unknown or step.new in seen or step.start <= refused]


def shortest_violation(steps, initial=None):
    """The operations of the shortest beginning of a history that cannot be explained; those that had not ended are
    unknown in it."""
    ends = sorted(step.end for step in steps if not step.is_unknown)
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if linearizable(beginning(steps, ends[middle]), initial):
            low = middle + 1
        else:
            high = middle
    return beginning(steps, ends[low])


def beginning(steps, until):
    """What was known of a history at one moment."""
    known = []
    for step in steps:
        if step.start <= until:
            if not step.is_unknown and step.end > until:
                step = Step(step.kind, step.start, None, step.old, step.new, UNKNOWN, step.label)
            known.append(step)
    return known
