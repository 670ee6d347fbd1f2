"""DuckDB through the C API of the library inside its Python package.

A text is run as DuckDB's own test runner does: `duckdb_query` runs the statements of a text one after the other, each
to its end, and gives the first result that has rows. (The Python API parses the whole text first and gives the last
result, and turns values into Python's.) Values become text by DuckDB's cast to VARCHAR, on the same connection, because
the cast looks at the connection's time zone, for one. For that, a table function gives a result back to DuckDB.
"""

import ctypes
import struct
import threading
from ctypes import byref, c_char_p, c_int64, c_uint64, c_void_p

import _duckdb

LIBRARY = ctypes.CDLL(_duckdb.__file__)
# Qualified: a search for the name would look into the default database, which takes its snapshot then.
RESULTS_FUNCTION = "system.main.quack_testing_result"
BIGINT = 5
DECIMAL = 19
# The types whose values are compared by more than their text, by their numbers in `duckdb.h`.
TYPES = {
    1: "BOOLEAN", 2: "TINYINT", 3: "SMALLINT", 4: "INTEGER", 5: "BIGINT", 6: "UTINYINT", 7: "USMALLINT", 8: "UINTEGER",
    9: "UBIGINT", 10: "FLOAT", 11: "DOUBLE", 16: "HUGEINT", 17: "VARCHAR", 32: "UHUGEINT", 35: "BIGNUM",
}  # fmt: skip
BIND = ctypes.CFUNCTYPE(None, c_void_p)
SCAN = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)


class Error(Exception):
    """DuckDB's error; its text begins with the class."""


class Result(ctypes.Structure):
    _fields_ = [("counts", c_uint64 * 3), ("columns", c_void_p), ("message", c_char_p), ("data", c_void_p)]


def declare(name, result, *arguments):
    function = getattr(LIBRARY, "duckdb_" + name)
    function.restype, function.argtypes = result, arguments
    return function


open_ext = declare("open_ext", ctypes.c_int, c_char_p, c_void_p, c_void_p, c_void_p)
close = declare("close", None, c_void_p)
connect = declare("connect", ctypes.c_int, c_void_p, c_void_p)
disconnect = declare("disconnect", None, c_void_p)
interrupt = declare("interrupt", None, c_void_p)
query = declare("query", ctypes.c_int, c_void_p, c_char_p, c_void_p)
free = declare("free", None, c_void_p)
create_config = declare("create_config", ctypes.c_int, c_void_p)
set_config = declare("set_config", ctypes.c_int, c_void_p, c_char_p, c_char_p)
destroy_config = declare("destroy_config", None, c_void_p)
result_error = declare("result_error", c_char_p, c_void_p)
destroy_result = declare("destroy_result", None, c_void_p)
column_count = declare("column_count", c_uint64, c_void_p)
column_name = declare("column_name", c_char_p, c_void_p, c_uint64)
column_logical_type = declare("column_logical_type", c_void_p, c_void_p, c_uint64)
get_type_id = declare("get_type_id", ctypes.c_int, c_void_p)
decimal_width = declare("decimal_width", ctypes.c_uint8, c_void_p)
decimal_scale = declare("decimal_scale", ctypes.c_uint8, c_void_p)
create_logical_type = declare("create_logical_type", c_void_p, ctypes.c_int)
destroy_logical_type = declare("destroy_logical_type", None, c_void_p)
logical_type_get_alias = declare("logical_type_get_alias", c_void_p, c_void_p)
list_child = declare("list_type_child_type", c_void_p, c_void_p)
array_child = declare("array_type_child_type", c_void_p, c_void_p)
array_size = declare("array_type_array_size", c_uint64, c_void_p)
map_key = declare("map_type_key_type", c_void_p, c_void_p)
map_value = declare("map_type_value_type", c_void_p, c_void_p)
struct_count = declare("struct_type_child_count", c_uint64, c_void_p)
struct_name = declare("struct_type_child_name", c_void_p, c_void_p, c_uint64)
struct_child = declare("struct_type_child_type", c_void_p, c_void_p, c_uint64)
union_count = declare("union_type_member_count", c_uint64, c_void_p)
union_name = declare("union_type_member_name", c_void_p, c_void_p, c_uint64)
union_child = declare("union_type_member_type", c_void_p, c_void_p, c_uint64)
enum_size = declare("enum_dictionary_size", ctypes.c_uint32, c_void_p)
enum_value = declare("enum_dictionary_value", c_void_p, c_void_p, c_uint64)
appender_create_ext = declare("appender_create_ext", ctypes.c_int, c_void_p, c_char_p, c_char_p, c_char_p, c_void_p)
appender_error_data = declare("appender_error_data", c_void_p, c_void_p)
error_data_message = declare("error_data_message", c_char_p, c_void_p)
destroy_error_data = declare("destroy_error_data", None, c_void_p)
appender_end_row = declare("appender_end_row", ctypes.c_int, c_void_p)
append_varchar = declare("append_varchar", ctypes.c_int, c_void_p, c_char_p)
append_null = declare("append_null", ctypes.c_int, c_void_p)
appender_close = declare("appender_close", ctypes.c_int, c_void_p)
appender_destroy = declare("appender_destroy", ctypes.c_int, c_void_p)
fetch_chunk = declare("fetch_chunk", c_void_p, Result)
destroy_data_chunk = declare("destroy_data_chunk", None, c_void_p)
chunk_size = declare("data_chunk_get_size", c_uint64, c_void_p)
set_chunk_size = declare("data_chunk_set_size", None, c_void_p, c_uint64)
chunk_vector = declare("data_chunk_get_vector", c_void_p, c_void_p, c_uint64)
reference_vector = declare("vector_reference_vector", None, c_void_p, c_void_p)
vector_data = declare("vector_get_data", c_void_p, c_void_p)
vector_validity = declare("vector_get_validity", c_void_p, c_void_p)
create_table_function = declare("create_table_function", c_void_p)
destroy_table_function = declare("destroy_table_function", None, c_void_p)
set_name = declare("table_function_set_name", None, c_void_p, c_char_p)
add_parameter = declare("table_function_add_parameter", None, c_void_p, c_void_p)
set_bind = declare("table_function_set_bind", None, c_void_p, BIND)
set_init = declare("table_function_set_init", None, c_void_p, BIND)
set_function = declare("table_function_set_function", None, c_void_p, SCAN)
register_table_function = declare("register_table_function", ctypes.c_int, c_void_p, c_void_p)
bind_get_parameter = declare("bind_get_parameter", c_void_p, c_void_p, c_uint64)
bind_add_result_column = declare("bind_add_result_column", None, c_void_p, c_char_p, c_void_p)
bind_set_bind_data = declare("bind_set_bind_data", None, c_void_p, c_void_p, c_void_p)
function_get_bind_data = declare("function_get_bind_data", c_void_p, c_void_p)
get_int64 = declare("get_int64", c_int64, c_void_p)
destroy_value = declare("destroy_value", None, c_void_p)


