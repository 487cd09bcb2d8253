"""The ledger told to the client: a ``Server-Timing`` field on every response of a route that wants it.

The rule: a route that does not want it pays nothing, so nothing of this is on the way of its requests; where a route
does, `Timed` stands before the client, and whatever sends a head to it, sends the field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from asyncproxy.boundaries import Client, Producer
from asyncproxy.exchange.ledger import COLUMNS, spent, spent_at_once
from asyncproxy.exchange.lifecycle import PARKED
from asyncproxy.polling.responding import refusal

if TYPE_CHECKING:
    from asyncproxy.polling.flow import Exchange

TOLD: Final = tuple((COLUMNS.index(column), column.encode()) for column in ("queued", "working", "parked", "upstream"))
"""What is told, in this order; what comes before and after it the client sees for itself."""


def server_timing(exchange: Exchange) -> bytes:
    """The field for a head that goes out now, in milliseconds (W3C Server Timing); empty if no time has passed.

    The stage that is being left is counted too. Columns that took no time are left out.
    """
    binding = exchange.binding
    stage = exchange.waiting if exchange.stage is PARKED else exchange.stage
    trail = [*exchange.trail, stage, exchange.flow.seconds()]
    at_once = not (binding.blocking or binding.is_async or exchange.request.length)
    seconds = spent_at_once(trail) if at_once else spent(trail)
    metrics = [b"%b;dur=%.1f" % (name, seconds[column] * 1000) for column, name in TOLD if seconds[column]]
    return b"\r\nServer-Timing: " + b", ".join(metrics) if metrics else b""


def timed(exchange: Exchange) -> Client:
    """The client of `exchange`, which is told of its time from now on."""
    return cast("Client", Timed(exchange))


class Timed:
    """The client of an exchange, told where its time went; all else is the client's own."""

    __slots__ = ("_client", "_exchange")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._client: Client = exchange.client

    def answer(self, status: int, block: bytes, body: bytes) -> None:
        """Send a whole response."""
        self._client.answer(status, block + server_timing(self._exchange), body)

    def begin(self, status: int, block: bytes, producer: Producer, *, told: bool) -> None:
        """Send a response's head."""
        self._client.begin(status, block + server_timing(self._exchange), producer, told=told)

    def refuse(self, status: int, words: str) -> None:
        """Send an error of ours."""
        flow = self._exchange.flow
        block, body = refusal(flow, self._exchange.request, status, words)
        self.answer(status, flow.signature.own(block), body)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def __repr__(self) -> str:
        return f"<Timed {self._client!r}>"
