"""Three `quackd` from generated files, as an operator tries it: stock clients, a kill, an ordinary end, and what each
node says of itself meanwhile."""

import json
from pathlib import Path

import pytest
from quack_testing.cluster import wait_for
from quack_testing.node import stock_client
from quack_testing.ports import free_base_port
from quack_testing.process import DatabaseError, resume
from quack_testing.quackd import END_SECONDS, Quackd, quackctl

NODES = ("n0", "n1", "n2")
# How far above a node's port its health and metrics are.
ADMIN_ABOVE = 100
# Where the ports that the generated files name are above the first one.
PORTS = [above + number for above in (0, ADMIN_ABOVE) for number in range(len(NODES))]


class Cluster:
    """Three `quackd`, and a stock client for each that is asked for."""

    def __init__(self, folder, track):
        self.folder, self.track = folder, track
        code, printed = quackctl(
            "cp-metadata", "generate-local-configs", "--nodes", len(NODES),
            "--out", folder / "try", "--base-port", free_base_port(PORTS),
        )  # fmt: skip
        assert code == 0, printed
        self.files = dict(zip(NODES, map(Path, printed["configurations"])))
        self.token = Path(printed["token_path"]).read_text().strip()
        self.running = {}
        self.clients = 0

    def start(self, *names):
        for name in names:
            folder = self.folder / name
            folder.mkdir(exist_ok=True)
            self.running[name] = Quackd(folder, "serve", "--config", self.files[name])
        for name in names:
            self.running[name].wait_for("/ready", 200)

    def client(self, name):
        self.clients += 1
        return self.track(stock_client(self.folder, f"stock{self.clients}", self.running[name].uri, self.token))

    def clients_of_a_table(self):
        """One at each node. A stock client knows the tables that were there when it came, and its own."""
        self.client("n0").sql("CREATE TABLE cp.t (i INTEGER PRIMARY KEY)")

        def knows_it(name):
            client = self.client(name)
            client.sql("SELECT count(*) FROM cp.t")
            return client

        return {name: wait_for(lambda: knows_it(name), f"the table on {name}") for name in NODES}

    def leader(self):
        def look():
            leaders = {self.verdict(name)["leader_id"] for name in self.running}
            leader = leaders.pop()
            return leader if not leaders and leader in self.running and self.verdict(leader)["is_leader"] else None

        return wait_for(look, "one leader that all know")

    def status(self, name):
        return quackctl("cp-metadata", "status", "--config", self.files[name])

    def verdict(self, name):
        return json.loads(self.running[name].get("/status")[1])["verdict"]

    def kill(self, name):
        process = self.running.pop(name).popen
        process.kill()
        process.wait()

    def terminate(self, name):
        return self.running.pop(name).terminate()


@pytest.fixture
def cluster(tmp_path, track):
    cluster = Cluster(tmp_path, track)
    yield cluster
    for name in list(cluster.running):
        resume(cluster.running[name])
        cluster.kill(name)


def count_is(client, count):
    wait_for(lambda: client.value("SELECT count(*) FROM cp.t") == count, f"{count} rows")


def write(client, value):
    try:
        return client.sql(f"INSERT INTO cp.t VALUES ({value})")
    except DatabaseError as error:
        # An earlier try, whose outcome was unknown, has written it.
        if "Duplicate key" in str(error):
            return True
        raise


