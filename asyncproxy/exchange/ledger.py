"""Where an exchange's time went, in seconds: receiving, queued, working, parked, upstream, sending.

The columns add up to the exchange's age: each moment is booked once. *Upstream* is time parked on a forward or a
fetch; *parked* is time parked on anything else.
"""

from __future__ import annotations

from typing import Final

COLUMNS: Final = ("receiving", "queued", "working", "parked", "upstream", "sending")
COLUMN_OF: Final = {
    "RECEIVING": 0,
    "QUEUED": 1,
    "WORKING": 2,
    "PARKED": 3,
    "UPSTREAM": 4,
    "RESPONDING": 5,
    "TUNNELLING": 5,
    "ENDED": 5,
}


class Ledger:
    """Seconds spent so far in each column; read it with `statistics()`, or a column by name."""

    __slots__ = ("_seconds", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self._seconds = [0.0] * 6

    def book(self, stage: str, now: float) -> None:
        """Book the time since the last booking under the column of `stage`."""
        self._seconds[COLUMN_OF[stage]] += now - self.since
        self.since = now

    def statistics(self) -> dict[str, float]:
        """Each column's seconds, in the order of `COLUMNS`."""
        return dict(zip(COLUMNS, self._seconds, strict=True))

    @property
    def total(self) -> float:
        """All booked seconds."""
        return sum(self._seconds)

    def __repr__(self) -> str:
        spent = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in self.statistics().items() if seconds)
        return f"<Ledger {spent or 'empty'}>"
