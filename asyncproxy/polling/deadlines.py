"""Time-outs by the thousand: a wheel that objects stand in with the time they are due.

A reactor's timer costs more than a whole hop of a request, and nearly all time-outs never fire. So an object says
when it is due by an attribute; moving that later costs nothing, and the wheel looks at the object when its slot comes
and puts it on if it is not due yet. A deadline is met within `TICK` seconds.
"""

from __future__ import annotations

import math
from typing import Final

from twisted.logger import Logger

from asyncproxy.boundaries import Clock, DelayedCall

_log = Logger()

TICK: Final = 0.05
NEVER: Final = math.inf


_MIXIN: tuple[str, ...] = ()


class Due:
    """Something that can be due; `expired` is called on the polling thread once it is.

    A mixin: `due` and `_slot` are to be NEVER at first. `due` is in seconds of the clock; setting it to NEVER, or
    later, needs no word to the wheel.
    """

    __slots__ = _MIXIN

    due: float
    _slot: float

    def expired(self) -> None:
        """The deadline has passed; `due` is NEVER again."""
        raise AssertionError(f"{self!r} was given a deadline and does not know what to do at it")


class Deadlines:
    """The wheel. Polling thread only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seconds = clock.seconds
        self._slots: dict[float, set[Due]] = {}
        self._timer: DelayedCall | None = None
        self._at = NEVER

    def set(self, one: Due, delay: float) -> None:
        """`one` is due in `delay` seconds, whatever it was before; NEVER takes its deadline away."""
        one.due = due = self.seconds() + delay
        if due < one._slot - TICK:
            self.place(one)

    def place(self, one: Due) -> None:
        """Put `one` where its `due` says; needed when that is before its `_slot`."""
        if one._slot != NEVER:  # it must not be kept in memory until then
            self._slots[one._slot].discard(one)
        slot = one._slot = (one.due // TICK + 1) * TICK
        row = self._slots.get(slot)
        if row is None:
            self._slots[slot] = {one}
            if slot < self._at:
                self._arm(slot)
        else:
            row.add(one)

    def _arm(self, slot: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = slot
        self._timer = self._clock.callLater(max(0.0, slot - self._clock.seconds()), self._turn)

    def remove(self, one: Due) -> None:
        """`one` leaves the wheel at once: it is over, and nothing shall keep it in memory."""
        one.due = NEVER
        row = self._slots.get(one._slot)
        if row is not None:
            row.discard(one)
            if not row:  # nor shall anybody be woken for it
                del self._slots[one._slot]
        one._slot = NEVER

    def _turn(self) -> None:
        """Look at every slot whose time has come, then sleep until the next."""
        self._timer = None
        self._at = -NEVER  # what is put on meanwhile sets no timer: others may be due before it
        now = self._clock.seconds()
        for slot in sorted(slot for slot in self._slots if slot <= now + TICK / 2):
            for one in self._slots.pop(slot, ()):
                self._look_at(one, now)
        self._at = NEVER
        if self._slots:
            self._arm(min(self._slots))

    def _look_at(self, one: Due, now: float) -> None:
        one._slot = NEVER
        if one.due <= now + TICK / 2:
            one.due = NEVER
            try:
                one.expired()
            except Exception:  # noqa: BLE001 - the deadlines of all others must still be met
                _log.failure("What was to happen at a deadline failed: {one!r}", one=one)
        elif one.due != NEVER:
            self.place(one)

    def stop(self) -> None:
        """Forget every deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._slots.clear()
        self._at = NEVER

    def statistics(self) -> dict[str, int]:
        """How many objects stand in the wheel."""
        return {"standing": sum(map(len, self._slots.values())), "slots": len(self._slots)}

    def __repr__(self) -> str:
        counts = self.statistics()
        return f"<Deadlines {counts['standing']} in {counts['slots']} slots>"
