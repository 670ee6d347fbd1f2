"""Random SQL on three nodes whose hosts differ in everything, beside plain DuckDB: python -m quack_testing.environments."""

import argparse
import random
import sys
import tempfile
import time

from quack_testing.cluster import Certificates
from quack_testing.environments.worlds import Differing
from quack_testing.fuzz.main import Fuzzer, report


class Environments:
    """Runs seeds; `statements` counts what has run."""

    def __init__(self, folder, length=None):
        self.certificates = Certificates(f"{folder}/certificates")
        self.fuzzer = Fuzzer(folder, make_cluster=self.make, length=length)
        self.statements = 0
        self.world = None
        self.seed = None

    def make(self, folder):
        self.world = Differing(folder, self.seed, self.certificates)
        return self.world

    def run(self, seed):
        """What is wrong with this seed, as a text."""
        self.seed = seed
        run = self.fuzzer.seed(seed)
        self.statements += run.statements
        if run.difference is None:
            return ""
        return "\n".join(["hosts:", *self.world.story, report(seed, self.fuzzer.shortest(run))])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    end, seed, found = time.monotonic() + 60 * arguments.minutes, arguments.seed, 0
    with tempfile.TemporaryDirectory(prefix="quack-environments-") as folder:
        environments = Environments(folder)
        while time.monotonic() < end:
            if wrong := environments.run(seed):
                print(f"=== seed {seed}\n{wrong}", flush=True)
                found += 1
            seed += 1
    print(f"{seed - arguments.seed} seeds, {environments.statements} statements, {found} of them differ")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
