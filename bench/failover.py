"""How long writes stand still when the leader is killed with SIGKILL under load, again and again.

From the kill to the first acknowledgement of a write that was begun after it, on one of the survivors. Each of them
is asked to write every 10 ms, and the load of two clients at each node goes on. Then the killed node is started again
and the next leader is killed once all nodes are back.

etcd 3.4, when it is installed (`apt-get install etcd-server`), does the same in the same run, with its default
settings, through its JSON gateway.

The same for a lane: its writes when its own leader is killed, the default group's writes then, and the lane's writes
when the default group's leader is killed, which orders them.
"""

import argparse
import functools
import http.client
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from pathlib import Path

from host import write_json

from quack_testing.cluster import Cluster, wait_for
from quack_testing.ports import free_ports
from quack_testing.process import DatabaseError, ProcessEnded

NODES = 3
LOAD_CLIENTS = 2
PROBE_SECONDS = 0.01
# A survivor that does not answer is not asked by more than so many at a time.
PROBES_MAX = 300
GIVE_UP_SECONDS = 60
# Under way again, and past the moment after an election in which a new leader settles.
SETTLE_SECONDS = 1.0
ETCD_SECONDS = 15


class NotWritten(Exception):
    """A write was refused, or its outcome is unknown."""


class Quack:
    """Three DuckDB processes with the extension."""

    name = "quack"
    table = "t"

    def __init__(self, folder):
        self.cluster = Cluster(folder, NODES).start()
        self.names = self.cluster.names
        self.ready = set(self.names)
        self.cluster["n0"].sql("CREATE TABLE cp.t (k VARCHAR PRIMARY KEY, v BIGINT)")
        self.cluster.wait_equal()

    def write(self, name, key, number):
        if name not in self.ready:
            raise NotWritten(f"{name} is not there")
        try:
            statement = f"INSERT OR REPLACE INTO cp.{self.table} VALUES ('{key}', {number})"
            self.cluster[name].process.sql(statement, connection=key, timeout=GIVE_UP_SECONDS)
        except (DatabaseError, ProcessEnded) as error:
            raise NotWritten(str(error)) from error

    def leader(self):
        return self.cluster.leader().name

    def kill(self, name):
        self.ready.discard(name)
        self.cluster[name].process.popen.send_signal(signal.SIGKILL)

    def restart(self, name):
        self.cluster[name].kill()
        self.cluster[name].start()
        self.ready.add(name)

    def close(self):
        for node in self.cluster.alive():
            node.kill()


class Lane(Quack):
    """The same with a lane beside the default group, and different leaders of the two."""

    GROUPS = ("a", "b", "c")

    def __init__(self, folder, writes_to, loses):
        super().__init__(folder)
        self.name = f"quack, writes to {writes_to}, loses {loses}'s leader"
        self.writes_to, self.loses = writes_to, loses
        node = self.cluster["n0"]
        assert node.value("SELECT quack_multiraft_sql_set_enabled(true)")
        for group in self.GROUPS:
            node.sql(f"CREATE TABLE cp.{group} (k VARCHAR PRIMARY KEY, v BIGINT) WITH (quack_group = '{group}')")
        self.cluster.wait_equal()
        # One whose leader does not lead the default group, too; their leads belong to different nodes.
        self.group = wait_for(self.group_led_elsewhere, "a lane with a leader of its own")
        if writes_to == "the lane":
            self.table = self.group

    def leaders(self):
        query = "SELECT group_name, leader_id FROM quack_group_status('cp')"
        return dict(self.cluster[next(iter(self.ready))].sql(query))

    def group_led_elsewhere(self):
        leaders = self.leaders()
        return next((group for group in self.GROUPS if leaders[group] not in (None, leaders["default"])), None)

    def leader(self):
        """Of the group that loses it, once the other group has another one."""
        mine, other = (self.group, "default") if self.loses == "the lane" else ("default", self.group)

        def found():
            leaders = self.leaders()
            if leaders[mine] is not None and leaders[mine] == leaders[other]:
                to = next(name for name in self.names if name != leaders[self.group])
                self.cluster[self.names[0]].sql(f"CALL quack_transfer_leader('cp', '{to}')", "leads")
            return leaders[mine] if leaders[mine] != leaders[other] else None

        return wait_for(found, "different leaders")


