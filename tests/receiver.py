"""What a careful receiver makes of bytes that somebody has sent: the oracle for what may go on (RFC 9112).

Like `tests.strict` it shares no code with the proxy; unlike it, it reads what senders may write and the proxy does not:
white space around values, absolute-form, chunk extensions, HTTP/1.0. It is never stricter than the proxy should be.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.strict import (
    DIGITS,
    HEXADECIMAL,
    NO_TRAILER,
    TEXT,
    TOKEN,
    VISIBLE,
    Cursor,
    Fields,
    Incomplete,
    Malformed,
    Message,
    Reply,
    Request,
    check,
    is_authority,
)

UPGRADE = "an upgrade"
"""Why a reply is not read any further."""
OURS = ("x-forwarded-", "forwarded", "proxy-", "keep-alive", "http2-settings", "connection", "te", "upgrade", "expect")
"""Names, or their beginnings, that a proxy takes out or says itself; with underscores too."""
FRAMING = ("host", "content-length", "transfer-encoding", "via", "x-request-id", "date", "server", "max-forwards")


@dataclass
class Read:
    """The whole messages that some bytes are, and their end: whole, incomplete, malformed or closed."""

    messages: list[Message] = field(default_factory=list)
    end: str = "whole"
    why: str = ""


def read_requests(data: bytes) -> Read:
    """The requests that a client's `data` are, up to the first that ends the connection."""
    cursor, read = Cursor(data), Read()
    while True:
        while data[cursor.at : cursor.at + 2] == b"\r\n":
            cursor.at += 2
        if cursor.at >= len(data):
            return read
        try:
            request = _request(cursor)
        except Incomplete:
            read.end = "incomplete"
            return read
        except Malformed as why:
            read.end, read.why = "malformed", str(why)
            return read
        read.messages.append(request)
        if not stays_open(request, b"HTTP/1.0" in request.first[-8:]):
            read.end = "closed"
            return read


def read_reply(data: bytes, method: bytes, *, closed: bool) -> Read:
    """The final reply that an upstream's `data` begin with, its informational ones before it."""
    cursor, read = Cursor(data), Read()
    try:
        while not read.messages or (100 <= read.messages[-1].status < 200):  # type: ignore[attr-defined]
            read.messages.append(_reply(cursor, method, closed))
    except Incomplete:
        read.end = "incomplete"
    except Malformed as why:
        read.end, read.why = "malformed", str(why)
    return read


def stays_open(message: Message, old: bool) -> bool:
    options = [option.strip(b" \t").lower() for value in message.all("connection") for option in value.split(b",")]
    return b"close" not in options and (not old or b"keep-alive" in options)


def end_to_end(message: Message) -> Fields:
    """The fields that go on as they are, in order: without those that a hop makes, and those that Connection names."""
    named = {option.strip(b" \t").lower() for value in message.all("connection") for option in value.split(b",")}
    kept = []
    for name, value in message.fields:
        known = name.lower().replace(b"_", b"-").decode()
        ours = any(known == one or (one.endswith("-") and known.startswith(one)) for one in (*OURS, *FRAMING))
        if not ours and name.lower() not in named:
            kept.append((name, value))
    return kept


def onward_target(target: bytes) -> bytes:
    """`target` in origin-form."""
    scheme, separator, rest = target.partition(b"://")
    if target[:1] == b"/" or not separator or not scheme.isalpha():
        return target
    for at, byte in enumerate(rest):
        if byte in b"/?":
            return rest[at:] if byte == 0x2F else b"/" + rest[at:]
    return b"/"


def _fields(cursor: Cursor) -> Fields:
    fields: Fields = []
    while line := cursor.line():
        name, colon, value = line.partition(b":")
        check(bool(colon) and bool(name) and TOKEN.issuperset(name), f"field {line!r}")
        check(TEXT.issuperset(value), f"field {line!r}")
        fields.append((name, value.strip(b" \t")))
    return fields


