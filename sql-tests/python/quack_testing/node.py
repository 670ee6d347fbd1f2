"""A serving DuckDB 2.0 process, and the clients that look at it."""

from contextlib import contextmanager
from pathlib import Path

from quack_testing.ports import free_ports
from quack_testing.process import BARE_CONNECTION, EXTENSION, STOCK_PYTHON, Process

TOKEN = "token-of-the-tests"


class Node:
    """A node: serves the catalog in its data folder, and has it attached as `cp`.

    `options` are further arguments of `quack_serve`, by name, as SQL; without `peers` it is a cluster of one.
    `environment` are variables of its processes from the next start on, `path` is their own database; `c_api` is that of
    its processes; `catalog` is the name under which it attaches.
    """

    def __init__(
        self,
        folder,
        name="n0",
        config=None,
        port=0,
        options=None,
        consistency=None,
        default_catalog=True,
        c_api=False,
    ):
        self.folder = Path(folder)
        self.name = name
        self.data_dir = self.folder / name
        self.config = config
        self.port = port
        self.options = options or {}
        self.consistency = consistency
        self.default_catalog = default_catalog
        self.c_api = c_api
        self.catalog = "cp"
        self.environment = {}
        self.path = ":memory:"
        self.process = None
        self.uri = None
        self.url = None

    def start(self, attach=True):
        """Starts the process, serves on the port of last time (a free one at first) and attaches."""
        self.load()
        self.serve()
        if attach:
            self.attach()
        return self

    def load(self):
        """Starts the process, which serves nothing yet."""
        self.process = Process(
            self.folder,
            self.name,
            path=self.path,
            config=self.config,
            environment=self.environment,
            c_api=self.c_api,
        )
        self.process.sql(f"LOAD '{EXTENSION}'")

    def serve(self):
        ((self.uri, self.url, token),) = self.process.sql(
            f"CALL quack_serve('quack:127.0.0.1:{self.port}', token := '{TOKEN}', node_id := '{self.name}', "
            f"data_dir := '{self.data_dir}'"
            + "".join(f", {name} := {value}" for name, value in self.options.items())
            + ")"
        )
        assert token is None, "only a token that was drawn is shown"
        self.port = int(self.uri.rsplit(":", 1)[1])

    def attach(self):
        if self.consistency:
            # For all connections of the process; ATTACH has an option for its own alone.
            self.process.sql(f"SET GLOBAL quack_consistency = '{self.consistency}'")
        self.process.sql(f"ATTACH '{self.uri}' AS {self.catalog} (TYPE quack, TOKEN '{TOKEN}')")
        # With it as the default catalog nothing can be asked without it: not the node's status while there is no
        # quorum for linearizable reads, nor anything once it is detached or broken.
        self.process.request("prepare_connections", statements=[f"USE {self.catalog}"] if self.default_catalog else [])

    def sql(self, statement, connection="default", **options):
        return self.process.sql(statement, connection, **options)

    def value(self, statement, connection="default"):
        return self.process.value(statement, connection)

    def stop(self):
        """Stops serving, closes the database and ends the process; returns its exit code."""
        self.stop_serving()
        self.process.close_database()
        return self.process.exit()

    def stop_serving(self):
        # A connection whose default is the catalog uses it while it stops it, and waits a second for itself.
        self.process.sql(f"CALL quack_stop('{self.uri}')", BARE_CONNECTION)

    def restart(self):
        assert self.stop() == 0, self.process.stderr_tail()
        return self.start()

    def kill(self):
        self.process.kill()

    def kill_and_start(self):
        self.kill()
        return self.start()


def stock_process(folder, name):
    """Starts a DuckDB 1.5 process with the stock client loaded and nothing of ours."""
    return Process(folder, name, python=STOCK_PYTHON, stock=True)


def stock_client(folder, name, uri, token=TOKEN):
    """Starts a stock client that has the served catalog attached as `cp`."""
    client = stock_process(folder, name)
    client.sql(f"ATTACH '{uri}' AS cp (TYPE quack, TOKEN '{token}')")
    return client


class StockServer:
    """DuckDB's own server of protocol 1, to know that the tests expect what stock clients are used to."""

    def __init__(self, folder, name="stock-server"):
        self.folder = Path(folder)
        self.name = name
        self.process = None
        self.uri = None
        self.url = None

    def start(self):
        self.process = stock_process(self.folder, self.name)
        # Port 0 is refused by the stock server.
        (port,) = free_ports(1)
        ((self.uri, self.url, _),) = self.process.sql(
            f"CALL quack_serve('quack:127.0.0.1:{port}', token := '{TOKEN}')"
        )
        return self

    def sql(self, statement, connection="default", **options):
        return self.process.sql(statement, connection, **options)

    def value(self, statement, connection="default"):
        return self.process.value(statement, connection)

    def stop(self):
        self.process.sql(f"CALL quack_stop('{self.uri}')")
        self.process.close_database()
        return self.process.exit()


@contextmanager
def serving(server):
    """A server that runs meanwhile, and ends in the ordinary way when nothing has failed."""
    try:
        server.start()
        yield server
        assert server.stop() == 0, server.process.stderr_tail()
    finally:
        if server.process and server.process.popen.poll() is None:
            server.process.kill()
