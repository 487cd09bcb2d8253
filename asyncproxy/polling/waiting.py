"""How each kind of wait begins, wakes, and is called off: a kind of `Parked` for each kind of `Wait`.

All of it runs on the polling thread, after the turn that waits has unwound. Waking twice, or after having been called
off, is the parking lot's business to ignore.
"""

from __future__ import annotations

import concurrent.futures
import inspect
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from io import BytesIO
from typing import Any, Final, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from asyncproxy.boundaries import DelayedCall
from asyncproxy.exchange.errors import ParkTimeout
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.tickets import Ticket
from asyncproxy.exchange.waits import (
    READINESS_TIMEOUT,
    BodyPiece,
    Fetch,
    Forward,
    FutureDone,
    Gather,
    MappedForward,
    Native,
    OnReactor,
    Readiness,
    Render,
    Sleep,
    Wait,
)
from asyncproxy.polling.bodies import body_stream
from asyncproxy.polling.parking import Parked
from asyncproxy.polling.rewriting import MappedForwarding
from asyncproxy.polling.spooling import Unspool
from asyncproxy.polling.tickets import AwaitingTicket
from asyncproxy.polling.upstream import Forwarding
from asyncproxy.polling.web_request import Rendering


class Sleeping(Parked):
    """On a `Sleep`."""

    _alarm: DelayedCall | None = None

    def begin(self) -> None:
        """Set the timer."""
        self._alarm = self.owner.flow.lot.clock.callLater(self.wait.seconds, self._rang)

    def _rang(self) -> None:
        self._alarm = None
        self.ready()

    def undo(self) -> None:
        """Take the timer back."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


class Reading(Parked):
    """On a `BodyPiece`."""

    def begin(self) -> None:
        """Read on."""
        message = self.wait.message
        if type(message.stream) is bytes and isinstance(message, Request) and message.file is not None:
            message.stream = Unspool(self.owner, message.file).stream  # it was whole before the module began
        self._stream = body_stream(message)
        self._taken = self._stream.taken
        self._stream.read(self._came, whole=self.wait.whole)

    def _came(self, data: bytes, error: Exception | None) -> None:
        if error is not None:
            self.fail(error)
            return
        message = self.wait.message
        if self.wait.whole and not self._taken:  # it may still be forwarded or relayed; the bytes are not copied
            message.stream = data
            if not isinstance(message, Request):
                if not message.bodiless:  # or the length it tells is not of this body
                    message.own_body = data
            elif message.file is None:
                message.file = BytesIO(data)
        self.ready(data)

    def undo(self) -> None:
        """Want no more."""
        self._stream.stop_reading()


class _Told:
    """Delivers `call` when its future ends. Futures keep their callbacks: this one lets go of the park that it was for,
    or park and future would hold each other, and the exchange, until the collector comes by.
    """

    __slots__ = ("_call", "_deliver")

    def __init__(self, deliver: Callable[..., Any], call: Callable[[], None]) -> None:
        self._deliver = deliver
        self._call: Callable[[], None] | None = call

    def __call__(self, _future: Any) -> None:
        call, self._call = self._call, None
        self._deliver(call)


class AwaitingFuture(Parked):
    """On a `FutureDone`."""

    def begin(self) -> None:
        """Hear of the future's end, on whatever thread that comes."""
        future = self.wait.future
        if future.done():
            self._done()
        else:
            future.add_done_callback(_Told(self.owner.flow.around.polling.deliver, self._done))

    def _done(self) -> None:
        future = self.wait.future
        if future.cancelled():
            self.fail(concurrent.futures.CancelledError("the awaited future was cancelled"))
        elif (error := future.exception()) is not None:
            self.fail(error)
        else:
            self.ready(future.result())

    def undo(self) -> None:
        """Nobody wants the future's value."""
        self.wait.future.cancel()


class AwaitingCall(Parked):
    """On an `OnReactor`."""

    _deferred: Deferred[Any] | None = None

    def begin(self) -> None:
        """Make the call, and wait if it gives a Deferred or a coroutine."""
        wait = self.wait
        result = wait.call(*wait.args, **wait.kwargs)
        if inspect.iscoroutine(result):
            result = Deferred.fromCoroutine(result)
        if isinstance(result, Deferred):
            self._deferred = result
            result.addBoth(self._fired)
        else:
            self.ready(result)

    def _fired(self, result: Any) -> None:
        if isinstance(result, Failure):
            self.fail(cast(BaseException, result.value))
        else:
            self.ready(result)

    def undo(self) -> None:
        """Cancel the Deferred."""
        if self._deferred is not None:
            self._deferred.cancel()


