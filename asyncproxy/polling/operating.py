"""What an operator may do to a request that is parked: call it off, or give it more time; tunnels may be cut.

The rule: who asks, for what, and what came of it is one line of the log, refused or not. Nothing is guessed: an id that
several requests have, for clients chose it, is refused, as is a request whose code runs right now.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from twisted.logger import Logger

from asyncproxy.exchange.errors import Cancelled, ProxyError
from asyncproxy.exchange.lifecycle import PARKED, TUNNELLING
from asyncproxy.exchange.messages import in_print
from asyncproxy.polling.deadlines import NEVER
from asyncproxy.polling.flow import Exchange, Flow
from asyncproxy.polling.steps import RouteDeadline

_log = Logger()
LONGEST: Final = 30 * 86400.0
"""Seconds that a request may be given at once."""


class OperationRefused(ProxyError):
    """What an operator asked for was not done: `status` is 400, 404 or 409, and `words` say why and what to do."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Operated:
    """What a running proxy, and a fake of one, lets operators do. Polling thread only."""

    flow: Flow

    def cancel(self, request_id: str, status: int = 503, by: str = "") -> dict[str, Any]:
        """End the request `request_id`, which is parked or a tunnel: its module hears `Cancelled` at its await, its
        client gets `status`.

        `by` says who asks, for the log. Gives ``{"request": ID, "status": status}``; the status is None if the
        response had begun: it is cut. Raises `OperationRefused`, of status 400 for a `status` that is not from 400 to
        599, 404 for an id that no request has, and 409 if the request is neither, or if several have the id. To be
        called on the polling thread.
        """
        audit = Audit(by, "cancel", request_id)
        if isinstance(status, bool) or not isinstance(status, int) or not 400 <= status <= 599:
            audit.refuse(400, f"status is {status!r}: write a number from 400 to 599")
        exchange = _found(self.flow, request_id, audit)
        if exchange.stage != TUNNELLING:
            _check_parked(exchange, audit)
        told = None if exchange.started else status
        audit.done("its response is cut" if told is None else f"answered {status}", exchange)
        exchange.call_off(Cancelled(status, by))
        return {"request": request_id, "status": told}

    def extend(self, request_id: str, seconds: float, by: str = "") -> dict[str, Any]:
        """Let the parked request `request_id` wait `seconds` longer, up to 30 days: both its park's and its route's
        deadline move by so much, if it has them.

        `by` says who asks, for the log. Gives ``{"request": ID, "deadline_s": seconds that are left}``. Raises
        `OperationRefused` as `cancel` does, and with 409 if nothing of the request has a deadline. To be called on the
        polling thread.
        """
        audit = Audit(by, "extend", request_id)
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= LONGEST:
            audit.refuse(400, f"{seconds!r} s: give it more than nothing, and at most 30 days at once")
        exchange = _found(self.flow, request_id, audit)
        _check_parked(exchange, audit)
        if not _extended(exchange, seconds):
            audit.refuse(409, "neither its park nor its route has a timeout: there is nothing to extend", exchange)
        left = left_of(exchange)
        audit.done(f"{seconds:g} s more, {left} s are left", exchange)
        return {"request": request_id, "deadline_s": left}


class Audit:
    """One line of the log: `by` asks that `what` be done to `which`, and what came of it."""

    def __init__(self, by: str, what: str, which: str) -> None:
        self._asked = {"by": _shown(by) or "a program", "what": what, "which": repr(which[:200])}

    def done(self, result: str, exchange: Exchange | None = None) -> None:
        """It was done."""
        title = f" ({_shown(exchange.title())})" if exchange is not None else ""
        _log.info("Operator {by}: {what} {which}{title}: {result}", **self._asked, title=title, result=result)

    def refuse(self, status: int, words: str, exchange: Exchange | None = None) -> NoReturn:
        """It is not done. Raises `OperationRefused`."""
        self.done(f"refused, {status}: {words}", exchange)
        raise OperationRefused(status, words)


def left_of(exchange: Exchange) -> float | None:
    """Seconds until the first of `exchange`'s deadlines; None if it has none."""
    flow, parked, deadline = exchange.flow, exchange.parked, exchange.deadline
    left = [] if parked is None or parked.deadline is None else [parked.deadline - flow.lot.seconds()]
    if deadline is not None and deadline.due != NEVER:
        left.append(deadline.due - flow.seconds())
    return round(min(left), 3) if left else None


def _found(flow: Flow, request_id: str, audit: Audit) -> Exchange:
    """The one exchange of that id."""
    found = [exchange for exchange in flow.exchanges if exchange.request.id == request_id]
    if not found:
        audit.refuse(404, "no request has this id: it is answered, or its client has left")
    if len(found) > 1:
        audit.refuse(409, f"{len(found)} requests have this id, which their clients chose: it does not say which one")
    return found[0]


def _check_parked(exchange: Exchange, audit: Audit) -> None:
    if exchange.stage != PARKED or exchange.parked is None:
        audit.refuse(409, f"it is not parked, but {exchange.shown_stage}: ask again when it waits", exchange)


def _extended(exchange: Exchange, seconds: float) -> bool:
    assert exchange.parked is not None
    extended, deadline = exchange.parked.extend(seconds), exchange.deadline
    if isinstance(deadline, RouteDeadline) and deadline.due != NEVER:
        deadline.extend(seconds)
        return True
    return extended


def _shown(text: str) -> str:
    """`text` as a line of the log may have it: it stays one line, and a short one."""
    return in_print(text[:400])
