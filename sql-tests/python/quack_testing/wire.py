"""Messages of protocol 1, made by hand, so that a test can send what no client would.

Source: DuckDB's BinarySerializer. An object is a sequence of fields, each a little-endian u16 id and a
value, closed by 0xFFFF; integers are LEB128; a string is its length and its bytes. A message is a header
object and a body object.
"""

import http.client
import struct
from urllib.parse import urlparse

END = b"\xff\xff"
CONNECTION_REQUEST, CONNECTION_RESPONSE = 1, 2
PREPARE_REQUEST, PREPARE_RESPONSE = 3, 4
FETCH_REQUEST, FETCH_RESPONSE = 7, 8
APPEND_REQUEST, SUCCESS_RESPONSE, DISCONNECT, ERROR_RESPONSE = 9, 10, 11, 100


def unsigned(value):
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def string(value):
    data = value if isinstance(value, bytes) else value.encode()
    return unsigned(len(data)) + data


def field(number, value):
    return struct.pack("<H", number) + value


def header(kind, connection_id="", query_id=0):
    identity = field(2, string(connection_id)) if connection_id else b""
    return field(1, unsigned(kind)) + identity + field(3, unsigned(query_id)) + END


def connection_request(token, lowest=1, highest=1):
    body = field(1, string(token)) + field(2, string("v1.5.5")) + field(3, string("linux_amd64"))
    return header(CONNECTION_REQUEST) + body + field(4, unsigned(lowest)) + field(5, unsigned(highest)) + END


def prepare_request(connection_id, sql):
    return header(PREPARE_REQUEST, connection_id) + field(1, string(sql)) + END


def fetch_request(connection_id, upper=0, lower=0):
    # A hugeint is an object of two fields, or two numbers: signed upper half, unsigned lower half.
    return header(FETCH_REQUEST, connection_id) + field(1, unsigned(upper) + unsigned(lower)) + END


def disconnect(connection_id):
    return header(DISCONNECT, connection_id) + END


def logical_type(number, kind=None, info=b""):
    """A LogicalType: DuckDB's `LogicalTypeId`, and its `LogicalTypeInfo`, if it has one."""
    info = field(101, b"\x01" + field(100, unsigned(kind)) + info + END) if kind else b""
    return field(100, unsigned(number)) + info + END


