"""Runs random scripts: `python -m quack_testing.fuzz.main --seeds 100 --world one`.

A seed's script depends on the seed alone, and so does where it runs: every tenth seed on three nodes. A grave difference is
shrunk and printed with what each world said; weak ones, other texts of the same error, are counted and listed. The exit
code is 1 if there was a grave one.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from quack_testing.cluster import Certificates
from quack_testing.fuzz.generator import Generator
from quack_testing.fuzz.outcome import ENDED, Difference, blurred
from quack_testing.fuzz.runner import Run, Runner
from quack_testing.fuzz.shrink import TRIES_MAX, script, shrink
from quack_testing.fuzz.worlds import WORLDS, Native, One, Three

SECONDS_OF_SHRINKING = 120
# Three nodes cost three times the time of one, and differ from it in less than they share.
SEEDS_FOR_THREE = 10


class Fuzzer:
    """Runs scripts, each in new worlds; `make_cluster` makes the one to be looked at in a folder, `length` is that of the
    scripts if not their own."""

    def __init__(self, folder, world="one", make_cluster=None, length=None):
        self.length = length
        self.folder = Path(folder)
        self.runs = 0
        certificates = Certificates(self.folder / "certificates") if world == Three.name else None
        options = {"certificates": certificates} if certificates else {}
        self.make_cluster = make_cluster or (lambda place: WORLDS[world](place, **options))

    def in_worlds(self, work) -> Run:
        """Starts two worlds, does the work with them and ends them, also after an error."""
        self.runs += 1
        place = self.folder / f"run{self.runs}"
        native, cluster = Native(place / "native"), self.make_cluster(place / "cluster")
        native.plans = cluster.plans
        try:
            native.start()
            cluster.start()
            runner = Runner(native, cluster)
            work(runner)
            return runner.finish()
        finally:
            native.kill()
            cluster.kill()
            shutil.rmtree(place, ignore_errors=True)

    def seed(self, seed):
        return self.in_worlds(lambda runner: runner.generate(Generator(seed, self.length)))

    def replay(self, steps):
        return self.in_worlds(lambda runner: runner.replay(steps))

    def shortest(self, run, tries=TRIES_MAX):
        """The run of a shorter script with the same difference, after so many tries at most."""
        signature = run.difference.signature()
        best = [run]
        deadline = time.monotonic() + SECONDS_OF_SHRINKING

        def shows(steps):
            if time.monotonic() > deadline:
                return False
            again = self.replay(steps)
            if again.difference and again.difference.signature() == signature:
                best[0] = again
                return True
            return False

        if shows(run.steps[: run.difference.number + 1]):
            shrink(best[0].steps, shows, tries)
        return best[0]


def report(seed, run):
    difference = run.difference
    return "\n".join(
        [
            f"seed {seed}: {difference.kind} in: {difference.step}",
            script(run.steps),
            "--- plain DuckDB says:",
            difference.native,
            "--- the cluster says:",
            difference.cluster,
        ]
    )


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=50, help="how many")
    parser.add_argument("--world", choices=sorted(WORLDS), help="where all of them run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many run at a time")
    parser.add_argument("--keep-going", action="store_true", help="go on after a grave difference")
    parser.add_argument("--no-shrink", action="store_true")
    return parser.parse_args()


def world_of(seed):
    return Three.name if seed % SEEDS_FOR_THREE == 0 else One.name


def run_one(work):
    """In a process of its own: the run of a seed, and the shortest one if it shows a grave difference."""
    seed, world, is_shortened = work
    with tempfile.TemporaryDirectory(prefix="quack-fuzz-") as folder:
        fuzzer = Fuzzer(folder, world)
        try:
            run = fuzzer.seed(seed)
        except Exception:  # A world that does not answer must not end thousands of other runs.
            run = Run(difference=Difference(ENDED, "", traceback.format_exc()))
            return seed, world, run, run
        shown = fuzzer.shortest(run) if run.difference and is_shortened else run
    return seed, world, run, shown


class Summary:
    """What came of all runs."""

    def __init__(self):
        self.seeds, self.statements, self.failed, self.grave = Counter(), 0, 0, 0
        self.weak, self.explained, self.broken = Counter(), Counter(), Counter()

    def add(self, seed, world, run, shown):
        """Counts a run, and prints what is new in it."""
        self.seeds[world] += 1
        self.statements, self.failed = self.statements + run.statements, self.failed + run.failed
        self.explained.update(run.explained)
        self.broken.update([blurred(run.native_broken)] if run.native_broken else [])
        for difference in run.weak:
            key = (blurred(difference.native.split("\n")[0]), blurred(difference.cluster.split("\n")[0]))
            if key not in self.weak:
                print(f"weak, seed {seed}: {difference.step}\n  {difference.native}\n  {difference.cluster}", flush=True)
            self.weak[key] += 1
        if run.difference:
            self.grave += 1
            print(f"=== {world}, " + report(seed, shown), flush=True)

    def show(self):
        print(f"{dict(self.seeds)} seeds, {self.statements} statements, {self.failed} failed in plain DuckDB")
        print(f"{self.grave} grave differences, {len(self.weak)} kinds of weak ones")
        print(f"explained: {dict(self.explained)}\nbroken by itself: {dict(self.broken)}")


def main():
    options = arguments()
    summary = Summary()
    seeds = range(options.seed, options.seed + options.seeds)
    work = ((seed, options.world or world_of(seed), not options.no_shrink) for seed in seeds)
    with multiprocessing.Pool(options.jobs) as pool:
        for ended in pool.imap_unordered(run_one, work):
            summary.add(*ended)
            if summary.grave and not options.keep_going:
                break
    summary.show()
    return 1 if summary.grave else 0


if __name__ == "__main__":
    sys.exit(main())
