"""A stock client over the network whose transactions are those of `isolation_clients`, as texts in a session of a node.

It is a process of DuckDB 1.5 with nothing of ours. When its node dies it attaches at another one.
"""

import time
from concurrent.futures import TimeoutError as NoAnswer

from quack_testing import clients, isolation_clients
from quack_testing.node import TOKEN, stock_process
from quack_testing.process import DatabaseError, ProcessEnded
from quack_testing.transaction_client import is_conflict

ATTACH_SECONDS = 30


def inline(statement, parameters):
    """The statement with its parameters as constants; numbers and texts are all there are."""
    for number, value in reversed(list(enumerate(parameters or [], 1))):
        text = str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
        if "?" in statement:
            before, _, after = statement.rpartition("?")
            statement = before + text + after
        else:
            statement = statement.replace(f"${number}", text)
    return statement


class StockClient(isolation_clients.Client):
    """One session at a time."""

    def __init__(self, *arguments, run):
        super().__init__(*arguments)
        self.run_of = run
        self.attached = None
        self.client = None
        self.lives = 0

    def run(self):
        try:
            super().run()
        finally:
            if self.client:
                self.client.kill()

    def operate(self):
        if self.attached is None and not self.attach():
            time.sleep(clients.PAUSE_SECONDS)
            return
        self.home, self.process = self.attached, self.client
        (kind,) = self.random.choices(list(self.weights), list(self.weights.values()))
        getattr(self, kind)()
        time.sleep(self.random.random() * clients.THINK_SECONDS)

    def attach(self):
        """Attaches at a node that is ready; whether that went well."""
        name = self.random.choice(sorted(self.ready))
        if self.ready[name] is None:
            return False
        try:
            if self.client is None:
                self.lives += 1
                stock = f"stock-{self.number}-{self.lives}"
                self.client = self.run_of.track(stock_process(self.run_of.folder, stock))
            self.connection += 1
            attach = f"ATTACH '{self.run_of.cluster[name].uri}' AS remote{self.connection} (TYPE quack, TOKEN '{TOKEN}')"
            self.client.sql(attach, self.name(), timeout=ATTACH_SECONDS)
        except DatabaseError:
            return False
        except (NoAnswer, ProcessEnded):
            self.give_up()
            return False
        self.attached = name
        return True

    def give_up(self):
        """Another process takes over."""
        self.history.event(f"stock client {self.number} is started again")
        self.client.kill()
        self.client = None

    def leave(self):
        """Gives the session up, because its state is unknown: the next transaction has another one."""
        self.attached = None
        try:
            self.client.sql(f"DETACH remote{self.connection}", self.name(), timeout=ATTACH_SECONDS)
        except DatabaseError:
            pass
        except (NoAnswer, ProcessEnded):
            self.give_up()

    def is_unknown(self, text):
        """An error that is not the node's word on this COMMIT may be one of the way to the node."""
        return not is_conflict(text)

    def sql(self, statement, parameters=None):
        begin, self.begin_first = self.begin_first, None
        if begin:
            self.sql(begin)
        text = inline(statement, parameters).replace("cp.", "")
        return super().sql(f"FROM quack_query_by_name('remote{self.connection}', $text${text}$text$)")
