"""What each worker runs right now, the free ones too: looked up when somebody asks, at no cost before."""

from __future__ import annotations

import linecache
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from asyncproxy.boundaries import Turn
from asyncproxy.exchange.messages import in_print
from asyncproxy.watching.stacks import Stack, stack_of

MOST: Final = 64
"""Workers that are told of."""
LONGEST: Final = 200
"""Characters of a path, or of a line of code, that are told."""


class Runs(Protocol):
    """Whoever has the workers: `working.workers.Workers`."""

    def idents(self) -> list[int]:
        """The idents of the workers' threads, in the workers' order."""

    def runs(self) -> dict[int, Turn]:
        """The turns that run right now, by the ident of their thread."""


class Seats:
    """Who sits at work. `seconds` is the clock that turns begin by. Any thread."""

    def __init__(
        self,
        workers: Runs,
        seconds: Callable[[], float] = time.monotonic,
        stack_of: Callable[[int], Stack | None] = stack_of,
    ) -> None:
        self._workers = workers
        self._seconds = seconds
        self._stack_of = stack_of

    def rows(self) -> list[dict[str, Any] | None]:
        """For each of the first `MOST` workers what it runs: ``id`` and ``request``, ``module``, ``at``, the ``source``
        of that line, and ``for_s``; None for a free one.
        """
        runs = self._workers.runs()
        return [self._row(ident, runs.get(ident)) for ident in self._workers.idents()[:MOST]]

    def _row(self, ident: int, turn: Turn | None) -> dict[str, Any] | None:
        if turn is None or not turn.began:
            return None
        stack = self._stack_of(ident)
        if stack is None or self._workers.runs().get(ident) is not turn:  # it ended as we looked
            return None
        exchange, call = turn.exchange, stack.innermost
        return {
            "id": None if exchange is None else exchange.request.id,
            "request": None if exchange is None else _title(exchange.request),
            "module": None if exchange is None else exchange.binding.name,
            "at": stack.at,
            "source": linecache.getline(call.file, call.line).strip()[:LONGEST],
            "for_s": round(max(0.0, self._seconds() - turn.began), 3),
        }

    def __repr__(self) -> str:
        return f"<Seats {len(self._workers.runs())} of {len(self._workers.idents())} taken>"


def _title(request: Any) -> str:
    return in_print(f"{request.method} {request.path}"[:LONGEST])[:LONGEST]
