"""Heads of HTTP/1.1 messages: bytes to heads, on llhttp, for both sides.

The rule: llhttp only ever sees one whole head, at most as long as the limit; so it buffers nothing, calls every
callback once, and cannot mistake a body for a head. What it lets through and RFC 9112 does not is refused here:
other versions, stray spaces in the request line, a missing or second Host, transfer codings other than one `chunked`,
transfer codings on HTTP/1.0, control characters. Where the body ends is the business of `exchange.framing`.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from asyncproxy.exchange.errors import ClientError
from asyncproxy.exchange.forwarding import Sifted, keeps_alive, sift
from asyncproxy.exchange.framing import ChunkedBody, LengthBody, UntilClose
from asyncproxy.exchange.headers import RawHeaders

METHODS: Final = frozenset(
    [
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "DELETE",
        "CONNECT",
        "OPTIONS",
        "TRACE",
        "PATCH",
        "PROPFIND",
        "PROPPATCH",
        "MKCOL",
        "COPY",
        "MOVE",
        "LOCK",
        "UNLOCK",
        "SEARCH",
        "REPORT",
        "MKACTIVITY",
        "CHECKOUT",
        "MERGE",
        "NOTIFY",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
        "PURGE",
        "MKCALENDAR",
        "LINK",
        "UNLINK",
        "BIND",
        "REBIND",
        "UNBIND",
        "ACL",
    ]
)
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!\"$-~]+) HTTP/1\.([01])\r\n")
_VERSION: Final = re.compile(rb"[^ \r\n]+ [^ \r\n]+ HTTP/\d+(?:\.\d+)?\r\n")
_SPOKEN: Final = re.compile(rb"[^\r\n]* HTTP/1\.[01]\r\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?\r\n")
_DIGITS: Final = re.compile(rb"\d{1,18}")
_CONTROLS: Final = bytes(sorted(set(range(32)) - {9, 10, 13} | {127}))

Framing = LengthBody | ChunkedBody | UntilClose


class BadReply(ValueError):
    """What an upstream sent is no HTTP/1.1 reply; str() says why."""


class _Collector:
    """What llhttp calls while it reads one head."""

    __slots__ = ("raw",)

    def __init__(self) -> None:
        self.raw: RawHeaders = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.raw.append((name, value))


class RequestHead:
    """A request's line and fields. `length` is None for a chunked body, 0 for none."""

    __slots__ = ("expects_continue", "fields", "keep_alive", "length", "method", "minor", "raw", "target")

    method: str
    target: bytes
    minor: int
    raw: RawHeaders
    fields: Sifted
    keep_alive: bool
    length: int | None
    expects_continue: bool

    def body(self) -> Framing:
        """A fresh decoder of this request's body."""
        return ChunkedBody() if self.length is None else LengthBody(self.length)


class ReplyHead:
    """A reply's status and fields. `length` is None when only the framing tells where the body ends."""

    __slots__ = ("bodiless", "chunked", "fields", "keep_alive", "length", "minor", "raw", "status")

    status: int
    minor: int
    raw: RawHeaders
    fields: Sifted
    keep_alive: bool
    length: int | None
    chunked: bool
    bodiless: bool

    def body(self) -> Framing:
        """A fresh decoder of this reply's body."""
        if self.bodiless:
            return LengthBody(0)
        if self.length is not None:
            return LengthBody(self.length)
        return ChunkedBody() if self.chunked else UntilClose()


def parse_request(head: bytes, line_limit: int = 8192) -> RequestHead:
    """`head`, from its first byte to its empty line, as a `RequestHead`. Raises `ClientError` with the status."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise _bad_request_line(head)
    parsed = RequestHead()
    method, target, minor_digit = line.groups()
    parsed.method = method = method.decode("ascii")
    parsed.target = target
    if len(target) > line_limit:
        raise ClientError(414, f"the request target is longer than {line_limit} bytes")
    if method not in METHODS:
        raise ClientError(501, "the method is not known here")
    parsed.minor = minor = 1 if minor_digit == b"1" else 0
    try:
        parsed.raw = raw = _read_fields(head, httptools.HttpRequestParser)
    except ValueError as why:
        raise ClientError(400, str(why)) from None
    parsed.fields = fields = sift(raw)
    if fields.hosts != 1 and (minor or fields.hosts):
        raise ClientError(400, "an HTTP/1.1 request has exactly one Host field")
    parsed.keep_alive = keeps_alive(fields.connection, minor)
    parsed.expects_continue = minor == 1 and fields.expect == b"100-continue"
    parsed.length = _request_length(fields, minor) if fields.transfer or fields.length else 0
    return parsed


def parse_reply(head: bytes, method: str) -> ReplyHead:
    """`head` of a reply to a `method` request as a `ReplyHead`. Raises `BadReply`."""
    line = _STATUS_LINE.match(head)
    if line is None:
        raise BadReply("its status line is not HTTP/1.1")
    parsed = ReplyHead()
    minor_digit, digits = line.groups()
    parsed.minor = minor = 1 if minor_digit == b"1" else 0
    parsed.status = status = int(digits)
    try:
        parsed.raw = raw = _read_fields(head, httptools.HttpResponseParser)
    except ValueError as why:
        raise BadReply(str(why)) from None
    parsed.fields = fields = sift(raw)
    parsed.keep_alive = keeps_alive(fields.connection, minor)
    parsed.chunked = bool(fields.transfer)
    parsed.length = _reply_length(fields, minor)
    parsed.bodiless = method == "HEAD" or status < 200 or status == 204 or status == 304
    if parsed.length is None and not parsed.chunked and not parsed.bodiless:
        parsed.keep_alive = False
    return parsed


def _read_fields(head: bytes, parser: type) -> RawHeaders:
    """The fields of `head`; ValueError with what is wrong with them."""
    if len(head.translate(None, _CONTROLS)) != len(head):
        raise ValueError("a control character in the head")
    collector = _Collector()
    try:
        parser(collector).feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # the head is read; framing and what an upgrade means are decided by its fields
    except httptools.HttpParserError as why:
        raise ValueError(f"malformed head: {why}") from None
    return collector.raw


def _request_length(fields: Sifted, minor: int) -> int | None:
    if not fields.transfer:
        if not _DIGITS.fullmatch(fields.length):
            raise ClientError(400, "Content-Length is no number, or is given more than once")
        return int(fields.length)
    if fields.length:
        raise ClientError(400, "Content-Length and Transfer-Encoding together")
    if minor == 0:
        raise ClientError(400, "Transfer-Encoding on HTTP/1.0")
    if fields.transfer != b"chunked":
        raise ClientError(400, "the only transfer coding taken here is one 'chunked'")
    return None


def _reply_length(fields: Sifted, minor: int) -> int | None:
    if not fields.transfer:
        if not fields.length:
            return None
        if not _DIGITS.fullmatch(fields.length):
            raise BadReply("its Content-Length is no number, or is given more than once")
        return int(fields.length)
    if fields.length:
        raise BadReply("it has Content-Length and Transfer-Encoding together")
    if minor == 0 or fields.transfer != b"chunked":
        raise BadReply("its transfer coding is not one 'chunked'")
    return None


def _bad_request_line(head: bytes) -> ClientError:
    """Why the request line was refused."""
    if _VERSION.match(head) and not _SPOKEN.match(head):
        return ClientError(505, "the HTTP versions spoken here are 1.1 and 1.0")
    return ClientError(400, "malformed request line")
