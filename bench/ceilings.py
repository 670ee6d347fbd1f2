"""What DuckDB's appender and the disk do alone: the ceilings of writes through the log.

A write through the log needs both, one after the other. Both are measured with batches of a given number of rows,
a commit or an fdatasync each, in the folder of the node, so on its disk.
"""

import os
import time
from pathlib import Path

from appender import KEYS, Appender

# A row is an id, a tenant and 50 bytes of payload: about 75 bytes in DuckDB's serialization.
PAYLOAD = b"x" * 50
ROW_BYTES = 75
# What the log adds to a statement: its header, the names of the table and of the types.
ENTRY_BYTES = 200
SYNC_FILE_BYTES = 64 * 2**20


def rate(seconds, work):
    """Calls `work(i)`, which returns a number of rows or None at its end, for `seconds`; returns rows per second."""
    rows, count, start = 0, 0, time.perf_counter()
    while time.perf_counter() - start < seconds and (done := work(count)) is not None:
        rows += done
        count += 1
    return rows / (time.perf_counter() - start)


def append(folder, rows, seconds):
    """Rows per second of the appender, with batches of `rows` in transactions of their own."""
    path = Path(folder) / "appender.duckdb"
    appender = Appender(path, rows, PAYLOAD)

    def batch(i):
        first_key = i * appender.rows
        return appender.append(first_key) if first_key + appender.rows <= KEYS else None

    result = rate(seconds, batch)
    appender.close()
    path.unlink()
    return result


def sync(folder, rows, entries, seconds):
    """Rows per second of fdatasync, with the bytes of `rows` in `entries` entries written before each."""
    path = Path(folder) / "sync"
    data = os.urandom(rows * ROW_BYTES + entries * ENTRY_BYTES)
    places = SYNC_FILE_BYTES // len(data)
    with open(path, "w+b", buffering=0) as file:
        # Written once before, so that fdatasync has no lengths and block lists to write.
        for _ in range(SYNC_FILE_BYTES // 2**20):
            file.write(bytes(2**20))
        os.fsync(file.fileno())

        def write(i):
            os.pwrite(file.fileno(), data, i % places * len(data))
            os.fdatasync(file.fileno())
            return rows

        result = rate(seconds, write)
    path.unlink()
    return result
