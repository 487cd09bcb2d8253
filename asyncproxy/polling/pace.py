"""How fast a peer has to be: rates of what comes, and whether what waits for it is taken.

The rule: only time in which the peer could do something counts. A rate is a credit of seconds: it begins with a grace,
runs down while we wait for the peer, and each second's worth of bytes gives a second back, up to what silence itself is
allowed to last; so a peer that was fast may rest, and one that trickles has used it up soon, however much came before.
Looking at a connection that is behind costs nothing until the look. Polling thread only.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from asyncproxy.polling.deadlines import NEVER, TICK, Deadlines, Due
from asyncproxy.polling.unsent import count_untaken

LOOKS: Final = 4
"""How often in its time-out a connection that is behind is looked at: it is cut by so much too late at most."""
_UNKNOWN: Final = -1


class Pace:
    """The credit of one peer; see the file's head. `now` is in seconds of one clock."""

    __slots__ = ("_at", "_credit")

    def __init__(self, now: float, grace: float) -> None:
        self._credit = grace
        self._at: float | None = now
        """When `_credit` was right; None while it stands still."""

    def moved(self, now: float, count: int, rate: int, most: float) -> float:
        """`count` bytes have come; gives the seconds in which more must."""
        self._credit = credit = min(self.left(now) + count / rate, most)
        self._at = now
        return credit

    def left(self, now: float) -> float:
        """Seconds until it is used up, if nothing comes."""
        return self._credit if self._at is None else self._credit - (now - self._at)

    def stand(self, now: float) -> None:
        """It is not the peer's turn: time does not count."""
        self._credit = self.left(now)
        self._at = None

    def go_on(self, now: float) -> None:
        """It is the peer's turn again."""
        if self._at is None:
            self._at = now

    def __repr__(self) -> str:
        return f"<Pace, {self._credit:.1f} s in store, {'standing' if self._at is None else 'running'}>"


class Sender(Protocol):
    """Whose peer is watched."""

    transport: Any

    def patience(self) -> tuple[float, int, float]:
        """Seconds in which the peer has to take something; bytes a second that it has to, 0 for any; and its grace."""

    def stalled(self, why: str, words: str) -> None:
        """The peer was too slow: `why` is ``send_timeout`` or ``send_rate``, `words` what it did not do."""


class Outflow(Due):
    """Watches a connection while it is behind: its peer has to take something of what waits for it now and then."""

    __slots__ = ("_deadlines", "_moved", "_pace", "_sender", "_slot", "_untaken", "due")

    def __init__(self, sender: Sender, deadlines: Deadlines) -> None:
        self.due = self._slot = NEVER
        self._sender = sender
        self._deadlines = deadlines
        self._pace: Pace | None = None
        self._untaken = _UNKNOWN
        self._moved = 0.0
        """When something was seen to be taken, or the watch began."""

    def behind(self) -> None:
        """The connection has more to send than it has room for, or is to close once all is sent."""
        if self.due != NEVER:
            return
        timeout, rate, grace = self._sender.patience()
        self._moved = now = self._deadlines.seconds()
        self._untaken = _UNKNOWN
        if rate:
            self._untaken = count_untaken(self._sender.transport)
            if self._pace is None:
                self._pace = Pace(now, grace)
            self._pace.go_on(now)
        self._look_in(now, timeout, rate)

    def keeps_up(self) -> None:
        """There is room again."""
        if self.due == NEVER:
            return
        self.due = NEVER
        if self._pace is not None:
            now = self._deadlines.seconds()
            self._reckon(now, count_untaken(self._sender.transport))
            self._rest(now)

    def _rest(self, now: float) -> None:
        """Nothing waits, or there is room: the peer has nothing to do."""
        if self._pace is not None:
            self._pace.stand(now)

    def _look_in(self, now: float, timeout: float, rate: int) -> None:
        delay = timeout / LOOKS
        if rate and self._pace is not None:
            delay = min(delay, max(TICK, self._pace.left(now)))
        self._deadlines.set(self, delay)

    def _reckon(self, now: float, untaken: int) -> None:
        """Note what was taken since the last look."""
        before, self._untaken = self._untaken, untaken
        if untaken != before:
            self._moved = now
            timeout, rate, grace = self._sender.patience()
            if self._pace is not None and rate:
                self._pace.moved(now, max(0, before - untaken), rate, max(grace, timeout))

    def expired(self) -> None:
        """Look whether something was taken."""
        sender, now = self._sender, self._deadlines.seconds()
        timeout, rate, _ = sender.patience()
        self._reckon(now, count_untaken(sender.transport))
        if not self._untaken:
            self._rest(now)
        elif now - self._moved >= timeout - TICK:
            sender.stalled("send_timeout", f"took nothing of what waited for it for {timeout:g} s")
        elif rate and self._pace is not None and self._pace.left(now) < TICK:
            sender.stalled("send_rate", f"took less than {rate} bytes a second of what waited for it")
        else:
            self._look_in(now, timeout, rate)

    def stop(self) -> None:
        """The connection is gone."""
        self._deadlines.remove(self)

    def __repr__(self) -> str:
        return f"<Outflow of {self._sender!r}, {'watched' if self.due != NEVER else 'at rest'}>"
