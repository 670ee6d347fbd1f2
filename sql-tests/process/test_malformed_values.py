"""Values that no client would send, and that DuckDB's deserializer takes as they come.

Each is refused in words before anything of its message is written, inside every type; the node goes on,
also after `kill -9`. Values at the borders of the same types are taken. What SQL itself makes out of range is refused by the
entry of the log that would store it, on all nodes alike.
"""

import itertools
import re
import struct

import pytest

from quack_testing import node as nodes
from quack_testing import wire

BOOLEAN, INTEGER, BIGINT = wire.Fixed(10, 1), wire.Fixed(13, 4), wire.Fixed(14, 8)
UTINYINT, UINTEGER = wire.Fixed(28, 1), wire.Fixed(30, 4)
DATE, TIME, VARCHAR, BLOB = wire.Fixed(15, 4), wire.Fixed(16, 8), wire.Text(25), wire.Text(26)
MOOD = wire.enum([b"sad", b"ok", b"happy"])
LARGE_ENUM = wire.enum([b"%d" % i for i in range(300)])
DAY = 86_400_000_000
INFINITY = (1 << 63) - 1
FIRST_TIMESTAMP, LAST_TIMESTAMP = -9_223_372_022_400_000_000, INFINITY - 1
UNION = wire.Struct([("", UTINYINT), ("num", INTEGER), ("txt", VARCHAR)], number=107)
PAIR = wire.Struct([("a", BOOLEAN), ("b", TIME)])
MAP = wire.List(wire.Struct([("key", VARCHAR), ("value", BOOLEAN)]), number=102)
# The field says that it is WKB; without it, it is the form of DuckDB 1.4.
GEOMETRY = wire.Text(60, before=wire.field(99, wire.unsigned(1)))
LEGACY_GEOMETRY = wire.Text(60)
VARIANT = wire.Struct(
    [
        ("keys", wire.List(VARCHAR)),
        ("children", wire.List(wire.Struct([("keys_index", UINTEGER), ("values_index", UINTEGER)]))),
        ("values", wire.List(wire.Struct([("type_id", UTINYINT), ("byte_offset", UINTEGER)]))),
        ("data", BLOB),
    ],
    number=109,
)
NOT_WITHIN_A_DAY, OUT_OF_RANGE = "it is not within a day", "it is out of range"


def tz(micros, bits):
    return micros << 24 | bits


def point(order=1, meta=1):
    return struct.pack("<BIdd" if order == 1 else ">BIdd", order, meta, 1, 2)


def bignum(*digits, length=None, negative=False):
    size = len(digits) if length is None else length
    number = bytes([0x80 | size >> 16, size >> 8 & 0xFF, size & 0xFF, *digits])
    return bytes(0xFF - byte for byte in number) if negative else number


def scalar(type_id, data=b""):
    return ([], [], [(type_id, 0)], data)


def nested(levels):
    """Arrays within arrays. A value is numbered before what is in it."""
    parts = [b"\x01" + wire.unsigned(i) for i in range(levels - 1)] + [b"\x00"]
    offsets = itertools.accumulate((len(part) for part in parts[:-1]), initial=0)
    return ([], [(None, i + 1) for i in range(levels - 1)], [(30, offset) for offset in offsets], b"".join(parts))


OBJECT = ([b"k"], [(0, 1)], [(29, 0), (1, 2)], b"\x01\x00")
ARRAY = ([], [(None, 1), (None, 2)], [(30, 0), (1, 2), (2, 2)], b"\x02\x00")

