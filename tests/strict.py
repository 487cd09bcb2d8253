"""A parser of HTTP/1.1 for tests, which forgives nothing: RFC 9112 as it is written for those who send.

It shares no code with the proxy and reads in another way, a line at a time and without regular expressions.
What the proxy has sent, to a server or to a client, goes through it; beyond the grammar it holds what we promise of
ourselves: one Host, one framing, no chunk extensions, and nothing that ends at a hop.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field

Fields = list[tuple[bytes, bytes]]

TOKEN = frozenset(b"!#$%&'*+-.^_`|~" + string.ascii_letters.encode() + string.digits.encode())
VISIBLE = frozenset(range(0x21, 0x7F))
TEXT = frozenset((0x09, *range(0x20, 0x7F), *range(0x80, 0x100)))
DIGITS = frozenset(b"0123456789")
HEXADECIMAL = frozenset(b"0123456789abcdefABCDEF")
HOST_BYTES = TOKEN - frozenset(b"#^`|") | frozenset(b"();,=")
ENDS_AT_A_HOP = frozenset(
    (b"keep-alive", b"proxy-connection", b"proxy-authorization", b"proxy-authenticate", b"http2-settings")
)
NO_TRAILER = frozenset((b"transfer-encoding", b"content-length", b"host", b"authorization", b"cookie", b"connection"))


class Malformed(Exception):
    """The bytes break the grammar, or what the proxy promises; says where."""


class Incomplete(Exception):
    """The bytes end before the message does."""


@dataclass
class Message:
    """One message, and the bytes it was."""

    first: bytes
    fields: Fields
    raw: bytes = b""
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    framing: str = "none"
    until_close: bool = False

    def all(self, name: str) -> list[bytes]:
        """Each value of the fields called `name`."""
        return [value for known, value in self.fields if known.lower() == name.lower().encode()]

    def one(self, name: str) -> bytes | None:
        """The value of the one field called `name`, if there is one."""
        values = self.all(name)
        check(len(values) < 2, f"{name} is there {len(values)} times")
        return values[0] if values else None


@dataclass
class Request(Message):
    method: bytes = b""
    target: bytes = b""


@dataclass
class Reply(Message):
    status: int = 0


def check(holds: bool, why: str) -> None:
    if not holds:
        raise Malformed(why)


class Cursor:
    """Where we are in the bytes."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def line(self) -> bytes:
        """The next line; its end is CRLF, and neither byte of it stands anywhere else."""
        data, begin = self.data, self.at
        end = data.find(b"\n", begin)
        if end < 0:
            check(b"\r" not in data[begin:-1], "a bare CR")
            raise Incomplete
        check(end > begin and data[end - 1] == 0x0D, f"a bare LF in {data[begin : end + 1]!r}")
        line = data[begin : end - 1]
        check(b"\r" not in line, f"a bare CR in {line!r}")
        self.at = end + 1
        return line

    def exactly(self, count: int) -> bytes:
        if len(self.data) - self.at < count:
            raise Incomplete
        piece = self.data[self.at : self.at + count]
        self.at += count
        return piece

    def rest(self) -> bytes:
        piece, self.at = self.data[self.at :], len(self.data)
        return piece


def read_requests(data: bytes) -> tuple[list[Request], bytes]:
    """The whole requests that `data` is, and what is left of one that is not whole. Raises `Malformed`."""
    cursor, found = Cursor(data), []
    while cursor.at < len(data):
        begin = cursor.at
        try:
            request = _request(cursor)
        except Incomplete:
            return found, data[begin:]
        request.raw = data[begin : cursor.at]
        found.append(request)
    return found, b""


def read_replies(data: bytes, methods: list[str], *, closed: bool) -> tuple[list[Reply], bytes]:
    """The whole replies to requests of these `methods`, informational ones too, and what is left of one cut short.

    `closed` says whether the connection has ended, so that a body may last until then. Raises `Malformed`, also for
    bytes behind the last reply.
    """
    cursor, found, waiting = Cursor(data), [], list(methods)
    while cursor.at < len(data):
        check(bool(waiting), f"bytes that nobody asked for: {data[cursor.at : cursor.at + 80]!r}")
        begin = cursor.at
        try:
            reply = _reply(cursor, waiting[0], closed)
        except Incomplete:
            return found, data[begin:]
        reply.raw = data[begin : cursor.at]
        found.append(reply)
        if reply.status >= 200 or reply.status == 101:
            waiting.pop(0)
    return found, b""


