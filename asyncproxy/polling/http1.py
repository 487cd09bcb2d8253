"""Heads of HTTP/1.1 messages: bytes to heads, for both sides.

The rule: a head is looked at whole and alone, at most as long as the limit, so no body can be mistaken for one. What is
not exactly the grammar of RFC 9112 is refused: the request and status line here, fields by `exchange.grammar`; and what
servers understand differently is refused here: a missing or second Host, transfer codings other than one `chunked`,
lengths that are no number. Which fields mean what, `exchange.forwarding` knows; where the body ends is the business of
`exchange.framing`.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from asyncproxy.exchange.errors import ClientError
from asyncproxy.exchange.forwarding import elements, keeps_alive, restate_length
from asyncproxy.exchange.framing import ChunkedBody, LengthBody, UntilClose
from asyncproxy.exchange.grammar import TOKEN, are_fields, fault_of_fields, may_become_fields
from asyncproxy.exchange.last_recipient import COUNTED, forwards_left
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.responses import Reply
from asyncproxy.exchange.upgrading import UPGRADE_REQUIRED, required

METHODS: Final = {
    name.encode(): name
    for names in (
        "GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK SEARCH",
        "REPORT MKACTIVITY CHECKOUT MERGE NOTIFY SUBSCRIBE UNSUBSCRIBE PURGE MKCALENDAR LINK UNLINK BIND REBIND",
        "UNBIND ACL",
    )
    for name in names.split()
}
_REQUEST_LINE: Final = re.compile(rb"(?!CONNECT /)(%b) ([!\"$-~]+) HTTP/1\.([01])(?=\r\n)" % TOKEN)
_PATH: Final = re.compile(rb"/[!\"$-~]*")
_VERSION: Final = re.compile(rb"[^ \r\n]+ [^ \r\n]+ HTTP/\d+(?:\.\d+)?\r\n")
_SPOKEN: Final = re.compile(rb"[^\r\n]* HTTP/1\.[01]\r\n")
_LINE_BEGUN: Final = re.compile(rb"%b(?: (?:[!\"$-~]+(?: [HTP/.0-9]*\r?)?)?)?" % TOKEN)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d) [\t\x20-\x7e\x80-\xff]*(?=\r\n)")
_STATUS_LINE_BEGINS: Final = b"HTTP/1."
_SLASH: Final = 47
_WORTH_KNOWING: Final = 8192
"""Bytes of fields that a connection may hold on to while it idles: a browser's with its cookies."""
_ZERO: Final = 48
_BODILESS: Final = frozenset((*range(100, 200), 204, 304))
_AUTHORITY: Final = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]++|%[0-9A-Fa-f]{2})+"
    rb"(?::(?:[0-5]?[0-9]{0,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
)
_IN_BRACKETS: Final = re.compile(rb"\[([0-9A-Fa-f:.]{2,45})\]((?::[0-9]*)?)")
_LOOKED_AT: Final = 4096
"""Bytes of a head up to which its fields are looked at each time that more of it comes."""
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")

Framing = LengthBody | ChunkedBody | UntilClose


class BadReply(ValueError):
    """What an upstream sent is no HTTP/1.1 reply; str() says why."""


def request_framing(request: Request) -> Framing:
    """A fresh decoder of `request`'s body."""
    return ChunkedBody() if request.length is None else LengthBody(request.length)


def reply_framing(reply: Reply) -> Framing:
    """A fresh decoder of `reply`'s body."""
    if reply.bodiless:
        return LengthBody(0)
    if reply.length is not None:
        return LengthBody(reply.length)
    return ChunkedBody() if reply.noted.transfer else UntilClose()


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
        raise ClientError(414, f"the request target is longer than {line_limit} bytes", detail="limits.request_line")
    block = head[line.end() : -4]
    if not are_fields(head, line.end()):
        raise ClientError(400, f"malformed head: {fault_of_fields(block)}")
    request = Request(method, target)
    plain = request.sift(block)
    host = request.host_value
    if host and _AUTHORITY.fullmatch(host) is None and not is_authority(host):
        raise ClientError(400, "the Host field is no host")
    if plain and digit == b"1" and host and method not in COUNTED:
        return request  # a plain GET
    _take_in(request, digit[0] - 48)
    return request