# By name: the type in SQL, the type in messages, values that it does not have with what is said of them, and values at its
# borders with how they read.
TYPES = {
    "boolean": ("BOOLEAN", BOOLEAN, [(77, "neither true nor false"), (2, "neither")], [(0, "false"), (1, "true")]),
    "date": (
        "DATE",
        DATE,
        [(-(1 << 31), OUT_OF_RANGE)],
        [
            ((1 << 31) - 1, "infinity"),
            (-(1 << 31) + 1, "-infinity"),
            (-(1 << 31) + 2, "5877642-06-25 (BC)"),
            ((1 << 31) - 2, "5881580-07-10"),
        ],
    ),
    "time": (
        "TIME",
        TIME,
        [(1 << 62, NOT_WITHIN_A_DAY), (-1, NOT_WITHIN_A_DAY), (DAY + 1, NOT_WITHIN_A_DAY)],
        [(0, "00:00:00"), (DAY, "24:00:00")],
    ),
    "time_ns": (
        "TIME_NS",
        wire.Fixed(35, 8),
        [(1 << 62, NOT_WITHIN_A_DAY), (-1, NOT_WITHIN_A_DAY), (DAY * 1000 + 1, NOT_WITHIN_A_DAY)],
        [(0, "00:00:00"), (DAY * 1000, "24:00:00")],
    ),
    "timetz": (
        "TIMETZ",
        wire.Fixed(34, 8),
        [
            (tz(DAY + 1, 57599), NOT_WITHIN_A_DAY),
            (1 << 63, NOT_WITHIN_A_DAY),
            (tz(0, 2 * 57599 + 1), "its offset is out of range"),
            (tz(0, 0xFFFFFF), "its offset is out of range"),
        ],
        [(tz(0, 57599), "00:00:00+00"), (tz(DAY, 2 * 57599), "24:00:00-15:59:59"), (tz(DAY, 0), "24:00:00+15:59:59")],
    ),
    "timestamp_s": (
        "TIMESTAMP_S",
        wire.Fixed(17, 8),
        [(1 << 62, OUT_OF_RANGE), (-(1 << 63), OUT_OF_RANGE), (LAST_TIMESTAMP // 10**6 + 1, OUT_OF_RANGE)],
        [
            (INFINITY, "infinity"),
            (-INFINITY, "-infinity"),
            (FIRST_TIMESTAMP // 10**6, "290309-12-22 (BC) 00:00:00"),
            (LAST_TIMESTAMP // 10**6, "294247-01-10 04:00:54"),
        ],
    ),
    "timestamp_ms": (
        "TIMESTAMP_MS",
        wire.Fixed(18, 8),
        [(1 << 62, OUT_OF_RANGE), (-(1 << 63), OUT_OF_RANGE), (FIRST_TIMESTAMP // 1000 - 1, OUT_OF_RANGE)],
        [
            (INFINITY, "infinity"),
            (FIRST_TIMESTAMP // 1000, "290309-12-22 (BC) 00:00:00"),
            (LAST_TIMESTAMP // 1000, "294247-01-10 04:00:54.775"),
        ],
    ),
    "timestamp": (
        "TIMESTAMP",
        wire.Fixed(19, 8),
        [(FIRST_TIMESTAMP - 1, OUT_OF_RANGE), (-(1 << 63), OUT_OF_RANGE)],
        [
            (INFINITY, "infinity"),
            (-INFINITY, "-infinity"),
            (FIRST_TIMESTAMP, "290309-12-22 (BC) 00:00:00"),
            (LAST_TIMESTAMP, "294247-01-10 04:00:54.775806"),
        ],
    ),
    "timestamptz": (
        "TIMESTAMPTZ",
        wire.Fixed(32, 8),
        [(FIRST_TIMESTAMP - 1, OUT_OF_RANGE), (-(1 << 63), OUT_OF_RANGE)],
        [(INFINITY, "infinity"), (0, "1970-01-01 00:00:00+00")],
    ),
    "timestamp_ns": (
        "TIMESTAMP_NS",
        wire.Fixed(20, 8),
        [],
        [
            (-(1 << 63), "1677-09-21 00:12:43.145224192"),
            (INFINITY, "infinity"),
            (INFINITY - 1, "2262-04-11 23:47:16.854775806"),
        ],
    ),
    "interval": (
        "INTERVAL",
        wire.Fixed(27, 16),
        [],
        [
            (struct.pack("<iiq", -(1 << 31), 0, 0), "-178956970 years -8 months"),
            (struct.pack("<iiq", 0, -(1 << 31), 0), "-2147483648 days"),
            (struct.pack("<iiq", 0, 0, -(1 << 63)), "-2562047788:00:54.775808"),
        ],
    ),
    "decimal_4": (
        "DECIMAL(4,1)",
        wire.decimal(4, 1),
        [(10_000, "more digits"), (-10_000, "more digits"), (-(1 << 15), "more digits")],
        [(9_999, "999.9"), (-9_999, "-999.9")],
    ),
    "decimal_9": (
        "DECIMAL(9,0)",
        wire.decimal(9, 0),
        [(10**9, "more digits"), (-(1 << 31), "more digits")],
        [(10**9 - 1, "9" * 9)],
    ),
    "decimal_18": (
        "DECIMAL(18,3)",
        wire.decimal(18, 3),
        [(10**18, "more digits"), (-(1 << 63), "more digits")],
        [(1 - 10**18, "-" + "9" * 15 + ".999")],
    ),
    "decimal_38": (
        "DECIMAL(38,0)",
        wire.decimal(38, 0),
        [(10**38, "more digits"), (-(1 << 127), "more digits"), ((1 << 127) - 1, "more digits")],
        [(10**38 - 1, "9" * 38), (1 - 10**38, "-" + "9" * 38)],
    ),
    "enum": (
        "ENUM ('sad', 'ok', 'happy')",
        MOOD,
        [(3, "no such value"), (255, "no such value")],
        [(0, "sad"), (2, "happy")],
    ),
    "enum_of_300": (
        "ENUM (" + ", ".join(f"'{i}'" for i in range(300)) + ")",
        LARGE_ENUM,
        [(300, "no such value"), (65_535, "no such value")],
        [(299, "299")],
    ),
    "enum_as_text": ("VARCHAR", MOOD, [(3, "no such value"), (200, "no such value")], [(1, "ok")]),
    "text": (
        "VARCHAR",
        VARCHAR,
        [(b"\xff", "not UTF-8"), (b"a\xc3", "not UTF-8"), (b"\xed\xa0\x80", "not UTF-8"), (b"x" * 20 + b"\x80", "not UTF-8")],
        [(b"", ""), ("h\u00e4\U0001f986".encode(), "h\u00e4\U0001f986"), (b"\xf4\x8f\xbf\xbf", "\U0010ffff")],
    ),
    "bit": (
        "BIT",
        wire.Text(36),
        [
            (b"", "no bits"),
            (b"\x00", "no bits"),
            (b"\x08\xff", "padding is longer"),
            (b"\xff\xff", "padding is longer"),
            (b"\x07\x01", "not of ones"),
        ],
        [(b"\x07\xff", "1"), (b"\x00\x81", "10000001"), (b"\x04\xf5\x80", "010110000000")],
    ),
    "bignum": (
        "BIGNUM",
        wire.Text(39),
        [
            (b"", "no digits"),
            (b"\x80", "no digits"),
            (b"\x80\x00\x01", "no digits"),
            (bignum(5, length=2), "not the one that it says"),
            (bignum(5, length=0x7FFFFF), "not the one that it says"),
            (bignum(0, 5), "begins with zeroes"),
            (bignum(0, negative=True), "minus zero"),
        ],
        [(bignum(0), "0"), (bignum(5), "5"), (bignum(1, 0), "256"), (bignum(1, 0, negative=True), "-256")],
    ),
    "uuid": (
        "UUID",
        wire.Fixed(54, 16),
        [],
        [(0, "80000000-0000-0000-0000-000000000000"), (-1, "7fffffff-ffff-ffff-ffff-ffffffffffff")],
    ),
    "hugeint": ("HUGEINT", wire.Fixed(50, 16), [], [(-(1 << 127), str(-(1 << 127)))]),
    "geometry": (
        "GEOMETRY",
        GEOMETRY,
        [
            (b"", "well-formed"),
            (b"\x01", "well-formed"),
            (point()[:-1], "well-formed"),
            (point() + b"\x00", "well-formed"),
            (point(meta=8), "well-formed"),
            (point(meta=9001), "well-formed"),
            (point(order=0), "little-endian"),
            (b"\x07" + point(order=0)[1:], "little-endian"),
            (struct.pack("<BIII", 1, 2, 0xFFFFFFFF, 0), "well-formed"),
            (struct.pack("<BII", 1, 7, 0xFFFFFFFF), "well-formed"),
            (struct.pack("<BII", 1, 7, 1) * 100 + point(), "well-formed"),
            (struct.pack("<BIIdd", 1, 0x20000001, 4326, 1, 2), "little-endian"),
        ],
        [(point(), "POINT (1 2)"), (struct.pack("<BII", 1, 7, 0), "GEOMETRYCOLLECTION EMPTY")],
    ),
    "legacy_geometry": ("GEOMETRY", LEGACY_GEOMETRY, [(b"", ""), (b"\x00" * 9, ""), (b"\xff" * 40, "")], []),
    "union": (
        "UNION (num INTEGER, txt VARCHAR)",
        UNION,
        [
            ((200, 1, None), "tag is that of no member"),
            ((2, None, None), "tag is that of no member"),
            ((None, 1, None), "tag is NULL"),
            ((0, None, b"x"), "another member"),
            ((0, 1, b"x"), "more than one member"),
            ((1, None, b"\xff"), "not UTF-8"),
        ],
        [((0, 5, None), "5"), ((1, None, b"five"), "five"), (wire.Null((9, 1, b"\xff")), None), ((0, None, None), "NULL")],
    ),
    "struct": (
        "STRUCT (a BOOLEAN, b TIME)",
        PAIR,
        [((7, 0), "BOOLEAN: it is neither"), ((0, -5), "TIME: it is not within a day")],
        [((1, DAY), "{'a': true, 'b': '24:00:00'}"), (wire.Null((99, -1)), None)],
    ),
    "list": (
        "BOOLEAN[]",
        wire.List(BOOLEAN),
        [([0, 77], "BOOLEAN: it is neither")],
        [([0, 1], "[false, true]"), ([], "[]"), (None, None), ([None], "[NULL]")],
    ),
    "list_of_lists": (
        "DATE[][]",
        wire.List(wire.List(DATE)),
        [([[0], [1, -(1 << 31)]], "DATE: it is out of range")],
        [([[0], []], "[[1970-01-01], []]")],
    ),
    "array": (
        "TIME[2]",
        wire.Array(TIME, 2),
        [([0, 1 << 62], "TIME: it is not within a day")],
        [([0, DAY], "['00:00:00', '24:00:00']"), (wire.Null((-1, -1)), None)],
    ),
    "map": (
        "MAP (VARCHAR, BOOLEAN)",
        MAP,
        [
            ([(None, 1)], "a key is NULL"),
            ([(b"k", 1), (b"k", 0)], "a key is there twice"),
            ([(b"k", 9)], "BOOLEAN: it is neither"),
            ([(b"\xff", 1)], "VARCHAR: it is not UTF-8"),
            ([wire.Null((b"k", 1))], "a key is NULL"),
        ],
        [([(b"k", 1), (b"l", None)], "{k=true, l=NULL}"), ([], "{}")],
    ),
    "variant": (
        "VARIANT",
        VARIANT,
        [
            ((None, [], [(1, 0)], b""), "a part of it is NULL"),
            (([], None, [(1, 0)], b""), "a part of it is NULL"),
            (([], [], None, b""), "a part of it is NULL"),
            (([], [], [(1, 0)], None), "a part of it is NULL"),
            (([], [], [], b""), "it has no value"),
            (scalar(35), "a type that there is not"),
            (scalar(255), "a type that there is not"),
            (scalar(0), "a NULL in itself"),
            (([], [], [(1, 1)], b""), "beyond its data"),
            (([], [], [(1, 0xFFFFFFFF)], b""), "beyond its data"),
            (([], [], [(None, 0)], b""), "no type or no place"),
            (([], [], [(1, None)], b""), "no type or no place"),
            (scalar(5, b"\x01\x02\x03"), "beyond its data"),
            (scalar(18, b"\x00" * 15), "beyond its data"),
            (scalar(16, b"\x05abc"), "beyond its data"),
            (scalar(16, b"\xff\xff\xff\xff\x0fabc"), "beyond its data"),
            (scalar(16, b"\xff" * 10), "beyond its data"),
            (scalar(16, b"\x80"), "beyond its data"),
            (scalar(16, b"\x01\xff"), "not UTF-8"),
            (scalar(19, struct.pack("<i", -(1 << 31))), OUT_OF_RANGE),
            (scalar(20, struct.pack("<q", 1 << 62)), NOT_WITHIN_A_DAY),
            (scalar(21, struct.pack("<q", -1)), NOT_WITHIN_A_DAY),
            (scalar(22, struct.pack("<q", 1 << 62)), OUT_OF_RANGE),
            (scalar(23, struct.pack("<q", 1 << 62)), OUT_OF_RANGE),
            (scalar(24, struct.pack("<q", -(1 << 63))), OUT_OF_RANGE),
            (scalar(26, struct.pack("<Q", 0xFFFFFF)), "offset is out of range"),
            (scalar(27, struct.pack("<q", -(1 << 63))), OUT_OF_RANGE),
            (scalar(15, b"\x27\x00" + bytes(16)), "no such width and scale"),
            (scalar(15, b"\x04\x05" + bytes(2)), "no such width and scale"),
            (scalar(15, b"\x00\x00" + bytes(2)), "no such width and scale"),
            (scalar(15, b"\x04\x01" + bytes(1)), "beyond its data"),
            (scalar(15, b"\x04\x01" + struct.pack("<h", 10_000)), "wider than it says"),
            (scalar(31, b"\x01\x80"), "no digits"),
            (scalar(32, b"\x01\x00"), "no bits"),
            (scalar(33, b"\x01\x01"), "well-formed"),
            ((*OBJECT[:3], b"\x05\x00"), "children that there are not"),
            ((*OBJECT[:3], b"\x01\x01"), "children that there are not"),
            ((*OBJECT[:3], b"\x01"), "beyond its data"),
            (([b"k"], [(1, 1)], *OBJECT[2:]), "the key that it needs"),
            (([b"k"], [(None, 1)], *OBJECT[2:]), "the key that it needs"),
            (([None], *OBJECT[1:]), "a key inside is NULL"),
            (([b"\xff"], *OBJECT[1:]), "not UTF-8"),
            (([b"k"], [(0, 2)], *OBJECT[2:]), "a value that there is not"),
            (([b"k"], [(0, None)], *OBJECT[2:]), "a value that there is not"),
            (([b"k"], [(0, 0)], *OBJECT[2:]), "two parents"),
            (([], [(0, 1), (None, 2)], *ARRAY[2:]), "the key that it needs"),
            (([], [(None, 1), (None, 1)], *ARRAY[2:]), "two parents"),
            (([], [(None, 1), (None, 0)], [(30, 0), (30, 2)], b"\x01\x00\x01\x01"), "two parents"),
            (([], [(None, 1)], [(30, 0)] * 2, b"\x01\x00"), "children that there are not"),
            (nested(1001), "nested too deeply"),
            (nested(100_000), "nested too deeply"),
        ],
        [
            (scalar(1), "true"),
            (scalar(5, struct.pack("<i", 42)), "42"),
            (scalar(16, b"\x03abc"), "abc"),
            (scalar(20, struct.pack("<q", DAY)), "24:00:00"),
            (scalar(15, b"\x04\x01" + struct.pack("<h", 9_999)), "999.9"),
            (OBJECT, "{'k': true}"),
            (ARRAY, "[true, false]"),
            (nested(3), "[[[]]]"),
            (wire.Null((None, None, None, None)), None),
            (wire.Null(([], [], [(99, 99)], b"")), None),
        ],
    ),
    "variant_as_text": ("VARCHAR", VARIANT, [(scalar(16, b"\x05abc"), "beyond its data")], [(scalar(16, b"\x03abc"), "abc")]),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with nodes.serving(nodes.Node(tmp_path_factory.mktemp("values"))) as server:
        yield server


class Client:
    def __init__(self, server):
        self.server, self.endpoint = server, wire.Endpoint(server.url)
        self.session = self.endpoint.connect(nodes.TOKEN)

    def append(self, table, rows, types, vectors):
        return self.endpoint.post(wire.append_request(self.session, table, rows, types, vectors))

    def refused(self, table, rows, types, vectors, text):
        answer = self.append(table, rows, types, vectors)
        assert answer.status == 500 or answer.kind == wire.ERROR_RESPONSE, ("taken", answer.status, answer.body)
        assert re.search(text, answer.error), (text, answer.error)
        assert "INTERNAL" not in answer.error and "FATAL" not in answer.error, answer.error
        assert self.endpoint.post(wire.prepare_request(self.session, "SELECT 1")).kind == wire.PREPARE_RESPONSE
        assert self.server.value(f"SELECT count(*) FROM {table}") == 0

    def taken(self, table, rows, types, vectors):
        answer = self.append(table, rows, types, vectors)
        assert answer.kind == wire.SUCCESS_RESPONSE, answer.error or answer.body


@pytest.fixture
def client(server):
    client = Client(server)
    yield client
    client.endpoint.post(wire.disconnect(client.session))


@pytest.mark.parametrize("name", TYPES)
def test_values_that_a_type_does_not_have_are_refused(server, client, name):
    sql_type, of_type, malformed, valid = TYPES[name]
    table = f"of_{name}"
    server.sql(f"CREATE OR REPLACE TABLE {table} (id BIGINT, x {sql_type})")
    types = [BIGINT.type, of_type.type]
    column = f'column "x" of table "{table}": ' if name != "legacy_geometry" else ""
    for value, text in malformed:
        said = f"{column}.*({text})"
        client.refused(table, 1, types, [BIGINT.vector([1]), of_type.vector([value])], said)
        # Among others.
        values = [valid[0][0] if valid else None, None, value]
        client.refused(table, 3, types, [BIGINT.vector([1, 2, 3]), of_type.vector(values)], said)
    for i, (value, _) in enumerate(valid):
        client.taken(table, 1, types, [BIGINT.vector([i]), of_type.vector([value])])
    client.taken(table, 1, types, [BIGINT.vector([len(valid)]), of_type.vector([None])])
    expected = [(i, text) for i, (_, text) in enumerate(valid)] + [(len(valid), None)]
    assert server.sql(f"SELECT id, x::VARCHAR FROM {table} ORDER BY id") == expected
    # Found by its bytes, and updated to itself.
    server.sql(f"UPDATE {table} SET x = x")
    server.sql(f"DELETE FROM {table} WHERE id % 2 = 0")
    assert server.value(f"SELECT count(*) FROM {table}") == len(expected) // 2


def test_constants_dictionaries_and_sequences_are_checked_as_well(server, client):
    server.sql("CREATE OR REPLACE TABLE forms (id BIGINT, x TIME)")
    types = [BIGINT.type, TIME.type]
    ids = wire.sequence(1, 1)
    for vector in (wire.constant(TIME, -1), wire.dictionary(TIME, [0, -1], [0, 1, 0])):
        client.refused("forms", 3, types, [ids, vector], 'column "x" of table "forms": TIME: ' + NOT_WITHIN_A_DAY)
    out_of_type = "its numbers are not those of its type"
    for ids_type, start, increment in ((13, 1 << 40, 1), (13, (1 << 31) - 2, 1), (11, 127, 1), (14, INFINITY, 1), (15, 0, 1)):
        ids_of = [wire.logical_type(ids_type), TIME.type]
        client.refused("forms", 3, ids_of, [wire.sequence(start, increment), wire.constant(TIME, 0)], out_of_type)
    # What is selected from beyond its end, and what nothing selects.
    client.refused("forms", 3, types, [ids, wire.dictionary(TIME, [0], [0, 1, 0])], "dictionary selection")
    client.taken("forms", 3, types, [ids, wire.dictionary(TIME, [7, -1], [0, 0, 0])])
    client.taken("forms", 2, types, [ids, wire.constant(TIME, DAY)])
    expected = [(1, "00:00:00.000007"), (1, "24:00:00"), (2, "00:00:00.000007"), (2, "24:00:00"), (3, "00:00:00.000007")]
    assert server.sql("SELECT id, x::VARCHAR FROM forms ORDER BY ALL") == expected


def test_elements_of_no_list_are_no_values(server, client):
    server.sql("CREATE OR REPLACE TABLE elements (x ENUM ('sad', 'ok', 'happy')[])")
    server.sql("CREATE OR REPLACE TABLE texts (x VARCHAR[])")
    moods = wire.List(MOOD)
    for table in ("elements", "texts"):
        for entries in ([(0, 2), (1, 1)], [(1, 1), (0, 1)], [(0, 3)]):
            vector = moods.vector_of(entries, [1, 2, 99, 200])
            if entries == [(0, 3)]:
                client.refused(table, 1, [moods.type], [vector], 'column "x".*ENUM: its type has no such value')
        client.taken(table, 2, [moods.type], [moods.vector_of([(1, 1), (0, 2)], [1, 2, 99, 200])])
        assert server.sql(f"SELECT x::VARCHAR FROM {table} ORDER BY 1") == [("[happy]",), ("[ok, happy]",)]


MALFORMED_TYPES = {
    "union_without_members": wire.Struct([("", UTINYINT)], number=107),
    "union_with_another_tag": wire.Struct([("", BIGINT), ("a", BIGINT)], number=107),
    "map_of_numbers": wire.List(INTEGER, number=102),
    "map_of_three": wire.List(wire.Struct([("a", BIGINT), ("b", BIGINT), ("c", BIGINT)]), number=102),
    "variant_of_other_parts": wire.Struct([("a", BIGINT)], number=109),
    "struct_of_nothing": wire.Struct([]),
    "array_of_nothing": wire.Array(BIGINT, 0),
    "enum_that_is_not_utf8": wire.enum([b"\xff"]),
    "decimal_of_more_scale_than_width": wire.decimal(4, 9),
    "list_of_char": wire.List(wire.Text(24)),
}


@pytest.mark.parametrize("name", MALFORMED_TYPES)
def test_types_whose_parts_do_not_belong_together_are_refused(server, client, name):
    server.sql("CREATE OR REPLACE TABLE any_type (x VARCHAR)")
    malformed = MALFORMED_TYPES[name]
    client.refused("any_type", 1, [malformed.type], [malformed.vector([None])], "Malformed type|invalid DECIMAL|array size")


def test_a_refused_message_takes_its_transaction_with_it(server, client):
    server.sql("CREATE OR REPLACE TABLE in_transaction (x TIME)")
    client.endpoint.post(wire.prepare_request(client.session, "BEGIN"))
    client.append("in_transaction", 1, [TIME.type], [TIME.vector([-1])])
    client.endpoint.post(wire.prepare_request(client.session, "COMMIT"))
    client.endpoint.post(wire.prepare_request(client.session, "ROLLBACK"))
    assert server.value("SELECT count(*) FROM in_transaction") == 0
    client.taken("in_transaction", 1, [TIME.type], [TIME.vector([5])])


def test_values_that_sql_makes_out_of_range_are_refused_by_their_entry(server):
    # DuckDB makes them, and cannot show them: the cast of one ends its database.
    server.sql("CREATE OR REPLACE TABLE made (id BIGINT PRIMARY KEY, x TIMESTAMP)")
    server.sql("INSERT INTO made VALUES (1, '2026-01-01'), (2, '2026-01-02')")
    server.sql("CREATE OR REPLACE TABLE numbers AS SELECT -9223372036854775806 AS x")
    for statement in (
        "INSERT INTO made VALUES (3, make_timestamp(-9223372036854775806))",
        "INSERT INTO made SELECT 3, make_timestamp(x) FROM numbers",
        "UPDATE made SET x = make_timestamp(numbers.x) FROM numbers WHERE id = 1",
        "CREATE TABLE made_of AS SELECT make_timestamp(x) AS x FROM numbers",
    ):
        with pytest.raises(Exception, match='column "x" of table "made.*": TIMESTAMP: it is out of range'):
            server.sql(statement)
    assert server.sql("SELECT id, x::VARCHAR FROM made ORDER BY id") == [
        (1, "2026-01-01 00:00:00"),
        (2, "2026-01-02 00:00:00"),
    ]
    server.sql("UPDATE made SET x = '2026-01-03' WHERE id = 1")


def test_all_nodes_refuse_such_an_entry_alike(cluster):
    leader = cluster.leader()
    follower = cluster.others(leader)[0]
    follower.sql("CREATE TABLE made (id BIGINT PRIMARY KEY, x TIMESTAMP)")
    cluster.wait_equal()
    for node in (leader, follower):
        with pytest.raises(Exception, match=f'column "x" of table "made": TIMESTAMP: {OUT_OF_RANGE}'):
            node.sql("INSERT INTO made VALUES (1, make_timestamp(-9223372036854775806))")
        # All of the transaction is refused.
        node.sql("BEGIN", "open")
        node.sql("INSERT INTO made VALUES (2, '2026-01-02')", "open")
        node.sql("INSERT INTO made VALUES (3, make_timestamp(-9223372036854775806))", "open")
        with pytest.raises(Exception, match=OUT_OF_RANGE):
            node.sql("COMMIT", "open")
    client = Client(follower)
    client.refused("made", 1, [BIGINT.type, TIME.type], [BIGINT.vector([1]), TIME.vector([-1])], NOT_WITHIN_A_DAY)
    follower.sql("INSERT INTO made VALUES (1, '2026-01-01')")
    cluster.wait_equal()
    leader.kill_and_start()
    cluster.wait_equal()
    for node in cluster.alive():
        assert node.sql("SELECT id, x::VARCHAR FROM made") == [(1, "2026-01-01 00:00:00")]


def test_nothing_of_it_is_there_after_a_kill(server, client):
    server.sql("CREATE OR REPLACE TABLE killed (x TIME)")
    client.refused("killed", 1, [TIME.type], [TIME.vector([1 << 62])], NOT_WITHIN_A_DAY)
    with pytest.raises(Exception, match="out of range"):
        server.sql("CREATE TABLE made_killed AS SELECT make_timestamp(-9223372036854775806) AS x")
    client.taken("killed", 1, [TIME.type], [TIME.vector([DAY])])
    server.kill_and_start()
    assert server.sql("SELECT x::VARCHAR FROM killed") == [("24:00:00",)]
    server.sql("CREATE INDEX killed_index ON killed ((x::VARCHAR))")
    server.sql("INSERT INTO killed VALUES ('01:02:03')")
    assert server.value("SELECT count(*) FROM killed") == 2
