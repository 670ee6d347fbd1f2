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