class Results:
    """The results that are on their way back to DuckDB, by number."""

    def __init__(self):
        self.lock = threading.Lock()
        self.next_number = 0
        self.results = {}

    def put(self, result):
        with self.lock:
            self.next_number += 1
            self.results[self.next_number] = result
            return self.next_number

    def take(self, number):
        return self.results.pop(number)


RESULTS = Results()


@BIND
def bind(info):
    parameter = c_void_p(bind_get_parameter(info, 0))
    number = get_int64(parameter)
    destroy_value(byref(parameter))
    result = RESULTS.results[number]
    for column in range(column_count(byref(result))):
        with LogicalType(column_logical_type(byref(result), column)) as logical_type:
            bind_add_result_column(info, b"c%d" % column, logical_type)
    bind_set_bind_data(info, number, None)


@BIND
def init(info):
    pass


@SCAN
def scan(info, output):
    result = RESULTS.results[function_get_bind_data(info)]
    chunk = c_void_p(fetch_chunk(result))
    if not chunk:
        set_chunk_size(output, 0)
        return
    for column in range(column_count(byref(result))):
        reference_vector(chunk_vector(output, column), chunk_vector(chunk, column))
    set_chunk_size(output, chunk_size(chunk))
    destroy_data_chunk(byref(chunk))


class LogicalType:
    def __init__(self, handle):
        self.handle = c_void_p(handle)

    def __enter__(self):
        return self.handle

    def __exit__(self, *_):
        destroy_logical_type(byref(self.handle))


class Database:
    """A database of its own; what the worker asks of one."""

    def __init__(self, path, config):
        options = c_void_p()
        create_config(byref(options))
        for name, value in config.items():
            if set_config(options, name.encode(), str(value).encode()):
                raise Error(f"there is no option {name}")
        self.handle, message = c_void_p(), c_char_p()
        failed = open_ext(path.encode(), byref(self.handle), options, byref(message))
        destroy_config(byref(options))
        if failed:
            raise Error(message.value.decode())
        self.register()

    def register(self):
        function = c_void_p(create_table_function())
        set_name(function, RESULTS_FUNCTION.rsplit(".", 1)[1].encode())
        with LogicalType(create_logical_type(BIGINT)) as bigint:
            add_parameter(function, bigint)
        set_bind(function, bind)
        set_init(function, init)
        set_function(function, scan)
        connection = self.cursor()
        failed = register_table_function(connection.handle, function)
        destroy_table_function(byref(function))
        connection.close()
        if failed:
            raise Error("the table function of results cannot be registered")

    def cursor(self):
        return Connection(self.handle)

    def close(self):
        close(byref(self.handle))


