"""Where an exchange's time went, in seconds: receiving, queued, working, parked, upstream, sending.

The columns add up to the exchange's age: each moment is booked once. *Upstream* is time parked on a forward or a
fetch; *parked* is time parked on anything else. It is read from the trail that a life leaves, ``[when it began,
stage, when that ended, stage, when that ended, ...]``, when somebody asks: most exchanges are never asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

COLUMNS: Final = ("receiving", "queued", "working", "parked", "upstream", "sending")
_COLUMN_OF: Final = {
    "RECEIVING": 0,
    "QUEUED": 1,
    "WORKING": 2,
    "PARKED": 3,
    "UPSTREAM": 4,
    "RESPONDING": 5,
    "TUNNELLING": 5,
}
"""Each stage's place in `COLUMNS`."""
Spent = tuple[float, float, float, float, float, float]


class Seconds(msgspec.Struct, frozen=True, gc=False):
    """What `spent` gives, by name and to the microsecond: for people and logs."""

    receiving: float
    queued: float
    working: float
    parked: float
    upstream: float
    sending: float


def booked(trail: Sequence[Any], at_once: bool = False) -> tuple[float, Seconds, int]:
    """Of an exchange that is over: how long it was, its seconds by column, and how often it was parked.

    `at_once` is as in `spent_at_once`.
    """
    columns = spent_at_once(trail) if at_once else spent(trail)
    return round(trail[-1] - trail[0], 6), Seconds(*[round(seconds, 6) for seconds in columns]), parks_in(trail)


def spent_at_once(trail: Sequence[Any]) -> Spent:
    """`spent`, of an exchange whose module was called on the polling thread at once, when no body was collected.

    Such a turn leaves no step on the trail: what passed until the first step is its work.
    """
    receiving, queued, working, parked, upstream, sending = spent(trail)
    return 0.0, queued, receiving + working, parked, upstream, sending


def spent(trail: Sequence[Any]) -> Spent:
    """The seconds of each column, in the order of `COLUMNS`."""
    seconds = [0.0] * len(COLUMNS)
    since = trail[0]
    for stage, until in zip(trail[1::2], trail[2::2], strict=True):
        if until > since:
            seconds[_COLUMN_OF[stage]] += until - since
            since = until
    return tuple(seconds)  # type: ignore[return-value]


def parks_in(trail: Sequence[Any]) -> int:
    """How often the exchange was parked, on whatever it was."""
    stages = trail[1::2]
    parks = stages.count("PARKED") + stages.count("UPSTREAM")
    return parks if len(stages) < 2 or type(stages[0]) is str else parks + stages[0]


class Ledger:
    """Seconds spent in each column; `statistics()` gives all of them."""

    __slots__ = ("_seconds",)

    def __init__(self, trail: Sequence[Any]) -> None:
        self._seconds = dict(zip(COLUMNS, spent(trail), strict=True))

    def statistics(self) -> dict[str, float]:
        """Each column's seconds, in the order of `COLUMNS`."""
        return dict(self._seconds)

    def __getitem__(self, column: str) -> float:
        return self._seconds[column]

    @property
    def total(self) -> float:
        """All booked seconds."""
        return sum(self._seconds.values())

    def __repr__(self) -> str:
        spent = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in self._seconds.items() if seconds)
        return f"<Ledger {spent or 'empty'}>"


def shortened(trail: Sequence[Any]) -> list[Any]:
    """A trail with the same ledger, parks, beginning and end, and one entry a stage: for lives of many steps.

    Its first entry takes no time: in the place of a stage it has the number of parks that are counted nowhere else.
    """
    booked: dict[Any, float] = {}
    since = trail[0]
    for stage, until in zip(trail[1::2], trail[2::2], strict=True):
        if type(stage) is str:
            booked[stage] = booked.get(stage, 0.0) + until - since
        since = until
    merged = parks_in(trail) - ("PARKED" in booked) - ("UPSTREAM" in booked)
    short: list[Any] = [trail[0], merged, trail[0]]
    for stage, seconds in booked.items():
        short += (stage, short[-1] + seconds)
    short[-1] = trail[-1]  # sums of floats drift; the end is known
    return short
