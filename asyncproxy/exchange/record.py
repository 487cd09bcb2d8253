r"""What the access log says of one request, and the two ways of saying it.

A `Record` is made on the polling thread for every request, so making one only gathers: text is made of it on the
access log's own thread. Whatever clients and upstreams had a hand in is escaped there, so that no request can forge a
line or move a terminal's cursor: in `combined` as nginx does, ``\x22`` for a quote, and in JSON as JSON does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

from asyncproxy.exchange.ledger import Spent

BLOCK_KEPT: Final = 2048
"""Bytes of a request's fields that a record may hold on to; of a longer block only what is logged is kept."""
FIELD_KEPT: Final = 1024
"""Bytes of Referer and of User-Agent that are then kept."""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNSAFE: Final = re.compile(rb"[^ !#-\[\]-~]")
_LOGGED: Final = re.compile(rb"(?i:\r\n(referer|user-agent):)[ \t]*([^\r]*)")
_CLIENT_LEFT: Final = 499


class Record(msgspec.Struct, frozen=True, gc=False):
    """One request, after its end. Its fields are given by position: it is made for every request."""

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
    """The request's fields, by way of `kept`: Referer and User-Agent are read from it when the line is made."""


def kept(block: bytes) -> bytes:
    """What a record keeps of a request's header block: all of a usual one, for taking it apart would cost more."""
    if len(block) <= BLOCK_KEPT:
        return block
    return b"".join(b"\r\n%b: %b" % (name, value[:FIELD_KEPT]) for name, value in _LOGGED.findall(block)[:2])


def combined(record: Record) -> str:
    """A line of the Apache combined format, without its end; times are UTC.

    A client that left before its answer has status 499, as nginx has it: readers of this format want a number.
    """
    referer, agent = _referer_and_agent(record.block)
    status, size = record.status or _CLIENT_LEFT, record.size or "-"
    line = f"{_escaped(record.method.encode())} {_escaped(record.target)} HTTP/1.{record.minor}"
    who, when = _escaped(record.client.encode()), _stamp(int(record.time))
    return f'{who} - - {when} "{line}" {status} {size} "{_escaped(referer) or "-"}" "{_escaped(agent) or "-"}"'


class _Seconds(msgspec.Struct, frozen=True, gc=False):
    """The ledger in a line, by the names of `ledger.COLUMNS`."""

    receiving: float
    queued: float
    working: float
    parked: float
    upstream: float
    sending: float


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
    ledger_s: _Seconds
    parks: int
    id: str
    flag: str
    detail: str
    referer: str
    user_agent: str


_encode_lines: Final = msgspec.json.Encoder().encode_lines


def combined_lines(records: Sequence[Record]) -> bytes:
    """A `combined` line for each of `records`, with its end."""
    return "".join([combined(record) + "\n" for record in records]).encode()


def json_lines(records: Sequence[Record]) -> bytes:
    """A line of JSON for each of `records`, with its end: an object with the same keys for each; times are UTC."""
    return _encode_lines([_line(record) for record in records])


def _line(record: Record) -> _Line:
    referer, agent = _referer_and_agent_as_text(record.block)
    receiving, queued, working, parked, waited, sending = record.spent
    return _Line(
        _millisecond(int(record.time * 1000)),
        record.client,
        record.method,
        _text(record.target),
        "1.1" if record.minor else "1.0",
        record.status,
        record.size,
        int(record.duration * 1e6 + 0.5) / 1e6,  # here and below: a third of what `round` takes
        record.route,
        record.module,
        record.upstream,
        record.attempts,
        _Seconds(
            receiving and int(receiving * 1e6 + 0.5) / 1e6,
            queued and int(queued * 1e6 + 0.5) / 1e6,
            working and int(working * 1e6 + 0.5) / 1e6,
            parked and int(parked * 1e6 + 0.5) / 1e6,
            waited and int(waited * 1e6 + 0.5) / 1e6,
            sending and int(sending * 1e6 + 0.5) / 1e6,
        ),
        record.parks,
        record.id,
        record.flag,
        record.detail,
        referer,
        agent,
    )


@lru_cache(256)  # requests of one connection mostly have the same block
def _referer_and_agent_as_text(block: bytes) -> tuple[str, str]:
    referer, agent = _referer_and_agent(block)
    return _text(referer), _text(agent)


@lru_cache(256)
def _referer_and_agent(block: bytes) -> tuple[bytes, bytes]:
    found = {name.lower(): value.rstrip(b" \t") for name, value in reversed(_LOGGED.findall(block))}
    return found.get(b"referer", b""), found.get(b"user-agent", b"")


def _text(raw: bytes) -> str:
    r"""Bytes as people read them: UTF-8, and ``\xff`` for what is none or does not print."""
    text = raw.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else "".join(one if one.isprintable() else _hexadecimal(one) for one in text)


def _hexadecimal(one: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in one.encode())


def _escaped(raw: bytes) -> str:
    r"""`raw` in visible ASCII: other bytes, quotes and backslashes are ``\xHH``."""
    return _UNSAFE.sub(_as_hexadecimal, raw).decode()


def _as_hexadecimal(found: re.Match[bytes]) -> bytes:
    return b"\\x%02X" % found[0][0]


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
