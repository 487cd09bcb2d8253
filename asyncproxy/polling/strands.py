"""A coroutine of an exchange, stepped turn by turn: sent a value, parked on what it yields, sent the next.

The rule: a strand never touches its coroutine itself; it asks its exchange for a turn, and exchanges run one turn at a
time. So the coroutines of one exchange, those of a `gather` among them, never overlap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from asyncproxy.exchange.waits import Native, Wait, as_wait
from asyncproxy.polling.giving_up import GivenUp
from asyncproxy.polling.parking import Parked, Spot, Wake
from asyncproxy.polling.steps import afterwards
from asyncproxy.working.turns import CallTurn

if TYPE_CHECKING:
    from asyncproxy.polling.flow import Exchange


class Strand:
    """See the file's head. `done(value, error)` is called once, when the coroutine has returned or raised.

    The *main* strand is the module's own line of code: it is told when the client leaves or time runs out. `inside` is
    an async generator that the coroutine only asks for its next value: where that waits, it waits.
    """

    __slots__ = ("_cancelled", "_done", "_given_up", "_inside", "coroutine", "exchange", "main", "parked")

    def __init__(
        self, exchange: Exchange, coroutine: Coroutine[Any, Any, Any], done: Wake, *, main: bool, inside: Any = None
    ) -> None:
        self._inside = inside
        self.exchange = exchange
        self.coroutine = coroutine
        self.main = main
        self.parked: Parked | None = None
        self._done = done
        self._cancelled = False
        self._given_up: GivenUp | None = None

    def start(self) -> None:
        """Ask for the first turn."""
        self.exchange.run(self, self.coroutine.send, None)

    def resume(self, value: Any, error: BaseException | None) -> None:
        """What the coroutine waited for has come: ask for a turn."""
        self.parked = None
        if self.main:
            self.exchange.parked = None
        if error is None:
            self.exchange.run(self, self.coroutine.send, value)
        elif isinstance(error, GivenUp):
            self._given_up = error
            self.exchange.run(self, self._end)
        else:
            self.exchange.run(self, self.coroutine.throw, error)

    def turned(self, turn: CallTurn) -> None:
        """A turn of this coroutine has ended."""
        if self._cancelled:
            self._close_if_waiting(turn)
        elif self._given_up is not None:
            if turn.error is not None:
                self.exchange.flow.log_failure(self.exchange, turn.error)
            self._done(None, self._given_up)
        elif turn.finished:
            self._done(turn.value, None)
        elif turn.error is not None:
            self._done(None, turn.error)
        else:
            self._wait_for(turn.value)

    def _wait_for(self, yielded: Any) -> None:
        exchange = self.exchange
        try:
            wait = self._wait_of(yielded)
        except TypeError as error:
            self.resume(None, error.with_traceback(None))  # the module's line is to blame, not ours
            return
        if self.main:
            exchange.park(wait, self.resume)
        else:
            self.parked = parked = exchange.flow.lot.park(wait, exchange, self.resume)
            parked.start()

    def _wait_of(self, yielded: Any) -> Wait[Any]:
        if isinstance(yielded, Wait):
            return yielded
        native = isinstance(yielded, Deferred) or asyncio.isfuture(yielded)
        if native and not self.exchange.binding.blocking:
            if not isinstance(yielded, Deferred):
                yielded._asyncio_future_blocking = False  # what asyncio's own Task does with a future it is yielded
            return Native(yielded)
        if native:
            kind = type(yielded).__name__
            raise TypeError(
                f"a {kind} was made on a worker thread and cannot be awaited there; "
                "call what makes it through: await on_reactor(callable, *args)"
            )
        as_wait(yielded)
        raise TypeError(f"{yielded!r} was yielded to asyncproxy, which only knows its own awaitables")

    def interrupted(self, error: BaseException) -> None:
        """A turn that was asked for was withdrawn; the coroutine hears `error` instead."""
        self.resume(None, error)

    def cancel(self) -> None:
        """Nobody wants the coroutine's value any more: close it, on a worker."""
        if self._cancelled:
            return
        self._cancelled = True
        if self.parked is not None:
            self.parked.call_off()
            self.parked = None
            self.exchange.run(self, self.coroutine.close)

    def _end(self) -> None:
        """End the coroutine: by an exception first, for an async generator that it waits for hears of no close."""
        try:
            yielded = self.coroutine.throw(asyncio.CancelledError())
        except (asyncio.CancelledError, StopIteration):
            return
        if isinstance(yielded, Wait):
            yielded.abandon()
        self.coroutine.close()

    def _close_if_waiting(self, turn: CallTurn) -> None:
        if turn.finished or turn.error is not None or turn.call == self.coroutine.close:
            return
        if isinstance(turn.value, Wait):
            turn.value.abandon()
        self.exchange.run(self, self.coroutine.close)

    @property
    def frame(self) -> Any:
        """The innermost frame of the coroutine: where it waits; None while it runs or when it is over."""
        return _innermost(self._inside) or _innermost(self.coroutine)

    def spot(self) -> Spot | None:
        """The line where the coroutine waits."""
        frame = self.frame
        return (frame.f_code, frame.f_lineno) if frame is not None else None

    def __repr__(self) -> str:
        return f"<Strand {getattr(self.coroutine, '__qualname__', self.coroutine)}{' (main)' if self.main else ''}>"


def _innermost(inner: Any) -> Any:
    """The frame of a coroutine or async generator that waits for no other; None if there is none."""
    frame = None
    while (found := getattr(inner, "cr_frame", None) or getattr(inner, "ag_frame", None)) is not None:
        frame = found
        inner = inner.cr_await if hasattr(inner, "cr_await") else inner.ag_await
    return frame


def close_dropped(exchange: Exchange, owners: list[Any]) -> None:
    """Turns that were asked for are not run, for `exchange` is over: coroutines among them are closed instead."""
    for owner in owners:
        if isinstance(owner, Strand):
            afterwards(exchange, owner.coroutine.close)
