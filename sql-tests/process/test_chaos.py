"""A cluster under faults at random keeps what it has promised; and the checker that says so finds what is wrong."""

import os
import random

import pytest
from quack_testing import chaos
from quack_testing.history import FAILED, OK, History, check_counters, check_counts, check_inserts, check_registers
from quack_testing.linearizability import UNKNOWN, Step, linearizable, shortest_violation

MINUTES = float(os.environ.get("QUACK_CHAOS_MINUTES", 1.5))
GROUPS_MINUTES = float(os.environ.get("QUACK_CHAOS_MINUTES", 1))


def test_clients_see_one_register_under_faults(tmp_path, track):
    seed = int(os.environ.get("QUACK_CHAOS_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"chaos: seed {seed}")
    run = chaos.run(tmp_path, seed, MINUTES * 60, track)
    assert run.history.outcomes()[OK] > 100, run.summary()
    assert run.counts["faults"] > 0, run.summary()


def test_clients_see_one_register_while_tables_change_their_groups(tmp_path, track):
    seed = int(os.environ.get("QUACK_CHAOS_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"chaos: seed {seed}, with groups")
    run = chaos.run(tmp_path, seed, GROUPS_MINUTES * 60, track, groups=True)
    assert run.history.outcomes()[OK] > 100, run.summary()
    assert run.counts["faults"] > 0 and run.counts["placements"] > 0, run.summary()


def read(result, start, end):
    return Step("read", start, end, result=result)


def write(new, start, end=None):
    return Step("write", start, end, new=new)


def cas(old, new, result, start, end=None):
    return Step("cas", start, end, old=old, new=new, result=result)


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [write(1, 0, 1), read(1, 2, 3)],
        # Overlapping operations may take effect in either order.
        [write(1, 0, 9), write(2, 1, 8), read(1, 10, 11)],
        [write(1, 0, 9), write(2, 1, 8), read(2, 10, 11)],
        [write(1, 0, 9), read(0, 1, 2), read(1, 3, 4)],
        # An unknown outcome: never, at once, or long after.
        [write(1, 0), read(0, 5, 6)],
        [write(1, 0), read(1, 5, 6)],
        [write(1, 0), read(0, 5, 6), write(2, 7, 8), read(2, 9, 10), read(1, 11, 12)],
        [cas(0, 1, True, 0, 1), cas(0, 2, False, 2, 3), cas(1, 3, True, 4, 5), read(3, 6, 7)],
        [cas(0, 1, UNKNOWN, 0), cas(0, 2, False, 2, 3), read(1, 4, 5)],
        [cas(0, 1, UNKNOWN, 0), cas(0, 2, True, 2, 3), read(2, 4, 5)],
        # The first decision that comes to mind is the wrong one here.
        [write(1, 0, 20), write(2, 0, 20), write(3, 0, 20), read(3, 1, 2), read(1, 3, 4), read(2, 5, 6)],
        # At the same instant is not before.
        [write(1, 0, 1), read(0, 1, 2)],
    ],
)
def test_histories_that_can_be_explained_are(steps):
    assert linearizable(steps, 0)


@pytest.mark.parametrize(
    "steps",
    [
        # A stale read.
        [write(1, 0, 1), read(0, 2, 3)],
        [write(1, 0, 9), read(1, 1, 2), read(0, 3, 4)],
        # A lost update: two have compared with the same value.
        [cas(0, 1, True, 0, 5), cas(0, 2, True, 1, 6)],
        [cas(0, 1, True, 0, 1), read(0, 2, 3)],
        # A write that comes back.
        [write(1, 0, 1), write(2, 2, 3), read(2, 4, 5), read(1, 6, 7)],
        [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)],
        # No client has written it, or not yet.
        [read(7, 0, 1)],
        [read(1, 0, 1), write(1, 2)],
        # An unknown outcome takes effect once at most.
        [write(1, 0), read(1, 1, 2), write(2, 3, 4), read(2, 5, 6), read(1, 7, 8)],
        [cas(0, 1, UNKNOWN, 0), read(1, 1, 2), read(0, 3, 4)],
        # A comparison that must have succeeded.
        [cas(0, 1, False, 0, 1)],
        [write(1, 0, 5), write(2, 1, 6), read(1, 7, 8), read(2, 9, 10)],
    ],
)
def test_histories_that_cannot_be_explained_are_found(steps):
    assert not linearizable(steps, 0)
    assert not linearizable(shortest_violation(steps, 0), 0)


def simulated(seed, stale=False):
    """What clients see of a true register, each operation with a moment of effect; `stale` plants one old read."""
    draw = random.Random(seed)
    value, steps = 0, []
    for number in range(1, 100):
        # Moments of effect are in order; the operations around them overlap.
        start, end = number * 10 - draw.randrange(1, 30), number * 10 + draw.randrange(1, 30)
        kind = draw.choices(["read", "write", "cas", "unknown"], [10, 5, 5, 1])[0]
        if kind == "write" or number in (40, 60):
            steps.append(write(number, start, end))
            value = number
        elif kind == "read":
            steps.append(read(value, start, end))
        elif kind == "cas":
            old = value if draw.random() < 0.7 else -1
            steps.append(cas(old, number, old == value, start, end))
            value = number if old == value else value
        else:
            steps.append(write(number, start))
            value = number if draw.random() < 0.5 else value
    if stale:
        # What was written for certain, and for certain overwritten since.
        steps.append(read(40, 800, 801))
    draw.shuffle(steps)
    return steps


@pytest.mark.parametrize("seed", range(30))
def test_true_registers_are_explained_and_one_old_read_among_them_is_found(seed):
    assert linearizable(simulated(seed), 0)
    assert not linearizable(simulated(seed, stale=True), 0)


def history(*operations):
    recorded = History()
    for number, operation in enumerate(operations):
        recorded.add({"start": number * 10, "end": number * 10 + 5, "outcome": OK, **operation})
    return recorded


def test_inserts_that_are_lost_or_there_twice_or_against_what_was_said_are_found():
    recorded = history(
        {"kind": "insert", "table": "bag", "key": 1},
        {"kind": "insert", "table": "bag", "key": 2, "outcome": UNKNOWN},
        {"kind": "insert", "table": "bag", "key": 3, "outcome": FAILED},
    )
    one, two, three = (("bag", key) for key in (1, 2, 3))
    assert check_inserts(recorded, {one: 1}) == []
    assert check_inserts(recorded, {one: 1, two: 1}) == []
    for rows, what in (({}, "lost"), ({one: 2}, "2 times"), ({one: 1, two: 2}, "2 times"), ({one: 1, three: 1}, "failed")):
        (wrong,) = check_inserts(recorded, rows)
        assert wrong.startswith(what)
    (wrong,) = check_inserts(recorded, {one: 1, ("bag", 4): 1})
    assert wrong.startswith("no client")


def test_counters_beyond_what_was_acknowledged_or_unknown_are_found():
    recorded = history(
        {"kind": "increment", "key": 0},
        {"kind": "increment", "key": 0, "outcome": UNKNOWN},
        {"kind": "increment", "key": 0, "outcome": FAILED},
        {"kind": "count", "key": 0, "result": 1},
    )
    assert check_counters(recorded, {0: 1}) == check_counters(recorded, {0: 2}) == check_counts(recorded) == []
    assert check_counters(recorded, {0: 0}) and check_counters(recorded, {0: 3})
    recorded.operations[-1]["result"] = 0
    assert check_counts(recorded)
    recorded.operations[-1]["result"] = 3
    assert check_counts(recorded)


def test_registers_of_a_history_are_checked_one_by_one():
    recorded = history(
        {"kind": "write", "key": 1, "new": 5},
        {"kind": "write", "key": 2, "new": 6, "outcome": FAILED},
        {"kind": "read", "key": 2, "result": 0},
        {"kind": "read", "key": 1, "result": 5},
    )
    assert check_registers(recorded, 0) == []
    recorded.operations[-1]["result"] = 0
    (wrong,) = check_registers(recorded, 0)
    assert "register 1 is not linearizable" in wrong
