"""Where an exchange's time went, in seconds: receiving, queued, working, parked, upstream, sending.

The columns add up to the exchange's age: each moment is booked once. *Upstream* is time parked on a forward or a
fetch; *parked* is time parked on anything else. It is read from the trail that a life leaves, ``[when it began,
stage, when that ended, stage, when that ended, ...]``, when somebody asks: most exchanges are never asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

COLUMNS: Final = ("receiving", "queued", "working", "parked", "upstream", "sending")
_COLUMN_OF: Final = {
    "RECEIVING": "receiving",
    "QUEUED": "queued",
    "WORKING": "working",
    "PARKED": "parked",
    "UPSTREAM": "upstream",
    "RESPONDING": "sending",
    "TUNNELLING": "sending",
}


class Ledger:
    """Seconds spent in each column; `statistics()` gives all of them."""

    __slots__ = ("_seconds",)

    def __init__(self, trail: Sequence[Any]) -> None:
        self._seconds = dict.fromkeys(COLUMNS, 0.0)
        since = trail[0]
        for stage, until in zip(trail[1::2], trail[2::2], strict=True):
            self._seconds[_COLUMN_OF[stage]] += until - since
            since = until

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
    """A trail with the same ledger, beginning and end, and one entry a stage: for lives of many steps."""
    spent: dict[str, float] = {}
    since = trail[0]
    for stage, until in zip(trail[1::2], trail[2::2], strict=True):
        spent[stage] = spent.get(stage, 0.0) + until - since
        since = until
    short: list[Any] = [trail[0]]
    for stage, seconds in spent.items():
        short += (stage, short[-1] + seconds)
    short[-1] = trail[-1]  # sums of floats drift; the end is known
    return short
