"""This process as a node of one: DuckDB with the extension, serving a catalog `cp`, and a plain file beside it.

The plain catalog is named `nv`, as long as `cp`, so that boxes of EXPLAIN are drawn alike for both.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "sql-tests" / "python"))

import duckdb  # noqa: E402

from quack_testing.process import EXTENSION  # noqa: E402

TOKEN = "token-of-the-bench"
REPLICATED, PLAIN = "cp", "nv"


class Host:
    """Serves on a free port until it is closed. Both catalogs lie in `folder`, so on the same disk."""

    def __init__(self, folder, config=None):
        self.folder = Path(folder)
        self.connection = duckdb.connect(config={"allow_unsigned_extensions": "true", **(config or {})})
        self.connection.execute(f"LOAD '{EXTENSION}'")
        self.uri = self.connection.execute(
            f"CALL quack_serve('quack:127.0.0.1:0', token := '{TOKEN}', node_id := 'n0', "
            f"data_dir := '{self.folder}/n0')"
        ).fetchone()[0]
        self.connection.execute(f"ATTACH '{self.uri}' AS {REPLICATED} (TYPE quack, TOKEN '{TOKEN}')")
        self.connection.execute(f"ATTACH '{self.folder}/plain.duckdb' AS {PLAIN}")

    def execute(self, statement, parameters=None):
        return self.connection.execute(statement, parameters)

    def client(self):
        """Returns a connection of its own, for one thread."""
        return self.connection.cursor()

    def close(self):
        self.connection.execute(f"CALL quack_stop('{self.uri}')")
        self.connection.close()


def write_json(path, results):
    """Writes the results where `--json` says, if it says."""
    if path:
        Path(path).write_text(json.dumps(results, indent=2) + "\n")
