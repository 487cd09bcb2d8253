"""Where the end of every request is written down: in the tally, and in the access log if there is one.

The rule: it is done once for each exchange, with what the exchange, its client's connection and its trail know at its
end; nothing is kept on the way for it alone. Ends are noted, and counted `BATCH` at a time: the same code over and over
costs less than once in each request, where it is cold. Who reads the tally has what is noted counted first. Polling
thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.logger import Logger

from asyncproxy.boundaries import Binding, Clock, DelayedCall
from asyncproxy.exchange.flags import flag_of
from asyncproxy.exchange.ledger import Seconds, booked
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.record import Refused, Told
from asyncproxy.polling.tally import RouteTally, Tally

if TYPE_CHECKING:
    from asyncproxy.exchange.errors import ProxyError
    from asyncproxy.polling.flow import Exchange

_log = Logger()
BATCH: Final = 32
"""Ends that are noted until they are counted. They hold on to their exchanges: so few that nobody minds."""
GATHER: Final = 0.05
"""Seconds that an end is noted at most."""
_NOTHING_SPENT: Final = Seconds(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class Log(Protocol):
    """Who is told: `recording.access_log.AccessLog`, or a list of a test's."""

    def put(self, told: Sequence[Told]) -> None:
        """Take what is `told`, without holding up whoever tells it."""

    def statistics(self) -> Mapping[str, Any]:
        """Lines ``written``, ``dropped`` and ``waiting``, and whether writing is ``failing``, 0 or 1."""


class Books:
    """What finished requests came to. `wall` gives seconds since 1970; with a `batch` of 1 nothing waits."""

    def __init__(
        self,
        tally: Tally,
        clock: Clock,
        log: Log | None = None,
        *,
        wall: Callable[[], float] = time.time,
        batch: int = BATCH,
    ) -> None:
        self.log = log
        self._tally = tally
        self._clock = clock
        self._wall = wall
        self._batch = batch
        self._ended: list[tuple[Exchange, int, int]] = []
        """Exchanges that are noted, with the status and the bytes that their clients' connections had for them."""
        self._timer: DelayedCall | None = None

    @property
    def tally(self) -> Tally:
        """What was counted, with all that has ended by now."""
        self.settle()
        return self._tally

    def finished(self, exchange: Exchange) -> None:
        """`exchange` has come to its end."""
        client, ended = exchange.client, self._ended
        ended.append((exchange, client.status, client.sent) if exchange.started else (exchange, 0, 0))
        if len(ended) >= self._batch:
            self.settle()
        elif self._timer is None:
            self._timer = self._clock.callLater(GATHER, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        self.settle()

    def settle(self) -> None:
        """Count what is noted, and have the log tell of it."""
        ended, self._ended = self._ended, []
        if ended:
            told = self._count(ended)
            if self.log is not None:
                self.log.put(told)

    def _count(self, ended: Sequence[tuple[Exchange, int, int]]) -> list[Told]:
        """Count what has `ended`; what a log is told of it."""
        offset = self._wall() - self._clock.seconds()
        told: list[Told] = []
        rows: set[RouteTally] = set()
        for exchange, status, size in ended:
            try:
                trail, binding = exchange.trail, exchange.binding
                row: RouteTally = binding.tally or self._row(binding)
                if binding.at_once and len(trail) == 5 and trail[3] == "UPSTREAM":
                    # A small forward, the hot path: as below, without calls. It adds up to the last digit.
                    began, _, asked, _, over = trail
                    total, waited = int((over - began) * 1e6 + 0.5), int((over - asked) * 1e6 + 0.5)
                    duration, parks = total / 1e6, 1
                    seconds = Seconds(0.0, 0.0, (total - waited) / 1e6, 0.0, waited / 1e6, 0.0)
                    row.by_class[status // 100] += 1
                    row.parks += 1
                    row.durations.fresh.append(duration)
                    if waited:
                        row.upstream_waits.fresh.append(seconds.upstream)
                    rows.add(row)
                else:
                    at_once = binding.at_once or not (binding.blocking or binding.is_async or exchange.request.length)
                    duration, seconds, parks = booked(trail, at_once)
                    row.finished(status, duration, seconds, parks)
                    if not at_once and binding.blocking and seconds.working:
                        row.worker_times.add(seconds.working)
                told.append((exchange, status, size, trail[0] + offset, duration, seconds, parks))
            except Exception:  # noqa: BLE001 - a defect that shows in one must not cost others their lines
                _log.failure("{exchange!r} could not be counted", exchange=exchange)
        for row in rows:
            row.bound()
        return told

    def _row(self, binding: Binding) -> RouteTally:
        """The row of `binding`, which keeps it from now on."""
        binding.tally = row = self.row(binding.path, binding.host, binding.name)
        return row

    def row(self, path: str, host: str | None = None, module: str = "") -> RouteTally:
        """See `Tally.row`; for whoever counts, not for who reads."""
        return self._tally.row(path, host, module)

    def refused(self, request: Request, error: ProxyError, size: int) -> None:
        """`request` was answered with `error` and `size` bytes before it became an exchange."""
        self._tally.refused(error.status)
        if self.log is not None:
            self.settle()  # in the order of their ends
            refused = Refused(request, flag_of(error), error.detail)
            self.log.put([(refused, error.status, size, self._wall(), 0.0, _NOTHING_SPENT, 0)])

    def close(self) -> None:
        """Count what is noted; the log gets no more, and what ends from now on is counted at once."""
        self.settle()
        self.log = None
        self._batch = 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __repr__(self) -> str:
        return f"<Books: {self._tally!r}, {'no log' if self.log is None else repr(self.log)}>"
