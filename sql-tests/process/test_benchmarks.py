"""The benchmarks run to their end, with next to nothing to do: what they say is for `make bench-all` to show."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
SECONDS_MAX = 600

SMALLEST = {
    "bulk": ["20000"],
    "change": ["5000", "--rounds", "1"],
    "failover": ["1"],
    "lanes": ["50", "--seconds", "0.3"],
    "load": [],
    "open_transaction": ["2000", "--seconds", "0.5", "--writes", "50"],
    "read": ["20000"],
    "reseed": ["20000", "--writes", "20"],
    "stall": ["--checkpoints", "1", "--rows", "20000"],
    "write": ["0.2"],
}


def test_every_benchmark_is_tried():
    programs = {path.stem for path in BENCH.glob("*.py") if "ArgumentParser" in path.read_text()}
    assert programs == set(SMALLEST)


@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_runs_to_its_end(name):
    command = [sys.executable, BENCH / f"{name}.py", *SMALLEST[name]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout
