"""A cluster under faults at random, and clients that must see nothing wrong: `python -m quack_testing.chaos`.

The schedule of the faults follows from a seed; what happens between them depends on the machine. At the end everything
is whole again, all nodes must come to the same state, and the record of all operations is checked.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

from quack_testing import clients, isolation_clients, placing
from quack_testing.cluster import Cluster, wait_for
from quack_testing.disks import Disks
from quack_testing.history import History
from quack_testing.node import TOKEN
from quack_testing.ports import free_ports
from quack_testing.process import DatabaseError, ProcessEnded, pause, resume
from quack_testing.proxy import HEALTHY, Fault, FaultProxy

NODES = 3
# How long a recovery may take before the run fails: an order of magnitude beyond what a slow machine needs.
RECOVERY_SECONDS = 120
STATE_QUERY = "FROM quack_state_hash()"
# What a node says of itself that finds its folder older than its promises; its next start rebuilds it.
RESTORED = "its folder is older than what it has promised"
# How much of what was not synced survives a loss of power.
SURVIVING_PERCENT = (0, 0, 50, 95, 100)
# Mean pause between two changes of the groups of tables.
PLACING_SECONDS = 0.5


def node_names():
    return [f"n{number}" for number in range(NODES)]


class Chaos:
    """One run. `workload` is a module that says what clients do and what must hold of it: `clients`, for instance. With
    `groups` its tables change their groups all the time; with `disks` a node that is killed has lost its power."""

    def __init__(
        self, folder, seed, track=lambda thing: thing, consistency="linearizable", workload=clients, groups=False, disks=None
    ):
        self.folder = Path(folder)
        self.track = track
        self.consistency = consistency
        self.workload = workload
        self.seed = seed
        self.thread = threading.local()
        self.thread.random = random.Random(f"{seed} faults")
        self.history = History(self.folder / "history.jsonl")
        names = node_names()
        self.proxy = FaultProxy(names, lambda: self.cluster.pids())
        self.cluster = Cluster(self.folder, NODES, track, addresses=self.proxy.ports)
        self.proxy.targets.update(self.cluster.ports)
        self.disks = disks
        if disks:
            for node in self.cluster.nodes.values():
                disks.hold(node)
        self.ready = dict.fromkeys(names)
        self.counts = Counter()
        self.stop_clients = threading.Event()
        self.placer = None
        if groups:
            self.placer = placing.Placer(workload.SHARD_KEYS, seed, self.ready, self.stop_clients, PLACING_SECONDS)
        self.wrong = []

    @property
    def random(self):
        """Of this thread: what others draw meanwhile does not change the schedule."""
        return self.thread.random

    # The nodes' lives.

    def start(self, *names):
        """Starts nodes together; they are ready for clients once the cluster is."""
        for name in names:
            self.cluster[name].start(attach=False)
        for name in names:
            self.attach(name)

    def attach(self, name):
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            process = self.cluster[name].process
            process.sql(f"SET GLOBAL quack_consistency = '{self.consistency}'")
            try:
                process.sql(f"ATTACH '{self.cluster[name].uri}' AS cp (TYPE quack, TOKEN '{TOKEN}')")
                break
            except DatabaseError as error:
                if RESTORED in str(error):
                    self.counts["recognised"] += 1
                    self.kill(name)
                    self.cluster[name].start(attach=False)
                if time.monotonic() > deadline:
                    raise AssertionError(f"{name} is not ready after {RECOVERY_SECONDS} s: {error}") from error
                self.history.event(f"attach on {name}: {error}"[:300])
        self.ready[name] = process

    def kill(self, *names):
        for name in names:
            self.ready[name] = None
            self.cluster[name].process.popen.kill()
            self.counts["kills"] += 1
        for name in names:
            self.cluster[name].process.kill()
        if self.disks:
            for name in names:
                self.disks.lose_power(name, self.random.choice(SURVIVING_PERCENT), self.random.randrange(1 << 32))
                self.counts["power losses"] += 1

    def exchange(self, name, copy=None):
        """Exchanges the folder of a node that does not run for a copy, or for nothing; not even a loss of power brings it
        back."""
        folder = self.cluster[name].data_dir
        shutil.rmtree(folder)
        if copy:
            shutil.move(copy, folder)
        if self.disks:
            self.disks.sync(name)

    def stop(self, name):
        """Stops a node in the ordinary way."""
        self.counts["stops"] += 1
        self.ready[name] = None
        code = self.cluster[name].stop()
        if code != 0:
            self.wrong.append(f"{name} ended with {code}: {self.cluster[name].process.stderr_tail()}")

    def leader(self):
        """The name of the node that says it leads, or any."""
        for name, process in self.ready.items():
            try:
                if process and process.sql(
                    "SELECT role FROM quack_raft_status() WHERE group_name = 'default'", "faults", timeout=5
                ) == [("leader",)]:
                    return name
            except (DatabaseError, ProcessEnded, TimeoutError):
                pass
        return self.random_node()

    def random_node(self):
        return self.random.choice(self.cluster.names)

    def pair(self):
        """Two nodes, one of them often the leader."""
        first = self.victim()
        return first, self.random.choice([name for name in self.cluster.names if name != first])

    def victim(self):
        """Draws the same number of times, no matter which node leads, so that the schedule depends on the seed alone."""
        name, of_leader = self.random_node(), self.random.random() < 0.5
        return self.leader() if of_leader else name

    def pause(self, least, most):
        time.sleep(self.random.uniform(least, most))

    # Faults. Each ends what it has begun.

    def kill_one(self):
        name = self.victim()
        self.note(f"kill {name}")
        self.kill(name)
        self.pause(0, 2)
        self.start(name)

    def kill_two(self):
        names = self.pair()
        self.note(f"kill {names}")
        self.kill(*names)
        self.pause(0, 1)
        self.start(*names)

    def kill_all(self):
        self.note("kill all")
        self.kill(*self.cluster.names)
        self.start(*self.cluster.names)

    def kill_in_quick_succession(self):
        name = self.victim()
        for _ in range(self.random.randint(2, 4)):
            self.note(f"kill {name} again")
            self.kill(name)
            self.cluster[name].start(attach=False)
            self.pause(0, 0.5)
        self.attach(name)

    def pause_one(self):
        name = self.victim()
        seconds = self.random.uniform(0.2, 3)
        self.note(f"pause {name} for {seconds:.1f} s")
        process = self.cluster[name].process
        pause(process)
        try:
            time.sleep(seconds)
        finally:
            resume(process)

    def pause_and_kill(self):
        """The leader stands still, another leads; then it is killed before it has noticed, or goes on."""
        name = self.victim()
        self.note(f"pause and kill {name}")
        process = self.cluster[name].process
        pause(process)
        self.pause(0.5, 2)
        self.kill(name)
        self.start(name)

    def isolate(self):
        name = self.victim()
        cut = self.cut()
        self.note(f"isolate {name}, {cut.cut}")
        self.network({pair: cut for pair in self.proxy_pairs() if name in pair}, 0.5, 6)

    def one_way(self):
        name = self.victim()
        cut = self.cut()
        outwards = self.random.random() < 0.5
        self.note(f"{name} is not {'heard' if outwards else 'told'}, {cut.cut}")
        self.network({pair: cut for pair in self.proxy_pairs() if pair[not outwards] == name}, 0.5, 6)

    def cut_link(self):
        one, other = self.pair()
        cut = self.cut()
        both = self.random.random() < 0.5
        self.note(f"cut {one} {'and' if both else 'to'} {other}, {cut.cut}")
        pairs = [(one, other), (other, one)] if both else [(one, other)]
        self.network(dict.fromkeys(pairs, cut), 0.5, 6)

    def cut_all(self):
        cut = self.cut()
        self.note(f"cut all, {cut.cut}")
        self.network(dict.fromkeys(self.proxy_pairs(), cut), 0.5, 4)

    def flap(self):
        """Short cuts, one after the other, faster than elections."""
        self.note("flap")
        for _ in range(self.random.randint(3, 8)):
            name = self.random_node()
            cut = self.cut()
            self.network({pair: cut for pair in self.proxy_pairs() if name in pair}, 0.05, 0.6)
            self.pause(0, 0.3)

    def slow(self):
        name = self.victim()
        fault = Fault(delay=self.random.uniform(0.01, 0.4), rate=self.random.choice([None, 20_000, 200_000]))
        self.note(f"slow {name}: {fault.delay * 1000:.0f} ms, {fault.rate} bytes/s")
        self.network({pair: fault for pair in self.proxy_pairs() if name in pair}, 1, 5)

    def kill_while_cut(self):
        """A minority that was cut off, and one of the majority killed: only what both sides have agreed on remains."""
        cut_off, killed = self.pair()
        cut = self.cut()
        self.note(f"isolate {cut_off}, {cut.cut}, and kill {killed}")
        self.counts["partitions"] += 1
        self.proxy.set({pair: cut for pair in self.proxy_pairs() if cut_off in pair})
        try:
            self.pause(0.1, 2)
            self.kill(killed)
            self.pause(0, 1)
        finally:
            self.proxy.heal()
        self.start(killed)

    def wipe(self):
        name = self.victim()
        self.all_members_vote()
        self.note(f"wipe {name}")
        self.kill(name)
        self.exchange(name)
        self.counts["wipes"] += 1
        self.start(name)
        if self.random.random() < 0.5:
            # Killed while it reseeds, or soon after.
            self.note(f"kill {name} after its wipe")
            self.kill(name)
            self.start(name)
        self.all_members_vote()

    def wipe_unattached(self):
        """Killed at some moment of its reseeding."""
        name = self.victim()
        self.all_members_vote()
        self.note(f"wipe {name} and kill it while it reseeds")
        self.kill(name)
        self.exchange(name)
        self.counts["wipes"] += 1
        for _ in range(self.random.randint(1, 3)):
            self.cluster[name].start(attach=False)
            self.pause(0, 1.5)
            self.kill(name)
        self.start(name)
        self.all_members_vote()

    def stop_one(self):
        name = self.victim()
        self.note(f"stop {name}")
        self.stop(name)
        self.pause(0, 1)
        self.start(name)

    def roll(self):
        """Restarts all nodes, one after the other, as an upgrade does."""
        self.note("roll")
        for name in self.random.sample(self.cluster.names, NODES):
            stops = self.random.random() < 0.7
            if stops:
                self.stop(name)
            else:
                self.kill(name)
            self.start(name)

    def restore(self):
        """Puts a copy of a node's folder back, taken while the node stood still or did not run."""
        name = self.victim()
        self.all_members_vote()
        copy = self.folder / "copy"
        runs = self.random.random() < 0.5
        self.note(f"copy {name}, which {'stands still' if runs else 'does not run'}")
        if runs:
            pause(self.cluster[name].process)
        else:
            self.kill(name)
        shutil.copytree(self.cluster[name].data_dir, copy)
        if runs:
            resume(self.cluster[name].process)
        else:
            self.start(name)
        for _ in range(self.random.randint(0, 2)):
            self.pause(0, 1)
            self.kill(name)
            self.start(name)
        self.pause(0, 2)
        self.note(f"restore {name}")
        self.kill(name)
        self.exchange(name, copy)
        self.counts["restores"] += 1
        self.start(name)
        self.all_members_vote()

    def move(self):
        """All nodes come back under other addresses."""
        self.note("move")
        for name in self.cluster.names:
            if self.random.random() < 0.5:
                self.stop(name)
            else:
                self.kill(name)
        self.proxy.move()
        self.cluster.move(dict(zip(self.cluster.names, free_ports(NODES))))
        self.proxy.targets.update(self.cluster.ports)
        self.counts["moves"] += 1
        self.start(*self.cluster.names)

    def transfer(self):
        at, to = self.random_node(), self.random_node()
        self.note(f"transfer to {to}, said to {at}")
        self.counts["transfers"] += 1
        try:
            self.ready[at].sql(f"CALL quack_transfer_leader('cp', '{to}')", "faults", timeout=60)
        except DatabaseError as error:
            self.history.event(f"transfer: {error}"[:300])

    def two_at_once(self):
        """A fault of the network and one of a process."""
        network = self.draw([fault for fault in self.FAULTS if fault in self.OF_NETWORK])
        process = self.draw([fault for fault in self.FAULTS if fault in self.OF_PROCESSES])
        seed, failures = self.random.random(), []

        def run():
            self.thread.random = random.Random(seed)
            try:
                network(self)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            self.pause(0, 1)
            process(self)
        finally:
            thread.join()
        if failures:
            raise failures[0]

    def draw(self, faults):
        (fault,) = self.random.choices(faults, [self.FAULTS[fault] for fault in faults])
        return fault

    OF_NETWORK = (isolate, one_way, cut_link, cut_all, flap, slow)
    OF_PROCESSES = (
        kill_one, kill_two, kill_in_quick_succession, pause_one, pause_and_kill, wipe, wipe_unattached, restore, stop_one,
    )  # fmt: skip
    FAULTS = {
        two_at_once: 25, kill_one: 20, kill_two: 6, kill_all: 3, kill_in_quick_succession: 4, pause_one: 10, pause_and_kill: 6,
        isolate: 12, one_way: 10, cut_link: 8, cut_all: 3, flap: 5, slow: 8, kill_while_cut: 8,
        wipe: 5, wipe_unattached: 4, restore: 6, stop_one: 6, roll: 4, move: 3, transfer: 8,
    }  # fmt: skip

    def note(self, what):
        self.counts["faults"] += 1
        self.history.event(what)

    def cut(self):
        return Fault(cut=self.random.choice(["hold", "drop", "refuse"]))

    def proxy_pairs(self):
        return [(one, other) for one in self.cluster.names for other in self.cluster.names if one != other]

    def network(self, faults, least, most):
        self.counts["partitions" if any(fault.cut for fault in faults.values()) else "slow links"] += 1
        self.proxy.set(faults)
        try:
            self.pause(least, most)
        finally:
            self.proxy.set(dict.fromkeys(faults, HEALTHY))

    def all_members_vote(self):
        """A second disk must not be emptied before the first one is rebuilt, or two of three have forgotten."""

        def vote():
            rows = self.cluster.alive()[0].sql("SELECT role FROM quack_nodes('cp')", "faults")
            return rows == [("voter",)] * NODES

        wait_for(vote, "three voters", RECOVERY_SECONDS)

    def wait_for_progress(self):
        """Without faults every node takes writes again."""
        for name, process in self.ready.items():
            wait_for(
                lambda: process.sql(self.workload.PROGRESS, "faults"),
                f"a write on {name}",
                RECOVERY_SECONDS,
            )

    # The run.

    def run(self, seconds):
        """Runs the clients and the faults; returns what is wrong."""
        self.start(*self.cluster.names)
        self.workload.create_tables(self.cluster["n0"])
        if self.placer:
            placing.enable(self.cluster["n0"])
        self.cluster.wait_equal()
        threads = self.workload.make_clients(self)
        if self.placer:
            self.placer.start()
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline and not any(thread.failure for thread in threads):
                for _ in range(self.random.randint(1, 4)):
                    self.draw(list(self.FAULTS))(self)
                    self.pause(0, 0.5)
                self.wait_for_progress()
                self.history.event("healthy")
                self.pause(0, 2)
        finally:
            self.stop_clients.set()
            for thread in threads:
                thread.join(clients.ANSWER_SECONDS + 2 * clients.INTERRUPTED_SECONDS)
        if self.placer:
            self.placer.join(placing.STATEMENT_SECONDS)
            self.counts["placements"] = self.placer.done
            if self.placer.failure:
                self.wrong.append(f"placing: {self.placer.failure!r}")
        self.wrong += [f"client {thread.number}: {thread.failure!r}" for thread in threads if thread.failure]
        self.wrong += [f"client {thread.number} hangs" for thread in threads if thread.is_alive()]
        self.finish()
        return self.wrong

    def finish(self):
        """Everything is whole: the nodes come to one state, which holds what the clients were told."""
        self.wait_for_progress()
        self.all_members_vote()
        self.cluster.wait_equal()
        hashes = {node.name: node.sql(STATE_QUERY) for node in self.cluster.alive()}
        self.history.event(f"hashes {hashes}")
        (self.hash,) = {rows[0][-1] for rows in hashes.values()}
        self.wrong += self.workload.check(self.history, self.cluster.alive(), self.consistency)

    def close(self):
        for node in self.cluster.alive():
            resume(node.process)
            node.kill()
        self.proxy.close()

    def summary(self):
        errors = Counter(
            operation["error"].split("\n")[0][:110] for operation in self.history.operations if "error" in operation
        )
        return "\n".join(
            [
                f"seed {self.seed}: {dict(sorted(self.counts.items()))}",
                f"{len(self.history.operations)} operations: {dict(sorted(self.history.outcomes().items()))}",
                *self.workload.summary(self.history),
                *(f"  {count} x {text}" for text, count in errors.most_common(12)),
                *self.wrong,
            ]
        )


