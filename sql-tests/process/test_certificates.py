"""Certificates that have expired, are another node's, or are replaced while the cluster runs.

Connections live on when a certificate expires; the proxy cuts them, so that every node has to prove itself again.
"""

import re
import shutil
import socket
import ssl

import pytest
from quack_testing.clock import DAY, HOUR, Clock
from quack_testing.cluster import Certificates, Cluster, wait_for
from quack_testing.process import DatabaseError
from quack_testing.proxy import Fault, FaultProxy

DAYS = 2


class Network:
    """A cluster behind a proxy, and one wall clock for all of its nodes."""

    def __init__(self, folder, track):
        self.proxy = FaultProxy(["n0", "n1", "n2"], lambda: self.cluster.pids())
        self.clock = Clock(folder, "all")
        self.certificates = Certificates(folder / "certificates", self.clock.environment)
        self.cluster = Cluster(
            folder, track=track, addresses=self.proxy.ports, certificates=self.certificates, default_catalog=False
        )
        self.proxy.targets.update(self.cluster.ports)
        for node in self.cluster.nodes.values():
            node.environment = self.clock.environment

    def start(self):
        self.cluster.start()
        self.cluster["n0"].sql("CREATE TABLE cp.t (i BIGINT)")
        self.cluster.wait_equal()
        self.pids = self.cluster.pids()
        return self.cluster

    def cut(self):
        """Ends every connection between the nodes; new ones are welcome."""
        names = self.proxy.names
        before = self.proxy.carried
        self.proxy.set({(one, other): Fault(cut="refuse") for one in names for other in names if one != other})
        # A connection is aborted once a byte of it was lost; heartbeats see to that.
        wait_for(lambda: all(connection.lossy for connection in list(self.proxy.connections)), "cut connections")
        self.proxy.heal()
        wait_for(lambda: self.proxy.carried > before, "new connections")


@pytest.fixture
def network(tmp_path, track):
    network = Network(tmp_path, track)
    yield network
    network.proxy.close()


def said_of(cluster, at, name):
    """What one node says of another."""
    ((reachable, reason),) = cluster[at].sql(
        f"SELECT reachable, reason FROM quack_nodes('cp') WHERE node_id = '{name}'"
    )
    return None if reachable else reason or ""


def wait_said(cluster, at, name, pattern):
    def said():
        words = said_of(cluster, at, name)
        return words is not None and re.search(pattern, words)

    try:
        wait_for(said, f"{at} to say '{pattern}' of {name}", 30)
    except AssertionError as error:
        raise AssertionError(f"{error}; it says: {said_of(cluster, at, name)}") from error


def write(node, value):
    return node.sql(f"INSERT INTO cp.t VALUES ({value})")


def is_shown(authority, node):
    """Whether the certificate that a node shows is signed by this authority alone."""
    context = ssl.create_default_context(cafile=authority)
    try:
        with socket.create_connection(("127.0.0.1", node.port), timeout=10) as plain:
            with context.wrap_socket(plain, server_hostname=node.name):
                return True
    except ssl.SSLError:
        return False


def test_expired_certificates_are_refused_by_name_and_renewed_ones_taken_without_a_restart(network):
    for name in network.cluster.names:
        network.certificates.renew(name, DAYS)
    cluster = network.start()
    network.clock.set((DAYS + 1) * DAY)
    network.cut()
    for at, name in (("n0", "n1"), ("n1", "n2"), ("n2", "n0")):
        wait_said(cluster, at, name, "certificate has expired .* seconds ago; issue a new one")
    with pytest.raises(DatabaseError, match="no leader|unknown"):
        write(cluster["n0"], 1)
    for name in cluster.names:
        network.certificates.renew(name)
    wait_for(lambda: write(cluster["n0"], 2), "a write with new certificates")
    cluster.wait_equal()
    assert cluster.pids() == network.pids
    assert cluster["n2"].value("SELECT count(*) FROM cp.t WHERE i = 2") == 1


def test_one_expired_certificate_keeps_one_node_out(network):
    network.certificates.renew("n2", DAYS)
    cluster = network.start()
    network.clock.set((DAYS + 1) * DAY)
    network.cut()
    for at in ("n0", "n1"):
        wait_said(cluster, at, "n2", "certificate has expired")
    wait_for(lambda: write(cluster["n0"], 1), "a write of the others")
    # It does not start with it either.
    cluster["n2"].kill()
    cluster["n2"].load()
    with pytest.raises(DatabaseError, match="n2.crt: the certificate has expired .* issue a new one"):
        cluster["n2"].serve()
    network.certificates.renew("n2")
    cluster["n2"].serve()
    cluster["n2"].attach()
    cluster.wait_equal()
    assert cluster["n2"].value("SELECT count(*) FROM cp.t") == 1


