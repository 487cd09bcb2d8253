"""The last ten minutes in figures: requests by stage, rate and latency, a sample every five seconds.

The rule: a sample is what the flow and its books have anyway, and differences of that; a request pays nothing for it,
and what is kept is a ring. Polling thread only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

from asyncproxy.boundaries import DelayedCall
from asyncproxy.polling.counting import SHOWN
from asyncproxy.polling.flow import Flow
from asyncproxy.polling.tally import BOUNDS, Tally

EVERY: Final = 5.0
"""Seconds between two samples."""
KEPT: Final = 120
"""Samples that are kept: ten minutes of them."""
COLUMNS: Final = ("at", "rate", "p50_s", "p99_s", *SHOWN)
"""What a sample has: when, requests served per second since the one before and how long they took, and stages."""

Sample = tuple[Any, ...]


class Samples:
    """The samples of `flow`. `start` and `stop` taking them."""

    def __init__(self, flow: Flow) -> None:
        self.ring: deque[Sample] = deque(maxlen=KEPT)
        self.taken = 0
        """How many there have been."""
        self._flow = flow
        self._served = flow.served
        self._durations = durations_of(flow)
        self._then = flow.seconds()
        self._timer: DelayedCall | None = None

    def start(self) -> None:
        """Take one every `EVERY` seconds from now on."""
        self._timer = self._flow.lot.clock.callLater(EVERY, self._tick)

    def _tick(self) -> None:
        self.start()
        self.take()

    def stop(self) -> None:
        """Take no more."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def take(self) -> None:
        """Take a sample now."""
        flow, now = self._flow, self._flow.seconds()
        durations, passed = durations_of(flow), now - self._then
        counts = [late - early for late, early in zip(durations, self._durations, strict=True)]
        rate = (flow.served - self._served) / passed if passed > 0 else 0.0
        self.ring.append(
            (round(now, 3), round(rate, 2), quantile(counts, 0.5), quantile(counts, 0.99), *flow.stages().values())
        )
        self._served, self._durations, self._then = flow.served, durations, now
        self.taken += 1

    def __repr__(self) -> str:
        return f"<Samples {len(self.ring)} of {KEPT}>"


def durations_of(flow: Flow) -> list[int]:
    """How many requests there have been in each of the tally's buckets, on all routes together."""
    tally = Tally() if flow.books is None else flow.books.tally
    rows = [row.durations.counts for row in tally.rows.values()]
    return list(map(sum, zip(*rows, strict=True))) if rows else [0] * (len(BOUNDS) + 1)


def quantile(counts: Sequence[int], share: float) -> float | None:
    """The duration in seconds that `share` of them stay below, if they are spread evenly in each bucket.

    None where there are none; the last bound for what is beyond it.
    """
    total = sum(counts)
    if not total:
        return None
    wanted, below = share * total, (0, *accumulate(counts))
    bucket = next(index for index, count in enumerate(counts) if count and below[index + 1] >= wanted)
    if bucket == len(BOUNDS):
        return BOUNDS[-1]
    low = BOUNDS[bucket - 1] if bucket else 0.0
    return round(low + (BOUNDS[bucket] - low) * (wanted - below[bucket]) / counts[bucket], 6)
