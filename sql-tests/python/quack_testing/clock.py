"""Wall clocks of single processes that a test sets as it likes; see clock_shim.cpp."""

import functools
import os
import struct
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("clock_shim.cpp")
HOUR = 3600
DAY = 24 * HOUR


@functools.cache
def _built():
    """The library, built once for all tests of a run; the folder ends with the run."""
    folder = tempfile.TemporaryDirectory(prefix="quack-clock-")
    library = Path(folder.name) / "clock_shim.so"
    compiler = os.environ.get("CXX", "g++")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, SOURCE], check=True, capture_output=True)
    return folder, library


class Clock:
    """The wall clock of every process that is started with `environment`, `seconds` ahead of the true one."""

    def __init__(self, folder, name, seconds=0):
        self.path = Path(folder) / f"{name}.clock"
        self.set(seconds)
        self.environment = {"LD_PRELOAD": str(_built()[1]), "QUACK_CLOCK_OFFSET": str(self.path)}

    def set(self, seconds):
        """A jump: to so many seconds ahead of the true time."""
        offset = struct.pack("=q", seconds * 1_000_000_000)
        # In place: who has mapped it must see it, and eight bytes at a time.
        with open(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0) as file:
            file.write(offset)
