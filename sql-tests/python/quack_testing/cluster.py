"""Clusters of real processes on this machine, with certificates of their own."""

import os
import subprocess
import time
from pathlib import Path

from quack_testing.node import Node
from quack_testing.ports import free_ports
from quack_testing.process import QUACKCTL, DatabaseError, ProcessEnded

WAIT_SECONDS = 120


class Certificates:
    """An authority and what it has signed, by the clock of `environment`."""

    def __init__(self, folder, environment=None):
        self.folder = Path(folder)
        self.environment = environment or {}
        self._run("cert", "init", "--out", self.folder / "ca")
        self.authority = self.folder / "ca" / "ca.crt"

    def _run(self, *arguments):
        environment = {**os.environ, **self.environment}
        subprocess.run([QUACKCTL, *map(str, arguments)], check=True, capture_output=True, env=environment)

    def renew(self, name, days=30):
        """Replaces a node's certificate and key."""
        arguments = ("--node", name, "--out", self.folder / "nodes", "--days", days, "--force")
        self._run("cert", "issue", "--ca", self.folder / "ca", *arguments)

    def issue(self, name):
        """The arguments of `quack_serve` that name a node's files."""
        folder = self.folder / "nodes"
        if not (folder / f"{name}.crt").exists():
            self.renew(name)
        files = {"cert_file": folder / f"{name}.crt", "key_file": folder / f"{name}.key", "client_ca_file": self.authority}
        return {name: f"'{path}'" for name, path in files.items()}


class Cluster:
    """Nodes n0, n1, … that know each other. `addresses` are the ports under which they look for each other: their own,
    or those of proxies in between; further options are those of the nodes."""

    def __init__(
        self,
        folder,
        count=3,
        track=lambda thing: thing,
        addresses=None,
        learners=(),
        certificates=None,
        **node_options,
    ):
        self.folder = Path(folder)
        self.track = track
        self.node_options = node_options
        self.certificates = certificates or Certificates(self.folder / "certificates")
        self.names = [f"n{number}" for number in range(count)]
        ports = free_ports(count)
        self.ports = dict(zip(self.names, ports))
        self.addresses = addresses or self.ports
        self.roles = {name: "learner" if name in learners else "voter" for name in self.names}
        self.nodes = {name: self.new_node(name) for name in self.names}

    def peers(self):
        peers = [f"{name}:{self.roles[name]}=quack:127.0.0.1:{self.addresses[name]}" for name in self.names]
        return "'" + ",".join(peers) + "'"

    def new_node(self, name):
        options = {"peers": self.peers(), **self.certificates.issue(name)}
        return self.track(Node(self.folder, name, port=self.ports[name], options=options, **self.node_options))

    def add(self, name, role="voter"):
        """A further node, which is not started; the others know nothing of it yet."""
        (self.ports[name],) = free_ports(1)
        self.addresses[name] = self.ports[name]
        self.names.append(name)
        self.roles[name] = role
        self.nodes[name] = self.new_node(name)
        return self.nodes[name]

    def move(self, ports):
        """Gives all nodes, which do not run, other ports of their own, and tells them of `addresses` as these are now."""
        self.ports.update(ports)
        for name, node in self.nodes.items():
            node.port, node.options["peers"] = self.ports[name], self.peers()

    def start(self):
        """Starts all nodes and attaches on each of them: a node is ready only when the cluster is."""
        for node in self.nodes.values():
            node.start(attach=False)
        for node in self.nodes.values():
            node.attach()
        return self

    def __getitem__(self, name):
        return self.nodes[name]

    def pids(self):
        """The processes that the nodes are at the moment, as a proxy wants to know."""
        return {node.name: node.process.pid for node in self.nodes.values() if node.process}

    def others(self, node):
        return [other for other in self.alive() if other is not node]

    def alive(self):
        return [node for node in self.nodes.values() if node.process and node.process.popen.poll() is None]

    def leader(self, among=None):
        """The node that leads, as soon as one does."""
        def find():
            for node in among or self.alive():
                rows = node.sql("SELECT role FROM quack_raft_status() WHERE group_name = 'default'")
                if rows == [("leader",)]:
                    return node
            return None

        return wait_for(find, "a leader")

    def first_difference(self):
        """The first entry that two nodes have decided differently, in words, for a test that fails."""
        columns = "group_id, log_index, outcome, error_type, digest, reason, statements"
        found = {n.name: n.sql(f"SELECT {columns} FROM quack_outcomes()") for n in self.alive()}
        by_entry = {}
        for node, rows in found.items():
            for row in rows:
                by_entry.setdefault(row[:2], {})[node] = row[2:]
        for entry, decided in by_entry.items():
            if len({row[2] for row in decided.values()}) > 1:
                return "\n".join([f"group and index {entry}:", *(f"{n}: {row}" for n, row in decided.items())])
        return "none in quack_outcomes()"

    def wait_equal(self, among=None):
        """Waits until all nodes have applied the same position, and returns the one hash of their state."""
        found = {}

        def equal():
            # As texts: nodes behind the C API answer with nothing else.
            for node in among or self.alive():
                found[node.name] = tuple(map(str, node.sql("FROM quack_state_hash()")[0][1:]))
            return found[node.name][1] if len(set(found.values())) == 1 else None

        try:
            return wait_for(equal, "equal state hashes")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{found}\nfirst difference: {self.first_difference()}") from None

    def stop(self):
        for node in self.alive():
            assert node.stop() == 0, node.process.stderr_tail()


def wait_for(look, what, seconds=WAIT_SECONDS):
    """Calls `look` until it returns something; a file that it reads may not be there yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found, error = look(), None
        except (DatabaseError, FileNotFoundError, ProcessEnded) as caught:
            found, error = None, caught
        if found is not None and found is not False:
            return found
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}; last error: {error}"
        time.sleep(0.05)