def _take_in(request: Request, minor: int) -> None:
    """What the fields of a request that is not a plain GET say of its host, its connection and its body."""
    request.minor = minor
    noted = request.noted
    if noted.hosts != 1 and (noted.hosts or minor):
        raise ClientError(400, "an HTTP/1.1 request has exactly one Host field")
    if noted.hosts and not request.host_value:
        raise ClientError(400, "the Host field is empty")
    if noted.expect and minor:
        _check_expectation(noted.expect)
    request.keep_alive = keeps_alive(noted.connection, minor)
    if request.method in COUNTED:
        forwards_left(request)
    if noted.transfer or request.length_value:
        request.length = _request_length(request)
        if request.method == "TRACE" and request.length != 0:
            raise ClientError(400, "TRACE takes no body")


def check_beginning(data: bytes, line_limit: int, limit: int, looked_at: int = 0) -> None:
    """Refuse `data`, the beginning of a head, if none can come of it: its client would wait for the rest of our time.

    `line_limit` is the longest target, `limit` the longest head, `looked_at` how much of it was found good before: what
    comes byte by byte is not looked at all over again. Raises `ClientError`, as `parse_request` would.
    """
    if len(data) > line_limit + 64 and b"\r\n" not in data[: line_limit + 64]:
        raise ClientError(414, f"the request line is longer than {line_limit} bytes", detail="limits.request_line")
    if len(data) > limit:
        raise ClientError(431, f"the request's head is longer than {limit} bytes", detail="limits.head")
    new = data[looked_at - data.endswith(b"\r", 0, looked_at) :]
    _check_line_ends(new, ClientError(400, "malformed head: a bare CR or LF"))
    if b"\r\n" not in data:
        if _LINE_BEGUN.fullmatch(data) is None:
            raise ClientError(400, "malformed request line")
        return
    line = _REQUEST_LINE.match(data)
    if line is None:
        raise _bad_request_line(data)
    if line[1] not in METHODS:
        raise ClientError(501, "the method is not known here")
    if len(data) < _LOOKED_AT and not may_become_fields(data, line.end()):
        raise ClientError(400, f"malformed head: {fault_of_fields(data[line.end() :])}")


def check_reply_beginning(data: bytes, looked_at: int = 0) -> None:
    """The same for a reply's head. Raises `BadReply`."""
    new = data[looked_at - data.endswith(b"\r", 0, looked_at) :]
    _check_line_ends(new, BadReply("malformed head: a bare CR or LF"))
    begins = _STATUS_LINE_BEGINS.startswith(data[: len(_STATUS_LINE_BEGINS)])
    if not begins or (b"\r\n" in data and _STATUS_LINE.match(data) is None):
        raise BadReply("its status line is not HTTP/1.1")


def _check_line_ends(data: bytes, error: Exception) -> None:
    """Raise `error` if a CR or LF in `data` stands alone; a CR at its end may still be followed."""
    ends = data.count(b"\r\n")
    if data.count(b"\n") != ends or data.count(b"\r") - data.endswith(b"\r") != ends:
        raise error


class KnownRequest:
    """A head that a connection repeats, so that it is not read again each time.

    Clients send the same fields with every request of a connection. What follows the target was found good, and what
    it means does not depend on the target: of the next head that is the same around it, only the target is read.
    """

    __slots__ = ("end", "request", "start")

    def __init__(self, request: Request) -> None:
        """`request` is one that `repeats` says may be known."""
        self.request = request
        self.start = request.method.encode("ascii") + b" "
        self.end = b" HTTP/1.1" + request.block + b"\r\n\r\n"

    @staticmethod
    def repeats(request: Request) -> bool:
        """Whether the like of `request` may come again: for a path, without a body, and another request may follow.

        In absolute-form the target decides on the Host field, and so on what follows it.
        """
        bodiless = request.length == 0 and not request.length_value
        short = len(request.block) <= _WORTH_KNOWING
        return bodiless and short and request.keep_alive and request.minor == 1 and request.target[0] == _SLASH

    def again(self, head: bytes, line_limit: int) -> Request | None:
        """`head` as a request, if it differs by its target alone, a path within `line_limit`; else None."""
        if not head.startswith(self.start) or not head.endswith(self.end):
            return None
        target = head[len(self.start) : -len(self.end)]
        if _PATH.fullmatch(target) is None or len(target) > line_limit:
            return None
        return self.request.again(target)


