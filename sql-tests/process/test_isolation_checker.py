"""The checker of transactional histories finds each anomaly, and nothing in histories of snapshot isolation."""

import pytest
from quack_testing.history import FAILED, OK, History
from quack_testing.isolation import NONE, PER_SESSION, STRICT, check, check_history
from quack_testing.linearizability import UNKNOWN
from quack_testing.simulated_store import MUTATIONS, Simulation
from quack_testing.transactions import APPEND, READ, Transaction


def transaction(text, outcome=OK, start=0, end=100, session=None, final=False):
    """From a text such as "x+1 y=12": append 1 to x, then read y as [1, 2]. All overlap unless times are given."""
    operations = []
    for word in text.split():
        kind = APPEND if "+" in word else READ
        key, value = word.split("+" if kind == APPEND else "=")
        operations.append((kind, key, int(value) if kind == APPEND else [int(digit) for digit in value]))
    return Transaction(text, outcome, start, end, operations, session, final)


ANOMALIES = {
    "G0": [transaction("x+1 y+1"), transaction("x+2 y+2"), transaction("x=12 y=21")],
    "G1a": [transaction("x+1", FAILED), transaction("x=1")],
    "G1b": [transaction("x+1 x+2"), transaction("x=1"), transaction("x=12")],
    "G1c": [transaction("x+1 y=2"), transaction("y+2 x=1")],
    "G1c of three": [transaction("x+1 z=3"), transaction("y+2 x=1"), transaction("z+3 y=2")],
    "G-single": [transaction("x+1 y+1"), transaction("x=1 y="), transaction("y=1")],
    "G-single, later": [transaction("x+1 y+1"), transaction("x=1 x+2"), transaction("x=12 y="), transaction("y=1")],
    "lost update": [transaction("x= x+1"), transaction("x= x+2"), transaction("x=12")],
    "lost update, unread": [transaction("x+1"), transaction("x=1 x+2"), transaction("x=1 x+3"), transaction("x=123")],
    # A long fork: two readers see two writers in opposite orders.
    "G-nonadjacent": [transaction("x+1"), transaction("y+2"), transaction("x=1 y="), transaction("x= y=2")],
    "incompatible order": [transaction("x+1"), transaction("x+2"), transaction("x=12"), transaction("x=2")],
    "duplicate": [transaction("x+1"), transaction("x=11")],
    "garbage": [transaction("x=7")],
    "internal: twice": [transaction("x+1"), transaction("x= x=1")],
    "internal: own": [transaction("x+1 x=")],
    "internal: own, before": [transaction("x=1 x+1")],
    # The same, by transactions with an unknown outcome, and by those that were rolled back.
    "G-single, rolled back": [transaction("x+1 y+1"), transaction("x=1 y= z+5", FAILED), transaction("y=1")],
    "G-single, unknown": [transaction("x+1 y+1", UNKNOWN), transaction("x=1 y="), transaction("y=1")],
    "lost update, unknown": [transaction("x= x+1", UNKNOWN), transaction("x= x+2"), transaction("x=12")],
    # Against time: a transaction sees all that ended before it began.
    "G-SIb-time": [transaction("x+1", end=1), transaction("x=", start=2), transaction("x=1", start=3)],
    "G-SIb-time, rolled back": [
        transaction("x+1", end=1),
        transaction("x= y+1", FAILED, start=2),
        transaction("x=1", start=3),
    ],
    "G-nonadjacent-time": [
        transaction("x+1", end=1),
        transaction("y+2"),
        transaction("y=2 x="),
        transaction("y=", start=2),
    ],
    "G0-time": [transaction("x+1", start=2), transaction("x+2", end=1), transaction("x=12", start=3)],
    "G1c-time": [transaction("x=1", end=1), transaction("x+1", start=2)],
    "lost": [transaction("x+1", end=1), transaction("x=", start=2, final=True)],
}


@pytest.mark.parametrize("name", ANOMALIES)
def test_each_anomaly_is_found(name):
    verdict = check(ANOMALIES[name], STRICT if "time" in name or name == "lost" else NONE)
    assert name.split(",")[0].split(" of ")[0].split(":")[0] in verdict.names(), verdict.summary()


VALID = {
    "nothing": [],
    "one after the other": [
        transaction("x= x+1", end=1),
        transaction("x=1 x+2", start=2, end=3),
        transaction("x=12", start=4),
    ],
    "own appends": [transaction("x= x+1 x=1 x+2 x=12"), transaction("x=12")],
    "write skew": [transaction("x= y= x+1"), transaction("x= y= y+1"), transaction("x=1 y=1")],
    # Two anti-dependencies that follow each other, and a reader that sees only one of the writers.
    "read-only anomaly": [
        transaction("x= y= x+1", start=0, end=9),
        transaction("y+2", start=1, end=2),
        transaction("x= y=2", start=3, end=4),
        transaction("x=1 y=2", start=10),
    ],
    "rolled back appends are not read": [transaction("x+1", FAILED, end=1), transaction("x=", start=2)],
    "rolled back, and read its own": [
        transaction("x+1"),
        transaction("x=1 x+2 x=12", FAILED),
        transaction("x=1 x+3"),
        transaction("x=13"),
    ],
    "unknown and not there": [transaction("x+1", UNKNOWN, end=1), transaction("x=", start=2, final=True)],
    "unknown and there": [transaction("x+1", UNKNOWN, end=1), transaction("x=1", start=2)],
    "unknown and there much later": [
        transaction("x+1", UNKNOWN, end=1),
        transaction("x=", start=2, end=3),
        transaction("x=1", start=4),
    ],
    "old, but begun before": [
        transaction("x+1", start=1, end=2),
        transaction("x=", start=0, end=9),
        transaction("x=1", start=3),
    ],
    "at the same instant is not before": [
        transaction("x+1", end=1),
        transaction("x=", start=1),
        transaction("x=1", start=2),
    ],
    "appended and read by no transaction": [transaction("x+1"), transaction("x+2"), transaction("x=")],
}


@pytest.mark.parametrize("name", VALID)
def test_valid_histories_pass(name):
    verdict = check(VALID[name])
    assert verdict.anomalies == [], verdict.summary()


def test_write_skew_is_counted_and_is_no_anomaly():
    verdict = check(VALID["write skew"])
    assert (verdict.write_skews, verdict.anomalies) == (1, [])
    assert check(VALID["one after the other"]).write_skews == 0


def test_a_session_sees_its_own_and_others_need_not():
    old = [transaction("x+1", end=1, session="a"), transaction("x=", start=2, session="b"), transaction("x=1", start=3)]
    assert check(old, PER_SESSION).anomalies == []
    old[1].session = "a"
    assert check(old, PER_SESSION).names() == {"G-SIb-session"}


def test_a_record_of_clients_is_checked():
    history = History()
    for operations in ([("append", "x", 1)], [("read", "x", [])]):
        start = history.now()
        history.add({"kind": "transaction", "operations": operations, "outcome": OK, "start": start, "end": history.now()})
    assert "lost" in check_history(history).names()


@pytest.mark.parametrize("order", [STRICT, PER_SESSION, NONE])
def test_true_stores_have_no_anomalies(order):
    skews = 0
    for seed in range(60):
        verdict = check(Simulation(seed).transactions, order)
        assert verdict.anomalies == [], f"seed {seed}: {verdict.summary()}"
        skews += verdict.write_skews
    assert skews > 0


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_broken_stores_are_found(mutation):
    # In some runs the fault does not happen, or no transaction reads its effect.
    found = [seed for seed in range(25) if check(Simulation(seed, mutation).transactions).anomalies]
    assert len(found) >= 20
