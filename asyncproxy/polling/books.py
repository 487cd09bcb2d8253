"""Where the end of every request is written down: in the tally, and in the access log if there is one.

The rule: it is done once for each exchange, at its end, with what the exchange, its client's connection and its trail
know by then; nothing is kept on the way for it alone. Polling thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from asyncproxy.boundaries import Binding
from asyncproxy.exchange.flags import flag_of
from asyncproxy.exchange.ledger import spent_and_parks
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.record import BLOCK_KEPT, Record, kept
from asyncproxy.polling.tally import RouteTally, Tally

if TYPE_CHECKING:
    from asyncproxy.exchange.errors import ProxyError
    from asyncproxy.polling.flow import Exchange

_NOTHING_SPENT: Final = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class Log(Protocol):
    """Who takes records: `recording.access_log.AccessLog`, or a list of a test's."""

    def put(self, record: Record) -> None:
        """Take `record`, without holding up whoever gives it."""

    def statistics(self) -> Mapping[str, Any]:
        """Lines ``written``, ``dropped`` and ``waiting``, and whether writing is ``failing``, 0 or 1."""


class Books:
    """What finished requests came to. `wall` gives seconds since 1970."""

    def __init__(self, tally: Tally, log: Log | None = None, wall: Callable[[], float] = time.time) -> None:
        self.tally = tally
        self.log = log
        self._wall = wall

    def finished(self, exchange: Exchange) -> None:
        """`exchange` has come to its end."""
        trail = exchange.trail
        total = trail[-1] - trail[0]
        client, binding = exchange.client, exchange.binding
        at_once = binding.at_once or not (binding.blocking or binding.is_async or exchange.request.length)
        columns, parks = spent_and_parks(trail, at_once)
        status, size = (client.status, client.sent) if exchange.started else (0, 0)
        row: RouteTally = binding.tally or self._row(binding)
        row.finished(status, columns, total, parks)
        if not at_once and binding.blocking and columns[2]:
            row.worker_times.add(columns[2])
        if self.log is None:
            return
        request, server = exchange.request, exchange.server
        block = request.block
        self.log.put(
            Record(
                self._wall() - total,
                request.peer.address,
                request.method,
                request.target,
                request.minor,
                status,
                size,
                total,
                binding.path,
                binding.name,
                None if server is None else server.name,
                exchange.attempts,
                columns,
                parks,
                request.id,
                exchange.flag,
                exchange.detail,
                block if len(block) <= BLOCK_KEPT else kept(block),  # nearly always: without the call
            )
        )

    def _row(self, binding: Binding) -> RouteTally:
        """The row of `binding`, which keeps it from now on."""
        binding.tally = row = self.tally.row(binding.path, binding.host, binding.name)
        return row

    def refused(self, request: Request, error: ProxyError, size: int) -> None:
        """`request` was answered with `error` and `size` bytes before it became an exchange."""
        self.tally.refused(error.status)
        if self.log is None:
            return
        self.log.put(
            Record(
                self._wall(),
                request.peer.address,
                request.method,
                request.target,
                request.minor,
                error.status,
                size,
                0.0,
                "",
                "",
                None,
                0,
                _NOTHING_SPENT,
                0,
                request.id,
                flag_of(error),
                error.detail,
                kept(request.block),
            )
        )

    def __repr__(self) -> str:
        return f"<Books: {self.tally!r}, {'no log' if self.log is None else repr(self.log)}>"
