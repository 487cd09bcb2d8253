r"""What the access log says of one request, and the two ways of saying it.

Whatever clients and upstreams had a hand in is escaped, so that no request can forge a line or move a terminal's
cursor: in `combined` as nginx does, ``\x22`` for a quote, and in JSON as JSON does. Lines are made by the batch, on
the polling thread: their number is what the proxy serves, so each microsecond of one is felt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from asyncproxy.exchange.ledger import Seconds, Spent
from asyncproxy.exchange.messages import Request

BLOCK_KEPT: Final = 2048
"""Bytes of a request's fields that Referer and User-Agent are looked for in as they are, and remembered by."""
FIELD_KEPT: Final = 1024
"""Bytes of each that a line has of a longer block."""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNSAFE: Final = re.compile(rb"[^ !#-\[\]-~]")
_LOGGED: Final = re.compile(rb"(?i:\r\n(referer|user-agent):)[ \t]*([^\r]*)")
_ESCAPES: Final = {code: f"\\x{code:02X}" for code in range(256) if _UNSAFE.match(bytes([code]))}
_NOT_ASCII: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 256))}
_CLIENT_LEFT: Final = 499


class Finished(Protocol):
    """What the log tells of: an exchange, or a request that was `Refused`."""

    @property
    def request(self) -> Request:
        """What was asked."""

    @property
    def binding(self) -> Any:
        """The route, with its `path` and the `name` of its module."""

    @property
    def server(self) -> Any:
        """Whose `name` is the URL of the server that answered, or was asked last; None if none was asked."""

    @property
    def attempts(self) -> int:
        """How many times a server was asked."""

    @property
    def flag(self) -> str:
        """Why it ended as it did, see `flags`; empty for an ordinary answer."""

    @property
    def detail(self) -> str:
        """Which limit or time-out it was, by its key, or an upstream's `why`; empty if none."""


class NoRoute:
    """In the place of a route, for what was refused before one was found."""

    path = name = ""


class Refused:
    """A request that was refused before it became an exchange."""

    __slots__ = ("detail", "flag", "request")
    binding = NoRoute
    server = None
    attempts = 0

    def __init__(self, request: Request, flag: str, detail: str) -> None:
        self.request = request
        self.flag = flag
        self.detail = detail

    def __repr__(self) -> str:
        return f"<Refused {self.request!r} for {self.flag} {self.detail}>"


Told = tuple[Finished, int, int, float, float, Seconds, int]
"""What the log is told of a request: whose it is; the status and bytes of its response, 0 if the client left before
there was one; when it began, in seconds since 1970 (UTC); how long it took; its ledger; how often it was parked.
"""


class Record(NamedTuple):
    """All that is told of one request, on its own: for whoever keeps it, or looks at it by name."""

    time: float
    """When it began, seconds since 1970 (UTC)."""
    client: str
    """The client's address."""
    method: str
    target: bytes
    """As received."""
    minor: int
    """Of the HTTP version, 1.`minor`."""
    status: int
    """Of the response; 0 if the client left before there was one."""
    size: int
    """Bytes of the response's body, as far as it was sent."""
    duration: float
    """Seconds from begin to end."""
    route: str
    """The route's path; empty for what was refused before a route was found, as is `module`."""
    module: str
    upstream: str | None
    """The URL of the server that answered, or was asked last; None if none was asked."""
    attempts: int
    """How many times a server was asked."""
    spent: Spent
    """Seconds by column; see `ledger.spent`."""
    parks: int
    id: str
    flag: str
    """Why it ended as it did, see `flags`; empty for an ordinary answer."""
    detail: str
    """Which limit or time-out it was, by its key, or an upstream's `why`; empty if none."""
    block: bytes
    """The request's fields: Referer and User-Agent are read from it."""

    @classmethod
    def of(cls, told: Told) -> Record:
        """The record of what was `told`."""
        whole, status, size, time, duration, seconds, parks = told
        request, binding, server = whole.request, whole.binding, whole.server
        return cls(
            time=time,
            client=request.peer.address,
            method=request.method,
            target=request.target,
            minor=request.minor,
            status=status,
            size=size,
            duration=duration,
            route=binding.path,
            module=binding.name,
            upstream=None if server is None else server.name,
            attempts=whole.attempts,
            spent=msgspec.structs.astuple(seconds),
            parks=parks,
            id=request.id,
            flag=whole.flag,
            detail=whole.detail,
            block=request.block,
        )


def kept(block: bytes) -> bytes:
    """What is logged of a request's header block: all of a usual one, for taking it apart would cost more."""
    if len(block) <= BLOCK_KEPT:
        return block
    first = {name.lower(): value[:FIELD_KEPT] for name, value in reversed(_LOGGED.findall(block))}
    return b"".join(b"\r\n%b: %b" % field for field in first.items())


