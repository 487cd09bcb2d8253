"""Module code that was told to end and waits on: it has `GRACE` seconds for its clean-up, then it is given up.

The rule: whoever has been told, that the client left or that time is up, has a last deadline. A coroutine that catches
`ClientGone` and awaits something for ever would keep its exchange, and what that holds, as long as the proxy runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncproxy.exchange.errors import ParkTimeout
from asyncproxy.exchange.lifecycle import PARKED
from asyncproxy.polling.deadlines import NEVER, Due

if TYPE_CHECKING:
    from asyncproxy.polling.flow import Exchange

GRACE: Final = 30.0
"""Seconds for a clean-up that waits for something."""
AGAIN: Final = 1.0
"""Seconds after which code that was found running is looked at again."""


class GivenUp(ParkTimeout):
    """No module hears this: a coroutine is cancelled instead, the context of a `Park` closed, a client answered 504."""


class LastDeadline(Due):
    """Of an exchange whose module has been told to end."""

    __slots__ = ("_exchange", "_slot", "due")

    def __init__(self, exchange: Exchange) -> None:
        self.due = self._slot = NEVER
        self._exchange = exchange

    def expired(self) -> None:
        """Give it up if it waits; code that runs, or is about to hear what it was told, is looked at again soon."""
        exchange = self._exchange
        if exchange.started and not exchange.gone:
            return  # its client takes the answer
        if exchange.stage == PARKED:
            exchange.interrupt(GivenUp(f"it was told to end {GRACE:g} s ago and waits on: it is given up"))
        else:
            exchange.flow.deadlines.set(self, AGAIN)
