"""DuckDB's appender through its C API, which the Python package exports: the ceiling for inserts.

Chunks of one batch are filled beforehand except for their keys, and appended and committed batch by batch.
"""

import ctypes

import _duckdb

API = ctypes.CDLL(_duckdb.__file__)
BIGINT, INTEGER, VARCHAR = 5, 4, 17
for _name in ("duckdb_create_logical_type", "duckdb_create_data_chunk", "duckdb_data_chunk_get_vector", "duckdb_vector_get_data"):
    getattr(API, _name).restype = ctypes.c_void_p
API.duckdb_appender_error.restype = ctypes.c_char_p
API.duckdb_data_chunk_set_size.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
API.duckdb_vector_get_data.argtypes = [ctypes.c_void_p]
API.duckdb_data_chunk_get_vector.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
API.duckdb_vector_assign_string_element_len.argtypes = [
    ctypes.c_void_p, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_uint64,
]  # fmt: skip
API.duckdb_append_data_chunk.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
API.duckdb_appender_flush.argtypes = [ctypes.c_void_p]
API.duckdb_appender_error.argtypes = [ctypes.c_void_p]


class Appender:
    """Appends rows (BIGINT, INTEGER, VARCHAR) to the table `t` of a database file of its own."""

    def __init__(self, path, rows, payload, key=True):
        self.rows = rows
        self.database, self.connection, self.appender = (ctypes.c_void_p() for _ in range(3))
        self.check(API.duckdb_open(None, ctypes.byref(self.database)))
        self.check(API.duckdb_connect(self.database, ctypes.byref(self.connection)))
        self.query("SET checkpoint_threshold = '1TB'")
        self.query(f"ATTACH '{path}' AS store (RECOVERY_MODE no_wal_writes)")
        self.query("USE store")
        self.query(f"CREATE TABLE t (id BIGINT {'PRIMARY KEY' if key else ''}, tenant INTEGER, payload VARCHAR)")
        self.check(
            API.duckdb_appender_create_ext(
                self.connection, b"store", b"main", b"t", ctypes.byref(self.appender)
            )
        )
        types = (ctypes.c_void_p * 3)(
            *(API.duckdb_create_logical_type(kind) for kind in (BIGINT, INTEGER, VARCHAR))
        )
        self.chunk = ctypes.c_void_p(API.duckdb_create_data_chunk(types, ctypes.c_uint64(3)))
        API.duckdb_data_chunk_set_size(self.chunk, rows)
        vectors = [API.duckdb_data_chunk_get_vector(self.chunk, i) for i in range(3)]
        self.keys = ctypes.cast(API.duckdb_vector_get_data(vectors[0]), ctypes.POINTER(ctypes.c_int64))
        tenants = ctypes.cast(API.duckdb_vector_get_data(vectors[1]), ctypes.POINTER(ctypes.c_int32))
        for row in range(rows):
            tenants[row] = row % 17
            API.duckdb_vector_assign_string_element_len(vectors[2], row, payload, len(payload))

    def query(self, sql):
        self.check(API.duckdb_query(self.connection, sql.encode(), None))

    def check(self, state):
        if state != 0:
            raise RuntimeError("DuckDB's C API refused a call")

    def append(self, first_key):
        """Appends and commits one batch whose keys begin at `first_key`."""
        for row in range(self.rows):
            self.keys[row] = first_key + row
        self.commit()

    def commit(self):
        if API.duckdb_append_data_chunk(self.appender, self.chunk) or API.duckdb_appender_flush(self.appender):
            raise RuntimeError(API.duckdb_appender_error(self.appender))
