"""Disks that lose what was not synced when their power is lost: a file system of the tests, crates/lossy-disk."""

import os
import subprocess
import tempfile
from pathlib import Path

from quack_testing.process import ROOT

# Where the program is; without it cargo builds it.
PROGRAM = os.environ.get("QUACK_LOSSY_DISK")
END_SECONDS = 30


def why_not():
    """Why this machine cannot mount them, or an empty text."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse cannot be opened"
    return "" if os.geteuid() == 0 else "only root mounts file systems"


class Disks:
    """A disk for each name, mounted while this is entered; `place(name)` is a durable folder on it."""

    def __init__(self, names):
        self.names = list(names)
        self.folder = None
        self.process = None

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="quack-disks-"))
        program = [PROGRAM] if PROGRAM else ["cargo", "run", "--quiet", "--package", "quack-lossy-disk", "--"]
        self.process = subprocess.Popen(
            [*program, self.folder], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()
        for name in self.names:
            self.place(name).mkdir()
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(END_SECONDS) == 0, "the disks do not unmount"
        self.folder.rmdir()

    def place(self, name):
        return self.folder / name

    def hold(self, node):
        """Has a node, which has not started, keep its data on the disk of its name."""
        node.data_dir = self.place(node.name) / "data"
        return node

    def _answer(self):
        answer = self.process.stdout.readline().strip()
        assert answer == "ok", answer or "the disks are not mounted"

    def _command(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        self._answer()

    def lose_power(self, name, percent, seed):
        """Of what was not synced on the disk, so many percent survive, by the seed; no process works with it."""
        self._command("lose", name, percent, seed)

    def sync(self, name):
        """Makes everything on the disk durable."""
        self._command("sync", name)
