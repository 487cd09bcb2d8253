"""How each kind of wait is registered: the table from a `Wait` to what wakes it.

A registrar runs on the polling thread, after the turn that waits has unwound. It arranges one wake and gives the way
to call it off; waking twice or after that is the parking lot's business to ignore.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from asyncproxy.boundaries import Clock, PollingThread
from asyncproxy.exchange.errors import ParkTimeout
from asyncproxy.exchange.waits import (
    READINESS_TIMEOUT,
    BodyPiece,
    Fetch,
    Forward,
    FutureDone,
    Gather,
    Native,
    OnReactor,
    Readiness,
    Sleep,
    Wait,
)
from asyncproxy.polling.parking import Cancel, Owner, Registrar, Wake
from asyncproxy.polling.pool import Upstreams
from asyncproxy.polling.upstream import Forwarding, body_stream

FetchCall = Callable[[Fetch], Deferred[Any]]


def registrars(
    clock: Clock, descriptors: Any, polling: PollingThread, upstreams: Upstreams, fetch: FetchCall
) -> dict[type, Registrar]:
    """The table. `descriptors` is an IReactorFDSet, `fetch` sends a module's own request."""
    table: dict[type, Registrar] = {
        Sleep: partial(_sleep, clock),
        Readiness: partial(_readiness, clock, descriptors),
        FutureDone: partial(_future, polling),
        OnReactor: _on_reactor,
        Native: _native,
        Forward: partial(_forward, upstreams),
        Fetch: partial(_fetch, fetch),
        BodyPiece: _body_piece,
    }
    table[Gather] = partial(_gather, table)
    return table


def _sleep(clock: Clock, wait: Sleep, wake: Wake, _owner: Owner) -> Cancel:
    return clock.callLater(wait.seconds, wake, None, None).cancel


def _forward(upstreams: Upstreams, wait: Forward, wake: Wake, owner: Any) -> Cancel:
    forwarding = Forwarding(wait, wake)
    owner.forwards.append(forwarding)
    upstreams.forward(forwarding, wait.upstream or owner.upstream)
    return forwarding.cancel


def _body_piece(wait: BodyPiece, wake: Wake, _owner: Owner) -> Cancel:
    stream = body_stream(wait.message)
    stream.read(wake, whole=wait.whole)
    return stream.stop_reading


def _future(polling: PollingThread, wait: FutureDone[Any], wake: Wake, _owner: Owner) -> Cancel:
    future = wait.future

    def tell() -> None:
        if future.cancelled():
            wake(None, asyncio.CancelledError("the awaited future was cancelled"))
        else:
            error = future.exception()
            wake(None if error else future.result(), error)

    if future.done():
        tell()
    else:
        future.add_done_callback(lambda _: polling.deliver(tell))
    return future.cancel


def _on_reactor(wait: OnReactor, wake: Wake, _owner: Owner) -> Cancel | None:
    result = wait.call(*wait.args, **wait.kwargs)
    if inspect.iscoroutine(result):
        result = Deferred.fromCoroutine(result)
    if not isinstance(result, Deferred):
        wake(result, None)
        return None
    return _wake_by_deferred(result, wake)


def _fetch(fetch: FetchCall, wait: Fetch, wake: Wake, _owner: Owner) -> Cancel:
    return _wake_by_deferred(fetch(wait), wake)


def _wake_by_deferred(deferred: Deferred[Any], wake: Wake) -> Cancel:
    def fired(result: Any) -> None:
        if isinstance(result, Failure):
            wake(None, result.value)
        else:
            wake(result, None)

    deferred.addBoth(fired)
    return deferred.cancel


def _native(wait: Native, wake: Wake, _owner: Owner) -> Cancel:
    """A Deferred or asyncio Future keeps its result for the ``await`` that asks it again."""
    awaited = wait.awaited
    if isinstance(awaited, Deferred):

        def fired(result: Any) -> Any:
            wake(None, None)
            return result

        awaited.addBoth(fired)
    else:
        awaited.add_done_callback(lambda _: wake(None, None))
    return awaited.cancel  # type: ignore[no-any-return]


def _readiness(clock: Clock, descriptors: Any, wait: Readiness, wake: Wake, owner: Any) -> Cancel:
    watch = _Watch(descriptors, wait, wake)
    limited = getattr(owner, "park_is_limited", False)
    if wait.timeout is not None or not limited:
        watch.limit(clock, READINESS_TIMEOUT if wait.timeout is None else wait.timeout)
    watch.begin()
    return watch.stop


@implementer(IReadWriteDescriptor)
class _Watch:
    """Watches a `Readiness`' descriptor; closes it when the wait is over."""

    def __init__(self, descriptors: Any, wait: Readiness, wake: Wake) -> None:
        self._descriptors = descriptors
        self._wait = wait
        self._wake = wake
        self._timer: Any = None

    def begin(self) -> None:
        add = self._descriptors.addWriter if self._wait.writing else self._descriptors.addReader
        add(self)

    def limit(self, clock: Clock, seconds: float) -> None:
        self._timer = clock.callLater(seconds, self._too_late, seconds)

    def fileno(self) -> int:
        return self._wait.fd

    def logPrefix(self) -> str:
        return "asyncproxy park"

    def doRead(self) -> None:
        self.stop()
        self._wake(None, None)

    doWrite = doRead

    def connectionLost(self, _reason: Any) -> None:
        self.doRead()

    def _too_late(self, seconds: float) -> None:
        self._timer = None
        self.stop()
        self._wake(None, ParkTimeout(f"{self._wait.describe()} was not ready within {seconds:g} s"))

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._wait.fd >= 0:
            self._descriptors.removeReader(self)
            self._descriptors.removeWriter(self)
            self._wait.abandon()


def _gather(table: dict[type, Registrar], wait: Gather, wake: Wake, owner: Owner) -> Cancel | None:
    if not wait.parts:
        wake([], None)
        return None
    gathering = _Gathering(len(wait.parts), wake)
    for index, part in enumerate(wait.parts):
        if gathering.over:
            part.close() if isinstance(part, Coroutine) else part.abandon()
            continue
        done = partial(gathering.done, index)
        if isinstance(part, Wait):
            gathering.cancels[index] = table[type(part)](part, done, owner)
        else:
            gathering.cancels[index] = owner.spawn(part, done)
        if gathering.over:
            gathering.call_off()
    return gathering.call_off


class _Gathering:
    """The parts of one gather: their values so far, and how to call the rest off."""

    def __init__(self, count: int, wake: Wake) -> None:
        self._wake = wake
        self._values: list[Any] = [None] * count
        self._missing = set(range(count))
        self.cancels: dict[int, Cancel | None] = {}
        self.over = False

    def done(self, index: int, value: Any, error: BaseException | None) -> None:
        """Part `index` is through."""
        if self.over or index not in self._missing:
            return
        self._missing.discard(index)
        self._values[index] = value
        if error is not None:
            self.call_off()
            self._wake(None, error)
        elif not self._missing:
            self.over = True
            self._wake(self._values, None)

    def call_off(self) -> None:
        """Call off every part that is not through."""
        self.over = True
        for index in sorted(self._missing):
            cancel = self.cancels.pop(index, None)
            if cancel is not None:
                self._missing.discard(index)
                cancel()
