"""Wall clocks of single processes that a test sets as it likes; see clock_shim.cpp."""

import os
import struct
from pathlib import Path

from quack_testing.preload import preloaded

HOUR = 3600
DAY = 24 * HOUR


class Clock:
    """The wall clock of every process that is started with `environment`, `seconds` ahead of the true one."""

    def __init__(self, folder, name, seconds=0):
        self.path = Path(folder) / f"{name}.clock"
        self.set(seconds)
        self.environment = {"LD_PRELOAD": preloaded("clock_shim"), "QUACK_CLOCK_OFFSET": str(self.path)}

    def set(self, seconds):
        """A jump: to so many seconds ahead of the true time."""
        offset = struct.pack("=q", seconds * 1_000_000_000)
        # In place: who has mapped it must see it, and eight bytes at a time.
        with open(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0) as file:
            file.write(offset)
