"""Libraries of the tests that a process loads before its own (LD_PRELOAD)."""

import functools
import os
import shlex
import subprocess
import tempfile
from pathlib import Path


@functools.cache
def _built(source):
    """The library, built once for all tests of a run; the folder ends with the run."""
    folder = tempfile.TemporaryDirectory(prefix="quack-preload-")
    library = Path(folder.name) / f"{source}.so"
    # A launcher may stand in front, such as ccache.
    compiler = shlex.split(os.environ.get("CXX", "g++"))
    path = Path(__file__).with_name(f"{source}.cpp")
    subprocess.run([*compiler, "-O1", "-shared", "-fPIC", "-o", library, path], check=True, capture_output=True)
    return folder, library


def preloaded(source):
    """The path of the library of a source beside this file."""
    return str(_built(source)[1])
