"""Requests that are sent to find out what is on the way: TRACE and OPTIONS, with Max-Forwards (RFC 9110 section 7.6.2).

The rule: each proxy takes one off, and whoever gets none left answers in the server's place: with the request as it
came, or with what may be asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from asyncproxy.exchange.errors import ClientError
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.responses import Rendered

COUNTED: Final = frozenset(("OPTIONS", "TRACE"))
"""Methods of which Max-Forwards is heeded; with others it is passed on as it came."""
_FIELD: Final = re.compile(rb"(?i:(\r\nmax-forwards:)[ \t]*([^\r]*))")
_DIGITS: Final = re.compile(rb"\d+")
_ANY: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_MOST: Final = 999_999_999
_SECRET: Final = re.compile(
    rb"(?i:\r\n(?:proxy-[^:\r]*|cookie2?|[^:\r]*(?:auth|token|secret|password|session|key)[^:\r]*):)[^\r]*"
)
"""What is not told to whoever can have a request traced, a script in a page for instance (RFC 9110 section 9.3.8)."""


def forwards_left(request: Request) -> int | None:
    """How often `request` may be forwarded; None: as often as need be. Raises `ClientError` for what is no number."""
    found = _FIELD.findall(request.block)
    if not found:
        return None
    value = found[0][1].rstrip(b" \t")
    if len(found) > 1 or _DIGITS.fullmatch(value) is None:
        raise ClientError(400, "Max-Forwards is no number, or is given more than once")
    return _number(value)


def one_fewer(block: bytes) -> bytes:
    """`block` of a request that is forwarded once more; what is no number stays."""
    return _FIELD.sub(_fewer, block)


def _fewer(field: re.Match[bytes]) -> bytes:
    name, value = field[1], field[2].rstrip(b" \t")
    return b"%b %d" % (name, max(0, _number(value) - 1)) if _DIGITS.fullmatch(value) else field[0]


def _number(digits: bytes) -> int:
    return int(digits) if len(digits) < 10 else _MOST


def last_answer(request: Request, allowed: Iterable[str] | None) -> Rendered:
    """What is answered to `request` by the last who may have it; `allowed` are the methods that its route takes.

    None are all that may be forwarded.
    """
    if request.method == "TRACE":
        head = b"TRACE %b HTTP/1.%d%b\r\n\r\n" % (request.target, request.minor, _SECRET.sub(b"", request.block))
        return _rendered(b"\r\nContent-Type: message/http", head)
    methods = dict.fromkeys(_ANY if allowed is None else allowed)
    if "GET" in methods:
        methods["HEAD"] = None
    return _rendered(b"\r\nAllow: " + ", ".join(methods).encode("ascii"), b"")


def _rendered(block: bytes, body: bytes) -> Rendered:
    reply = Rendered(200, b"%b\r\nContent-Length: %d" % (block, len(body)))
    reply.length, reply.stream = len(body), body
    return reply
