"""`quackd` and `quackctl` from the side of a test."""

import http.client
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from quack_testing.process import ROOT

# The folder of another build can be named while it is not in `dist` yet.
PROGRAMS = Path(os.environ.get("QUACK_PROGRAMS", ROOT / "dist/bin"))
QUACKD = PROGRAMS / "quackd"
QUACKCTL = PROGRAMS / "quackctl"
END_SECONDS = 60


class Quackd:
    """A `quackd` with an admin face; standard error goes to a file."""

    def __init__(self, folder, *arguments):
        self.stderr_path = folder / "quackd.stderr"
        with open(self.stderr_path, "wb") as stderr:
            self.popen = subprocess.Popen(
                [QUACKD, *arguments], stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=folder
            )
        self.admin = self.word_after("admin at http://")
        self.uri = self.word_after("listening at ")

    def word_after(self, beginning):
        line = self.popen.stdout.readline()
        assert line.startswith(beginning), (line, self.stderr_path.read_text())
        return line[len(beginning) :].split()[0]

    def get(self, path, method="GET"):
        connection = http.client.HTTPConnection(self.admin, timeout=END_SECONDS)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def wait_for(self, path, status):
        """Asks until the answer has the status; a page follows its node within a few refreshes."""
        end = time.monotonic() + END_SECONDS
        while True:
            answer = self.get(path)
            if answer[0] == status:
                return answer[1]
            assert time.monotonic() < end, answer
            time.sleep(0.05)

    def metric(self, name):
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no metric {name}")

    def terminate(self):
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(END_SECONDS)


def run(program, *arguments, **options):
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=END_SECONDS, **options)


def quackctl(*arguments):
    """Runs with --json; returns the exit code and the object."""
    result = run(QUACKCTL, "--json", *map(str, arguments))
    printed = json.loads(result.stdout)
    assert printed["exit_code"] == result.returncode
    assert printed["ok"] == (result.returncode == 0)
    return result.returncode, printed