class KnownReply:
    """A head that a server repeats on a connection, to the letter; the same rule."""

    __slots__ = ("head", "reply", "size", "status")

    def __init__(self, head: bytes, reply: Reply) -> None:
        """`reply` is one that `repeats` says may be known; its module may give it another status."""
        self.head = head
        self.reply = reply
        self.status = reply.status
        self.size = len(head) + (reply.length or 0)

    @staticmethod
    def repeats(reply: Reply) -> bool:
        """Whether the like of `reply` may come again: its body's length is told, and another reply may follow it."""
        return reply.length is not None and reply.keep_alive and reply.minor == 1 and not reply.bodiless

    def again(self, data: bytes) -> Reply | None:
        """`data` as a reply with its whole body, if its head is the same; else None."""
        if len(data) != self.size or not data.startswith(self.head):
            return None
        reply = self.reply.again()
        reply.status = self.status
        reply.stream = data[len(self.head) :]
        return reply


def is_authority(text: bytes) -> bool:
    """Whether `text` is a host, with a port or without (RFC 9112 section 3.2, RFC 3986 section 3.2)."""
    if _AUTHORITY.fullmatch(text) is not None:
        return True
    literal = _IN_BRACKETS.fullmatch(text)
    if literal is None or _AUTHORITY.fullmatch(b"a" + literal[2]) is None:
        return False
    try:
        IPv6Address(literal[1].decode("ascii"))
    except AddressValueError:
        return False
    return True


def parse_reply(head: bytes, method: str) -> Reply:
    """`head` of a reply to a `method` request as a `Reply` without its body. Raises `BadReply`."""
    line = _STATUS_LINE.match(head)
    if line is None:
        raise BadReply("its status line is not HTTP/1.1")
    block = head[line.end() : -4]
    if not are_fields(head, line.end()):
        raise BadReply(f"malformed head: {fault_of_fields(block)}")
    digit, digits = line.groups()
    reply = Reply(int(digits))
    plain = reply.sift(block)
    told = reply.length_value
    if plain and digit == b"1" and told.isdigit() and len(told) < 19 and told[0] != _ZERO:
        reply.length = int(told)
    else:
        reply.minor = digit[0] - 48
        reply.keep_alive = keeps_alive(reply.noted.connection, reply.minor)
        reply.length = _reply_length(reply)
        if reply.status == UPGRADE_REQUIRED:
            reply.passed += required(reply)
    if method == "HEAD" or reply.status in _BODILESS:
        reply.bodiless = True
        if reply.status == 204 and (reply.length or reply.noted.transfer):
            reply.keep_alive = False  # it says that a body follows, and none may
        if reply.noted.transfer and (reply.status < 200 or reply.status == 204):
            raise BadReply(f"a {reply.status} has no transfer coding")
    elif reply.length is None and not reply.noted.transfer:
        reply.keep_alive = False
    return reply


def _check_expectation(expect: bytes) -> None:
    """Raise `ClientError` if an Expect field asks for what we do not know (RFC 9110 section 10.1.1)."""
    if any(one != b"100-continue" for one in elements(expect)):
        raise ClientError(417, "the only expectation that is met here is 100-continue")


def _request_length(request: Request) -> int | None:
    transfer = request.noted.transfer
    if not transfer:
        if not _DIGITS.fullmatch(request.length_value):
            raise ClientError(400, "Content-Length is no number, or is given more than once")
        return _length_told(request)
    if request.length_value:
        raise ClientError(400, "Content-Length and Transfer-Encoding together")
    if request.minor == 0:
        raise ClientError(400, "Transfer-Encoding on HTTP/1.0")
    if transfer != b"chunked":
        raise ClientError(400, "the only transfer coding taken here is one 'chunked'")
    return None


def _length_told(message: Request | Reply) -> int:
    length = int(message.length_value)
    restate_length(message, length)
    return length


def _reply_length(reply: Reply) -> int | None:
    transfer = reply.noted.transfer
    if not transfer:
        if reply.length_value and not _DIGITS.fullmatch(reply.length_value):
            raise BadReply("its Content-Length is no number, or is given more than once")
        return _length_told(reply) if reply.length_value else None
    if reply.length_value:
        raise BadReply("it has Content-Length and Transfer-Encoding together")
    if reply.minor == 0 or transfer != b"chunked":
        raise BadReply("its transfer coding is not one 'chunked'")
    return None


def _bad_request_line(head: bytes) -> ClientError:
    """Why the request line was refused."""
    if _VERSION.match(head) and not _SPOKEN.match(head):
        return ClientError(505, "the HTTP versions spoken here are 1.1 and 1.0")
    return ClientError(400, "malformed request line")
