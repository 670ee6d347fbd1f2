"""The extension as a file: what it exports, how fast it loads, and who refuses it."""

import gzip
import os
import subprocess
import time
from pathlib import Path

import pytest

from quack_testing.process import EXTENSION, ROOT, STOCK_PYTHON, DatabaseError, Process

LOAD_SECONDS_MAX = 0.1
REPOSITORY = Path(os.environ.get("QUACK_REPOSITORY", ROOT / "dist/repository"))


def test_it_loads_fast(new_process):
    """The smallest of several times, each in a fresh process: the machine may do other things, too."""
    times = []
    for number in range(5):
        process = new_process(f"loads-{number}")
        start = time.perf_counter()
        process.sql(f"LOAD '{EXTENSION}'")
        times.append(time.perf_counter() - start)
        process.close_database()
        assert process.exit() == 0, process.stderr_tail()
    assert min(times) < LOAD_SECONDS_MAX, times


def test_it_exports_its_entry_point_alone():
    """DuckDB is linked in, and must not be seen by anyone else in the process."""
    lines = subprocess.run(["nm", "-D", "--defined-only", EXTENSION], check=True, capture_output=True, text=True)
    names = {line.split()[-1].split("@")[0] for line in lines.stdout.splitlines()}
    assert "quack_duckdb_cpp_init" in names
    strange = {name for name in names if not name.startswith("quack_")}
    assert not strange, sorted(strange)[:20]


def test_it_needs_nothing_but_the_libraries_of_every_linux():
    lines = subprocess.run(["readelf", "-d", EXTENSION], check=True, capture_output=True, text=True).stdout
    needed = {line.split("[")[1].split(".so")[0] for line in lines.splitlines() if "NEEDED" in line}
    assert needed <= {"libstdc++", "libgcc_s", "libm", "libc", "libdl", "libpthread", "ld-linux-x86-64"}, needed


def test_the_repository_holds_the_same_file(new_process):
    version = new_process().value("SELECT version()")
    packed = REPOSITORY / version / "linux_amd64" / "quack.duckdb_extension.gz"
    assert gzip.decompress(packed.read_bytes()) == Path(EXTENSION).read_bytes()


def test_another_version_of_duckdb_refuses_it_with_its_own_words(tmp_path, track, new_process):
    version = new_process().value("SELECT version()")
    process = track(Process(tmp_path, "old", python=STOCK_PYTHON, config={"allow_unsigned_extensions": "true"}))
    with pytest.raises(DatabaseError, match=f"{version}.*v1.5.5"):
        process.sql(f"LOAD '{EXTENSION}'")


def test_it_is_refused_as_unsigned_unless_that_is_allowed(tmp_path, track):
    process = track(Process(tmp_path, "strict", config={"allow_unsigned_extensions": "false"}))
    with pytest.raises(DatabaseError, match="signature"):
        process.sql(f"LOAD '{EXTENSION}'")


def test_two_databases_in_one_process_can_load_it(new_process):
    process = new_process("two")
    code = f"""
other = duckdb.connect(config={{"allow_unsigned_extensions": "true"}})
database.execute("LOAD '{EXTENSION}'")
other.execute("LOAD '{EXTENSION}'")
result = [c.execute("SELECT count(*) FROM quack_server_list()").fetchone()[0] for c in (database, other)]
other.close()
"""
    assert process.python(code) == [0, 0]
    process.close_database()
    assert process.exit() == 0, process.stderr_tail()
