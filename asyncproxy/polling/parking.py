"""The parking lot: everything that waits, and the one place where a wait is registered, woken, or called off.

The rule: a park wakes exactly once. It is registered only after the turn's stack has unwound; what wakes it while it
is being registered is remembered and told when the registration is done. Whatever comes second, a late timer, a reply
after the client left, finds it over and changes nothing. Wakes happen on the polling thread only; what happens on
other threads is delivered to it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any, Protocol

from asyncproxy.boundaries import Clock, DelayedCall
from asyncproxy.exchange.errors import Overloaded, ParkTimeout
from asyncproxy.exchange.waits import Wait

Wake = Callable[[Any, BaseException | None], None]
Cancel = Callable[[], Any]


class Owner(Protocol):
    """Who parks: an exchange."""

    def spawn(self, coroutine: Any, wake: Wake) -> Cancel:
        """Run `coroutine` beside the one that waits; see `flow`."""


Registrar = Callable[[Any, Wake, Any], Cancel | None]
"""Arranges that a wait wakes, and gives the way to call that off. The wake may come before it returns."""


class Parked:
    """One park: who waits, for what, since when, until when."""

    __slots__ = (
        "_called_off",
        "_cancel",
        "_lot",
        "_outcome",
        "_registering",
        "_timer",
        "_wake",
        "deadline",
        "over",
        "owner",
        "since",
        "wait",
    )

    def __init__(self, lot: ParkingLot, wait: Wait[Any], owner: Any, wake: Wake) -> None:
        self.wait = wait
        self.owner = owner
        self.since = lot.seconds()
        self.deadline: float | None = None
        self.over = False
        self._lot = lot
        self._wake: Wake | None = wake
        self._cancel: Cancel | None = None
        self._timer: DelayedCall | None = None
        self._registering = True
        self._called_off = False
        self._outcome: tuple[Any, BaseException | None] | None = None

    def wake(self, value: Any = None, error: BaseException | None = None) -> None:
        """Wake whoever waits with `value` or `error`; a park that is over stays over."""
        if self.over:
            return
        self.over = True
        if self._registering:
            self._outcome = (value, error)
            return
        self._leave()
        wake, self._wake, self._cancel = self._wake, None, None
        assert wake is not None
        wake(value, error)

    def interrupt(self, error: BaseException) -> None:
        """Call the wait off and wake whoever waits with `error`."""
        if self.over:
            return
        if self._registering:
            self.over = self._called_off = True
            self._outcome = (None, error)
            return
        self.call_off()
        wake, self._wake = self._wake, None
        assert wake is not None
        wake(None, error)

    def call_off(self) -> None:
        """Call the wait off; nobody is woken."""
        if self.over:
            return
        self.over = True
        self._leave()
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            cancel()

    def _leave(self) -> None:
        self._lot.parked.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def registered(self, cancel: Cancel | None) -> None:
        """The registration is done; what woke the park meanwhile is told now."""
        self._registering = False
        if self._outcome is None:
            self._cancel = cancel
            return
        self._leave()
        if self._called_off and cancel is not None:
            cancel()
        wake, self._wake = self._wake, None
        assert wake is not None
        wake(*self._outcome)

    def limit(self, seconds: float) -> None:
        """Wake with `ParkTimeout` after `seconds`."""
        self.deadline = self.since + seconds
        self._timer = self._lot.clock.callLater(seconds, self._too_late, seconds)

    def _too_late(self, seconds: float) -> None:
        self._timer = None
        self.interrupt(ParkTimeout(f"{self.wait.describe()} did not come within {seconds:g} s"))

    def place(self) -> str:
        """The line of module code that goes on when this wakes, as ``file.py:31``; looked up now, at no cost before."""
        waker = getattr(self._wake, "__self__", None)
        where = getattr(waker, "place", None) if waker is not self.owner else None
        return where() if where is not None else place_of(self.owner.binding.module.handle)

    def __repr__(self) -> str:
        return f"<Parked on {self.wait.describe()}, {self._lot.seconds() - self.since:.1f} s>"


class ParkingLot:
    """All that is parked, at most `limit` of it. Polling thread only."""

    def __init__(self, clock: Clock, registrars: dict[type, Registrar], limit: int = 20000) -> None:
        self.clock = clock
        self.seconds = clock.seconds
        self.limit = limit
        self.parked: set[Parked] = set()
        self._registrars = registrars

    @property
    def full(self) -> bool:
        """Whether nothing more may park."""
        return len(self.parked) >= self.limit

    def park(
        self,
        wait: Wait[Any],
        owner: Any,
        wake: Wake,
        *,
        timeout: float | None = None,
        take: Callable[[Parked], None] | None = None,
    ) -> None:
        """Register `wait`; `wake(value, error)` is called once, not before the registration is done.

        `take` is given the `Parked` first. When the lot is full the wake is an `Overloaded`.
        """
        parked = Parked(self, wait, owner, wake)
        if take is not None:
            take(parked)
        if len(self.parked) >= self.limit:
            wait.abandon()
            parked.wake(None, Overloaded("too many requests are parked"))
            parked.registered(None)
            return
        self.parked.add(parked)
        if timeout is not None:
            parked.limit(timeout)
        try:
            cancel = self._registrars[type(wait)](wait, parked.wake, owner)
        except Exception as error:  # noqa: BLE001 - the module that made the wait hears of it at its await
            cancel = None
            parked.wake(None, error)
        parked.registered(cancel)

    def statistics(self) -> dict[str, int]:
        """How many are parked, and how many may be."""
        return {"parked": len(self.parked), "limit": self.limit}

    def __repr__(self) -> str:
        return f"<ParkingLot {len(self.parked)} of {self.limit} parked>"


def place(code: CodeType, line: int) -> str:
    """A line of code as ``file.py:31``."""
    return f"{code.co_filename.rsplit('/', 1)[-1]}:{line}"


def place_of(function: Any) -> str:
    """Where `function` is written, as ``file.py:31``; an empty string for what is not Python."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return place(code, code.co_firstlineno) if code is not None else ""