def validity(values):
    """The fields of a vector that say which values are there. What is NULL is None."""
    if None not in values:
        return field(100, b"\x00")
    mask = sum(1 << i for i, value in enumerate(values) if value is not None)
    return field(100, b"\x01") + field(101, string(mask.to_bytes(-(-len(values) // 64) * 8, "little")))


class Fixed:
    """A type whose values have `width` bytes each, and come as numbers or as bytes."""

    def __init__(self, number, width, kind=None, info=b""):
        self.type, self.width = logical_type(number, kind, info), width

    def bytes_of(self, value):
        return value if isinstance(value, bytes) else ((value or 0) % (1 << 8 * self.width)).to_bytes(self.width, "little")

    def vector(self, values):
        return validity(values) + field(102, string(b"".join(map(self.bytes_of, values)))) + END


class Text:
    """A type whose values are strings, or are held as strings. `before` stands before them in a vector."""

    def __init__(self, number, before=b""):
        self.type, self.before = logical_type(number), before

    def vector(self, values):
        strings = unsigned(len(values)) + b"".join(string(value or b"") for value in values)
        return self.before + validity(values) + field(102, strings) + END


class Struct:
    """A type with named members, also UNION and VARIANT. Values are tuples; `Null` is one that has members all the same."""

    def __init__(self, members, number=100):
        self.members = [member for _, member in members]
        names = b"".join(field(0, string(name)) + field(1, member.type) + END for name, member in members)
        info = field(200, unsigned(len(members)) + names)
        self.type = logical_type(number, 5, info)

    def vector(self, values):
        rows = [value or (None,) * len(self.members) for value in values]
        there = [None if isinstance(value, Null) else value for value in values]
        children = b"".join(member.vector([row[i] for row in rows]) for i, member in enumerate(self.members))
        return validity(there) + field(103, unsigned(len(self.members)) + children) + END


class Null(tuple):
    """A NULL beneath which there are values."""


class List:
    """A type of lists, also MAP. A vector is made of lists, or of `entries` (offset, length) into `elements`."""

    def __init__(self, child, number=101):
        self.child, self.type = child, logical_type(number, 4, field(200, child.type))

    def vector(self, values):
        elements = [element for value in values for element in value or ()]
        entries, offset = [], 0
        for value in values:
            entries.append(None if value is None else (offset, len(value)))
            offset += len(value or ())
        return self.vector_of(entries, elements)

    def vector_of(self, entries, elements):
        written = b"".join(
            field(100, unsigned(offset)) + field(101, unsigned(length)) + END
            for offset, length in (entry or (0, 0) for entry in entries)
        )
        size = field(104, unsigned(len(elements)))
        child = field(106, self.child.vector(elements))
        return validity(entries) + size + field(105, unsigned(len(entries)) + written) + child + END


class Array:
    """A type of arrays of `size` elements each."""

    def __init__(self, child, size):
        self.child, self.size = child, size
        self.type = logical_type(108, 9, field(200, child.type) + field(201, unsigned(size)))

    def vector(self, values):
        elements = [element for value in values for element in (value or (None,) * self.size)]
        there = [None if isinstance(value, Null) else value for value in values]
        return validity(there) + field(103, unsigned(self.size)) + field(104, self.child.vector(elements)) + END


def enum(texts):
    width = 1 if len(texts) < 0x100 else 2 if len(texts) < 0x10000 else 4
    values = field(200, unsigned(len(texts))) + field(201, unsigned(len(texts)) + b"".join(map(string, texts)))
    return Fixed(104, width, 6, values)


def decimal(width, scale):
    size = 2 if width <= 4 else 4 if width <= 9 else 8 if width <= 18 else 16
    return Fixed(21, size, 2, field(200, unsigned(width)) + (field(201, unsigned(scale)) if scale else b""))


def constant(logical, value):
    """A vector of one value for all rows."""
    return field(90, unsigned(2)) + logical.vector([value])


def dictionary(logical, values, selection):
    """A vector that selects from values."""
    codes = b"".join(struct.pack("<I", code) for code in selection)
    return field(90, unsigned(3)) + field(91, string(codes)) + field(92, unsigned(len(values))) + logical.vector(values)


def signed(value):
    """SLEB128."""
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        done = (value == 0 and not byte & 0x40) or (value == -1 and byte & 0x40)
        out.append(byte | (0 if done else 0x80))
        if done:
            return bytes(out)


def sequence(start, increment):
    """A vector of numbers that follow one another."""
    return field(90, unsigned(4)) + field(91, signed(start)) + field(92, signed(increment)) + END


def chunk(rows, types, vectors):
    body = field(101, unsigned(len(types)) + b"".join(types)) + field(102, unsigned(len(vectors)) + b"".join(vectors))
    return field(100, unsigned(rows)) + body + END


def append_request(connection_id, table, rows, types, vectors):
    body = field(2, string(table)) + field(3, b"\x01" + field(300, chunk(rows, types, vectors)) + END)
    return header(APPEND_REQUEST, connection_id) + body + END


class Answer:
    """An HTTP answer, and the parts of the message in it that tests look at."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def kind(self):
        return self.body[2] if len(self.body) > 2 else None

    @property
    def connection_id(self):
        assert self.body[3:5] == struct.pack("<H", 2), self.body
        length = self.body[5]
        return self.body[6 : 6 + length].decode()

    @property
    def error(self):
        """The text of an error message, or of the header that tells of one."""
        if self.kind == ERROR_RESPONSE:
            return self.body.decode("utf-8", "replace")
        return self.headers.get("exception_what", "")


class Endpoint:
    """Speaks HTTP to a server, one connection for each request, as the stock client does."""

    def __init__(self, url):
        parts = urlparse(url)
        self.host, self.port = parts.hostname, parts.port

    def request(self, method, path, body=None, headers=None, timeout=30):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def post(self, message):
        return self.request("POST", "/quack", message, {"Content-Type": "application/octet-stream"})

    def connect(self, token):
        answer = self.post(connection_request(token))
        assert answer.kind == CONNECTION_RESPONSE, answer.body
        return answer.connection_id
