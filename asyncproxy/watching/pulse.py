"""Whether the polling thread still turns: seen at work, it is asked for an answer, and found out when none comes.

Since when it is held nobody knows better than from one look to the next, so it counts from the middle between them. A
reactor that waits for something to happen is not asked: it would have to wake up for it.

The rule: one question at a time, so that a held reactor finds one call when it is back and not a thousand; and one
line for each hold, when it is over and its length is known, or after `LONG` of it, as nobody knows whether it ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from twisted.logger import Logger

from asyncproxy.boundaries import PollingThread
from asyncproxy.watching.stacks import Call, Stack

_log = Logger()

HELD: Final = 0.1
"""Seconds at work without an answer from which the polling thread is held."""
LONG: Final = 5.0
"""Seconds after which a hold is told though it lasts."""
QUIET: Final = 10.0
"""Seconds in which a line of code that was told is only counted: one that holds at each request fills no disk."""
PLACES: Final = 100
"""Lines of code that are remembered for that."""


@dataclass(slots=True)
class Hold:
    """No answer for a while: where the polling thread was when that was noticed."""

    stack: Stack
    blind: bool
    """Whether it was noticed afterwards, because the watchdog could not run either."""
    counted: bool = False
    told: bool = False


class Pulse:
    """The polling thread's. `look` is called on the watchdog's thread, `answer` on the polling thread.

    `stack` gives what the polling thread does, `idle` whether that is nothing, `busy` what the workers do, in words.
    """

    def __init__(
        self,
        polling: PollingThread,
        seconds: Callable[[], float],
        stack: Callable[[], Stack | None],
        idle: Callable[[], bool],
        busy: Callable[[], list[str]],
    ) -> None:
        self.holds = 0
        self.longest = 0.0
        self.latest: dict[str, Any] | None = None
        self._polling = polling
        self._seconds = seconds
        self._stack = stack
        self._idle = idle
        self._busy = busy
        self._since: float | None = None
        """When it began what it is at, if it has been asked for an answer."""
        self._answered: float | None = None
        self._free = 0.0
        """When it was last known to turn."""
        self._missed = 0.0
        """Seconds since the question that say nothing about the polling thread."""
        self._hold: Hold | None = None
        self._told: dict[Call, float] = {}
        self._untold: dict[Call, int] = {}

    def begin(self) -> None:
        """Ask for the first time; nothing is held before that is answered: the reactor may not run yet."""
        self._ask(math.inf)

    def _ask(self, since: float) -> None:
        self._answered = self._hold = None
        self._missed = 0.0
        self._since = since
        self._polling.deliver(self.answer)

    def answer(self) -> None:
        """The polling thread turns."""
        self._answered = self._seconds()

    def look(self, now: float, missed: float = 0.0, *, blind: bool = False) -> None:
        """Read the answer, or notice that there is none; ask again if there is something to ask about.

        In `missed` of the seconds since the last look the process did not run at all; `blind` says that it did, but
        the watchdog could not look.
        """
        if self._since is not None:
            self._missed += missed
            answered = self._answered
            self._measure(self._since, now, answered, blind=blind)
            if answered is None:
                return
            self._since, self._free, blind = None, max(self._free, answered), False
        if missed:
            self._free = now
        if blind:
            self._ask(self._free)
            self._measure(self._free, now, None, blind=True)
        elif self._idle():
            self._free = now
        else:
            self._ask((self._free + now) / 2)

    def _measure(self, since: float, now: float, answered: float | None, *, blind: bool) -> None:
        held = (now if answered is None else answered) - since - self._missed
        if self._hold is None and held > (HELD / 2 if answered is None else HELD):
            stack = self._stack()
            self._hold = None if stack is None else Hold(stack, blind or answered is not None)
        if self._hold is not None and held > HELD:
            self._held(self._hold, held, now, over=answered is not None)

    def _held(self, hold: Hold, held: float, now: float, *, over: bool) -> None:
        if not hold.counted:
            hold.counted = True
            self.holds += 1
        self.longest = max(self.longest, held)
        self.latest = {"at": hold.stack.at, "for_s": round(held, 3)}
        if not hold.told and (over or held > LONG):
            hold.told = True
            self._tell(hold, held, now, "" if over else " and still is")

    def _tell(self, hold: Hold, held: float, now: float, still: str) -> None:
        place = hold.stack.innermost
        if now - self._told.get(place, -math.inf) < QUIET:
            self._untold[place] = self._untold.get(place, 0) + 1
            return
        if len(self._told) >= PLACES:
            self._told.clear()
            self._untold.clear()
        self._told[place] = now
        again = self._untold.pop(place, 0)
        _log.warn(
            "The polling thread was held for {held:.2f} s{still}{again}: {why}\n{stack}",
            held=held,
            still=still,
            again=f" ({again} times more since this was last told)" if again else "",
            why=self._why(hold),
            stack=hold.stack.text(),
        )

    def _why(self, hold: Hold) -> str:
        place = hold.stack.innermost
        if not hold.blind:
            return (
                f"{place.module} at {place} kept everybody waiting; what blocks or computes belongs in a module that "
                "blocks, on a worker"
            )
        busy = "".join(f"; a worker runs {words}" for words in self._busy())
        return (
            "and every other thread with it, by a garbage collection or by code that keeps the interpreter's lock, as "
            f"a large regular expression, sort or json does; just after, the polling thread was at {place}{busy}"
        )

    def statistics(self) -> dict[str, Any]:
        """How many ``holds`` there were, the ``longest_s``, and the ``latest`` with its place, if any."""
        return {"holds": self.holds, "longest_s": round(self.longest, 3), "latest": self.latest}

    def __repr__(self) -> str:
        asked = self._since is not None and self._answered is None
        state = "held" if asked and self._hold is not None and self._hold.counted else "turning"
        return f"<Pulse {state}, {self.holds} holds, the longest {self.longest:.2f} s>"
