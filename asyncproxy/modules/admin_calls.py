"""The calls of the admin listener that change something: a table of paths, and what each does.

The rule: a call acts when `admin_guard` has let it through and its body is read and understood, and never before; what
came of it is one line of the log either way. Those that the proxy itself refuses, or carries out, it logs itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
from twisted.logger import Logger

from asyncproxy import Request, Response
from asyncproxy.exchange.errors import ProxyError
from asyncproxy.exchange.units import duration
from asyncproxy.modules.admin_guard import NotAllowed, check_writing

if TYPE_CHECKING:
    from asyncproxy.modules.status import Status

_log = Logger()
LONGEST_BODY: Final = 64 * 1024
"""Bytes of a call's body; beyond, 413."""
_FIELDS: Final = [("cache-control", "no-store")]


class Order(NamedTuple):
    """A writing call as it came: what is to be done, to which ticket or request, and by whom it says it is asked."""

    request: Request
    proxy: Any
    which: str
    value: Any
    """The body, read as JSON."""
    by: str


class Call(NamedTuple):
    """A row of the table."""

    what: str
    carry_out: Callable[[Order], Response]
    empty: bool = False
    """Whether a body may be left out."""


def find(request: Request) -> tuple[Call, str] | None:
    """The call at the path of `request`, and the percent-decoded name in it; None if there is none."""
    segments = _segments(request)
    if segments is None:
        return None
    for pattern, call in CALLS.items():
        if len(pattern) == len(segments) and all(
            segment == part if part else segment for part, segment in zip(pattern, segments, strict=True)
        ):
            return call, next((name for part, name in zip(pattern, segments, strict=True) if not part), "")
    return None


def answer(module: Status, request: Request, found: tuple[Call, str]) -> Response | Awaitable[Response]:
    """Answer `request` for the call `found`, which `module` may carry out."""
    if request.method != "POST":
        return failed(405, f"{found[0].what} is a POST", [("allow", "POST")])
    return _answer(module, request, *found)


async def _answer(module: Status, request: Request, call: Call, which: str) -> Response:
    by = who(request)
    try:
        check_writing(request, module.proxy.admin_address, module.hosts)
        value = _json(await body_of(request), call.empty)
        return call.carry_out(Order(request, module.proxy, which, value, by))
    except NotAllowed as why:
        audit(by, call.what, which, f"refused, {why.status}: {why.words}")
        return failed(why.status, why.words)


def cancel(order: Order) -> Response:
    """``POST /requests/ID/cancel`` with ``{"status": 503}``."""
    status = _known(order, "status").get("status", 503)
    return _done(lambda: order.proxy.cancel(order.which, status, by=order.by))


def extend(order: Order) -> Response:
    """``POST /requests/ID/extend`` with ``{"by": "5m"}``."""
    try:
        seconds = duration(_known(order, "by").get("by"))
    except ValueError as why:
        raise NotAllowed(400, f"by: {why}") from None
    return _done(lambda: order.proxy.extend(order.which, seconds, by=order.by))


def drain(order: Order) -> Response:
    """``POST /drain`` with ``{}``."""
    _known(order)
    order.proxy.begin_drain()
    audit(order.by, "drain", "", "begun")
    return Response.json({"draining": True}, 202, _FIELDS)


CALLS: Final[dict[tuple[str, ...], Call]] = {
    ("requests", "", "cancel"): Call("cancel", cancel, empty=True),
    ("requests", "", "extend"): Call("extend", extend),
    ("drain",): Call("drain", drain, empty=True),
}
"""By the segments of the path; an empty one is a name."""


def who(request: Request) -> str:
    """Who asks, for the log: the client's address, and the name that it gives itself in the field Operator."""
    address, port = request.client
    named = request.headers.get("operator") or ""
    return f"{named[:100]} at {address}:{port}" if named else f"{address}:{port}"


def audit(by: str, what: str, which: str, result: str) -> None:
    """A line of the log for an order that the proxy does not log itself."""
    by, result = (text.encode("ascii", "backslashreplace").decode() for text in (by, result))
    shown = f" {which[:200]!r}" if which else ""
    _log.info("Operator {by}: {what}{which}: {result}", by=by, what=what, which=shown, result=result)


async def body_of(request: Request) -> bytes:
    """The body of `request`. Raises `NotAllowed` (413) for one that is too long, and reads no more of it."""
    pieces, length = [], 0
    async for piece in request.body:
        length += len(piece)
        if length > LONGEST_BODY:
            raise NotAllowed(413, f"the body is longer than {LONGEST_BODY} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def failed(status: int, words: str, fields: list[tuple[str, str]] | None = None) -> Response:
    """What a program is told that asked for what is not done."""
    return Response.json({"error": words}, status, [*_FIELDS, *(fields or [])])


def _done(call: Callable[[], dict[str, Any]]) -> Response:
    try:
        return Response.json(call(), headers=_FIELDS)
    except ProxyError as why:
        return failed(why.status, why.words)


def _json(body: bytes, empty: bool) -> Any:
    if empty and not body:
        return {}
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError) as why:
        raise NotAllowed(400, f"the body is not JSON: {why}") from None


def _known(order: Order, *keys: str) -> dict[str, Any]:
    """The body, an object that has none but `keys`."""
    value = order.value
    example = f'{{"{keys[0]}": ...}}' if keys else "{}"
    if not isinstance(value, dict):
        raise NotAllowed(400, f"the body is no object: send {example}")
    unknown = sorted(value.keys() - set(keys))
    if unknown:
        raise NotAllowed(400, f"{unknown[0]!r} is no key of this call: send {example}")
    return value


def _segments(request: Request) -> list[str] | None:
    """The path's segments, each decoded by itself: a slash in a name is %2F."""
    raw = request.target.partition(b"?")[0]
    if not raw.startswith(b"/"):
        raw = b"/" + raw.partition(b"://")[2].partition(b"/")[2]
    try:
        return [unquote_to_bytes(segment).decode() for segment in raw[1:].split(b"/")]
    except UnicodeDecodeError:
        return None
