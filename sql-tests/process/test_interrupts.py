"""A statement that is interrupted, or out of time, says whether its write has happened: a client that believes it may
run it again."""

import random
import time

import pytest
from quack_testing.cluster import wait_for
from quack_testing.process import DatabaseError, pause, resume

STATEMENTS = 250
STATEMENTS_MAX = 4000
# Statements take some milliseconds: an interruption comes before, while and after their write is on its way.
LATEST_SECONDS = 0.006
UNKNOWN = "the outcome of the write is unknown"

WAYS = {
    "alone": ["INSERT INTO s VALUES ({number})"],
    "returning": ["INSERT INTO s VALUES ({number}) RETURNING number"],
    "in WITH": ["WITH i AS (INSERT INTO s VALUES ({number}) RETURNING number) SELECT count(*) FROM i"],
    "in a transaction": ["BEGIN", "INSERT INTO s VALUES ({number})", "COMMIT"],
    "changes the catalog": ["CREATE TABLE s{number} AS SELECT {number} AS number"],
}


@pytest.fixture(params=["one node", "three nodes"])
def nodes(request):
    if request.param == "one node":
        return [request.getfixturevalue("node")]
    return request.getfixturevalue("cluster").alive()


def outcome(statement):
    """Whether a write has happened, `None` when that is not known."""
    try:
        statement()
    except DatabaseError as error:
        if UNKNOWN in str(error):
            return None
        if "has taken effect" in str(error):
            return True
        assert str(error).startswith(("INTERRUPT Error", "TransactionContext Error: Failed to commit: Interrupted!")), error
        return False
    return True


def numbers(outcomes):
    """So many that some are interrupted and some are not, on a machine of any speed."""
    for number in range(STATEMENTS_MAX):
        if number >= STATEMENTS and {True, False} <= set(outcomes.values()):
            return
        yield number
    raise AssertionError(f"all {STATEMENTS_MAX} ended in the same way")


def check(outcomes, there):
    wrong = {number: said for number, said in outcomes.items() if said is not None and said != (number in there)}
    assert not wrong, f"{len(wrong)} of {len(outcomes)} said something else than what is there: {wrong}"


@pytest.mark.parametrize("way", WAYS)
def test_who_was_interrupted_knows_what_has_happened(nodes, way):
    nodes[0].sql("CREATE TABLE s (number INTEGER)")
    chance, outcomes = random.Random(way), {}
    wait_for(lambda: all(node.sql("FROM s") == [] for node in nodes), "the table on all nodes")
    for number in numbers(outcomes):
        node = chance.choice(nodes)
        *before, last = [text.format(number=number) for text in WAYS[way]]
        for statement in before:
            node.sql(statement, "interrupted")
        running = node.process.start_sql(last, "interrupted")
        time.sleep(max(0, chance.uniform(-LATEST_SECONDS / 2, LATEST_SECONDS)))
        node.process.submit("interrupt", connection="interrupted")
        outcomes[number] = outcome(lambda: running.result(60))  # noqa: B023
        if before and not outcomes[number]:
            end_of_transaction(node)
    if way == "changes the catalog":
        query = "SELECT table_name[2:]::INTEGER FROM duckdb_tables() WHERE table_name SIMILAR TO 's[0-9]+'"
    else:
        query = "FROM s"
    # A write of unknown outcome may come later: the position of this one is behind it.
    nodes[0].sql("CREATE TABLE ended (i INTEGER)")
    check(outcomes, {number for (number,) in nodes[0].sql(query)})


def end_of_transaction(node):
    try:
        node.sql("ROLLBACK", "interrupted")
    except DatabaseError as error:
        assert "no transaction is active" in str(error), error


def test_who_was_out_of_time_knows_what_has_happened(nodes):
    nodes[0].sql("CREATE TABLE s (number INTEGER)")
    wait_for(lambda: all(node.sql("FROM s") == [] for node in nodes), "the table on all nodes")
    chance, outcomes = random.Random(1), {}
    for number in numbers(outcomes):
        node = chance.choice(nodes)
        # The clock is looked at from time to time only, so that there has to be something to do.
        node.sql(f"SET max_execution_time = {chance.randint(1, 60)}", "short")
        statement = f"INSERT INTO s SELECT {number} FROM range(1500000) WHERE range % 1500000 = 0"
        outcomes[number] = outcome(lambda: node.sql(statement, "short"))  # noqa: B023
        wait_for(lambda: node.sql("RESET max_execution_time", "short") == [], "time again")  # noqa: B023
    nodes[0].sql("CREATE TABLE ended (i INTEGER)")
    check(outcomes, {number for (number,) in nodes[0].sql("FROM s")})


def test_without_a_quorum_who_is_interrupted_hears_that_the_outcome_is_unknown(cluster):
    leader = cluster.leader()
    leader.sql("CREATE TABLE s (number INTEGER)")
    cluster.wait_equal()
    others = cluster.others(leader)
    for node in others:
        pause(node.process)
    outcomes = {}
    try:
        # One that is interrupted before its write is on its way knows that it is not.
        while None not in outcomes.values():
            running = leader.process.start_sql(f"INSERT INTO s VALUES ({len(outcomes)})", "interrupted")

            def ended():
                leader.process.submit("interrupt", connection="interrupted")
                return running.done()  # noqa: B023

            wait_for(ended, "the end of the statement")
            outcomes[len(outcomes)] = outcome(lambda: running.result(1))  # noqa: B023
            assert True not in outcomes.values()
    finally:
        for node in others:
            resume(node.process)
    wait_for(lambda: leader.sql("CREATE TABLE IF NOT EXISTS ended (i INTEGER)") == [], "the quorum again")
    check(outcomes, {number for (number,) in leader.sql("FROM s")})
