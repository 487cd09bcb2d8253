"""Which header fields go on to the next hop, and which we make anew (RFC 9110 section 7.6, RFC 9112 section 6).

`sift` reads a message's fields once: what is passed on in one list, what decides on framing and connection in
attributes. Framing is never passed on: it is told anew by whoever writes the next message.
"""

from __future__ import annotations

from typing import Final

from asyncproxy.exchange.headers import RawHeaders

HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer "
    b"transfer-encoding upgrade http2-settings".split()
)
REMADE: Final = frozenset(b"content-length expect x-forwarded-for x-forwarded-proto x-forwarded-host forwarded".split())
"""End-to-end fields that we write ourselves: the framing, and what only trusted peers may say."""
_NOTED: Final = HOP_BY_HOP | REMADE | {b"host"}

VIA: Final = (b"Via", b"1.1 asyncproxy")


class Sifted:
    """A message's fields, read once. Values that a field repeats are joined by commas."""

    __slots__ = ("connection", "expect", "host", "hosts", "length", "passed", "transfer")

    def __init__(self) -> None:
        self.passed: RawHeaders = []
        self.hosts = 0
        self.host = b""
        self.connection = b""
        self.length = b""
        self.transfer = b""
        self.expect = b""

    def note(self, key: bytes, field: tuple[bytes, bytes]) -> None:
        """Take in a field of `_NOTED`."""
        value = field[1]
        if key == b"host":
            self.hosts += 1
            self.host = value
            self.passed.append(field)
        elif key == b"connection":
            self.connection = self.connection + b"," + value.lower() if self.connection else value.lower()
        elif key == b"content-length":
            self.length = self.length + b"," + value if self.length else value or b","
        elif key == b"transfer-encoding":
            self.transfer = self.transfer + b"," + value.lower() if self.transfer else value.lower() or b","
        elif key == b"expect":
            self.expect = value.lower()


def sift(raw: RawHeaders) -> Sifted:
    """The fields of `raw`, sorted out; fields that Connection names are not passed on either."""
    sifted = Sifted()
    passed = sifted.passed
    for field in raw:
        key = field[0].lower()
        if key in _NOTED:
            sifted.note(key, field)
        else:
            passed.append(field)
    if sifted.connection not in _ORDINARY:
        _drop_named(sifted)
    return sifted


_ORDINARY: Final = frozenset((b"", b"keep-alive", b"close"))


def _drop_named(sifted: Sifted) -> None:
    named = {option.strip(b" \t") for option in sifted.connection.split(b",")} - {b"host"}
    sifted.passed = [field for field in sifted.passed if field[0].lower() not in named]


def keeps_alive(connection: bytes, minor: int) -> bool:
    """Whether a message of HTTP/1.`minor` with these Connection options leaves its connection open."""
    if connection in _ORDINARY:
        return connection != b"close" and (minor == 1 or connection == b"keep-alive")
    options = {option.strip(b" \t") for option in connection.split(b",")}
    return b"close" not in options and (minor == 1 or b"keep-alive" in options)


def field_lines(fields: RawHeaders) -> bytes:
    """`fields` as lines of a head, without the last line's end."""
    return b"\r\n".join(map(b": ".join, fields))


def upstream_head(method: str, target: bytes, fields: RawHeaders, host: bytes, client: bytes, framing: bytes) -> bytes:
    """The head of a request for an upstream: `fields` as sifted, then ours.

    `host` is what the client asked for (X-Forwarded-Host), `client` the two prepared lines about the client, and
    `framing` the line that tells the body's length, or nothing. HTTP/1.1 keeps the connection without a word.
    """
    lines = field_lines(fields)
    return b"%b %b HTTP/1.1\r\n%b\r\n%bX-Forwarded-Host: %b\r\nVia: 1.1 asyncproxy\r\n%b\r\n" % (
        method.encode("ascii"),
        target,
        lines,
        client,
        host,
        framing,
    )


def client_lines(address: str, scheme: str) -> bytes:
    """The lines about a client that are the same for all of its requests."""
    return f"X-Forwarded-For: {address}\r\nX-Forwarded-Proto: {scheme}\r\n".encode("ascii")
