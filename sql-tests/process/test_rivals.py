"""Clients that contradict one another all the time, on all nodes: the nodes stay well, and equal."""

import os
import random

import pytest
from quack_testing.cluster import Cluster
from quack_testing.rivals import Rivals

ROUNDS = 6


def test_no_kill_loses_or_doubles_what_rivals_were_told(tmp_path, track):
    seed = int(os.environ.get("QUACK_RIVALS_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"rivals: seed {seed}")
    rivals = Rivals(Cluster(tmp_path, 3, track).start(), seed, groups=True, kills=True, settings=True)
    for number in range(2):
        rivals.round(number)
    assert rivals.answers["kills"] >= 1 and rivals.answers["ok"] > 100, rivals.answers


@pytest.mark.parametrize("groups", [False, True], ids=["one lane", "groups"])
def test_nodes_stay_equal_while_clients_contend_for_the_same_names(tmp_path, track, groups):
    seed = int(os.environ.get("QUACK_RIVALS_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"rivals: seed {seed}")
    rivals = Rivals(Cluster(tmp_path, 3, track).start(), seed, groups)
    for number in range(ROUNDS):
        rivals.round(number)
    assert rivals.answers["ok"] > 100, rivals.answers
    assert rivals.answers["TransactionContext Error"] > 0, rivals.answers
