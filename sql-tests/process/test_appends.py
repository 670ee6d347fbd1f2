"""APPEND messages: where the rows go, which a client names by a schema and a table; and texts too long to send."""

import pytest

from quack_testing import wire
from quack_testing.process import DatabaseError

INTEGER = wire.Fixed(13, 4)


class Session:
    """A session in raw messages."""

    def __init__(self, node):
        self.endpoint = wire.Endpoint(node.uri.replace("quack:", "http://"))
        self.id = self.endpoint.connect("token-of-the-tests")

    def sql(self, text):
        answer = self.endpoint.post(wire.prepare_request(self.id, text))
        assert answer.kind == wire.PREPARE_RESPONSE, answer.error
        return answer.body

    def append(self, table, *values):
        message = wire.append_request(self.id, table, len(values), [INTEGER.type], [INTEGER.vector(values)])
        return self.endpoint.post(message)


@pytest.fixture
def session(node):
    return Session(node)


def test_rows_go_into_a_temporary_table_of_the_session(node, session):
    session.sql("CREATE TEMP TABLE own (i INTEGER CHECK (i < 100))")
    assert session.append("own", 1, 2).kind == wire.SUCCESS_RESPONSE
    session.sql("BEGIN")
    assert session.append("own", 3).kind == wire.SUCCESS_RESPONSE
    session.sql("ROLLBACK")
    assert "CHECK" in session.append("own", 4, 100).error
    session.sql("CREATE TABLE seen AS SELECT sum(i) AS total FROM own")
    assert node.sql("FROM seen") == [(3,)]
    # Another session has none of it.
    assert "own does not exist" in Session(node).append("own", 1).error


def test_a_name_alone_is_first_that_of_a_temporary_table(node, session):
    node.sql("CREATE TABLE t (i INTEGER)")
    assert session.append("t", 1).kind == wire.SUCCESS_RESPONSE
    session.sql("CREATE TEMP TABLE t (i INTEGER)")
    assert session.append("t", 2).kind == wire.SUCCESS_RESPONSE
    assert node.sql("FROM t") == [(1,)]
    session.sql("DROP TABLE temp.t")
    assert session.append("t", 3).kind == wire.SUCCESS_RESPONSE
    assert node.sql("FROM t ORDER BY i") == [(1,), (3,)]


def test_a_transaction_writes_both(node, session):
    node.sql("CREATE TABLE t (i INTEGER)")
    session.sql("CREATE TEMP TABLE own (i INTEGER)")
    session.sql("BEGIN")
    for table in ("own", "t", "own", "t"):
        assert session.append(table, 1).kind == wire.SUCCESS_RESPONSE
    session.sql("INSERT INTO t SELECT 10 * i FROM own")
    session.sql("COMMIT")
    assert node.sql("SELECT count(*), sum(i) FROM t") == [(4, 22)]


def test_what_is_no_table_takes_no_rows(node, session):
    node.sql("CREATE VIEW v AS SELECT 1 AS i")
    assert "is not a table" in session.append("v", 1).error
    assert "missing does not exist" in session.append("missing", 1).error


@pytest.mark.parametrize("mebibytes", [17, 40, 63])
def test_a_text_that_is_too_long_is_refused_in_words(session, stock, mebibytes):
    text = f"SELECT length('{'x' * (mebibytes << 20)}')"
    answer = session.endpoint.post(wire.prepare_request(session.id, text))
    assert answer.status == 200
    assert "at most 16777216 are taken" in answer.error
    session.sql("SELECT 1")
    if mebibytes == 17:
        with pytest.raises(DatabaseError, match="at most 16777216 are taken"):
            stock.sql("FROM quack_query_by_name('cp', ?)", parameters=[text])
