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
from typing import Final

from asyncproxy.boundaries import Clock, DelayedCall
from asyncproxy.exchange.errors import UpstreamError
from asyncproxy.polling.gate import Gate

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

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
EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE))
_REASON: Final = "descriptors"
_LISTS: Final = ("/proc/self/fd", "/dev/fd")


class Ceiling:
    """How near this process is to its limit of descriptors; `count` gives how many are open, and how many may be.

    It shuts `gate` when that is too near. Whoever accepts a connection calls `accepted`.
    """

    def __init__(self, gate: Gate, clock: Clock, count: Callable[[], tuple[int, float]] | None = None) -> None:
        self.gate = gate
        self._clock = clock
        self._count = count or in_use
        self._left = 0.0
        """Connections that may be accepted before the next count."""
        self._good_until = 0.0
        self._timer: DelayedCall | None = None

    def accepted(self) -> None:
        """A connection was accepted."""
        self._left -= 1
        if (self._left <= 0 or self._clock.seconds() >= self._good_until) and self._timer is None:
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
        if free > 0:
            self.gate.open(_REASON, f"{used} of {limit:g} file descriptors are in use")
        else:
            words = f"{used} of {limit:g} file descriptors are in use. Raise the limit (ulimit -n)"
            self.gate.shut(_REASON, words)
            self._timer = self._clock.callLater(RETRY, self._look)

    def _batch(self) -> int:
        """How many a port of Twisted's may still accept after it was told to pause: it looks only between batches."""
        batches = [port for port in self.gate.ports if hasattr(port, "numberAccepts")]
        if self.gate.paused:
            for port in batches:
                port.numberAccepts = 1  # it grows again with the crowd
        return max((port.numberAccepts for port in batches), default=0)

    def stop(self) -> None:
        """Nothing is to be accepted any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __repr__(self) -> str:
        return f"<Ceiling over {self.gate!r}>"


class NoDescriptor(UpstreamError):
    """A forward failed because the process has no file descriptor left: no fault of its upstream's."""

    def __init__(self, server: str) -> None:
        super().__init__("full", "no file descriptor is left for a connection to the upstream", server)


def is_shortage(error: BaseException) -> bool:
    """Whether `error` says that no descriptor was left, in a module's own code or on the way to an upstream."""
    return isinstance(error, NoDescriptor) or (isinstance(error, OSError) and error.errno in EXHAUSTED)


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
