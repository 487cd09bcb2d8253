"""A proxy empties before it stops: what runs may finish, for a while, and nothing new begins.

The rule: whoever is cut is told so and is named in the log. Connections that idle are closed at once, answers say that
theirs closes, and after the time that was given every exchange that is left hears `Draining`: at its module's await, or
as a 503. Only then is anything aborted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from twisted.internet.task import deferLater
from twisted.logger import Logger

from asyncproxy.exchange.errors import Draining
from asyncproxy.polling.flow import Exchange, Flow
from asyncproxy.polling.listening import Door

_log = Logger()
LOOK: Final = 0.02
"""Seconds between two looks at what is left."""
FIRST_REQUEST: Final = 1.0
"""Seconds that a new connection has for its first request, which may be on its way."""
CLEAN_UP: Final = 2.0
"""Seconds that exchanges which were cut have for their clean-up and for the answer that says so."""
NAMED: Final = 200
"""Who was cut, lines in the log."""


class Drain:
    """`flow`, emptied through its `doors`, whose ports accept no more. Polling thread only.

    `hurried` may be set at any time: then nothing is waited for any longer.
    """

    def __init__(self, clock: Any, flow: Flow, doors: Sequence[Door]) -> None:
        self._clock = clock
        self._flow = flow
        self._doors = doors
        self.hurried = False
        self.cut: list[str] = []
        """Who was cut, a line each."""

    async def run(self, seconds: float) -> list[str]:
        """Let exchanges finish for `seconds`, then cut what is left; gives `cut`."""
        for door in self._doors:
            door.drain(min(seconds, FIRST_REQUEST))
        _log.info("Draining: {count} requests have {seconds:g} s", count=len(self._flow.exchanges), seconds=seconds)
        end = self._clock.seconds() + seconds
        while self._busy() and not self._over(end):
            await self._moment()
        self._cut()
        end = self._clock.seconds() + CLEAN_UP
        while self.cut and self._unfinished() and not self._over(end):
            await self._moment()
        self._say(seconds)
        return self.cut

    def _cut(self) -> None:
        exchanges = sorted(self._flow.exchanges, key=_age)
        self.cut = [who(exchange) for exchange in exchanges]
        self.cut += [f"{connection!r}, with an answer that is not all sent" for connection in self._owing()]
        for exchange in exchanges:
            exchange.call_off(Draining())

    def _busy(self) -> bool:
        return bool(self._flow.exchanges) or any(door.connections for door in self._doors)

    def _unfinished(self) -> bool:
        return bool(self._flow.exchanges) or any(self._owing())

    def _owing(self) -> Iterable[Any]:
        return (connection for door in self._doors for connection in door.connections if connection.owes)

    def _over(self, end: float) -> bool:
        return self.hurried or self._clock.seconds() >= end

    def _moment(self) -> Any:
        return deferLater(self._clock, LOOK)

    def _say(self, seconds: float) -> None:
        if not self.cut:
            _log.info("Drained: nobody was cut")
            return
        rows = self.cut[:NAMED] + [f"and {len(self.cut) - NAMED} more"] * (len(self.cut) > NAMED)
        why = "told to end at once" if self.hurried else f"not through within {seconds:g} s"
        lines = "".join(f"\n  {row}" for row in rows)
        _log.warn("{count} cut, {why}:{lines}", count=len(self.cut), why=why, lines=lines)

    def __repr__(self) -> str:
        return f"<Drain of {self._flow!r}{', hurried' if self.hurried else ''}, {len(self.cut)} cut>"


def who(exchange: Exchange) -> str:
    """An exchange in a line of the log: whose request, for what, and where it is."""
    request, parked = exchange.request, exchange.parked
    place = exchange.place()
    waits = f", waits for {parked.wait.describe()}{' at ' + place if place else ''}" if parked is not None else ""
    age = exchange.flow.seconds() - exchange.began
    whose = f"{request.peer.address}:{request.peer.port} {request.line}"
    return f"{whose}, {exchange.binding.name}: {exchange.shown_stage}{waits}, for {age:.1f} s"


def _age(exchange: Exchange) -> int:
    return exchange.request.number