def test_generated_files_make_a_cluster_that_stands_a_kill_and_an_end(cluster):
    cluster.start(*NODES)
    client = cluster.clients_of_a_table()
    write(client["n0"], 1)
    count_is(client["n1"], 1)

    # Each node says of itself what is so.
    leader = cluster.leader()
    for name, quackd in cluster.running.items():
        assert quackd.get("/health") == (200, "serving\n")
        code, printed = cluster.status(name)
        assert code == 0
        verdict = printed["verdict"]
        assert verdict["ok"] and verdict["enabled"] and verdict["linearizable_read_safe"]
        assert (verdict["node_id"], verdict["leader_id"], verdict["is_leader"]) == (name, leader, name == leader)
        assert quackd.metric('quack_raft_voters{group="default"}') == len(NODES)
        assert quackd.metric('quack_raft_is_leader{group="default"}') == (name == leader)
        assert quackd.metric('quack_raft_degraded{group="default"}') == 0

    # The leader is killed: the others go on writing, and no process answers for its status.
    cluster.kill(leader)
    code, printed = cluster.status(leader)
    assert (code, printed["code"]) == (6, "network")
    survivors = list(cluster.running)
    wait_for(lambda: write(client[survivors[0]], 2), "a write after the kill")
    assert cluster.leader() in survivors
    count_is(client[survivors[1]], 2)
    cluster.start(leader)
    count_is(cluster.client(leader), 2)

    # The next leader ends in the ordinary way: it hands over before it goes.
    second = cluster.leader()
    log = cluster.running[second].stderr_path
    assert cluster.terminate(second) == 0
    third = cluster.leader()
    assert third != second
    assert "stopped" in log.read_text()
    for number, name in enumerate(cluster.running, 3):
        wait_for(lambda: write(cluster.client(name), number), f"a write at {name}")
    cluster.start(second)
    count_is(cluster.client(second), 4)

    # All end, and all come back.
    for name in NODES:
        assert cluster.terminate(name) == 0, name
    cluster.start(*NODES)
    for name in NODES:
        count_is(cluster.client(name), 4)
    for name in NODES:
        assert cluster.terminate(name) == 0, name


def test_a_node_that_must_not_work_with_what_it_has_is_rebuilt_without_a_restart(cluster):
    cluster.start(*NODES)
    client = cluster.clients_of_a_table()
    write(client["n0"], 1)
    name = next(name for name in NODES if name != cluster.leader())
    data = next(cluster.folder.rglob(f"{name}/identity")).parent
    # As a node does that has heard from the others that it differs from them, or fell behind their logs.
    (data / "rebuild").touch()
    identity = data / "identity"
    wait_for(lambda: "incarnation=1\n" in identity.read_text(), "another life of its disk")
    cluster.running[name].wait_for("/ready", 200)
    wait_for(lambda: not (data / "superseded").exists(), "the old files to go")
    # Sessions of its former server are gone.
    write(cluster.client("n0"), 2)
    count_is(cluster.client(name), 2)
    for name in NODES:
        assert cluster.terminate(name) == 0, name


def test_a_node_without_a_quorum_is_healthy_and_not_ready(cluster):
    """To restart it would not help, and to send it clients neither."""
    cluster.start(*NODES)
    for name in ("n1", "n2"):
        cluster.kill(name)
    left = cluster.running["n0"]
    words = left.wait_for("/ready", 503)
    assert "leader" in words, words
    assert left.get("/health")[0] == 200
    code, printed = cluster.status("n0")
    assert code == 1
    assert not printed["verdict"]["ok"] and not printed["verdict"]["linearizable_read_safe"]
    assert left.metric('quack_raft_leader_known{group="default"}') == 0
    assert left.metric("quack_node_ready") == 0
    cluster.start("n1")
    left.wait_for("/ready", 200)
    assert cluster.status("n0")[0] == 0
    # Two of three are a quorum; the one that ends last has none to hand over to.
    assert cluster.terminate("n1") == 0
    assert cluster.terminate("n0") == 0


def test_a_node_that_ends_while_clients_write_loses_nothing(cluster):
    cluster.start(*NODES)
    clients = cluster.clients_of_a_table()
    leader = cluster.leader()
    others = [name for name in NODES if name != leader]
    started = {
        number: clients[others[number % 2]].start_sql(f"INSERT INTO cp.t VALUES ({number})", f"c{number % 4}")
        for number in range(60)
    }
    assert cluster.terminate(leader) == 0
    acknowledged, unknown = set(), set()
    for number, future in started.items():
        (unknown if future.exception(END_SECONDS) else acknowledged).add(number)
    cluster.start(leader)
    client = cluster.client(leader)
    wait_for(lambda: write(client, 1000), "a write")
    stored = {number for (number,) in client.sql("SELECT i FROM cp.t WHERE i < 1000")}
    assert acknowledged <= stored <= acknowledged | unknown
    assert acknowledged, "nothing was acknowledged"
    for name in NODES:
        assert cluster.terminate(name) == 0, name
