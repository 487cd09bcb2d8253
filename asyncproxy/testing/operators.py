"""What operators and modules may ask of a lab that they may ask of a running proxy: a part of `Lab`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from asyncproxy.exchange.tickets import Once, Ticket
from asyncproxy.links import Links
from asyncproxy.resuming import Resumption
from asyncproxy.testing.lab_house import LabHouse


class OperatedLab:
    """See the file's head."""

    house: LabHouse

    def _look(self) -> None:
        raise AssertionError("a subclass lets happen what can")

    def _after_call(self) -> None:
        raise AssertionError("a subclass lets happen what a call has made possible")

    def resume(
        self, name: str, value: Any = None, *, bind: str | None = None, by: str = "", once: Once | None = None
    ) -> Resumption:
        """Somebody resumes ticket `name` with `value`; see `asyncproxy.resume`, which module code finds the lab by."""
        future = self.house.resume(name, value, bind=bind, by=by, once=once)
        self._after_call()
        return future

    def ticket(self, name: str) -> Deferred[dict[str, Any]]:
        """What is known of ticket `name`: its ``state``, and ``how`` it came to it."""
        self._look()
        return self.house.ticket(name)

    @property
    def links(self) -> Links:
        """What makes signed links, and reads them."""
        return self.house.links

    def ticket_url(self, ticket: str | Ticket, expires: float | str, **asked: Any) -> str:
        """See `Request.ticket_url`; in a lab it begins with ``http://lab`` unless ``tickets.url`` says otherwise."""
        return self.house.ticket_url(ticket, expires, **asked)

    def cancel(self, request_id: str, status: int = 503, by: str = "") -> dict[str, Any]:
        """An operator ends the parked request of that id, see `Proxy.cancel`."""
        return self._operate(self.house.cancel, request_id, status, by)

    def extend(self, request_id: str, seconds: float, by: str = "") -> dict[str, Any]:
        """An operator lets the parked request of that id wait longer, see `Proxy.extend`."""
        return self._operate(self.house.extend, request_id, seconds, by)

    def begin_drain(self) -> None:
        """As a module asks for it; a lab drains by `drain`."""
        self.house.begin_drain()

    @property
    def admin_address(self) -> Any:
        """Where the admin listener would listen, as modules see it: 127.0.0.1:8081."""
        return self.house.admin_address

    def _operate(self, operation: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
        self._look()
        result = operation(*args)
        self._after_call()
        return result
