"""The ports of clients, and whether they accept: they pause while there is any reason to.

Who waits in the kernel's line is served a little later. The rule: the gate is open again when the last reason has gone,
and it never stays shut without one: where a port cannot go on, for want of a descriptor, it is tried again.
Polling thread only.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from twisted.logger import Logger

from asyncproxy.boundaries import Clock, DelayedCall
from asyncproxy.polling.seldom import Seldom

_log = Logger()
RETRY: Final = 0.1
"""Seconds until ports that could not go on are tried again."""


class Port(Protocol):
    """A listening port, ours or Twisted's."""

    def stopReading(self) -> Any:
        """Accept nobody; the kernel lets them wait."""

    def startReading(self) -> Any:
        """Accept again. OSError if there is no descriptor for it."""


class Gate:
    """What all `ports` do together. Whoever has a reason shuts it, and opens it for that reason again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ports: list[Port] = []
        self.reasons: set[str] = set()
        """Why it is shut."""
        self.pauses = 0
        self._timer: DelayedCall | None = None
        self.lines = Seldom(clock.seconds)

    @property
    def paused(self) -> bool:
        """Whether nobody is accepted."""
        return bool(self.reasons) or self._timer is not None

    def shut(self, reason: str, words: str) -> None:
        """Accept nobody for `reason`; `words` say for the log what has come about."""
        if reason in self.reasons:
            return
        self.pauses += 1
        self._say(f"Accepting pauses: {words}")
        if not self.paused:
            self._stop_reading()
        self.reasons.add(reason)

    def open(self, reason: str, words: str) -> None:
        """`reason` has gone; accept, if it was the last."""
        if reason not in self.reasons:
            return
        self.reasons.discard(reason)
        if not self.reasons:
            self._go_on(words)

    def _go_on(self, words: str) -> None:
        self._timer = None
        if self.reasons:
            return
        try:
            for port in self.ports:
                port.startReading()
        except OSError as why:
            self._say(f"Accepting still pauses: {why}")
            self._stop_reading()
            self._timer = self._clock.callLater(RETRY, self._go_on, words)
        else:
            self._say(f"Accepting goes on: {words}")

    def _stop_reading(self) -> None:
        for port in self.ports:
            port.stopReading()

    def _say(self, words: str) -> None:
        if self.lines.may():
            _log.warn("{words}", words=words)

    def stop(self) -> None:
        """Nothing is to be accepted any more."""
        self.ports.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def statistics(self) -> dict[str, int]:
        """Whether accepting is ``paused``, 0 or 1, and how often it has been (``pauses``)."""
        return {"paused": int(self.paused), "pauses": self.pauses}

    def __repr__(self) -> str:
        state = f"paused: {', '.join(sorted(self.reasons)) or 'no descriptor'}" if self.paused else "open"
        return f"<Gate of {len(self.ports)} ports, {state}, {self.pauses} pauses>"