def _request(cursor: Cursor) -> Request:
    first = cursor.line()
    parts = first.split(b" ")
    check(len(parts) == 3, f"request line {first!r}")
    method, target, version = parts
    check(bool(method) and TOKEN.issuperset(method), f"method {method!r}")
    check(version in (b"HTTP/1.1", b"HTTP/1.0"), f"version {version!r}")
    check(bool(target) and VISIBLE.issuperset(target) and b"#" not in target, f"target {target!r}")
    request = Request(first, _fields(cursor), method=method, target=target)
    hosts = request.all("host")
    check(len(hosts) == 1 or (not hosts and version == b"HTTP/1.0"), f"{len(hosts)} Hosts")
    check(all(map(is_authority, hosts)), f"Host {hosts!r}")
    length, chunked = _framing(request, version == b"HTTP/1.0")
    check(method != b"TRACE" or (not chunked and not length), "TRACE with a body")
    _body(cursor, request, length or 0, chunked)
    return request


def _reply(cursor: Cursor, method: bytes, closed: bool) -> Reply:
    first = cursor.line()
    check(first[:9] in (b"HTTP/1.1 ", b"HTTP/1.0 "), f"status line {first!r}")
    digits = first[9:12]
    check(len(digits) == 3 and DIGITS.issuperset(digits) and b"100" <= digits <= b"599", f"status {digits!r}")
    check(first[12:13] == b" " and TEXT.issuperset(first[13:]), f"reason {first!r}")
    reply = Reply(first, _fields(cursor), status=int(digits))
    length, chunked = _framing(reply, first[:9] == b"HTTP/1.0 ")
    check(not chunked or (reply.status >= 200 and reply.status != 204), "a coding without a body")
    check(reply.status != 101, UPGRADE)
    if method == b"HEAD" or reply.status < 200 or reply.status in (204, 205, 304):
        return reply
    if length is not None or chunked:
        _body(cursor, reply, length or 0, chunked)
    else:
        if not closed:
            raise Incomplete
        reply.body = cursor.rest()
    return reply


def _framing(message: Message, old: bool) -> tuple[int | None, bool]:
    """The length that is told, and whether the body is in chunks."""
    lengths, codings = message.all("content-length"), message.all("transfer-encoding")
    check(not (lengths and codings), "a length and a coding")
    if codings:
        check(not old and len(codings) == 1 and codings[0].lower() == b"chunked", f"codings {codings!r}")
        return None, True
    if not lengths:
        return None, False
    check(len(lengths) == 1, "several lengths")
    check(bool(lengths[0]) and DIGITS.issuperset(lengths[0]) and len(lengths[0]) < 19, f"length {lengths[0]!r}")
    return int(lengths[0]), False


def _body(cursor: Cursor, message: Message, length: int, chunked: bool) -> None:
    if not chunked:
        message.body = cursor.exactly(length)
        return
    pieces = []
    while size := _chunk_size(cursor.line()):
        pieces.append(cursor.exactly(size))
        check(cursor.exactly(2) == b"\r\n", "a chunk that its size does not tell")
    message.body = b"".join(pieces)
    message.trailers = _fields(cursor)
    names = {name.lower().replace(b"_", b"-") for name, _ in message.trailers}
    check(not NO_TRAILER & names, f"trailers {sorted(NO_TRAILER & names)}")


def _chunk_size(line: bytes) -> int:
    digits = 0
    while digits < len(line) and line[digits] in HEXADECIMAL:
        digits += 1
    check(0 < digits < 16, f"chunk size {line!r}")
    _extensions(line, digits)
    return int(line[:digits], 16)


def _extensions(line: bytes, at: int) -> None:
    while at < len(line):
        at = _blank(line, at)
        check(line[at : at + 1] == b";", f"extension {line!r}")
        at = _token(line, _blank(line, at + 1))
        equals = _blank(line, at)
        if line[equals : equals + 1] == b"=":
            at = _blank(line, equals + 1)
            at = _quoted(line, at) if line[at : at + 1] == b'"' else _token(line, at)


def _blank(line: bytes, at: int) -> int:
    while at < len(line) and line[at] in b" \t":
        at += 1
    return at


def _token(line: bytes, at: int) -> int:
    begin = at
    while at < len(line) and line[at] in TOKEN:
        at += 1
    check(at > begin, f"extension {line!r}")
    return at


def _quoted(line: bytes, at: int) -> int:
    at += 1
    while at < len(line) and line[at] != 0x22:
        at += 2 if line[at] == 0x5C else 1
    check(at < len(line) and TEXT.issuperset(line), f"extension {line!r}")
    return at + 1