def run(folder, seed, seconds, track=lambda thing: thing, kind=Chaos, **options):
    """A whole run; raises AssertionError, with the seed, when something is wrong. The history stays in the folder."""
    chaos = kind(folder, seed, track, **options)
    try:
        chaos.run(seconds)
    except BaseException as error:
        print(f"chaos: {error!r}, history in {folder}\n{chaos.summary()}", flush=True)
        raise
    finally:
        chaos.close()
    print(chaos.summary(), flush=True)
    assert not chaos.wrong, f"history in {folder}\n{chaos.summary()}"
    return chaos


WORKLOADS = {"statements": clients, "transactions": isolation_clients}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", nargs="?", type=float, default=float(os.environ.get("MINUTES", 3)))
    parser.add_argument("--seed", type=int, default=os.environ.get("SEED"))
    parser.add_argument(
        "--consistency",
        default="linearizable",
        help="of the clients; with anything else the workload 'statements' must fail: try 'session'",
    )
    parser.add_argument("--workload", choices=WORKLOADS, default="statements")
    parser.add_argument("--groups", action="store_true", help="the tables change their groups all the time")
    parser.add_argument("--power", action="store_true", help="a node that is killed loses what it has not synced")
    parser.add_argument("--folder", help="where data and history go; a temporary folder, which is kept on failure")
    arguments = parser.parse_args()
    seed = int(arguments.seed) if arguments.seed is not None else random.SystemRandom().randrange(1 << 32)
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="quack-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"chaos: seed {seed}, {arguments.minutes} minutes, in {folder}", flush=True)
    options = {"consistency": arguments.consistency, "workload": WORKLOADS[arguments.workload], "groups": arguments.groups}
    try:
        with Disks(node_names()) if arguments.power else nullcontext() as disks:
            run(folder, seed, arguments.minutes * 60, disks=disks, **options)
    except AssertionError as error:
        print(f"chaos: failed with seed {seed}: {error}", file=sys.stderr)
        sys.exit(1)
    if not arguments.folder:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
