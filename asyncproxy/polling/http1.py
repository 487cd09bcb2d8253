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

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from asyncproxy.exchange.errors import ClientError
from asyncproxy.exchange.forwarding import keeps_alive
from asyncproxy.exchange.framing import ChunkedBody, LengthBody, UntilClose
from asyncproxy.exchange.messages import Reply, Request

METHODS: Final = {
    name.encode(): name
    for names in (
        "GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK SEARCH",
        "REPORT MKACTIVITY CHECKOUT MERGE NOTIFY SUBSCRIBE UNSUBSCRIBE PURGE MKCALENDAR LINK UNLINK BIND REBIND",
        "UNBIND ACL",
    )
    for name in names.split()
}
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


def request_framing(request: Request) -> Framing:
    """A fresh decoder of `request`'s body."""
    return ChunkedBody() if request.length is None else LengthBody(request.length)


def reply_framing(reply: Reply) -> Framing:
    """A fresh decoder of `reply`'s body."""
    if reply.bodiless:
        return LengthBody(0)
    if reply.length is not None:
        return LengthBody(reply.length)
    return ChunkedBody() if reply.transfer else UntilClose()


def parse_request(head: bytes, line_limit: int = 8192) -> Request:
    """`head`, from its first byte to its empty line, as a `Request`. Raises `ClientError` with the status."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise _bad_request_line(head)
    method_bytes, target, digit = line.groups()
    method = METHODS.get(method_bytes)
    if method is None:
        raise ClientError(501, "the method is not known here")
    if len(target) > line_limit:
        raise ClientError(414, f"the request target is longer than {line_limit} bytes")
    try:
        HttpRequestParser(_NOBODY).feed_data(head)
    except HttpParserUpgrade:
        pass  # the head is read; framing and what an upgrade means are decided by its fields
    except HttpParserError as why:
        raise ClientError(400, f"malformed head: {why}") from None
    request = Request(method, target, head[line.end() : -4])
    if digit == b"0":
        request.minor = 0
        request.keep_alive = False
    if request.hosts != 1 and (request.hosts or request.minor):
        raise ClientError(400, "an HTTP/1.1 request has exactly one Host field")
    if request.connection:
        request.keep_alive = keeps_alive(request.connection, request.minor)
    if request.transfer or request.length_value:
        request.length = _request_length(request)
        request.expects_continue = request.minor == 1 and request.expect == b"100-continue"
    return request


def parse_reply(head: bytes, method: str) -> Reply:
    """`head` of a reply to a `method` request as a `Reply` without its body. Raises `BadReply`."""
    line = _STATUS_LINE.match(head)
    if line is None:
        raise BadReply("its status line is not HTTP/1.1")
    try:
        HttpResponseParser(_NOBODY).feed_data(head)
    except HttpParserUpgrade:
        pass  # the same as for requests
    except HttpParserError as why:
        raise BadReply(f"malformed head: {why}") from None
    digit, digits = line.groups()
    status = int(digits)
    reply = Reply(status, head[line.end() : -4])
    if digit == b"0":
        reply.minor = 0
        reply.keep_alive = False
    if reply.connection:
        reply.keep_alive = keeps_alive(reply.connection, reply.minor)
    if reply.length_value.isdigit() and not reply.transfer and len(reply.length_value) < 19:
        reply.length = int(reply.length_value)
    elif reply.transfer or reply.length_value:
        _check_transfer(reply)
    if method == "HEAD" or status < 200 or status == 204 or status == 304:
        reply.bodiless = True
    elif reply.length is None and not reply.transfer:
        reply.keep_alive = False
    return reply


def _request_length(request: Request) -> int | None:
    if not request.transfer:
        if not _DIGITS.fullmatch(request.length_value):
            raise ClientError(400, "Content-Length is no number, or is given more than once")
        return int(request.length_value)
    if request.length_value:
        raise ClientError(400, "Content-Length and Transfer-Encoding together")
    if request.minor == 0:
        raise ClientError(400, "Transfer-Encoding on HTTP/1.0")
    if request.transfer != b"chunked":
        raise ClientError(400, "the only transfer coding taken here is one 'chunked'")
    return None


def _check_transfer(reply: Reply) -> None:
    """Raise `BadReply` unless the body's framing is one `chunked`."""
    if not reply.transfer:
        raise BadReply("its Content-Length is no number, or is given more than once")
    if reply.length_value:
        raise BadReply("it has Content-Length and Transfer-Encoding together")
    if reply.minor == 0 or reply.transfer != b"chunked":
        raise BadReply("its transfer coding is not one 'chunked'")


def _bad_request_line(head: bytes) -> ClientError:
    """Why the request line was refused."""
    if _VERSION.match(head) and not _SPOKEN.match(head):
        return ClientError(505, "the HTTP versions spoken here are 1.1 and 1.0")
    return ClientError(400, "malformed request line")