class Fetching(AwaitingCall):
    """On a `Fetch`."""

    def begin(self) -> None:
        """Send the request."""
        self._deferred = self.owner.flow.around.fetch(self.wait)
        self._deferred.addBoth(self._fired)


class AwaitingNative(Parked):
    """On a bare Deferred or asyncio Future: they keep their result for the ``await`` that asks them again."""

    def begin(self) -> None:
        """Hear of its end."""
        awaited = self.wait.awaited
        if isinstance(awaited, Deferred):
            awaited.addBoth(self._fired)
        else:
            awaited.add_done_callback(self._fired)

    def _fired(self, result: Any) -> Any:
        # Later: while a Deferred still runs its callbacks, the await that asks it again fails on its failure.
        self.owner.flow.around.polling.deliver(self.ready)
        return result

    def undo(self) -> None:
        """Cancel it."""
        awaited = self.wait.awaited
        awaited.cancel()
        if isinstance(awaited, Deferred):
            awaited.addErrback(lambda _: None)  # whoever awaited it hears of something else


@implementer(IReadWriteDescriptor)
class Watching(Parked):
    """On a `Readiness`; closes its descriptor when the wait is over."""

    def begin(self) -> None:
        """Watch the descriptor, and the clock."""
        seconds = self.wait.timeout
        if seconds is None and self.deadline is None:
            seconds = READINESS_TIMEOUT
        if seconds is not None and (self.deadline is None or self.since + seconds < self.deadline):
            self.limit(seconds)
        descriptors = self.owner.flow.around.descriptors
        watch = descriptors.addWriter if self.wait.writing else descriptors.addReader
        watch(self)

    def fileno(self) -> int:
        """The descriptor; -1 when it is closed."""
        return self.wait.fd  # type: ignore[no-any-return]

    def logPrefix(self) -> str:
        """For the reactor's log."""
        return "asyncproxy park"

    def doRead(self) -> None:
        """It is ready."""
        self.undo()
        self.ready()

    def doWrite(self) -> None:
        """It is ready."""
        self.doRead()

    def connectionLost(self, _reason: Any) -> None:
        """The reactor gives it up: whoever reads it finds out why."""
        self.doRead()

    def _too_late(self, seconds: float) -> None:
        self._timer = None
        self.interrupt(ParkTimeout(f"nothing was ready within {seconds:g} s", aside=self.wait.describe()))

    def undo(self) -> None:
        """Watch no more, and close the descriptor."""
        if self.wait.fd >= 0:
            descriptors = self.owner.flow.around.descriptors
            descriptors.removeReader(self)
            descriptors.removeWriter(self)
            self.wait.abandon()


class Gathering(Parked):
    """On a `Gather`: waits of its own for each wait, a strand for each coroutine."""

    def begin(self) -> None:
        """Begin every part, unless one has failed already."""
        parts = self.wait.parts
        self._values: list[Any] = [None] * len(parts)
        self._missing: dict[int, Callable[[], Any]] = dict.fromkeys(range(len(parts)), lambda: None)
        self._broken = False
        if not parts:
            self.ready([])
        for index, part in enumerate(parts):
            if self._broken:
                part.close() if isinstance(part, Coroutine) else part.abandon()
            else:
                self._begin_part(index, part)

    def _begin_part(self, index: int, part: Any) -> None:
        done = partial(self._part_done, index)
        if isinstance(part, Wait):
            parked = self.owner.flow.lot.part(part, self.owner, done)
            self._missing[index] = parked.call_off
            parked.start()
        else:
            self._missing[index] = self.owner.spawn(part, done)

    def _part_done(self, index: int, value: Any, error: BaseException | None) -> None:
        if self._missing.pop(index, None) is None:
            return
        self._values[index] = value
        if error is not None:
            self._broken = True
            self.undo()
            self.fail(error)
        elif not self._missing:
            self.ready(self._values)

    def undo(self) -> None:
        """Call off every part that is not through."""
        missing, self._missing = self._missing, {}
        for cancel in missing.values():
            cancel()


KINDS: Final[Mapping[type, type[Parked]]] = {
    Forward: Forwarding,
    MappedForward: MappedForwarding,
    Sleep: Sleeping,
    Readiness: Watching,
    FutureDone: AwaitingFuture,
    OnReactor: AwaitingCall,
    Native: AwaitingNative,
    Fetch: Fetching,
    BodyPiece: Reading,
    Gather: Gathering,
    Render: Rendering,
    Ticket: AwaitingTicket,
}
"""The kind of park of each kind of wait."""
