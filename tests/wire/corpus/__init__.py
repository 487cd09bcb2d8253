"""Messages made by rule from RFC 9112's grammar, each with what must come of it.

`bad_requests` and `bad_replies` break one rule each; `right_requests` and `right_replies` are unusual and break none.
Each module has `CASES`, by name. A rule is a function that yields what it makes; `made` gives it names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

Fields = list[tuple[bytes, bytes]]

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: proxy.test\r\n\r\n"
"""A request that is hidden behind what must be refused."""
DELIMITERS = b'"(),/;<=>?@[\\]{}'
"""Visible bytes that no token has, but for the colon (RFC 9110 section 5.6.2)."""
CONTROLS = bytes((*range(0x09), *range(0x0A, 0x20), 0x7F))
"""Bytes that no field value has."""
TCHARS = b"!#$%&'*+-.^_`|~09azAZ"
LINE_ENDS = {"LF": b"\n", "CR": b"\r", "CR CR LF": b"\r\r\n", "LF CR": b"\n\r", "LF LF": b"\n\n"}
NOT_DIGITS = (
    *(
        b"+1",
        b"-1",
        b"0x1",
        b"0X1",
        b"1,1",
        b"1, 1",
        b"1 1",
        b"1.0",
        b"1.",
        b".1",
        b"1e0",
        b"1_0",
        b"1;",
        b'"1"',
        b"1'",
    ),
    *(
        b"\xef\xbc\x91",
        b"\xd9\xa1",
        b"1\xa0",
        b"\xb2",
        b"a",
        b"x",
        b"0b1",
        b"0o1",
        b"1L",
        b"NaN",
        b"inf",
        b"true",
        b"(1)",
    ),
    *(b",", b"1,", b",1", b"1,2", b"1;1", b"%31", b"1%20", b"1/1", b"=1", b"1=", b"18446744073709551617"),
    *(b"9" * 19, b"9" * 30, b"0" * 30 + b"1", b"1" * 400),
)
"""Values of Content-Length that are no number, or one beyond counting."""
NOT_CHUNKED = (
    *(b"identity", b"gzip", b"deflate", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"chunked, identity"),
    *(b"identity, chunked", b",chunked", b"chunked,", b", ,chunked", b"chunked;q=1", b"chunked; a=b", b"xchunked"),
    *(b"chunkedx", b"chunke", b"x-chunked", b'"chunked"', b"'chunked'", b"(chunked)", b"chu nked", b"chunked gzip"),
    *(
        b"chunked\xa0",
        b"\xa0chunked",
        b"trailers",
        b"cow",
        b"c%68unked",
        b"chunked=1",
        b"chunked/1.1",
        b"ch\xc3\xbcnked",
    ),
    *(b"*", b"chunked\\", b"\xff", b"tr-chunked", b"chunked-encoding", b"br, chunked", b"Chunked, Chunked", b","),
)
"""Values of Transfer-Encoding that are no single ``chunked``."""
BAD_SIZES = (
    *(b"", b" ", b"g", b"-1", b"+1", b"0x1", b"1 ", b"1\t", b" 1", b"\t1", b"1.", b"1,1", b"1_0", b"\x001", b"1\x00"),
    *(b"f" * 16, b"1" * 17, b"0" * 16 + b"1", b"1h", b"\xef\xbc\x91", b"1\x0b", b"'1'", b"1=1", b"1:1", b"%31", b"1 1"),
)
"""Chunk sizes that are no hexadecimal number, or one beyond counting."""
BAD_EXTENSIONS = (
    *(
        b";",
        b";;a",
        b"; ;a",
        b";=a",
        b";a=",
        b";a==b",
        b";a=b c",
        b";a b",
        b";a;",
        b';a="b',
        b';a="b\\"',
        b';a=b"',
        b";a ",
    ),
    *(b";a=\x00", b";a\x01", b";a=\x7f", b";(a)", b";a=b,c", b";\xe9", b';a="\x0b"', b" a", b",a=b", b";" + b"x" * 300),
)
_TEN = b"0123456789"
CHUNKINGS = {
    "none": (b"0\r\n\r\n", b""),
    "zeros": (b"0000\r\n\r\n", b""),
    "upper case": (b"A\r\n" + _TEN + b"\r\n0\r\n\r\n", _TEN),
    "lower case": (b"a\r\n" + _TEN + b"\r\n0\r\n\r\n", _TEN),
    "zeros before": (b"000a\r\n" + _TEN + b"\r\n0\r\n\r\n", _TEN),
    "single bytes": (b"".join(b"1\r\n%c\r\n" % byte for byte in _TEN) + b"0\r\n\r\n", _TEN),
    "line ends as data": (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
    "framing as data": (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    "an extension": (b"3;a=b\r\nabc\r\n0;c\r\n\r\n", b"abc"),
    "a quoted extension": (b'3;a="b;\\"c\t"\r\nabc\r\n0\r\n\r\n', b"abc"),
    "several extensions": (b"3;a;b=c;d\r\nabc\r\n0\r\n\r\n", b"abc"),
    "bad white space": (b"3 ;\ta = b\r\nabc\r\n0\r\n\r\n", b"abc"),
    "a trailer of no use": (b"3\r\nabc\r\n0\r\nContent-Type: text/html\r\n\r\n", b"abc"),
}
"""Bodies in chunks that are right, and what they come to."""
NOT_TRAILERS = (
    *(b"Transfer-Encoding: chunked", b"transfer_encoding: chunked", b"Content-Length: 3", b"Content_Length: 3"),
    *(b"CONTENT-LENGTH:0", b"Host: evil.test", b"Connection: keep-alive", b"Keep-Alive: 1", b"TE: trailers"),
    *(b"Trailer: X", b"Upgrade: h2c", b"Authorization: Basic eA==", b"Proxy-Authorization: x", b"Cookie: a=b"),
    *(b"Set-Cookie: a=b", b"WWW-Authenticate: Basic", b"Forwarded: for=1", b"X-Forwarded-For: 1.1.1.1"),
    *(b"x_forwarded_host: evil", b"X-Forwarded-Proto: https", b"Proxy-Connection: close", b"X-Real-IP: 1.1.1.1"),
)
"""Fields that frame, route or authenticate a message, and so are no trailers."""
BROKEN_FIELDS = (
    *(
        b"nothing",
        b": b",
        b"A : b",
        b"A\t: b",
        b" A: b",
        b"\tA: b",
        b"A: b\r\n c",
        b"A: b\x00",
        b"A: b\nC: d",
        b"A: b\rC: d",
    ),
    *(b"A(: b", b"\xe9: b", b"A\x00: b", b" ", b"\t", b"A=b"),
)
"""Lines that are no field, where one must be."""


@dataclass(frozen=True)
class Bad:
    """Bytes that break a rule; `sent` is answered with `status`, or with one of several."""

    sent: bytes
    statuses: tuple[int, ...] = (400,)
    begun: bool = False
    """Whether its head is right, so that some of it may have gone on before the rule was broken."""


@dataclass(frozen=True)
class RightRequest:
    """Bytes that are one request; the origin must see this of it."""

    sent: bytes
    target: bytes
    method: bytes = b"GET"
    host: bytes = b"a.test"
    fields: Fields = field(default_factory=list)
    """Fields that must be there, in this order."""
    absent: tuple[bytes, ...] = ()
    """Names that must not."""
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    """Exactly these."""


@dataclass(frozen=True)
class RightReply:
    """Bytes that an origin answers with; the client must see this of it."""

    sent: bytes
    status: int = 200
    fields: Fields = field(default_factory=list)
    absent: tuple[bytes, ...] = ()
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    method: bytes = b"GET"
    closes: bool = False
    """Whether the origin ends its connection behind it."""


@dataclass(frozen=True)
class BadReply:
    """Bytes that an origin answers with. The client gets 502, or its connection cut if a right head came before."""

    sent: bytes
    closes: bool = False
    begun: bool = False
    """Whether its head is right, so that it may be out before the rule is broken."""
    method: bytes = b"GET"


T = TypeVar("T")
Rule = Callable[[], Iterable[tuple[str, T]]]


def made(*rules: Rule[T]) -> dict[str, T]:
    """What the rules make, named by rule and variety."""
    cases: dict[str, T] = {}
    for rule in rules:
        for variety, case in rule():
            name = f"{rule.__name__}: {variety}"
            assert name not in cases, name
            cases[name] = case
    return cases


def shown(piece: bytes) -> str:
    """`piece` in a name."""
    text = repr(piece)[2:-1]
    return text if len(text) < 50 else f"{text[:40]}... of {len(piece)}"


def slug(name: str) -> bytes:
    """A path of its own for `name`."""
    return b"/" + hashlib.sha256(name.encode()).hexdigest()[:20].encode()


def placed(byte: int, places: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """A text with `byte` at each of `places`: first, inside, last."""
    one = bytes([byte])
    texts = {"first": one + b"ab", "inside": b"a" + one + b"b", "last": b"ab" + one}
    for place in places:
        yield f"{shown(one)} {place}", texts[place]
