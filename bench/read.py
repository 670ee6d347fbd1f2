"""Times nine shapes of reads on the replicated catalog and on a plain DuckDB file, side by side.

Both are attached to the same process and each query runs on them in turn, so that what else the machine does
falls on both alike; the smallest of the times counts. The plans must be equal, apart from the catalog's name:
the bench fails when one is not.
"""

import argparse
import sys
import tempfile
import time

from host import PLAIN, REPLICATED, Host, write_json

from quack_testing import shapes

REPEATS_MIN = 9
# A query of half a millisecond needs hundreds of runs before its smallest time is stable.
SECONDS_MIN = 1.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=int, default=10_000_000)
    parser.add_argument("--json", help="write the results to this file too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quack-bench-") as folder:
        host = Host(folder)
        for catalog in (PLAIN, REPLICATED):
            print(f"{catalog}: {arguments.rows:,} rows loaded in {load(host, catalog, arguments.rows):.1f} s")
        results = {}
        print(f"\n{'query':<14}{'plain ms':>12}{'cp ms':>12}{'ratio':>9}  plan")
        for name in shapes.SHAPES:
            best = times(host, name, arguments.rows)
            equal = plan(host, name, PLAIN, arguments.rows) == plan(host, name, REPLICATED, arguments.rows)
            ratio = best[REPLICATED] / best[PLAIN]
            results[name] = {"plain_ms": best[PLAIN], "cp_ms": best[REPLICATED], "ratio": ratio, "plan_equal": equal}
            words = "equal" if equal else "DIFFERENT"
            print(f"{name:<14}{best[PLAIN]:>12.3f}{best[REPLICATED]:>12.3f}{ratio:>9.2f}  {words}", flush=True)
        host.close()
    write_json(arguments.json, {"rows": arguments.rows, "queries": results})
    different = [name for name, result in results.items() if not result["plan_equal"]]
    if different:
        sys.exit(f"the plans of these queries differ from plain DuckDB's: {', '.join(different)}")


def load(host, catalog, rows):
    """Fills a catalog; returns the seconds that it took."""
    start = time.monotonic()
    for statement in shapes.statements(catalog, rows):
        host.execute(statement)
    host.execute(f"CHECKPOINT {catalog}")
    return time.monotonic() - start


def times(host, name, rows):
    """Returns the smallest milliseconds of a query for each catalog."""
    best = {PLAIN: float("inf"), REPLICATED: float("inf")}
    texts = {catalog: shapes.shape(name, catalog, rows) for catalog in best}
    order = list(best)
    runs, begun = 0, time.monotonic()
    while runs < REPEATS_MIN or time.monotonic() - begun < SECONDS_MIN:
        for catalog in order:
            start = time.perf_counter()
            host.execute(texts[catalog]).fetchall()
            best[catalog] = min(best[catalog], (time.perf_counter() - start) * 1000)
        # The catalog that runs second finds warmer processor caches.
        order.reverse()
        runs += 1
    return best


def plan(host, name, catalog, rows):
    """Returns the plan as DuckDB draws it, without the catalog's name."""
    ((_, text),) = host.execute("EXPLAIN " + shapes.shape(name, catalog, rows)).fetchall()
    return text.replace(f"{catalog}.", "__.")


if __name__ == "__main__":
    main()
