"""Times nine shapes of reads on the replicated catalog and on a plain DuckDB file, side by side.

usage: read.py [ROWS]

Both are attached to the same process, each query runs on them in turn, and the smallest of several times
counts, so that what else the machine does falls on both alike.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sql-tests" / "python"))

import duckdb  # noqa: E402

from quack_testing import shapes  # noqa: E402
from quack_testing.process import EXTENSION  # noqa: E402

REPEATS = 9


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory(prefix="quack-bench-") as folder:
        connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        connection.execute(f"LOAD '{EXTENSION}'")
        uri = connection.execute(
            f"CALL quack_serve('quack:127.0.0.1:0', token := 'bench', node_id := 'n0', data_dir := '{folder}/n0')"
        ).fetchone()[0]
        connection.execute(f"ATTACH '{uri}' AS cp (TYPE quack, TOKEN 'bench')")
        connection.execute(f"ATTACH '{folder}/native.duckdb' AS native")
        for catalog in ("native", "cp"):
            start = time.monotonic()
            for statement in shapes.statements(catalog, rows):
                connection.execute(statement)
            connection.execute(f"CHECKPOINT {catalog}")
            print(f"{catalog}: {rows:,} rows loaded in {time.monotonic() - start:.1f} s")
        print(f"\n{'query':<14}{'native ms':>12}{'cp ms':>12}{'ratio':>9}")
        for name in shapes.SHAPES:
            best = {"native": float("inf"), "cp": float("inf")}
            for _ in range(REPEATS):
                for catalog in best:
                    start = time.perf_counter()
                    connection.execute(shapes.shape(name, catalog, rows)).fetchall()
                    best[catalog] = min(best[catalog], (time.perf_counter() - start) * 1000)
            print(f"{name:<14}{best['native']:>12.2f}{best['cp']:>12.2f}{best['cp'] / best['native']:>9.2f}")
        connection.execute(f"CALL quack_stop('{uri}')")
        connection.close()


if __name__ == "__main__":
    main()