def combined(told: Told) -> str:
    """A line of the Apache combined format, without its end; times are UTC.

    A client that left before its answer has status 499, as nginx has it: readers of this format want a number.
    """
    whole, status, size, time, *_ = told
    request = whole.request
    referer, agent = _referer_and_agent_escaped(kept(request.block))
    line = f"{_escaped_text(request.method)} {_escaped(request.target)} HTTP/1.{request.minor}"
    who, when = _escaped_text(request.peer.address), _stamp(int(time))
    return f'{who} - - {when} "{line}" {status or _CLIENT_LEFT} {size or "-"} "{referer or "-"}" "{agent or "-"}"'


class _Line(msgspec.Struct, frozen=True, gc=False, rename={"size": "bytes"}):
    """A line of JSON; seconds are rounded to microseconds."""

    time: str
    client: str
    method: str
    target: str
    http: str
    status: int
    size: int
    duration_s: float
    route: str
    module: str
    upstream: str | None
    attempts: int
    ledger_s: Seconds
    parks: int
    id: str
    flag: str
    detail: str
    referer: str
    user_agent: str


_encode_lines: Final = msgspec.json.Encoder().encode_lines


def combined_lines(told: Sequence[Told]) -> bytes:
    """A `combined` line for each request, with its end."""
    return "".join([combined(one) + "\n" for one in told]).encode()


def json_lines(told: Sequence[Told]) -> bytes:
    """A line of JSON for each request, with its end: an object with the same keys for each; times are UTC.

    One loop without calls of ours, for every request comes through it.
    """
    lines = []
    for whole, status, size, time, duration, seconds, parks in told:
        request, binding, server = whole.request, whole.binding, whole.server
        raw, block = request.target, request.block
        target = raw.decode("ascii") if raw.isascii() else _text(raw)
        referer, agent = _referer_and_agent_as_text(block if len(block) <= BLOCK_KEPT else kept(block))
        lines.append(
            _Line(
                _millisecond(int(time * 1000)),
                request.peer.address,
                request.method,
                target if target.isprintable() else _in_ascii(raw),
                "1.1" if request.minor else "1.0",
                status,
                size,
                duration,
                binding.path,
                binding.name,
                None if server is None else server.name,
                whole.attempts,
                seconds,
                parks,
                request.id,
                whole.flag,
                whole.detail,
                referer,
                agent,
            )
        )
    return _encode_lines(lines)


@lru_cache(256)  # requests of one connection mostly have the same block
def _referer_and_agent_as_text(block: bytes) -> tuple[str, str]:
    referer, agent = _referer_and_agent(block)
    return _text(referer), _text(agent)


@lru_cache(256)
def _referer_and_agent_escaped(block: bytes) -> tuple[str, str]:
    referer, agent = _referer_and_agent(block)
    return _escaped(referer), _escaped(agent)


def _referer_and_agent(block: bytes) -> tuple[bytes, bytes]:
    found = {name.lower(): value.rstrip(b" \t") for name, value in reversed(_LOGGED.findall(block))}
    return found.get(b"referer", b""), found.get(b"user-agent", b"")


def _text(raw: bytes) -> str:
    r"""Bytes as people read them: UTF-8 if all of it is, and prints; otherwise ASCII, and ``\xff`` for what is none."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return _in_ascii(raw)
    return text if text.isprintable() else _in_ascii(raw)


def _in_ascii(raw: bytes) -> str:
    return raw.decode("latin-1").translate(_NOT_ASCII)


def _escaped(raw: bytes) -> str:
    r"""`raw` in visible ASCII: other bytes, quotes and backslashes are ``\xHH``."""
    # By a table: a client may send nothing but quotes, and a call for each would hold the polling thread.
    return raw.decode("latin-1").translate(_ESCAPES) if _UNSAFE.search(raw) else raw.decode("ascii")


@lru_cache(256)
def _escaped_text(text: str) -> str:
    return _escaped(text.encode())


@lru_cache(8)
def _stamp(seconds: int) -> str:
    """As in ``[10/Oct/2000:13:55:36 +0000]``, in English whatever the locale."""
    at = datetime.fromtimestamp(seconds, UTC)
    return f"[{at.day:02d}/{_MONTHS[at.month - 1]}/{at.year:04d}:{at:%H:%M:%S} +0000]"


@lru_cache(8)  # dozens of requests end in one
def _millisecond(number: int) -> str:
    """The instant `number` milliseconds after 1970, as in ``2026-11-26T13:55:36.042Z``."""
    seconds, rest = divmod(number, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"
