"""A head that is sent before there is an answer, so that the client goes on waiting: what it says, and what may follow.

The rule: such a head cannot be taken back. It says 200 and one content type; an answer of that kind follows as its
body, and anything else is told in the body, as an error in an object that is the same for both kinds:

    {"error": {"status": 504, "title": "Gateway Timeout", "detail": "...", "request": "1f2e3d4c-7"}}
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from asyncproxy.exchange.errors import error_object, reason_phrase
from asyncproxy.exchange.forwarding import split_block

WRONG_KIND: Final = 502
"""The status that is told instead of a 200 whose body cannot follow the early head."""
_UNTOLD: Final = b"\r\nCache-Control: no-store\r\nX-Accel-Buffering: no"
_ACCEPTS: Final = re.compile(rb"(?i:\r\naccept-encoding:)[^\r]*")
_PARTIAL: Final = re.compile(rb"(?i:\r\n(?:if-none-match|if-modified-since|if-range|range):)[^\r]*")
_NOT_MISSED: Final = frozenset((b"content-type", b"content-length", b"cache-control", b"date", b"via", b"server"))


class EarlyHead(NamedTuple):
    """One kind of early head; it is a 200 with `block` as its fields."""

    kind: str
    """Its content type."""
    fitting: re.Pattern[str]
    """Content types, without parameters, whose bodies may follow it."""
    tick: bytes
    """What may be sent before the body, any number of times, and means nothing."""
    before_error: bytes
    after_error: bytes

    @property
    def block(self) -> bytes:
        """Its header fields: nobody may store it, nor hold it back, as nginx would."""
        return b"\r\nContent-Type: " + self.kind.encode() + _UNTOLD

    def misfit(self, status: int, block: bytes) -> str:
        """Why the body of an answer with this status and these fields cannot follow; an empty string if it can."""
        if status != 200:
            return f"the answer is {status} {reason_phrase(status)}".rstrip()
        fields = {name.lower(): value.decode("latin-1") for name, value in split_block(block)}
        kind = media_type(fields.get(b"content-type", ""))
        if not self.fitting.fullmatch(kind):
            return f"the answer is {kind or 'of no content type'}, not {self.kind}"
        coding = fields.get(b"content-encoding", "identity").lower()
        return "" if coding == "identity" else f"the answer is encoded with {coding}, and it is too late to tell"

    def error(self, status: int, detail: str, request_id: str) -> bytes:
        """The end of a body that cannot be what was asked for."""
        return self.before_error + error_object(status, detail, request_id) + self.after_error


EARLY_HEADS: Final = {
    "sse": EarlyHead(
        "text/event-stream",
        re.compile(r"text/event-stream"),
        b": keep-alive\n\n",
        b"event: error\ndata: ",
        b"\n\n",
    ),
    "json": EarlyHead("application/json", re.compile(r"application/(.+\+)?json"), b"\n", b"", b"\n"),
}
"""By the word of the configuration (WHATWG HTML section 9.2; RFC 8259 section 2)."""


def media_type(value: str) -> str:
    """A content type in lower case, without its parameters."""
    return value.partition(";")[0].strip().lower()


def late_fields(block: bytes) -> list[str]:
    """Names of an answer's fields that came too late to be told, but for those that say nothing new."""
    names = {name.lower() for name, _ in split_block(block)}
    return sorted(name.decode("latin-1") for name in names - _NOT_MISSED)


def asking_plainly(method: str, block: bytes) -> bytes:
    """A request's `block`, asking for nothing that an early head cannot tell of: a content coding; of a GET, a part of
    the body, or that there is none because the client has it (RFC 9110 sections 13.1 and 14.2).
    """
    plain = _ACCEPTS.sub(b"\r\nAccept-Encoding: identity", block)
    return _PARTIAL.sub(b"", plain) if method == "GET" else plain
