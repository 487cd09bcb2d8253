"""A clock that stands still until it is told to go on, and the reactor that module code finds in a lab.

`twisted.internet.task.Clock` sorts all its timers whenever one is set, which a lab with ten thousand parked exchanges
cannot afford; this one keeps them in a heap.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

START: Final = 1000.0
"""Seconds that a clock shows at first: a machine that has been up for a while, so no time is 0."""
NEARLY: Final = 1e-6
"""Seconds by which a timer may be early: sums of fractions do not come out even."""


@implementer(IReactorTime)
class Clock:
    """Time that moves by `advance` alone; otherwise as `twisted.internet.task.Clock`."""

    def __init__(self, start: float = START) -> None:
        self._now = start
        self._timers: list[tuple[float, int, DelayedCall]] = []
        self._number = 0

    def seconds(self) -> float:
        """Now."""
        return self._now

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any) -> DelayedCall:  # noqa: A002
        """Call `callable` in `delay` seconds of this clock."""
        timer = DelayedCall(self._now + delay, callable, args, kw, _nothing, self._moved, self.seconds)
        self._add(timer)
        return timer

    def _add(self, timer: DelayedCall) -> None:
        self._number += 1
        heapq.heappush(self._timers, (timer.getTime(), self._number, timer))

    def _moved(self, timer: DelayedCall) -> None:
        """A timer was set to an earlier time: `reset`, and `delay` backwards."""
        self._add(timer)

    def getDelayedCalls(self) -> list[DelayedCall]:
        """Timers that have neither fired nor been cancelled, the next one first."""
        return list(dict.fromkeys(timer for _, _, timer in sorted(self._timers) if timer.active()))

    @property
    def next_time(self) -> float | None:
        """When the next timer fires; None if none is set."""
        while self._timers:
            at, _, timer = self._timers[0]
            if timer.active() and timer.getTime() <= at:
                return at
            heapq.heappop(self._timers)
            if timer.active():  # put off since
                self._add(timer)
        return None

    def take_due(self) -> DelayedCall | None:
        """The next timer whose time has come, taken off the clock for `fire`."""
        at = self.next_time
        if at is None or at > self._now + NEARLY:
            return None
        return heapq.heappop(self._timers)[2]

    def move_to(self, now: float) -> None:
        """Let it be `now`, or leave it if it is later; no timer is fired."""
        self._now = max(self._now, now)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass; every timer that comes due is fired at its time, in order.

        Raises ValueError for less than none.
        """
        not_back(seconds)
        end = self._now + seconds
        while (at := self.next_time) is not None and at <= end + NEARLY:
            self.move_to(at)
            timer = self.take_due()
            assert timer is not None
            self.fire(timer)
        self.move_to(end)

    def fire(self, timer: DelayedCall) -> None:
        """Call what `timer` was to call, unless it was cancelled or put off since it was taken."""
        if not timer.active():
            return
        if timer.getTime() > self._now + NEARLY:
            self._add(timer)
            return
        timer.called = 1
        timer.func(*timer.args, **timer.kw)

    def __repr__(self) -> str:
        return f"<Clock {self._now - START:g} s, {len(self.getDelayedCalls())} timers>"


def not_back(seconds: float) -> None:
    """Raises ValueError for a time that cannot pass."""
    if not seconds >= 0:
        raise ValueError(f"advance({seconds!r}): time goes forward only; give 0 seconds or more")


def _nothing(_timer: DelayedCall) -> None:
    """A cancelled timer is dropped when its time has come."""


class LabReactor(Clock):
    """The reactor of a lab, as far as one can be had without sockets: time, calls from threads, watched descriptors,
    connections in memory, names.

    Modules find it as ``self.proxy.reactor``.
    """

    def __init__(self, polling: Any, network: Any, descriptors: Any, names: Any) -> None:
        super().__init__()
        self.callFromThread = polling.deliver
        self.connectTCP = network.connectTCP
        self.connectUNIX = network.connectUNIX
        self.addReader, self.removeReader = descriptors.addReader, descriptors.removeReader
        self.addWriter, self.removeWriter = descriptors.addWriter, descriptors.removeWriter
        self.nameResolver = names
        self.running = True
