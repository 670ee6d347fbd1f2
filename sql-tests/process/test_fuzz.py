"""Random SQL does on a cluster what it does on a plain DuckDB file; a short run of what `make fuzz` does at length."""

import pytest
from quack_testing.fuzz.main import Fuzzer, report
from quack_testing.fuzz.planted import MISTAKES, Same

# How many of the first seeds each world runs here.
SEEDS = {"one": 2, "three": 1}
# Of each script here, in steps.
LENGTH = 40
# A mistake must show in one of so many scripts; when this was written, it did in the first or second.
SEEDS_OF_MISTAKES = 40


@pytest.mark.parametrize("world", SEEDS)
def test_random_sql_does_the_same_as_on_a_plain_file(tmp_path, world):
    fuzzer = Fuzzer(tmp_path, world, length=LENGTH)
    for seed in range(1, 1 + SEEDS[world]):
        run = fuzzer.seed(seed)
        assert run.difference is None, report(seed, fuzzer.shortest(run))
        print(f"{world}, seed {seed}: {run.statements} statements, {run.failed} refused by both, {run.explained}")


def test_a_seed_makes_the_same_script_each_time_and_plain_duckdb_agrees_with_itself(tmp_path):
    fuzzer = Fuzzer(tmp_path, make_cluster=Same, length=LENGTH)
    first, second = fuzzer.seed(5), fuzzer.seed(5)
    assert first.difference is None
    assert first.steps == second.steps
    assert len(first.steps) > 20


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_planted_mistake_is_found_and_its_script_is_shortened(tmp_path, mistake):
    fuzzer = Fuzzer(tmp_path, make_cluster=mistake, length=LENGTH)
    for seed in range(2, 2 + SEEDS_OF_MISTAKES):
        run = fuzzer.seed(seed)
        if run.difference:
            shortest = fuzzer.shortest(run, tries=2)
            print(report(seed, shortest))
            assert shortest.difference.signature() == run.difference.signature()
            assert len(shortest.steps) < len(run.steps)
            return
    raise AssertionError(f"{mistake.__name__}: not found in {SEEDS_OF_MISTAKES} scripts")
