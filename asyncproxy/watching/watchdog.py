"""The watchdog: a thread that says which line of code keeps a worker, or the polling thread, from its work.

The rule: it only looks, at what the others note anyway, so it costs a request nothing, and a reactor that idles is not
woken. It trusts its own looks alone: seconds in which it did not look itself, because the process was stopped or the
machine slept, are nobody's fault.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from asyncproxy.boundaries import PollingThread
from asyncproxy.watching.pulse import Pulse
from asyncproxy.watching.stacks import Stack, stack_of, waits
from asyncproxy.watching.stalls import Runs, Stalls

EVERY: Final = 0.05
"""Seconds between two looks: the length of a hold is known to half of that, either way."""
LATE: Final = 0.15
"""Seconds after the last look from which one is late: then the watchdog itself was kept from looking."""
JOIN_PATIENCE: Final = 1.0
"""Seconds that `stop` waits for a look to end: one that writes to a log that stands still cannot keep the process."""


class Watchdog:
    """`start` and `stop` it on the polling thread, which is the one it watches.

    `stall` is in seconds: workers busy for longer are told. `seconds` is the clock that turns begin by, `computed` the
    process' CPU time.
    """

    def __init__(
        self,
        workers: Runs,
        polling: PollingThread,
        stall: float,
        *,
        seconds: Callable[[], float] = time.monotonic,
        computed: Callable[[], float] = time.process_time,
        stack_of: Callable[[int], Stack | None] = stack_of,
        waits: Callable[[int], bool] = waits,
    ) -> None:
        self._seconds = seconds
        self._computed = computed
        self._stack_of = stack_of
        self._waits = waits
        self._watched = 0
        """The ident of the polling thread."""
        self._stalls = Stalls(workers, stall, seconds, stack_of)
        self._pulse = Pulse(polling, seconds, self._polling_stack, self._polling_waits, self._stalls.busy)
        self._looked = self._awake_since = self._computed_then = 0.0
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self.begin()
        self._thread = threading.Thread(target=self._watch, name="asyncproxy-watchdog", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """From now on `look` may be called, every `EVERY` seconds."""
        self._watched = threading.get_ident()
        self._looked = self._awake_since = self._seconds()
        self._computed_then = self._computed()
        self._pulse.begin()

    def stop(self) -> None:
        """End the thread and join it."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(JOIN_PATIENCE)
            self._thread = None

    def _watch(self) -> None:
        while not self._ending.wait(EVERY):
            self.look()

    def look(self) -> None:
        """Look at all that is watched."""
        now, computed = self._seconds(), self._computed()
        gap = now - self._looked
        late, ran = gap > LATE, computed - self._computed_then > gap / 2
        self._looked, self._computed_then = now, computed
        if late:
            self._awake_since = now
        self._pulse.look(now, gap if late and not ran else 0.0, blind=late and ran)
        self._stalls.look(now, self._awake_since)

    def _polling_stack(self) -> Stack | None:
        return self._stack_of(self._watched)

    def _polling_waits(self) -> bool:
        return self._waits(self._watched)

    def shown(self) -> dict[str, Any]:
        """For the status: workers that are kept now, how many were in all, and the polling thread's holds."""
        statistics = self.statistics()
        return {
            "stalled": self._stalls.rows(),
            "stalled_total": statistics["stalled"],
            "held": self._pulse.statistics(),
        }

    def statistics(self) -> dict[str, int]:
        """How many turns ``stalled`` a worker, and how often the polling thread was ``held``."""
        return {"stalled": self._stalls.total, "held": self._pulse.holds}

    def __repr__(self) -> str:
        return f"<Watchdog {'watching' if self._thread else 'not started'}, {self._stalls!r}, {self._pulse!r}>"
