"""Lines for the log that a crowd would fill it with: one in a while at most. Polling thread only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

SAY: Final = 1.0
"""Seconds between two lines, if nothing else is said."""


class Seldom:
    """Says whether a line may be written now; who may not counts itself, and the next line tells of it.

    Lines are `every` seconds apart at least.
    """

    def __init__(self, seconds: Callable[[], float], every: float = SAY) -> None:
        self._seconds = seconds
        self._every = every
        self._said = -every
        self._kept_back = 0

    def may(self) -> bool:
        """Whether a line may be written now; if so, it is to be."""
        now = self._seconds()
        if now - self._said < self._every:
            return False
        self._said = now
        return True

    def tell(self) -> str | None:
        """What to add to a line that may be written now, as ``, and 3 more``; None if it is to be kept back."""
        if not self.may():
            self._kept_back += 1
            return None
        more, self._kept_back = self._kept_back, 0
        return f", and {more} more" if more else ""

    def __repr__(self) -> str:
        return f"<Seldom, {self._kept_back} lines kept back>"
