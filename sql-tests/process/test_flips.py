"""A node whose files are damaged refuses to start, or rebuilds itself, or serves what the others hold; see `make flips`."""

import os
import random

from quack_testing import flips

TRIALS = 15


def test_a_node_with_damaged_files_harms_no_other_and_serves_nothing_else(tmp_path, track):
    seed = int(os.environ.get("QUACK_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}")
    found = flips.run(tmp_path, track, random.Random(seed), lambda found: sum(found.outcomes.values()) >= TRIALS)
    found.show()
    assert not found.wrong
