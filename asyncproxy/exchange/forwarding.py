"""Which header fields go on to the next hop, and which are ours to say (RFC 9110 section 7.6, RFC 9112 section 6).

A message's fields are handled as one block of bytes, each field led by its CRLF, since most of them are only passed
on. `sift` looks at a block once: fields that decide on framing and connection are noted, those that end at this hop
are cut out, the rest is passed on as it came.
"""

from __future__ import annotations

import re
from typing import Final

from asyncproxy.exchange.headers import RawHeaders

HOP_BY_HOP: Final = (
    *("connection", "keep-alive", "proxy-[^:\r]*", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"),
    *("expect", "x-forwarded-[^:\r]*", "forwarded"),
)
"""What ends at this hop: the hop-by-hop fields, Expect, which each hop answers, and what only trusted peers may say."""

_FIRST_LETTERS: Final = "".join(sorted({name[0] for name in HOP_BY_HOP} | {"h", "c"}))
_NOTED: Final = re.compile(
    rf"(?i:\r\n(?=[{_FIRST_LETTERS}])(host|content-length|{'|'.join(HOP_BY_HOP)}):)[ \t]*([^\r]*)".encode()
)
_ENDS_HERE: Final = re.compile(rf"(?i:\r\n(?=[{_FIRST_LETTERS}])(?:{'|'.join(HOP_BY_HOP)}):)[^\r]*".encode())
_LENGTH: Final = re.compile(rb"(?i:\r\ncontent-length:)[^\r]*")

VIA: Final = b"\r\nVia: 1.1 asyncproxy"


_MIXIN: tuple[str, ...] = ()


class Fields:
    """A message's header block, read once. Values that a field repeats are joined by commas.

    `block` is as received, `passed` what goes on to the next hop. A mixin: whoever has fields has `FIELD_SLOTS`.
    """

    __slots__ = _MIXIN

    block: bytes
    passed: bytes
    hosts: int
    host_value: bytes
    connection: bytes
    length_value: bytes
    transfer: bytes
    expect: bytes

    def sift(self, block: bytes) -> None:
        """Read `block`; fields that Connection names are not passed on either."""
        self.block = self.passed = block
        self.hosts = 0
        self.host_value = self.connection = self.length_value = self.transfer = self.expect = b""
        noted = _NOTED.findall(block)
        if len(noted) == 1:
            name, value = noted[0]
            if name == b"Host":  # a plain GET
                self.hosts = 1
                self.host_value = value
                return
            if name == b"Content-Length":  # a plain reply
                self.length_value = value
                return
        if noted:
            self._take(noted)

    def _take(self, noted: list[tuple[bytes, bytes]]) -> None:
        ends_here = False
        for name, value in noted:
            ends_here = _note(self, name.lower(), value.rstrip(b" \t")) or ends_here
        if ends_here:
            self.passed = _ENDS_HERE.sub(b"", self.block)
            if self.connection not in _ORDINARY:
                _drop_named(self)

    @property
    def raw_fields(self) -> RawHeaders:
        """The fields as pairs, as received."""
        return split_block(self.block)


FIELD_SLOTS: Final = ("block", "connection", "expect", "host_value", "hosts", "length_value", "passed", "transfer")


class Block(Fields):
    """A header block made of fields; raises nothing."""

    __slots__ = FIELD_SLOTS

    def __init__(self, fields: RawHeaders) -> None:
        self.sift(make_block(fields))


def _note(fields: Fields, key: bytes, value: bytes) -> bool:
    """Take in one field; whether it ends at this hop."""
    if key == b"content-length":
        fields.length_value = fields.length_value + b"," + value if fields.length_value else value or b","
        return False
    if key == b"host":
        fields.hosts += 1
        fields.host_value = value
        return False
    if key == b"connection":
        fields.connection = fields.connection + b"," + value.lower() if fields.connection else value.lower()
    elif key == b"transfer-encoding":
        fields.transfer = fields.transfer + b"," + value.lower() if fields.transfer else value.lower() or b","
    elif key == b"expect":
        fields.expect = value.lower()
    return True


_ORDINARY: Final = frozenset((b"", b"keep-alive", b"close"))


def _drop_named(fields: Fields) -> None:
    named = {option.strip(b" \t") for option in fields.connection.split(b",")} - {b"host", b"content-length"}
    fields.passed = make_block([field for field in split_block(fields.passed) if field[0].lower() not in named])


def keeps_alive(connection: bytes, minor: int) -> bool:
    """Whether a message of HTTP/1.`minor` with these Connection options leaves its connection open."""
    if connection in _ORDINARY:
        return connection != b"close" and (minor == 1 or connection == b"keep-alive")
    options = {option.strip(b" \t") for option in connection.split(b",")}
    return b"close" not in options and (minor == 1 or b"keep-alive" in options)


def split_block(block: bytes) -> RawHeaders:
    """A block's fields as pairs, without the white space around values."""
    fields = []
    for line in block.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        fields.append((name, value.strip(b" \t")))
    return fields


def make_block(fields: RawHeaders) -> bytes:
    """`fields` as a block."""
    return b"\r\n" + b"\r\n".join(map(b": ".join, fields)) if fields else b""


def without_length(block: bytes) -> bytes:
    """`block` without Content-Length, for a body that is not the one it was told of."""
    return _LENGTH.sub(b"", block)


def upstream_head(method: str, target: bytes, block: bytes, host: bytes, client: bytes, framing: bytes) -> bytes:
    """The head of a request for an upstream: `block` as sifted, then ours.

    `host` is what the client asked for (X-Forwarded-Host), `client` the prepared block about the client, and `framing`
    what tells the body's length if `block` does not. HTTP/1.1 keeps the connection without a word.
    """
    return b"%b %b HTTP/1.1%b%b\r\nX-Forwarded-Host: %b\r\nVia: 1.1 asyncproxy%b\r\n\r\n" % (
        method.encode("ascii"),
        target,
        block,
        client,
        host,
        framing,
    )


def client_block(address: str, scheme: str) -> bytes:
    """What is told about a client, the same for all of its requests."""
    return f"\r\nX-Forwarded-For: {address}\r\nX-Forwarded-Proto: {scheme}".encode("ascii")
