"""Accepting pauses while nearly no file descriptors are left, and goes on when some are free again.

Who waits in the kernel's line is served a little later; who is accepted when none is left is hung up on, by libuv and
by Twisted alike. And what runs needs some: for its upstream, a file, a socket of a module's own.

The rule: a reserve is left to what runs. Counting costs more than a connection, so it is done when a quarter of what
was free has been given to clients since, and otherwise once a second at most. Polling thread only.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.logger import Logger

from asyncproxy.boundaries import Clock, DelayedCall

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_log = Logger()
LEAST_RESERVE: Final = 16
RESERVE_SHARE: Final = 8
"""One in so many descriptors is left to what runs,"""
MOST_RESERVE: Final = 256
"""but no more than these: who is accepted has its connection to an upstream a moment later."""
LOOK: Final = 1.0
"""Seconds that a count is good for,"""
PATIENCE: Final = 500
"""or so many times what it took: with 18,000 open, it holds the polling thread for several milliseconds."""
RETRY: Final = 0.1
"""Seconds between two looks while accepting pauses."""
SAY: Final = 1.0
"""Seconds between two lines in the log."""
EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE))
_LISTS: Final = ("/proc/self/fd", "/dev/fd")


class Port(Protocol):
    """A listening port, ours or Twisted's."""

    def stopReading(self) -> Any:
        """Accept nobody; the kernel lets them wait."""

    def startReading(self) -> Any:
        """Accept again. OSError if there is no descriptor for it."""


class Ceiling:
    """How near this process is to its limit of descriptors; `count` gives how many are open, and how many may be.

    `ports` are what is paused. Whoever accepts a connection calls `accepted`.
    """

    def __init__(self, clock: Clock, count: Callable[[], tuple[int, float]] | None = None) -> None:
        self._clock = clock
        self._count = count or in_use
        self.ports: list[Port] = []
        self.paused = False
        self.pauses = 0
        self._left = 0.0
        """Connections that may be accepted before the next count."""
        self._good_until = 0.0
        self._timer: DelayedCall | None = None
        self._said = -SAY

    def accepted(self) -> None:
        """A connection was accepted."""
        self._left -= 1
        if (self._left <= 0 or self._clock.seconds() >= self._good_until) and not self.paused:
            self._look()

    def _look(self) -> None:
        self._timer = None
        began = self._clock.seconds()
        used, limit = self._count()
        now = self._clock.seconds()
        reserve = min(MOST_RESERVE, max(LEAST_RESERVE, limit // RESERVE_SHARE))
        free = limit - used - reserve - self._batch()
        self._left = max(1.0, free // 4)
        self._good_until = now + max(LOOK, PATIENCE * (now - began))
        if free > 0 and self.paused:
            self._resume(used, limit)
        elif free <= 0 and not self.paused:
            self._pause(used, limit)
        if self.paused:
            self._timer = self._clock.callLater(RETRY, self._look)

    def _batch(self) -> int:
        """How many a port of Twisted's may still accept after it was told to pause: it looks only between batches."""
        batches = [port for port in self.ports if hasattr(port, "numberAccepts")]
        if self.paused:
            for port in batches:
                port.numberAccepts = 1  # it grows again with the crowd
        return max((port.numberAccepts for port in batches), default=0)

    def _pause(self, used: int, limit: float) -> None:
        self.paused = True
        self.pauses += 1
        self._say(f"Accepting pauses: {used} of {limit:g} file descriptors are in use. Raise the limit (ulimit -n)")
        for port in self.ports:
            port.stopReading()

    def _resume(self, used: int, limit: float) -> None:
        try:
            for port in self.ports:
                port.startReading()
        except OSError as why:
            self._say(f"Accepting still pauses: {why}")
            for port in self.ports:
                port.stopReading()
        else:
            self.paused = False
            self._say(f"Accepting goes on: {used} of {limit:g} file descriptors are in use")

    def _say(self, words: str) -> None:
        now = self._clock.seconds()
        if now - self._said >= SAY:
            self._said = now
            _log.warn("{words}", words=words)

    def stop(self) -> None:
        """Nothing is to be accepted any more."""
        self.ports.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def statistics(self) -> dict[str, int]:
        """Whether accepting is ``paused``, 0 or 1, and how often it has been (``pauses``)."""
        return {"paused": int(self.paused), "pauses": self.pauses}

    def __repr__(self) -> str:
        return f"<Ceiling of {len(self.ports)} ports, {'paused' if self.paused else 'open'}, {self.pauses} pauses>"


def in_use() -> tuple[int, float]:
    """How many descriptors this process has open, and how many it may have; without a way to tell, none of many."""
    limit = float("inf") if resource is None else float(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if limit < 0 or limit == float("inf"):
        return 0, float("inf")
    for place in _LISTS:
        try:
            return len(os.listdir(place)), limit
        except OSError as why:
            if why.errno in EXHAUSTED:
                return int(limit), limit
    return 0, limit
