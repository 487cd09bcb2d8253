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
    *("connection", "keep[-_]alive", "proxy[-_][^:\r]*", "te", "transfer[-_]encoding", "upgrade"),
    *("http2[-_]settings", "content_length", "expect", "x[-_]forwarded[-_][^:\r]*", "forwarded"),
)
"""What ends at this hop: the hop-by-hop fields, Expect, which each hop answers, and what only trusted peers may say.

With underscores too, and Content-Length in that spelling: CGI, and WSGI after it, gives programs one name for both.
"""

_FIRST_LETTERS: Final = "".join(sorted({name[0] for name in HOP_BY_HOP} | {"h", "c"}))
_NOTED: Final = re.compile(
    rf"(?i:\r\n(?=[{_FIRST_LETTERS}])(host|content-length|{'|'.join(HOP_BY_HOP)}):)[ \t]*([^\r]*)".encode()
)
_ENDS_HERE: Final = re.compile(rf"(?i:\r\n(?=[{_FIRST_LETTERS}])(?:{'|'.join(HOP_BY_HOP)}):)[^\r]*".encode())
_LENGTH: Final = re.compile(rb"(?i:\r\ncontent-length:)[^\r]*")
_LENGTH_AS_OURS: Final = re.compile(rb"\r\nContent-Length: (?:0|[1-9][0-9]*)(?=\r\n|\Z)")

TAKES_TRAILERS: Final = b"\r\nTE: trailers\r\nConnection: TE"
"""What tells the next hop that trailers are welcome, as its sender has told us (RFC 9110 section 10.1.4)."""
CHUNKED: Final = b"\r\nTransfer-Encoding: chunked"
EXPECT: Final = b"\r\nExpect: 100-continue\r\n\r\n"
"""The end of a head that expects it (RFC 9110 section 10.1.1)."""


_MIXIN: tuple[str, ...] = ()


class Fields:
    """A message's header block, read once.

    `block` is as received, `passed` what goes on to the next hop, `length_value` what Content-Length says, `noted` what
    the other fields say that decide on framing and connection. A mixin: whoever has fields has `FIELD_SLOTS`.
    """

    __slots__ = _MIXIN

    block: bytes
    passed: bytes
    host_value: bytes
    length_value: bytes
    noted: Noted

    def sift(self, block: bytes) -> bool:
        """Read `block`; whether it is a plain one, with a Host or a Content-Length and nothing else that counts."""
        self.block = self.passed = block
        self.host_value = self.length_value = b""
        found = _NOTED.findall(block)
        if len(found) == 1:
            name, value = found[0]
            if name == b"Host":
                self.host_value = value.rstrip(b" \t")
                self.noted = _ONE_HOST
                return True
            if name == b"Content-Length":
                self.length_value = value.rstrip(b" \t") or b","
                self.noted = _NOTHING
                return True
        self.noted = Noted(self, found) if found else _NOTHING
        return False

    @property
    def raw_fields(self) -> RawHeaders:
        """The fields as pairs, as received."""
        return split_block(self.block)


class Noted:
    """What fields say that decide on framing and connection; values that a field repeats are joined by commas.

    Made for a message that is not plain: it takes out of the message's `passed` what ends at this hop, and what its
    Connection names.
    """

    __slots__ = ("connection", "expect", "hosts", "te", "transfer", "upgrade")

    def __init__(self, fields: Fields | None = None, found: list[tuple[bytes, bytes]] | None = None) -> None:
        self.hosts = 0
        self.connection = self.transfer = self.expect = self.te = self.upgrade = b""
        if fields is not None and found is not None:
            ends_here = [self._take(fields, name.lower(), value.rstrip(b" \t")) for name, value in found]
            if any(ends_here):
                fields.passed = _ENDS_HERE.sub(b"", fields.block)
                if self.connection not in _ORDINARY:
                    _drop_named(fields, self.connection)

    def _take(self, fields: Fields, key: bytes, value: bytes) -> bool:
        """Take in one field; whether it ends at this hop."""
        if key == b"content-length":
            fields.length_value = _joined(fields.length_value, value)
            return False
        if key == b"host":
            self.hosts += 1
            fields.host_value = value
            return False
        if key == b"connection":
            self.connection = _joined(self.connection, value.lower()) if value else self.connection
        elif key == b"transfer-encoding":
            self.transfer = _joined(self.transfer, value.lower())
        elif key == b"expect":
            self.expect = _joined(self.expect, value.lower())
        elif key == b"te":
            self.te = _joined(self.te, value.lower())
        elif key == b"upgrade":
            self.upgrade = _joined(self.upgrade, value)
        return True


def _joined(before: bytes, value: bytes) -> bytes:
    """`value` after `before`; an empty one still shows, as a comma."""
    return before + b"," + value if before else value or b","


_NOTHING: Final = Noted()
_ONE_HOST: Final = Noted()
_ONE_HOST.hosts = 1
FIELD_SLOTS: Final = ("block", "host_value", "length_value", "noted", "passed")


class Block(Fields):
    """A header block made of fields; raises nothing."""

    __slots__ = FIELD_SLOTS

    def __init__(self, fields: RawHeaders) -> None:
        self.sift(make_block(fields))


_ORDINARY: Final = frozenset((b"", b"keep-alive", b"close"))


def _drop_named(fields: Fields, connection: bytes) -> None:
    named = {*elements(connection)} - {b"host", b"content-length"}
    fields.passed = make_block([field for field in split_block(fields.passed) if field[0].lower() not in named])


def elements(value: bytes) -> list[bytes]:
    """A list's elements in order, such as the options of a Connection field; empty ones are none (RFC 9110 section
    5.6.1).
    """
    return [one for element in value.split(b",") if (one := element.strip(b" \t"))]


def keeps_alive(connection: bytes, minor: int) -> bool:
    """Whether a message of HTTP/1.`minor` with these Connection options leaves its connection open."""
    if connection in _ORDINARY:
        return connection != b"close" and (minor == 1 or connection == b"keep-alive")
    options = elements(connection)
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


def without_body(status: int, block: bytes) -> bytes:
    """`block` of a response whose status, or whose request, has no body (RFC 9110 sections 8.6 and 15.3.6)."""
    if status == 204:
        return without_length(block)
    return without_length(block) + b"\r\nContent-Length: 0" if status == 205 else block


def restate_length(fields: Fields, length: int) -> None:
    """Have Content-Length say `length` as we would: others read ``010`` as eight, and stumble over a tab before it."""
    if _LENGTH_AS_OURS.search(fields.passed) is not None:
        return
    fields.length_value = b"%d" % length
    fields.passed = _LENGTH.sub(b"\r\nContent-Length: " + fields.length_value, fields.passed)


def head_after_target(block: bytes, client: bytes, via: bytes, framing: bytes) -> bytes:
    """The head of a request for an upstream, between its target and its id: `block` as sifted, then ours.

    `client` is the block about the client, see `peers.Peer.told`, `via` ours about us, and `framing` what tells the
    body's length if `block` does not. HTTP/1.1 keeps the connection without a word.
    """
    return b" HTTP/1.1%b%b%b%b" % (block, client, via, framing)


def origin_form(target: bytes) -> bytes:
    """`target` as an origin server takes it (RFC 9112 section 3.2.1); an absolute form loses its authority."""
    scheme, separator, rest = target.partition(b"://")
    if target == b"*" or not separator or not scheme:
        return target
    authority = rest.partition(b"/")[0].partition(b"?")[0]
    path = rest[len(authority) :]
    return path if path.startswith(b"/") else b"/" + path
