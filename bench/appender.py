"""DuckDB's appender through its C API, which the Python package exports: the ceiling for inserts.

It is the fastest way into a table that a client has: typed chunks go in without SQL or a plan. They are filled
beforehand except for their keys, and appended and committed batch by batch, into a file without a WAL.
"""

import array
import ctypes

import _duckdb

API = ctypes.CDLL(_duckdb.__file__)
BIGINT, INTEGER, VARCHAR = 5, 4, 17
CHUNK_ROWS_MAX = 2048
# Made beforehand and copied into place a chunk at a time: in Python, setting each would be the larger part.
KEYS = 2**22
ASCENDING = (ctypes.c_int64 * KEYS).from_buffer(array.array("q", range(KEYS)))
for _name in (
    "duckdb_create_logical_type",
    "duckdb_create_data_chunk",
    "duckdb_data_chunk_get_vector",
    "duckdb_vector_get_data",
):
    getattr(API, _name).restype = ctypes.c_void_p
API.duckdb_appender_error.restype = ctypes.c_char_p
API.duckdb_data_chunk_set_size.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
API.duckdb_vector_get_data.argtypes = [ctypes.c_void_p]
API.duckdb_data_chunk_get_vector.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
API.duckdb_vector_assign_string_element_len.argtypes = [
    ctypes.c_void_p,
    ctypes.c_uint64,
    ctypes.c_char_p,
    ctypes.c_uint64,
]
API.duckdb_append_data_chunk.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
API.duckdb_appender_flush.argtypes = [ctypes.c_void_p]
API.duckdb_appender_error.argtypes = [ctypes.c_void_p]


class Appender:
    """Appends rows (BIGINT PRIMARY KEY, INTEGER, VARCHAR) to the table `t` of a database file of its own."""

    def __init__(self, path, batch_rows, payload):
        self.chunk_rows = min(batch_rows, CHUNK_ROWS_MAX)
        # The rest of a batch that is no multiple of a chunk is left out.
        self.chunks = batch_rows // self.chunk_rows
        self.rows = self.chunks * self.chunk_rows
        self.database, self.connection, self.appender = (ctypes.c_void_p() for _ in range(3))
        self.check(API.duckdb_open(None, ctypes.byref(self.database)))
        self.check(API.duckdb_connect(self.database, ctypes.byref(self.connection)))
        self.query("SET checkpoint_threshold = '1TB'")
        self.query(f"ATTACH '{path}' AS store (RECOVERY_MODE no_wal_writes)")
        self.query("USE store")
        self.query("CREATE TABLE t (id BIGINT PRIMARY KEY, tenant INTEGER, payload VARCHAR)")
        created = ctypes.byref(self.appender)
        self.check(API.duckdb_appender_create_ext(self.connection, b"store", b"main", b"t", created))
        self.make_chunk(payload)

    def make_chunk(self, payload):
        types = (ctypes.c_void_p * 3)(*(API.duckdb_create_logical_type(kind) for kind in (BIGINT, INTEGER, VARCHAR)))
        self.chunk = ctypes.c_void_p(API.duckdb_create_data_chunk(types, ctypes.c_uint64(3)))
        API.duckdb_data_chunk_set_size(self.chunk, self.chunk_rows)
        vectors = [API.duckdb_data_chunk_get_vector(self.chunk, i) for i in range(3)]
        self.keys = API.duckdb_vector_get_data(vectors[0])
        tenants = ctypes.cast(API.duckdb_vector_get_data(vectors[1]), ctypes.POINTER(ctypes.c_int32))
        for row in range(self.chunk_rows):
            tenants[row] = row % 17
            API.duckdb_vector_assign_string_element_len(vectors[2], row, payload, len(payload))

    def query(self, sql):
        self.check(API.duckdb_query(self.connection, sql.encode(), None))

    def check(self, state):
        if state != 0:
            raise RuntimeError("DuckDB's C API refused a call")

    def append(self, first_key):
        """Appends and commits one batch whose keys begin at `first_key`; returns its rows."""
        for chunk in range(self.chunks):
            self.set_keys(first_key + chunk * self.chunk_rows)
            if API.duckdb_append_data_chunk(self.appender, self.chunk):
                raise RuntimeError(API.duckdb_appender_error(self.appender))
        if API.duckdb_appender_flush(self.appender):
            raise RuntimeError(API.duckdb_appender_error(self.appender))
        return self.rows

    def set_keys(self, first_key):
        if first_key + self.chunk_rows > KEYS:
            raise IndexError(f"there are {KEYS} keys")
        source = ctypes.addressof(ASCENDING) + 8 * first_key
        ctypes.memmove(self.keys, source, 8 * self.chunk_rows)

    def close(self):
        API.duckdb_appender_destroy(ctypes.byref(self.appender))
        API.duckdb_disconnect(ctypes.byref(self.connection))
        API.duckdb_close(ctypes.byref(self.database))
