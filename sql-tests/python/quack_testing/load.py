"""Clients that write and read at all nodes of a cluster while a test does something to it, and the verdict at the end.

The faults are the test's; the history tells what the clients were told meanwhile.
"""

import threading

from quack_testing import clients
from quack_testing.cluster import wait_for
from quack_testing.history import OK, History

# What makes the nodes of a cluster fit for it.
LINEARIZABLE = {"consistency": "linearizable", "default_catalog": False}


class Load:
    """Runs while its `with` block does. The nodes must be made with `LINEARIZABLE`, or the verdict is not just."""

    def __init__(self, cluster, seed=1, count=3):
        self.cluster = cluster
        self.history = History(cluster.folder / "history.jsonl")
        self.ready = {node.name: node.process for node in cluster.alive()}
        self.stop = threading.Event()
        self.threads = [clients.Client(number, seed, self.ready, self.history, self.stop) for number in range(count)]

    def __enter__(self):
        clients.create_tables(self.cluster.alive()[0])
        self.cluster.wait_equal()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(clients.ANSWER_SECONDS + 2 * clients.INTERRUPTED_SECONDS)

    def use(self, node):
        """Clients may turn to this node from now on."""
        self.ready[node.name] = node.process

    def leave(self, node):
        """Clients turn to other nodes from now on; what they have begun ends as it may."""
        self.ready[node.name] = None

    def acknowledged(self, *names):
        """Writes that the named nodes, or all, have acknowledged so far."""
        kinds = ("write", "insert", "increment", "transfer")
        return sum(
            operation["outcome"] == OK and (not names or operation["node"] in names)
            for operation in self.history.of(*kinds)
        )

    def wait_for_writes(self, count, *names):
        """Waits until so many more writes are acknowledged, by any of the named nodes."""
        wanted = self.acknowledged(*names) + count
        wait_for(lambda: self.acknowledged(*names) >= wanted, f"{count} writes at {names or 'any node'}")

    def check(self):
        """After the end: all nodes hold the same, and it is what the clients were told."""
        assert not any(thread.is_alive() for thread in self.threads), "a client hangs"
        assert [thread.failure for thread in self.threads if thread.failure] == []
        self.cluster.wait_equal()
        wrong = clients.check_answers(self.history)
        for node in self.cluster.alive():
            wrong += clients.check_tables(self.history, node)
        assert not wrong, "\n".join(wrong)
