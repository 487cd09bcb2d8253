"""The parking lot: everything that waits, and the one place where a wait is woken or called off.

The rule: a park wakes exactly once. It is begun only after the turn's stack has unwound; what wakes it while it is
being begun is remembered, and told when that is done. Whatever comes second, a late timer, a reply after the client
left, finds it over and changes nothing. Wakes happen on the polling thread only; what happens on other threads is
delivered to it. How each kind of wait begins and is undone, `waiting` says.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

from twisted.logger import Logger

from asyncproxy.boundaries import Clock, DelayedCall
from asyncproxy.exchange.errors import ParkTimeout
from asyncproxy.exchange.waits import Wait
from asyncproxy.polling.failures import overloaded

_log = Logger()
Wake = Callable[[Any, BaseException | None], None]
Spot = tuple[CodeType, int]
"""A line of code."""

BEGINNING, _WAITING, _OVER = range(3)


class Parked:
    """One park: who waits, for what, since when, until when. `wake(value, error)` is called once.

    A subclass begins the wait in `begin` and calls it off in `undo`; it calls `ready` or `fail` when it is over.
    """

    __slots__ = (
        "_error",
        "_state",
        "_timer",
        "_undone",
        "_value",
        "_wake",
        "deadline",
        "lot",
        "owner",
        "since",
        "wait",
    )

    def __init__(self, wait: Any, owner: Any, wake: Wake) -> None:
        """`owner` is an exchange; through its `flow` a park finds what it needs of the polling thread."""
        self.wait = wait
        self.owner = owner
        self.lot: ParkingLot | None = None
        self.since = 0.0
        self.deadline: float | None = None
        self._wake: Wake | None = wake
        self._state = BEGINNING
        self._timer: DelayedCall | None = None
        self._undone = False
        self._value: Any = None
        self._error: BaseException | None = None

    def begin(self) -> None:
        """Arrange that the wait ends. What it raises becomes the wake."""
        raise AssertionError("a subclass begins the wait")

    def undo(self) -> None:
        """The wait is called off, or it is over: give back what it held."""

    def start(self) -> None:
        """Begin; a wake that comes meanwhile is told at the end."""
        try:
            self.begin()
        except BaseException as error:  # noqa: BLE001 - whoever made the wait hears of it, a SystemExit too
            self.fail(error)
        if self._state == BEGINNING:
            self._state = _WAITING
            return
        if self._undone:
            self._undo_safely()
        self._tell(self._value, self._error)

    def ready(self, value: Any = None) -> None:
        """What was waited for has come."""
        if self._state == _WAITING:
            self._state = _OVER
            self._tell(value, None)
        elif self._state == BEGINNING:
            self._state = _OVER
            self._value = value

    def fail(self, error: BaseException) -> None:
        """What was waited for will not come."""
        if self._state == _WAITING:
            self._state = _OVER
            self._tell(None, error)
        elif self._state == BEGINNING:
            self._state = _OVER
            self._error = error

    def _tell(self, value: Any, error: BaseException | None) -> None:
        if self.lot is not None:
            self.lot.parked.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake, self._wake = self._wake, None
        assert wake is not None
        wake(value, error)

    def interrupt(self, error: BaseException) -> None:
        """Call the wait off and wake whoever waits with `error`."""
        if self._state == _WAITING:
            self._state = _OVER  # first: undoing may wake it, with a Deferred's CancelledError for instance
            self._undo_safely()
            self._tell(None, error)
        else:
            self._undone = True
            self.fail(error)

    def _undo_safely(self) -> None:
        try:
            self.undo()
        except Exception:  # noqa: BLE001 - a module's own canceller may raise: its exchange must still hear
            _log.failure("Calling a wait off failed: {wait}", wait=self.wait)

    def call_off(self) -> None:
        """Call the wait off; nobody is woken."""
        if self._state != _OVER:
            self._wake = _nobody
            self.interrupt(ParkTimeout("it was called off"))

    @property
    def over(self) -> bool:
        """Whether it has been woken or called off."""
        return self._state == _OVER

    def limit(self, seconds: float) -> None:
        """Wake with `ParkTimeout` after `seconds`."""
        self._limit(self.owner.flow.lot.clock.seconds() + seconds, seconds)

    def extend(self, seconds: float) -> bool:
        """Wake with `ParkTimeout` that much later; False if no `limit` was set, or it is over."""
        if self.deadline is None or self._timer is None:
            return False
        self._limit(self.deadline + seconds, round(self.deadline + seconds - self.since, 3))
        return True

    def _limit(self, deadline: float, said: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        clock = self.owner.flow.lot.clock
        self.deadline = deadline
        self._timer = clock.callLater(max(0.0, deadline - clock.seconds()), self._too_late, said)

    def _too_late(self, seconds: float) -> None:
        self._timer = None
        self.interrupt(ParkTimeout(f"nothing came within {seconds:g} s", aside=self.wait.describe()))

    def spot(self) -> Spot | None:
        """The line of module code that goes on when this wakes; looked up now, at no cost before."""
        waker = getattr(self._wake, "__self__", None)
        where = getattr(waker, "spot", None) if waker is not self.owner else None
        return where() if where is not None else spot_of(self.owner.binding.module.handle)

    def place(self) -> str:
        """That line as ``file.py:31``; an empty string if it is not known."""
        return place(self.spot())

    def __repr__(self) -> str:
        return f"<Parked on {self.wait.describe()}{', over' if self.over else ''}>"


def _nobody(_value: Any, _error: BaseException | None) -> None:
    """Woken instead of who no longer waits."""


class ParkingLot:
    """All that is parked, at most `limit` of it. `kinds` has the kind of `Parked` of each wait. Polling thread only."""

    def __init__(self, clock: Clock, kinds: Mapping[type, type[Parked]], limit: int = 20000) -> None:
        self.clock = clock
        self.seconds = clock.seconds
        self.limit = limit
        self.parked: set[Parked] = set()
        self._kinds = kinds

    @property
    def full(self) -> bool:
        """Whether nothing more may park."""
        return len(self.parked) >= self.limit

    def park(self, wait: Wait[Any], owner: Any, wake: Wake) -> Parked:
        """A park of `wait` that is not begun yet: the caller notes it, then calls its `start`.

        `wake(value, error)` is called once, not before `start` is through. When the lot is full the error is an
        `Overloaded`.
        """
        if len(self.parked) >= self.limit:
            return _Refused(wait, owner, wake)
        parked = self._kinds[type(wait)](wait, owner, wake)
        parked.lot = self
        parked.since = self.seconds()
        self.parked.add(parked)
        return parked

    def part(self, wait: Wait[Any], owner: Any, wake: Wake) -> Parked:
        """A park that is part of another one, which alone is counted."""
        parked = self._kinds[type(wait)](wait, owner, wake)
        parked.lot = None
        return parked

    def statistics(self) -> dict[str, int]:
        """How many are parked, and how many may be."""
        return {"parked": len(self.parked), "limit": self.limit}

    def __repr__(self) -> str:
        return f"<ParkingLot {len(self.parked)} of {self.limit} parked>"


class _Refused(Parked):
    """A park for which there was no room."""

    def begin(self) -> None:
        """It never waits."""
        self.wait.abandon()
        self.fail(overloaded("parked"))


def place(spot: Spot | None) -> str:
    """A line of code as ``file.py:31``; an empty string for none."""
    if spot is None:
        return ""
    code, line = spot
    return f"{code.co_filename.rsplit('/', 1)[-1]}:{line}"


def spot_of(function: Any) -> Spot | None:
    """Where `function` is written; None for what is not Python."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return (code, code.co_firstlineno) if code is not None else None


def place_of(function: Any) -> str:
    """Where `function` is written, as ``file.py:31``; an empty string for what is not Python."""
    return place(spot_of(function))
