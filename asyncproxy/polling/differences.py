"""What one onlooker has to be told so that he knows what the others know: rows that went, and rows that came.

The rule: sets are compared, and nothing is kept on the way. An onlooker who was away for a second, or for an hour,
costs one comparison, and what he has to be told is never more than there is now. Pure: no clock, no thread, no socket.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import Generic, NamedTuple, Protocol, TypeVar


class Keyed(Protocol):
    """A row: it never changes; another one with the same `key` takes its place. Told are those of low keys first."""

    @property
    def key(self) -> int:
        """What it is known by."""


R = TypeVar("R", bound=Keyed)
_key = attrgetter("key")


class Step(NamedTuple, Generic[R]):
    """What is to be told now: the keys of rows that are `gone`, `rows` that are new or changed, how many are `left`."""

    gone: list[int]
    rows: list[R]
    left: int


class Differences(Generic[R]):
    """Of one onlooker. He keeps at most as many rows as there were when he was last told."""

    def __init__(self) -> None:
        self._told: set[R] = set()
        self._version = -1
        self._untold: list[R] = []
        """Known to be new and not told yet, the first to be told at the end."""

    def step(self, rows: AbstractSet[R], version: int, most: int) -> Step[R]:
        """The next `most` differences to `rows`, which are the same as long as `version` is."""
        gone: list[int] = []
        if not self._untold and version != self._version:
            self._version = version
            gone = self._compare(rows)
        told, self._untold = self._untold[: -most - 1 : -1], self._untold[:-most]
        self._told.update(told)
        return Step(gone, told, len(self._untold))

    def _compare(self, rows: AbstractSet[R]) -> list[int]:
        new, old = rows - self._told, self._told - rows
        self._told -= old
        self._untold = sorted(new, key=_key, reverse=True)
        replaced = {row.key for row in new} if old else ()
        return sorted(row.key for row in old if row.key not in replaced)

    def __repr__(self) -> str:
        return f"<Differences {len(self._told)} rows told, {len(self._untold)} to be told>"
