"""Time and wake-ups, taken from the loop below the reactor where there is one: its timers and wake-ups cost a tenth."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor

from asyncproxy.boundaries import DelayedCall


class LoopClock:
    """An asyncio loop as a `Clock`."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self.seconds = time.monotonic

    def callLater(self, delay: float, call: Callable[..., Any], *args: Any) -> DelayedCall:
        """Call `call` in `delay` seconds."""
        return self._loop.call_later(delay, call, *args)  # type: ignore[no-any-return]


class ReactorClock:
    """A reactor as a `Clock` that never jumps."""

    def __init__(self, reactor: Any) -> None:
        self.seconds = time.monotonic
        self.callLater = reactor.callLater


def clock_of(reactor: Any) -> LoopClock | ReactorClock:
    """The clock to use on `reactor`."""
    loop = loop_of(reactor)
    return ReactorClock(reactor) if loop is None else LoopClock(loop)


def wake_of(reactor: Any) -> Callable[[Callable[[], None]], Any]:
    """How a call from another thread gets onto `reactor`'s thread."""
    loop = loop_of(reactor)
    return reactor.callFromThread if loop is None else loop.call_soon_threadsafe  # type: ignore[no-any-return]


def loop_of(reactor: Any) -> Any:
    """The asyncio loop below `reactor`, or None."""
    return reactor._asyncioEventloop if isinstance(reactor, AsyncioSelectorReactor) else None