def _request(cursor: Cursor) -> Request:
    first = cursor.line()
    parts = first.split(b" ")
    check(len(parts) == 3, f"a request line of {len(parts)} parts: {first!r}")
    method, target, version = parts
    check(bool(method) and TOKEN.issuperset(method), f"method {method!r}")
    check(version == b"HTTP/1.1", f"version {version!r}")
    check(bool(target) and VISIBLE.issuperset(target) and b"#" not in target, f"target {target!r}")
    check(target[:1] == b"/" or (target == b"*" and method == b"OPTIONS"), f"target {target!r}")
    request = Request(first, _fields(cursor), method=method, target=target)
    hosts = request.all("host")
    check(len(hosts) == 1, f"{len(hosts)} Host fields")
    check(is_authority(hosts[0]), f"Host {hosts[0]!r}")
    _body(cursor, request, has_body=True, closed=False, reply=False)
    return request


def _reply(cursor: Cursor, method: str, closed: bool) -> Reply:
    first = cursor.line()
    check(first[:9] == b"HTTP/1.1 ", f"status line {first!r}")
    digits, space, reason = first[9:12], first[12:13], first[13:]
    check(len(digits) == 3 and DIGITS.issuperset(digits) and b"100" <= digits <= b"599", f"status {digits!r}")
    check(space == b" " and TEXT.issuperset(reason), f"reason {first!r}")
    reply = Reply(first, _fields(cursor), status=int(digits))
    if reply.status < 200:
        check(not reply.all("content-length") and not reply.all("transfer-encoding"), "a 1xx with a body")
    has_body = method != "HEAD" and reply.status >= 200 and reply.status not in (204, 304)
    if reply.status == 204:
        check(not reply.all("content-length") and not reply.all("transfer-encoding"), "a 204 with a body")
    _body(cursor, reply, has_body=has_body, closed=closed, reply=True)
    return reply


def _fields(cursor: Cursor) -> Fields:
    fields: Fields = []
    while line := cursor.line():
        name, colon, value = line.partition(b":")
        check(bool(colon) and bool(name) and TOKEN.issuperset(name), f"field {line!r}")
        check(TEXT.issuperset(value), f"field {line!r}")
        fields.append((name, value.strip(b" \t")))
    return fields


def _body(cursor: Cursor, message: Message, *, has_body: bool, closed: bool, reply: bool) -> None:
    names = {name.lower().replace(b"_", b"-") for name, _ in message.fields}
    spelled = {name.lower() for name, _ in message.fields}
    check(not ENDS_AT_A_HOP & names, f"fields that end at a hop: {sorted(ENDS_AT_A_HOP & names)}")
    for name in (b"content-length", b"transfer-encoding"):
        check(name in spelled or name not in names, f"{name!r} with underscores")
    length, coding = message.one("content-length"), message.one("transfer-encoding")
    check(length is None or coding is None, "a length and a transfer coding")
    if length is not None:
        check(bool(length) and DIGITS.issuperset(length) and len(length) < 19, f"length {length!r}")
        check(length == b"0" or length[:1] != b"0", f"length {length!r}")
    check(coding in (None, b"chunked"), f"transfer coding {coding!r}")
    if not has_body:
        return
    if coding is not None:
        message.framing = "chunked"
        _chunks(cursor, message)
    elif length is not None:
        message.framing = "length"
        message.body = cursor.exactly(int(length))
    elif reply:
        message.framing, message.until_close = "close", True
        if not closed:
            raise Incomplete
        message.body = cursor.rest()


def _chunks(cursor: Cursor, message: Message) -> None:
    pieces = []
    while True:
        digits = cursor.line()
        check(bool(digits) and HEXADECIMAL.issuperset(digits) and len(digits) < 17, f"chunk size {digits!r}")
        size = int(digits, 16)
        if size == 0:
            break
        pieces.append(cursor.exactly(size))
        check(cursor.exactly(2) == b"\r\n", "a chunk that its size does not tell")
    message.body = b"".join(pieces)
    message.trailers = _fields(cursor)
    names = {name.lower().replace(b"_", b"-") for name, _ in message.trailers}
    check(not NO_TRAILER & names, f"trailers {sorted(NO_TRAILER & names)}")


def is_authority(text: bytes) -> bool:
    """Whether `text` is a host with or without a port."""
    if text[:1] == b"[":
        host, bracket, port = text[1:].partition(b"]")
        if not bracket or not host or not (HEXADECIMAL | frozenset(b":.")).issuperset(host) or host.count(b":") < 2:
            return False
        return port == b"" or (port[:1] == b":" and DIGITS.issuperset(port[1:]))
    host, colon, port = text.partition(b":")
    return bool(host) and HOST_BYTES.issuperset(host) and (not colon or DIGITS.issuperset(port))
