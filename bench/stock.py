"""Stock clients of the wire protocol, each in a process of its own, that write over loopback.

An INSERT of theirs is one message with the rows; UPDATE and DELETE go as a text that the server runs, because
the stock client has no other way to write them.
"""

import os

from quack_testing.process import STOCK_PYTHON, Process

from ceilings import PAYLOAD

# Runs in the client's process; ends early when there are no more rows to change.
LOOP = """
import time
connection = connections["default"].connection
key, rows, begun = {first}, 0, time.perf_counter()
while time.perf_counter() < begun + {seconds}:
    ((count,),) = connection.execute(f{statement!r}).fetchall()
    if count == 0:
        break
    rows += count
    key += {step}
result = (rows, time.perf_counter() - begun)
"""


class StockClients:
    """A number of clients; leave the context to end their processes."""

    # name, rows of a statement, statement with {key}
    WORK = [
        ("INSERT 1024 rows", 1024, "INSERT INTO cp.t SELECT id + {key}, tenant, payload FROM memory.batch"),
        ("INSERT 1 row", 1, f"INSERT INTO cp.t VALUES ({{key}}, 5, '{PAYLOAD.decode()}')"),
        ("UPDATE by key", 1, "FROM cp.query('UPDATE t SET tenant = tenant + 1 WHERE id = {key}')"),
        ("DELETE by key", 1, "FROM cp.query('DELETE FROM t WHERE id = {key}')"),
    ]

    def __init__(self, folder, uri, token, clients):
        self.fresh_key = 10**15 * clients
        self.clients = []
        for number in range(clients):
            # The server does the work: threads of the client would only be in its way.
            client = Process(folder, f"stock-{clients}-{number}-{os.getpid()}", python=STOCK_PYTHON, stock=True)
            self.clients.append(client)
            client.sql("SET threads = 1")
            client.sql(f"ATTACH '{uri}' AS cp (TYPE quack, TOKEN '{token}')")
            client.sql(
                f"CREATE TABLE memory.batch AS SELECT i AS id, (i % 17)::INTEGER AS tenant, "
                f"'{PAYLOAD.decode()}' AS payload FROM range(1024) r(i)"
            )
        self.inserted = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.kill()

    def run(self, rows, statement, seconds):
        """Returns the rows per second that all clients together get acknowledged."""
        if statement.startswith("INSERT"):
            first = self.fresh_key
            self.fresh_key += 10**12
            if rows == 1:
                self.inserted = first
        else:
            # Over the rows that were inserted one by one.
            first = self.inserted
        futures = []
        for number, client in enumerate(self.clients):
            values = {"first": first + number * 10**9, "step": rows, "seconds": seconds, "statement": statement}
            futures.append(client.submit("python", code=LOOP.format(**values)))
        results = [future.result(seconds + 60)["result"] for future in futures]
        return sum(count for count, _ in results) / max(elapsed for _, elapsed in results)