class Connection:
    def __init__(self, database):
        self.handle = c_void_p()
        if connect(database, byref(self.handle)):
            raise Error("cannot connect")

    def close(self):
        disconnect(byref(self.handle))

    def interrupt(self):
        interrupt(self.handle)

    def execute(self, sql):
        destroy_result(byref(self.run(sql)))

    def run(self, sql):
        result = Result()
        if query(self.handle, sql.encode(), byref(result)):
            message = result_error(byref(result))
            destroy_result(byref(result))
            raise Error(message.decode(errors="replace") if message else "DuckDB gave no result and no error")
        return result

    def query(self, sql, wanted, whole_types=False):
        """Runs a text; columns, types and rows of its result, as DuckDB writes them, if they are wanted."""
        result = self.run(sql)
        columns, types, rows = [], [], []
        if wanted and result.data:
            for column in range(column_count(byref(result))):
                columns.append(column_name(byref(result), column).decode())
                with LogicalType(column_logical_type(byref(result), column)) as logical_type:
                    types.append(whole_type(logical_type) if whole_types else type_name(logical_type))
            rows = self.rendered(result) if columns else []
        destroy_result(byref(result))
        return columns, types, rows

    def rendered(self, result):
        number = RESULTS.put(result)
        try:
            texts = self.run(f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {RESULTS_FUNCTION}({number})")
        finally:
            RESULTS.take(number)
        rows = list(rows_of_texts(texts))
        destroy_result(byref(texts))
        return rows


    def append(self, table, rows):
        """Appends rows of texts, which DuckDB casts to the columns' types."""
        appender = c_void_p()
        catalog, schema, name = (part.encode() for part in table)
        failed = appender_create_ext(self.handle, catalog, schema, name, byref(appender))
        try:
            for row in rows if not failed else []:
                for value in row:
                    failed = failed or (
                        append_null(appender) if value is None else append_varchar(appender, value.encode())
                    )
                failed = failed or appender_end_row(appender)
            if failed or appender_close(appender):
                error = c_void_p(appender_error_data(appender))
                message = error_data_message(error).decode(errors="replace")
                destroy_error_data(byref(error))
                raise Error(message)
        finally:
            appender_destroy(byref(appender))


def taken_text(pointer):
    """A text that DuckDB has allocated for its caller."""
    text = ctypes.cast(pointer, c_char_p).value.decode()
    free(pointer)
    return text


def child_type(handle):
    with LogicalType(handle) as child:
        return whole_type(child)


def fields(logical_type, count, name, child):
    names = [taken_text(name(logical_type, field)) for field in range(count(logical_type))]
    return ", ".join(f"{text} {child_type(child(logical_type, field))}" for field, text in enumerate(names))


# What is inside of nested types, by their numbers in `duckdb.h`.
INSIDES = {
    23: lambda t: f"ENUM({', '.join(taken_text(enum_value(t, value)) for value in range(enum_size(t)))})",
    24: lambda t: child_type(list_child(t)) + "[]",
    25: lambda t: f"STRUCT({fields(t, struct_count, struct_name, struct_child)})",
    26: lambda t: f"MAP({child_type(map_key(t))}, {child_type(map_value(t))})",
    28: lambda t: f"UNION({fields(t, union_count, union_name, union_child)})",
    33: lambda t: f"{child_type(array_child(t))}[{array_size(t)}]",
}


def whole_type(logical_type):
    """The type with all that is in it, and with its alias if it has one."""
    inside = INSIDES.get(get_type_id(logical_type), type_name)(logical_type)
    alias = logical_type_get_alias(logical_type)
    return f"{taken_text(alias)}: {inside}" if alias else inside


def type_name(logical_type):
    number = get_type_id(logical_type)
    if number == DECIMAL:
        return f"DECIMAL({decimal_width(logical_type)},{decimal_scale(logical_type)})"
    return TYPES.get(number, f"type {number}")


def rows_of_texts(result):
    width = column_count(byref(result))
    while chunk := c_void_p(fetch_chunk(result)):
        size = chunk_size(chunk)
        yield from zip(*[texts_of_vector(chunk_vector(chunk, column), size) for column in range(width)])
        destroy_data_chunk(byref(chunk))


def texts_of_vector(vector, size):
    """A VARCHAR of up to 12 bytes stands in its place, a longer one behind a pointer."""
    places = ctypes.string_at(vector_data(vector), 16 * size)
    mask = vector_validity(vector)
    valid = struct.unpack(f"<{(size + 63) // 64}Q", ctypes.string_at(mask, (size + 63) // 64 * 8)) if mask else None
    texts = []
    for row in range(size):
        if valid and not valid[row // 64] >> (row % 64) & 1:
            texts.append(None)
            continue
        length, _, pointer = struct.unpack_from("<IIQ", places, 16 * row)
        inline = places[16 * row + 4 : 16 * row + 4 + length]
        texts.append((inline if length <= 12 else ctypes.string_at(pointer, length)).decode())
    return texts
