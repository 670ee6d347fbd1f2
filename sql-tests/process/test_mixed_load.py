"""Every kind of write from many threads at once: no update is lost, and a restart finds the same state."""

import json
import os
import subprocess

from quack_testing.process import EXTENSION, PYTHON, ROOT

HOST = ROOT / "sql-tests/python/quack_testing/mixed_load_host.py"
# The second and third round begin from a checkpoint: a round writes some hundred megabytes of log.
ROUNDS = 3
SECONDS = int(os.environ.get("QUACK_MIXED_LOAD_SECONDS", "5"))


def run(folder, seconds, seed):
    """Runs a host to its report, and kills it."""
    host = subprocess.Popen(
        [PYTHON, HOST, EXTENSION, folder, str(seconds), str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        return json.loads(host.stdout.readline())
    finally:
        host.kill()
        host.wait()


def test_no_update_is_lost_and_a_restart_finds_the_same_state(tmp_path):
    raised = 0
    for round_number in range(ROUNDS):
        after_load = run(tmp_path / "n0", SECONDS, round_number)
        raised += after_load["raised"]
        assert after_load["errors"] == []
        assert after_load["counted"] == raised > 0
        assert after_load["rows"] == after_load["keys"]
        after_restart = run(tmp_path / "n0", 0, round_number)
        assert after_restart["state"] == after_load["state"]
        assert after_restart["counted"] == raised