def test_a_node_with_the_certificate_of_another_does_not_start(network):
    cluster = network.cluster
    cluster["n2"].options.update(network.certificates.issue("n1"))
    cluster["n2"].load()
    with pytest.raises(DatabaseError, match="n1.crt.*proves node 'n1' and not 'n2'.*node_id"):
        cluster["n2"].serve()


def test_a_node_at_the_address_of_another_gets_no_word(network):
    cluster = network.start()
    network.proxy.targets["n2"] = cluster.ports["n1"]
    network.cut()
    wait_said(cluster, "n0", "n2", "proves node 'n1' and not 'n2'")
    wait_for(lambda: write(cluster["n0"], 1), "a write of the others")
    network.proxy.targets["n2"] = cluster.ports["n2"]
    wait_for(lambda: said_of(cluster, "n0", "n2") is None, "n2 at its own address")
    cluster.wait_equal()


def test_certificates_that_are_not_acceptable_are_not_taken(network, tmp_path):
    cluster = network.start()
    folder = network.certificates.folder / "nodes"
    stranger = Certificates(tmp_path / "stranger")
    stranger.issue("n1")
    for name in ("n1.crt", "n1.key"):
        shutil.copy(stranger.folder / "nodes" / name, folder / name)
    (folder / "n2.crt").write_text("no certificate")
    # A write each, over several looks at the files, and from new connections.
    for number in range(3):
        network.cut()
        for node in cluster.alive():
            wait_for(lambda: write(node, number), f"a write at {node.name}")
    cluster.wait_equal()
    assert cluster.pids() == network.pids


def test_an_authority_is_replaced_by_another_without_a_restart(network, tmp_path):
    """Both are trusted for a while, in which every node gets a new certificate; then the former is forgotten."""
    cluster = network.start()
    former, folder = network.certificates, network.certificates.folder / "nodes"
    new = Certificates(tmp_path / "new", network.clock.environment)
    old_authority, new_authority = former.authority.read_text(), new.authority.read_text()
    number = 0
    for step in ("both", "certificates", "new"):
        if step == "both":
            former.authority.write_text(old_authority + new_authority)
        elif step == "certificates":
            for name in cluster.names:
                new.issue(name)
                shutil.copy(new.folder / "nodes" / f"{name}.key", folder / f"{name}.key")
                shutil.copy(new.folder / "nodes" / f"{name}.crt", folder / f"{name}.crt")
        else:
            former.authority.write_text(new_authority)
        for node in cluster.alive():
            number += 1
            wait_for(lambda: write(node, number), f"a write at {node.name}")
        if step == "certificates":
            # The former one is trusted still, so there was no moment without.
            wait_for(lambda: all(is_shown(new.authority, node) for node in cluster.alive()), "new certificates")
        network.cut()
        for node in cluster.alive():
            number += 1
            wait_for(lambda: write(node, number), f"a write at {node.name}")
    cluster.wait_equal()
    assert cluster.pids() == network.pids
    # Who still has a certificate of the former authority is a stranger now.
    cluster["n2"].kill()
    former.authority.write_text(old_authority)
    former.renew("n2")
    cluster["n2"].start(attach=False)
    former.authority.write_text(new_authority)
    wait_said(cluster, "n0", "n2", "not signed by an authority")


def test_a_certificate_of_the_future_waits_for_the_clock(network):
    """Each node checks the other by its own clock."""
    cluster = network.start()
    network.clock.set(30 * HOUR)
    network.certificates.renew("n2")
    network.clock.set(0)
    # The node has not taken it: it is not valid by its own clock either.
    network.cut()
    for number, node in enumerate(cluster.alive()):
        wait_for(lambda: write(node, number), f"a write at {node.name}")
    cluster["n2"].kill()
    cluster["n2"].load()
    with pytest.raises(DatabaseError, match="n2.crt: the certificate is valid only in .* check the clocks"):
        cluster["n2"].serve()
    network.clock.set(30 * HOUR)
    cluster["n2"].serve()
    cluster["n2"].attach()
    cluster.wait_equal()
