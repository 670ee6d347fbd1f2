"""Loads the stock `quack` client, DuckDB's own, into a DuckDB 1.5 from PyPI.

The packages `duckdb-extension-quack` and `duckdb-extension-httpfs` are folders with one signed extension
file for each DuckDB version, so that nothing is downloaded at run time. The client speaks HTTP through
httpfs, which must be loaded first.
"""

import importlib
from pathlib import Path

EXTENSIONS = ("httpfs", "quack")


def extension_path(name, duckdb_version):
    """Returns the file of the extension `name` for a DuckDB of `duckdb_version`, such as "1.5.5"."""
    package = importlib.import_module(f"duckdb_extension_{name}")
    path = Path(package.__file__).parent / "extensions" / f"v{duckdb_version}" / f"{name}.duckdb_extension"
    if not path.exists():
        raise FileNotFoundError(f"{path}: the package is not of DuckDB {duckdb_version}; run `make venv`")
    return path


def load(connection, duckdb_version):
    """Loads httpfs and the stock quack client into `connection`."""
    for name in EXTENSIONS:
        connection.execute(f"LOAD '{extension_path(name, duckdb_version)}'")
