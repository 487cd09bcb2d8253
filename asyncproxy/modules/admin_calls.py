"""The calls of the admin listener that change something: a table of paths, and what each does.

The rule: a call acts when `admin_guard` has let it through and its body is read and understood, and never before; what
came of it is one line of the log either way. Those that the proxy itself refuses, or carries out, it logs itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
from twisted.logger import Logger

from asyncproxy import Overloaded, Receipt, Request, Response, TicketRefused
from asyncproxy.exchange.errors import ProxyError
from asyncproxy.exchange.messages import in_print
from asyncproxy.exchange.units import duration
from asyncproxy.modules.admin_guard import NotAllowed, check_writing

if TYPE_CHECKING:
    from asyncproxy.modules.status import Status

_log = Logger()
LONGEST_BODY: Final = 64 * 1024
"""Bytes of a call's body, unless `tickets.value` is more; beyond, 413."""
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
    carry_out: Callable[[Order], Response | Awaitable[Response]]
    empty: bool = False
    """Whether a body may be left out."""
    look: Callable[[Status, str], Awaitable[Response]] | None = None
    """What a GET of the same path is answered with."""


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
    call, which = found
    if request.method == "POST":
        return _answer(module, request, call, which)
    if call.look is not None and request.method in ("GET", "HEAD"):
        return call.look(module, which)
    allowed = "POST" if call.look is None else "POST, GET, HEAD"
    return failed(405, f"{call.what} is a POST", [("allow", allowed)])


async def _answer(module: Status, request: Request, call: Call, which: str) -> Response:
    by = who(request)
    try:
        check_writing(request, module.proxy.admin_address, module.hosts)
        longest = max(LONGEST_BODY, module.proxy.settings.tickets.value)
        value = _json(await body_of(request, longest), call.empty)
        done = call.carry_out(Order(request, module.proxy, which, value, by))
        return await done if inspect.isawaitable(done) else done
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


async def resume(order: Order) -> Response:
    """``POST /tickets/NAME`` with the value; the digest of a bound one in Ticket-Bind, ``?bind=``, or ``"bind"``."""
    try:
        future = order.proxy.resume(order.which, order.value, bind=_digest(order), by=order.by)
    except ValueError as why:
        raise NotAllowed(400, str(why)) from None
    future.add_done_callback(partial(_audit_resumed, order))  # whether or not who asks stays to hear of it
    try:
        receipt = await future
    except (TicketRefused, Overloaded) as why:
        told = {"ticket": order.which, "state": getattr(why, "state", "unknown"), "how": getattr(why, "how", "")}
        return Response.json({"error": why.words, **told}, why.status, _FIELDS)
    return Response.json(_told(receipt), 202 if receipt.state == "remembered" else 200, _FIELDS)


async def look(module: Status, name: str) -> Response:
    """``GET /tickets/NAME``: what is known of it."""
    return Response.json(await module.proxy.ticket(name), headers=_FIELDS)


def drain(order: Order) -> Response:
    """``POST /drain`` with ``{}``."""
    _known(order)
    order.proxy.begin_drain()
    audit(order.by, "drain", "", "begun")
    return Response.json({"draining": True}, 202, _FIELDS)


CALLS: Final[dict[tuple[str, ...], Call]] = {
    ("tickets", ""): Call("resume", resume, look=look),
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
    by, result = (in_print(text[:400].encode("ascii", "backslashreplace").decode()) for text in (by, result))
    shown = f" {which[:200]!r}" if which else ""
    _log.info("Operator {by}: {what}{which}: {result}", by=by, what=what, which=shown, result=result)


async def body_of(request: Request, longest: int = LONGEST_BODY) -> bytes:
    """The body of `request`. Raises `NotAllowed` (413) for one of more than `longest` bytes, reading no more."""
    pieces, length = [], 0
    async for piece in request.body:
        length += len(piece)
        if length > longest:
            raise NotAllowed(413, f"the body is longer than {longest} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def failed(status: int, words: str, fields: list[tuple[str, str]] | None = None) -> Response:
    """What a program is told that asked for what is not done."""
    return Response.json({"error": words}, status, [*_FIELDS, *(fields or [])])


def _digest(order: Order) -> str | None:
    """What the ticket is said to be bound to; in the value only where that is an object."""
    header = order.request.headers.get("ticket-bind")
    given = order.request.args.get("bind", [header])[-1] if header is None else header
    field = order.value.get("bind") if isinstance(order.value, dict) else None
    return given if given is not None else field if isinstance(field, str) else None


def _audit_resumed(order: Order, future: Future[Receipt]) -> None:
    why = future.exception()
    if why is not None:
        audit(order.by, "resume", order.which, f"refused, {why}")
        return
    receipt = future.result()
    goes_on = f"{receipt.request} goes on" if receipt.request else f"for {receipt.for_s:g} s"
    audit(order.by, "resume", order.which, f"{receipt.state}, {goes_on}")


def _told(receipt: Receipt) -> dict[str, Any]:
    told = {name: getattr(receipt, name) for name in ("ticket", "state", "generation", "request", "for_s")}
    return {name: value for name, value in told.items() if value is not None}


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
