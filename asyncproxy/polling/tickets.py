"""Tickets in this process: the parks that wait under a name, and the way to them from any thread.

The rule: names and their states are `exchange.tickets`' business; here they meet the polling thread, on which alone the
book is read and written, so that a resume, a time-out and a client that leaves come one after the other, and the first
decides. `MemoryTickets` stands behind the boundary `Tickets`: one that asks other machines may take its place.
"""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import Deferred, fail, succeed

from asyncproxy.boundaries import Clock
from asyncproxy.exchange.errors import ProxyError
from asyncproxy.exchange.tickets import RAISE, Holder, Once, Receipt, TicketBook, TicketLimits
from asyncproxy.polling.parking import Parked


class AwaitingTicket(Parked):
    """On a `Ticket`."""

    __slots__ = ("_defaults", "_why")

    def begin(self) -> None:
        """Claim the name, and watch the clock."""
        wait = self.wait
        self._why = "it was called off"
        self._defaults = False
        if wait.timeout is not None and self._is_sooner(wait.timeout):
            self._defaults = wait.default is not RAISE
            self.limit(wait.timeout)
        self.owner.flow.around.tickets.claim(wait.name, wait.bind, self)

    def _is_sooner(self, seconds: float) -> bool:
        """Whether that is before the time-out of the `Park` around it."""
        return self.deadline is None or self.owner.flow.lot.clock.seconds() + seconds < self.deadline

    @property
    def whose(self) -> str:
        """The id of the request that waits."""
        return str(self.owner.request.id)

    def resumed(self, value: bytes) -> None:
        """Somebody gave `value`, JSON. One that cannot be read here, for it is too deep, is raised at the await."""
        try:
            decoded = msgspec.json.decode(value)
        except (ValueError, RecursionError) as error:
            self.fail(error)
        else:
            self.ready(decoded)

    def _too_late(self, seconds: float) -> None:
        if not self._defaults:
            super()._too_late(seconds)
            return
        self._timer = None
        self._why = f"it was not resumed within {seconds:g} s"
        self._undo_safely()
        self.ready(self.wait.default)

    def interrupt(self, error: BaseException) -> None:
        """Call the wait off; a late resume is told why."""
        if isinstance(error, ProxyError):
            self._why = error.words
        super().interrupt(error)

    def undo(self) -> None:
        """Free the name."""
        self.owner.flow.around.tickets.withdraw(self.wait.name, self, self._why)


class MemoryTickets:
    """The `Tickets` of one process. Polling thread only, but for `holds`."""

    def __init__(self, clock: Clock, limits: TicketLimits | None = None) -> None:
        self.book = TicketBook(clock.seconds, limits)

    def claim(self, name: str, bind: str | None, holder: Holder) -> None:
        """Have `holder` wait for `name`; it is told at once if it cannot, or need not."""
        value = self.book.claim(name, bind, holder)
        if value is not None:
            holder.resumed(value)

    def withdraw(self, name: str, holder: Holder, why: str) -> None:
        """`holder` waits no more; whoever resumes it later reads `why`."""
        self.book.withdraw(name, holder, why)

    def resume(
        self, name: str, value: bytes, bind: str | None = None, by: str = "", once: Once | None = None
    ) -> Deferred[Receipt]:
        """Give `value`, JSON, to whoever waits for `name`, or keep it for whoever will; see `TicketBook.resume`."""
        try:
            receipt, holder = self.book.resume(name, value, bind, by, once)
        except ProxyError as refused:
            return fail(refused)
        if holder is not None:
            holder.resumed(value)
        return succeed(receipt)

    def look(self, name: str) -> Deferred[dict[str, Any]]:
        """What is known of `name`; see `TicketBook.look`."""
        return succeed(self.book.look(name))

    def holds(self, name: str) -> bool:
        """Whether a request waits for `name` here. Any thread."""
        return self.book.holds(name)

    def limit(self, limits: TicketLimits) -> None:
        """Keep to `limits` from now on."""
        self.book.limits = limits

    def statistics(self) -> dict[str, int]:
        """How many names are in each state."""
        return self.book.statistics()

    def __repr__(self) -> str:
        return f"<MemoryTickets {self.book!r}>"