class Etcd:
    """Three etcd processes with default settings."""

    name = "etcd"

    def __init__(self, folder):
        self.folder = Path(folder)
        self.names = [f"e{number}" for number in range(NODES)]
        ports = free_ports(2 * NODES)
        self.clients = dict(zip(self.names, ports[:NODES]))
        self.peers = dict(zip(self.names, ports[NODES:]))
        self.processes, self.connections = {}, threading.local()
        for name in self.names:
            self.spawn(name)
        wait_for(self.leader_or_none, "a leader of etcd")

    def spawn(self, name):
        url = "http://127.0.0.1:{}"
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                [
                    "etcd", "--name", name, "--data-dir", self.folder / name,
                    "--listen-client-urls", url.format(self.clients[name]),
                    "--advertise-client-urls", url.format(self.clients[name]),
                    "--listen-peer-urls", url.format(self.peers[name]),
                    "--initial-advertise-peer-urls", url.format(self.peers[name]),
                    "--initial-cluster", ",".join(f"{n}={url.format(p)}" for n, p in self.peers.items()),
                ],
                stdout=log,
                stderr=log,
            )  # fmt: skip

    def call(self, name, path, body):
        """Asks one node, on a connection that this thread keeps."""
        connections = self.connections.__dict__
        try:
            if name not in connections:
                connections[name] = http.client.HTTPConnection("127.0.0.1", self.clients[name], timeout=ETCD_SECONDS)
            connections[name].request("POST", path, json.dumps(body))
            answer = connections[name].getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connections.pop(name).close()
            raise NotWritten(str(error)) from error
        if answer.status != 200:
            raise NotWritten(text.decode(errors="replace"))
        return json.loads(text)

    def write(self, name, key, number):
        encoded = {"key": b64encode(key.encode()).decode(), "value": b64encode(str(number).encode()).decode()}
        self.call(name, "/v3/kv/put", encoded)

    def leader_or_none(self):
        for name in self.names:
            try:
                status = self.call(name, "/v3/maintenance/status", {})
            except NotWritten:
                continue
            if status["header"]["member_id"] == status.get("leader"):
                return name
        return None

    def leader(self):
        return wait_for(self.leader_or_none, "a leader of etcd")

    def kill(self, name):
        self.processes[name].send_signal(signal.SIGKILL)

    def restart(self, name):
        self.processes[name].wait()
        self.spawn(name)

        def answers():
            try:
                self.write(name, "back", 0)
                return True
            except NotWritten:
                return False

        wait_for(answers, f"{name} of etcd")

    def close(self):
        for process in self.processes.values():
            process.kill()
            process.wait()


class Load:
    """Clients that write to a node, one write after the other, and go on after errors."""

    def __init__(self, system):
        self.system = system
        self.stop = threading.Event()
        self.written = 0
        self.threads = [
            threading.Thread(target=self.run, args=(name, f"load-{name}-{number}"))
            for name in system.names
            for number in range(LOAD_CLIENTS)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def run(self, name, key):
        for number in itertools.count():
            if self.stop.is_set():
                return
            try:
                self.system.write(name, key, number)
                self.written += 1
            except NotWritten:
                time.sleep(PROBE_SECONDS)


class Probe:
    """Asks the survivors to write, every 10 ms, and notes the first acknowledgement."""

    def __init__(self, system, names):
        self.system = system
        self.names = names
        self.acknowledged = threading.Event()
        self.lock = threading.Lock()
        self.moment = None

    def run(self, start):
        """Seconds from `start` to the first acknowledgement."""
        for number in range(PROBES_MAX):
            for name in self.names:
                threading.Thread(target=self.ask, args=(name, f"probe-{name}-{number}", number), daemon=True).start()
            if self.acknowledged.wait(PROBE_SECONDS):
                break
        if not self.acknowledged.wait(GIVE_UP_SECONDS):
            raise AssertionError(f"{self.system.name} does not take writes again")
        return self.moment - start

    def ask(self, name, key, number):
        try:
            self.system.write(name, key, number)
        except NotWritten:
            return
        with self.lock:
            if self.moment is None:
                self.moment = time.perf_counter()
        self.acknowledged.set()


def measure(make, kills):
    """The system's name, its seconds without writes for each kill, and its writes per second."""
    gaps = []
    with tempfile.TemporaryDirectory(prefix="quack-bench-", dir=os.environ.get("QUACK_BENCH_DIR")) as folder:
        system = make(folder)
        try:
            start = time.perf_counter()
            with Load(system) as load:
                for _ in range(kills):
                    time.sleep(SETTLE_SECONDS)
                    leader = system.leader()
                    killed = time.perf_counter()
                    system.kill(leader)
                    gaps.append(Probe(system, [name for name in system.names if name != leader]).run(killed))
                    system.restart(leader)
            rate = load.written / (time.perf_counter() - start)
        finally:
            system.close()
    return system.name, gaps, rate


def summary(gaps, rate):
    ordered = sorted(gap * 1000 for gap in gaps)
    at = lambda share: ordered[min(int(len(ordered) * share), len(ordered) - 1)]  # noqa: E731
    return {"kills": len(gaps), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": ordered[-1], "min": ordered[0],
            "writes_per_second": rate}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", nargs="?", type=int, default=50)
    parser.add_argument("--json", help="write the results to this file too")
    arguments = parser.parse_args()
    systems = [Quack]
    lane, default = "the lane", "the default group"
    for writes_to, loses in ((lane, lane), (default, lane), (lane, default)):
        systems.append(functools.partial(Lane, writes_to=writes_to, loses=loses))
    if shutil.which("etcd"):
        systems.append(Etcd)
    else:
        print("etcd is not installed: no comparison", file=sys.stderr)
    results = {}
    print(f"{'milliseconds without writes':<60}{'kills':>7}{'min':>9}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}{'writes/s':>10}")
    for system in systems:
        name, gaps, rate = measure(system, arguments.kills)
        results[name] = {**summary(gaps, rate), "milliseconds": [round(gap * 1000, 1) for gap in gaps]}
        line = results[name]
        values = "".join(f"{line[key]:>9.0f}" for key in ("min", "p50", "p90", "p99", "max"))
        print(f"{name:<60}{line['kills']:>7}{values}{rate:>10.0f}", flush=True)
    write_json(arguments.json, results)


if __name__ == "__main__":
    main()
