"""What heads say of us and of the time: Server and Date on what we answer ourselves, Via on what we pass on.

The rule: a head that has passed us says so, by the version in which it came; a response says when it was made, and if
nobody has said so before us, we do (RFC 9110 sections 6.6.1 and 7.6.3). What an upstream says of itself stays.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from asyncproxy.exchange.responses import Reply

PSEUDONYM: Final = "asyncproxy"
_DATE: Final = re.compile(rb"(?i:\r\ndate:)")
_SERVER: Final = re.compile(rb"(?i:\r\nserver:)")


class Undated(bytes):
    """A header block that wants a date."""


class Signature:
    """How we sign heads. `server_name` goes into Server and `via` into Via; None leaves the field out.

    Requests have a Via all the same, as they must. `wall` gives the time, in seconds since 1970. Polling thread only.
    """

    __slots__ = ("_date", "_second", "_server", "_wall", "replies", "requests")

    def __init__(
        self,
        server_name: str | None = PSEUDONYM,
        via: str | None = PSEUDONYM,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._wall = wall
        self._second = -1
        self._date = b""
        self.sign_as(server_name, via)

    def sign_as(self, server_name: str | None, via: str | None) -> None:
        """From now on sign so."""
        self._server = b"" if server_name is None else b"\r\nServer: " + server_name.encode("ascii")
        self.requests = _vias(via or PSEUDONYM)
        """The Via of a request that came by HTTP/1.0, and by 1.1."""
        self.replies = (b"", b"") if via is None else self.requests
        """The same of a reply; empty if there is none."""

    def date(self) -> bytes:
        """The Date field of this second."""
        second = int(self._wall())
        if second != self._second:
            self._second = second
            self._date = b"\r\nDate: " + formatdate(second, usegmt=True).encode("ascii")
        return self._date

    def own(self, block: bytes = b"") -> bytes:
        """`block` of a response of ours, with Date and Server where it does not tell them."""
        if not self._server or _SERVER.search(block):
            return self.dated(block)
        return self.dated(block) + self._server

    def dated(self, block: bytes) -> bytes:
        """`block` with a Date, if it has none."""
        return block if is_dated(block) else block + self.date()

    def onward(self, reply: Reply) -> bytes:
        """The header block of `reply` as it goes on, unchanged by a module; what its head says is looked at once."""
        if not reply.onward:
            block = reply.passed + self.replies[reply.minor]
            reply.onward = block if is_dated(block) else Undated(block)
        return reply.onward + self.date() if type(reply.onward) is Undated else reply.onward

    def __repr__(self) -> str:
        return f"<Signature {self._server[2:].decode() or 'no Server'}, {self.requests[1][2:].decode()}>"


def is_dated(block: bytes) -> bool:
    """Whether a header block tells its date."""
    return b"\r\nDate:" in block or _DATE.search(block) is not None


def _vias(pseudonym: str) -> tuple[bytes, bytes]:
    name = pseudonym.encode("ascii")
    return b"\r\nVia: 1.0 " + name, b"\r\nVia: 1.1 " + name
