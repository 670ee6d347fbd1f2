"""How long LOAD takes in a fresh process, and how large the extension is.

A cold time has the file dropped from the page cache before: what the first process after a restart of the
machine waits for. The bench fails when the smallest warm time is above 100 ms.
"""

import argparse
import os
import statistics
import subprocess
import sys

from host import EXTENSION, ROOT, write_json

PROCESSES = 9
MILLISECONDS_MAX = 100
CODE = """
import sys, time, duckdb
connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
connection.execute("SELECT 1").fetchall()
start = time.perf_counter()
connection.execute(f"LOAD '{sys.argv[1]}'")
print((time.perf_counter() - start) * 1000)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="write the results to this file too")
    arguments = parser.parse_args()
    compressed = list(ROOT.glob("dist/repository/*/*/quack.duckdb_extension.gz"))
    results = {
        "extension_bytes": os.path.getsize(EXTENSION),
        "compressed_bytes": os.path.getsize(compressed[0]) if compressed else None,
    }
    print(f"extension: {results['extension_bytes'] / 2**20:.1f} MiB", end="")
    print(f", compressed: {results['compressed_bytes'] / 2**20:.1f} MiB" if compressed else "")
    for name, cold in (("cold", True), ("warm", False)):
        times = [load(cold) for _ in range(PROCESSES)]
        results[f"{name}_ms"] = {"min": min(times), "median": statistics.median(times), "max": max(times)}
        print(f"LOAD, {name}: " + ", ".join(f"{key} {value:.1f} ms" for key, value in results[f"{name}_ms"].items()))
    write_json(arguments.json, results)
    if results["warm_ms"]["min"] > MILLISECONDS_MAX:
        sys.exit(f"LOAD takes more than {MILLISECONDS_MAX} ms")


def load(cold):
    """Returns the milliseconds that LOAD takes in a process of its own."""
    if cold:
        with open(EXTENSION, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    done = subprocess.run([sys.executable, "-c", CODE, EXTENSION], capture_output=True, text=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    main()
