"""Workers that a turn keeps busy for too long: each such turn is told once, and shown for as long as it lasts.

A worker may block; that is what it is for. But a pool whose workers all wait for a database that hangs answers nobody,
and the line of code that says so is on the stack of a thread that cannot tell it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.logger import Logger

from asyncproxy.boundaries import Turn
from asyncproxy.watching.stacks import Stack

_log = Logger()


class Runs(Protocol):
    """Whoever knows what workers run: `working.workers.Workers`."""

    def runs(self) -> dict[int, Turn]:
        """The turns that run right now, by the ident of their thread."""


@dataclass(frozen=True, slots=True)
class Stall:
    """A turn that was found to take too long, and where it was then."""

    turn: Turn
    stack: Stack

    def row(self, now: float) -> dict[str, Any]:
        """For the status page: the module by its name in the configuration; None for a call that no exchange made."""
        exchange = self.turn.exchange
        return {
            "id": None if exchange is None else exchange.request.id,
            "module": None if exchange is None else exchange.binding.name,
            "at": self.stack.at,
            "for_s": round(now - self.turn.began, 3),
        }


class Stalls:
    """The turns that take longer than `limit` seconds. `look` is called on the watchdog's thread, the rest anywhere."""

    def __init__(
        self, workers: Runs, limit: float, seconds: Callable[[], float], stack_of: Callable[[int], Stack | None]
    ) -> None:
        self.limit = limit
        self.total = 0
        self._workers = workers
        self._seconds = seconds
        self._stack_of = stack_of
        self._current: dict[int, Stall] = {}
        """By the ident of the thread."""

    def look(self, now: float, awake_since: float) -> None:
        """Tell of the turns that have been running for `limit` seconds of those since `awake_since`."""
        current: dict[int, Stall] = {}
        for ident, turn in self._workers.runs().items():
            known = self._current.get(ident)
            if known is not None and known.turn is turn:
                current[ident] = known
            elif turn.began and now - max(turn.began, awake_since) >= self.limit:
                stack = self._stack_of(ident)
                if stack is not None and self._workers.runs().get(ident) is turn:  # else it ended as we looked
                    current[ident] = stall = Stall(turn, stack)
                    self._tell(stall, now)
        self._current = current

    def _tell(self, stall: Stall, now: float) -> None:
        self.total += 1
        _log.warn(
            "{who} has kept its worker for {seconds:.1f} s, at {place}\n{stack}",
            who=whose(stall.turn),
            seconds=now - stall.turn.began,
            place=stall.stack.innermost,
            stack=stall.stack.text(),
        )

    def rows(self) -> list[dict[str, Any]]:
        """Those that still run, the eldest first."""
        now = self._seconds()
        stalls = sorted(self._current.values(), key=lambda stall: stall.turn.began)
        return [stall.row(now) for stall in stalls]

    def busy(self) -> list[str]:
        """What each worker runs right now, with its place, whether it takes long or not."""
        found = [(turn, self._stack_of(ident)) for ident, turn in self._workers.runs().items()]
        return [f"{whose(turn)} at {stack.innermost}" for turn, stack in found if stack is not None]

    def __repr__(self) -> str:
        return f"<Stalls {len(self._current)} workers kept for more than {self.limit:g} s, {self.total} in all>"


def whose(turn: Turn) -> str:
    """Module and request, for the log."""
    exchange = turn.exchange
    return "a call from outside any request" if exchange is None else str(exchange.title())
