"""An errand: a module's code that runs for no request, as its `start` and `stop` do.

The rule: it takes turns, parks and is called off as an exchange is, by the very same code, so whatever `handle` may
await a hook may. What differs is its end: there is no client to answer, only somebody who wants to know how it went,
and who is told in time even if the module's code never comes back.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from asyncproxy.boundaries import Binding, Client, DelayedCall
from asyncproxy.exchange.errors import ParkTimeout, ProxyError
from asyncproxy.exchange.lifecycle import ENDED, FINISHED
from asyncproxy.exchange.messages import Request
from asyncproxy.polling.flow import Exchange
from asyncproxy.polling.parking import place_of
from asyncproxy.polling.steps import FirstCall
from asyncproxy.polling.strands import Strand

if TYPE_CHECKING:
    from asyncproxy.polling.flow import Flow

Done = Callable[[BaseException | None], None]


class Errand(Exchange):
    """One call of `call`, a method of `binding`'s module without arguments; `done(error or None)` is called once.

    Polling thread only; the call itself runs where the module's turns do.
    """

    __slots__ = ("_alarm", "_call", "_done", "_until")

    def __init__(self, flow: Flow, binding: Binding, call: Callable[[], Any], done: Done) -> None:
        super().__init__(flow, binding, Request("ERRAND", b"/"), cast(Client, _Nobody()))
        self._call = call
        self._done: Done | None = done
        self._alarm: DelayedCall | None = None
        self._until = math.inf

    def begin(self, seconds: float | None = None) -> None:
        """Make the call; `done` hears a `ParkTimeout` if it is not through within `seconds`."""
        if seconds is not None:
            self.within(seconds)
        if not inspect.iscoroutinefunction(self._call):
            self.run(FirstCall(self), self._call)
            return
        try:
            coroutine = self._call()
        except TypeError as error:  # it wants arguments
            self.concluded(None, error)
        else:
            Strand(self, coroutine, self.concluded, main=True).start()

    def concluded(self, value: Any, error: BaseException | None) -> None:
        """The call has returned or raised; what it returned to be awaited is awaited."""
        self.parked = None
        if error is None and inspect.isawaitable(value):
            Strand(self, _awaited(value), self.concluded, main=True).start()
            return
        self._end()
        self._tell(error)

    def failed(self, error: BaseException) -> None:
        """It will not come to an end of its own."""
        self.concluded(None, error)

    def finish(self) -> None:
        """What came of a turn could not be read, which is logged."""
        self.failed(RuntimeError("what came of it could not be read: see the log above"))

    def call_off(self, error: ProxyError) -> None:
        """`done` hears `error` now; the module's code does at its next wait."""
        self._tell(error)
        if self.stage != ENDED:
            self.interrupt(error)

    def hurry(self, error: ProxyError, seconds: float) -> None:
        """The module's code hears `error` at its wait and has `seconds` to end; `done` hears how it did."""
        self.within(seconds)
        if self.stage != ENDED:
            self.interrupt(error)

    def within(self, seconds: float) -> None:
        """`done` hears a `ParkTimeout` if it is not through within `seconds` from now, or sooner if that was said."""
        clock = self.flow.lot.clock
        until = clock.seconds() + seconds
        if self._done is None or until >= self._until:
            return
        self._until = until
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = clock.callLater(seconds, self._late, seconds)

    def _late(self, seconds: float) -> None:
        self._alarm = None
        self.call_off(ParkTimeout(f"it was not through within {seconds:g} s, at {self.place()}"))

    def _end(self) -> None:
        if self.stage != ENDED:
            self.enter(FINISHED, self.flow.seconds())
            self._close_asked()
        if self.deadline is not None:
            self.flow.deadlines.remove(self.deadline)
            self.deadline = None

    def _tell(self, error: BaseException | None) -> None:
        done, self._done = self._done, None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if done is not None:
            done(error)

    def place(self) -> str:
        """Where it waits, or where the method is, as ``file.py:31``."""
        return super().place() or place_of(self._call)

    def title(self) -> str:
        """Module and hook, for a line of the log."""
        return f"{self.binding.name}: {self._call.__name__}()"

    def __repr__(self) -> str:
        return f"<Errand {self._call.__qualname__} {self.shown_stage} at {self.place()}>"


class _Nobody:
    """The client of an errand."""

    def cut(self) -> None:
        """There is no connection."""

    def inform(self, _status: int, _block: bytes = b"") -> None:
        """There is nobody to hear of it."""


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
