"""Heads of HTTP/1.1 messages: bytes to heads, on llhttp, for both sides.

The rule: llhttp only ever sees one whole head, at most as long as the limit; so it buffers nothing, and cannot mistake
a body for a head. It holds the grammar of the fields. What it lets through and RFC 9112 does not is refused here: other
versions, stray spaces in the request line, a missing or second Host, transfer codings other than one `chunked`,
transfer codings on HTTP/1.0, control characters in a reason. Which fields mean what, `exchange.forwarding` knows;
where the body ends is the business of `exchange.framing`.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from asyncproxy.exchange.errors import ClientError
from asyncproxy.exchange.forwarding import Fields, keeps_alive, sift
from asyncproxy.exchange.framing import ChunkedBody, LengthBody, UntilClose

METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "PROPPATCH", "MKCOL")
    + ("COPY", "MOVE", "LOCK", "UNLOCK", "SEARCH", "REPORT", "MKACTIVITY", "CHECKOUT", "MERGE", "NOTIFY", "SUBSCRIBE")
    + ("UNSUBSCRIBE", "PURGE", "MKCALENDAR", "LINK", "UNLINK", "BIND", "REBIND", "UNBIND", "ACL")
)
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!\"$-~]+) HTTP/1\.([01])(?=\r\n)")
_VERSION: Final = re.compile(rb"[^ \r\n]+ [^ \r\n]+ HTTP/\d+(?:\.\d+)?\r\n")
_SPOKEN: Final = re.compile(rb"[^\r\n]* HTTP/1\.[01]\r\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?(?=\r\n)")
_DIGITS: Final = re.compile(rb"\d{1,18}")

Framing = LengthBody | ChunkedBody | UntilClose


class BadReply(ValueError):
    """What an upstream sent is no HTTP/1.1 reply; str() says why."""


class _Nobody:
    """llhttp checks a head; nothing needs to hear of its parts."""


_NOBODY: Final = _Nobody()


class RequestHead(Fields):
    """A request's line and fields. `length` is None for a chunked body, 0 for none."""

    length: int | None = 0
    expects_continue = False

    def __init__(self, method: str, target: bytes, minor: int) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.keep_alive = minor == 1

    def body(self) -> Framing:
        """A fresh decoder of this request's body."""
        return ChunkedBody() if self.length is None else LengthBody(self.length)


class ReplyHead(Fields):
    """A reply's status and fields. `length` is None when only the framing tells where the body ends."""

    length: int | None = None
    bodiless = False

    def __init__(self, status: int, minor: int) -> None:
        self.status = status
        self.minor = minor
        self.keep_alive = minor == 1

    @property
    def ends_by_close(self) -> bool:
        """Whether the body lasts until the connection ends."""
        return self.length is None and not self.transfer and not self.bodiless

    def body(self) -> Framing:
        """A fresh decoder of this reply's body."""
        if self.bodiless:
            return LengthBody(0)
        if self.length is not None:
            return LengthBody(self.length)
        return ChunkedBody() if self.transfer else UntilClose()


def parse_request(head: bytes, line_limit: int = 8192) -> RequestHead:
    """`head`, from its first byte to its empty line, as a `RequestHead`. Raises `ClientError` with the status."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise _bad_request_line(head)
    method_bytes, target, digit = line.groups()
    method = method_bytes.decode("ascii")
    if len(target) > line_limit:
        raise ClientError(414, f"the request target is longer than {line_limit} bytes")
    if method not in METHODS:
        raise ClientError(501, "the method is not known here")
    try:
        httptools.HttpRequestParser(_NOBODY).feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # the head is read; framing and what an upgrade means are decided by its fields
    except httptools.HttpParserError as why:
        raise ClientError(400, f"malformed head: {why}") from None
    minor = 1 if digit == b"1" else 0
    parsed = RequestHead(method, target, minor)
    sift(parsed, head[line.end() : -4])
    if parsed.hosts != 1 and (minor or parsed.hosts):
        raise ClientError(400, "an HTTP/1.1 request has exactly one Host field")
    if parsed.connection:
        parsed.keep_alive = keeps_alive(parsed.connection, minor)
    if parsed.transfer or parsed.length_value:
        parsed.length = _request_length(parsed, minor)
        parsed.expects_continue = minor == 1 and parsed.expect == b"100-continue"
    return parsed


def parse_reply(head: bytes, method: str) -> ReplyHead:
    """`head` of a reply to a `method` request as a `ReplyHead`. Raises `BadReply`."""
    line = _STATUS_LINE.match(head)
    if line is None:
        raise BadReply("its status line is not HTTP/1.1")
    try:
        httptools.HttpResponseParser(_NOBODY).feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # the same as for requests
    except httptools.HttpParserError as why:
        raise BadReply(f"malformed head: {why}") from None
    digit, digits = line.groups()
    minor = 1 if digit == b"1" else 0
    status = int(digits)
    parsed = ReplyHead(status, minor)
    sift(parsed, head[line.end() : -4])
    if parsed.connection:
        parsed.keep_alive = keeps_alive(parsed.connection, minor)
    if parsed.transfer or parsed.length_value:
        parsed.length = _reply_length(parsed, minor)
    if method == "HEAD" or status < 200 or status == 204 or status == 304:
        parsed.bodiless = True
    elif parsed.length is None and not parsed.transfer:
        parsed.keep_alive = False
    return parsed


def _request_length(fields: Fields, minor: int) -> int | None:
    if not fields.transfer:
        if not _DIGITS.fullmatch(fields.length_value):
            raise ClientError(400, "Content-Length is no number, or is given more than once")
        return int(fields.length_value)
    if fields.length_value:
        raise ClientError(400, "Content-Length and Transfer-Encoding together")
    if minor == 0:
        raise ClientError(400, "Transfer-Encoding on HTTP/1.0")
    if fields.transfer != b"chunked":
        raise ClientError(400, "the only transfer coding taken here is one 'chunked'")
    return None


def _reply_length(fields: Fields, minor: int) -> int | None:
    if not fields.transfer:
        if not _DIGITS.fullmatch(fields.length_value):
            raise BadReply("its Content-Length is no number, or is given more than once")
        return int(fields.length_value)
    if fields.length_value:
        raise BadReply("it has Content-Length and Transfer-Encoding together")
    if minor == 0 or fields.transfer != b"chunked":
        raise BadReply("its transfer coding is not one 'chunked'")
    return None


def _bad_request_line(head: bytes) -> ClientError:
    """Why the request line was refused."""
    if _VERSION.match(head) and not _SPOKEN.match(head):
        return ClientError(505, "the HTTP versions spoken here are 1.1 and 1.0")
    return ClientError(400, "malformed request line")
