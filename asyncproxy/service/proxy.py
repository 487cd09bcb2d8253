"""The proxy as a library: every room furnished and put together, on the caller's reactor."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredLock, fail, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger

from asyncproxy.boundaries import Clock, Surroundings, Tickets
from asyncproxy.configuration import ConfigurationError, Settings, Upstream, load
from asyncproxy.configuration.settings import Route
from asyncproxy.exchange.tickets import Once, Ticket, TicketLimits
from asyncproxy.links import Links
from asyncproxy.modules.status import Status
from asyncproxy.polling.books import Books
from asyncproxy.polling.clock import clock_of, wake_of
from asyncproxy.polling.deadlines import Deadlines
from asyncproxy.polling.delivering import Deliveries
from asyncproxy.polling.entrance import Entrance
from asyncproxy.polling.fetching import Fetcher
from asyncproxy.polling.flow import Flow
from asyncproxy.polling.listening import Door
from asyncproxy.polling.metrics import Metrics
from asyncproxy.polling.onlookers import Onlookers
from asyncproxy.polling.operating import Operated
from asyncproxy.polling.parking import ParkingLot
from asyncproxy.polling.pool import Means, Upstreams
from asyncproxy.polling.reporting import snapshot
from asyncproxy.polling.resolving import NameThreads, Resolver
from asyncproxy.polling.tally import Tally
from asyncproxy.polling.tickets import MemoryTickets
from asyncproxy.polling.transports import network
from asyncproxy.polling.waiting import KINDS
from asyncproxy.recording.access_log import AccessLog
from asyncproxy.resuming import Resumer, Resumption
from asyncproxy.service.binding import Bound, bind_all, origin_of_links, place_of_links, ways, with_modules
from asyncproxy.service.draining import Drain
from asyncproxy.service.furnishing import error_pages, request_ids, signature_of, ticket_limits, trust_of
from asyncproxy.service.hooks import Hooks, NotStarted, awaited
from asyncproxy.service.ports import Ports, address_text
from asyncproxy.service.reloading import Change, NotReloaded, Retiring, Source, name_of, reload
from asyncproxy.watching.seats import Seats
from asyncproxy.watching.stalls import whose
from asyncproxy.watching.watchdog import Watchdog
from asyncproxy.working.workers import JOIN_PATIENCE, Workers

_log = Logger()
ADMIN_PARKED: Final = 64
"""Requests of the admin listener that may be parked."""
ANSWER_FIRST: Final = 0.05
"""Seconds from an order to drain over the network to its execution."""


class Proxy(Operated):
    """A proxy, from its settings: a path, a mapping of the configuration's shape, or `Settings`.

    `start` and `stop` return Deferreds and are called on the reactor's thread. `tickets(clock, limits)` is called at
    each start for whoever keeps the names of tickets, a `boundaries.Tickets`; by default they are kept in memory.
    Raises `ConfigurationError` when made.
    """

    def __init__(
        self,
        settings: Source,
        reactor: Any = None,
        *,
        tickets: Callable[[Clock, TicketLimits], Tickets] = MemoryTickets,
    ) -> None:
        try:
            self.settings = settings if isinstance(settings, Settings) else load(settings)
        except ConfigurationError as why:
            raise with_modules(why) from None
        self._file = os.path.abspath(settings) if isinstance(settings, (str, os.PathLike)) else None
        self.bindings = bind_all(self.settings.route, name_of(settings))
        self.reactor = reactor
        self._make_tickets = tickets
        self._ports = Ports()
        self._ended: Deferred[list[str]] | None = succeed([])
        """Once it is to stop, or is not started: what fires when it has."""
        self._drain: Drain | None = None
        self._resumer: Resumer | None = None
        self._patience = JOIN_PATIENCE
        self._serves = False
        self.access_log: AccessLog | None = None
        """While it runs, if it has one."""
        self.told_to_drain: Callable[[], Any] = self.drain
        """What `begin_drain` calls; a service that has the process ends that too."""

    def start(self) -> Deferred[None]:
        """Start the workers and the modules, then listen.

        Fails with what kept it from that, `NotStarted` or Twisted's CannotListenError, and leaves nothing behind; with
        `NotStarted` too if it is told to stop before it listens, or has not stopped since it was last started.
        """
        if self._ended is None or not self._ended.called:
            return fail(NotStarted("the proxy runs: call stop(), and start() when what that returns has fired"))
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor
        self._build(self.reactor)
        self._ended = self._drain = None
        self._patience = JOIN_PATIENCE
        self._serves = False
        self._ports = Ports()
        return Deferred.fromCoroutine(self._start())

    def _build(self, reactor: Any) -> None:
        """Furnish the rooms."""
        server = self.settings.server
        clock = clock_of(reactor)
        self.network = network(reactor)
        self.deliveries = Deliveries(wake_of(reactor))
        self.deadlines = Deadlines(clock)
        self.workers = Workers(server.workers, self.deliveries, clock, _log_unheard)
        self.watchdog = Watchdog(self.workers, self.deliveries, server.stall or math.inf)
        self.names = NameThreads(reactor)
        self.fetcher = Fetcher(reactor, self.names.lookup)
        means = Means(self.network, self.deadlines, Resolver(self.names.lookup, clock))
        self.upstreams = Upstreams(self.settings.upstream, lambda origin: Upstream(servers=(origin,)), means)
        self.lot = ParkingLot(clock, KINDS, server.max_parked)
        self.tickets = self._make_tickets(clock, ticket_limits(self.settings))
        self.links = Links(self.settings.tickets.keys, time.time)
        self.links.place = place_of_links(self.bindings)
        around = Surroundings(self.deliveries, self.upstreams, self.tickets, reactor, self.fetcher)
        limits: dict[str, Any] = {
            "max_queued": server.max_queued,
            "spool_in_memory": self.settings.limits.spool,
            "ids": request_ids(server),
            "signature": signature_of(server),
        }
        tempfile.gettempdir()  # looked for now and known then: without a descriptor left none would be found
        self.books = Books(Tally(), clock)
        read = self.settings.admin is not None or server.access_log is not None
        self.flow = Flow(self.workers, self.lot, self.deadlines, around, **limits, books=self.books if read else None)
        admin_lot = ParkingLot(clock, KINDS, ADMIN_PARKED)
        self.admin_flow = Flow(self.workers, admin_lot, self.deadlines, around, **limits)
        """Requests of the admin listener are not among those that it shows, and have room when those have none."""
        self.flow.error_pages = self.admin_flow.error_pages = error_pages(server)
        self.onlookers = Onlookers(self.flow, Seats(self.workers).rows, self.watchdog.shown)
        self.hooks = Hooks(self.flow)
        self.entrance = Entrance(clock, self.settings.limits)
        self.flow.lines = self.admin_flow.lines = self.entrance.gate.lines
        self._retiring = Retiring(clock, self.flow, self.hooks)
        self._reloads = DeferredLock()

    async def _start(self) -> None:
        for bound in self.bindings:
            bound.module.proxy = self
            bound.upstreams = self.upstreams
            bound.tally = None  # the books are new
        try:
            self.workers.start()
            self._resumer = Resumer(self.deliveries, self.tickets)
            self._resumer.open()
            if self.settings.server.stall is not None:
                self.watchdog.start()
            self._open_access_log()
            await self.hooks.start(self.bindings)
            self._ports.go_on()
            for endpoint in self.settings.server.listen:
                door = self._door(self.flow, self.bindings)
                door.believe(trust_of(self.settings.server))
                await self._ports.open_public(self.network, endpoint, door, self.entrance)
            if self.settings.admin is not None:
                door = self._door(self.admin_flow, [self._admin_binding()])
                await self._ports.open_admin(self.network, self.settings.admin.listen, door)
                self.onlookers.start()
            self._serves = True
        except BaseException:  # a cancellation too: threads, ports and timers that began do not outlive a failed start
            await self.stop()
            raise

    def _open_access_log(self) -> None:
        server = self.settings.server
        if server.access_log is not None:
            self.books.log = self.access_log = AccessLog(server.access_log, server.access_log_format)
            self.access_log.start()

    def reopen_logs(self) -> None:
        """Go on in a new access log, after the old one was renamed; see `AccessLog.reopen`."""
        if self.access_log is not None:
            self.books.settle()
            self.access_log.reopen()

    def _door(self, flow: Flow, bindings: list[Bound]) -> Door:
        return Door(flow, self.settings.limits, **ways(bindings)._asdict())

    def _admin_binding(self) -> Bound:
        admin = self.settings.admin
        assert admin is not None
        module = Status(token=admin.token, hosts=list(admin.hosts), operate=True)
        module.proxy, module.stays = self, True
        return Bound(Route(path="/", module="status"), module)

    @property
    def addresses(self) -> list[Any]:
        """Where it listens: the Twisted addresses of `server.listen`, then the admin's."""
        return self._ports.addresses

    @property
    def admin_address(self) -> Any:
        """Where the admin listener listens, a Twisted address; None before it does, and without one."""
        return self._ports.admin_address

    @property
    def doors(self) -> list[Door]:
        """What connections come in by, in the same order."""
        return self._ports.doors

    def summary(self) -> str:
        """Where it listens, and with what, for the log."""
        where = [address_text(address) for address in self.addresses]
        status = f", status on {where.pop()}" if self.settings.admin is not None else ""
        routes = len(self.bindings)
        counts = f"{self.workers.total} workers, {routes} route{'s' if routes > 1 else ''}"
        return f"{', '.join(where)}{status}: {counts}"

    def snapshot(self, limit: int = 1000, after: str | None = None) -> dict[str, Any]:
        """What it holds right now, as ``/status.json`` shows it."""
        return {**snapshot(self.flow, limit, after), **self.watchdog.shown(), **self.entrance.shown()}

    def overview(self, limit: int = 100) -> dict[str, Any]:
        """The figures and the eldest `limit` parked requests, as ``/status`` shows them."""
        return self.onlookers.view(limit)

    def metrics(self) -> bytes:
        """Its figures in Prometheus' text format, as ``/metrics`` shows them."""
        return Metrics(self.flow, self.upstreams, self.doors, self.watchdog.statistics()).text()

    def resume(
        self, name: str, value: Any = None, *, bind: str | None = None, by: str = "", once: Once | None = None
    ) -> Resumption:
        """As `asyncproxy.resume`, of this proxy alone; `by` is who resumes, for whoever comes second. Any thread."""
        if self._resumer is None:
            raise RuntimeError(f"resume({name!r}): the proxy was not started")
        return self._resumer.resume(name, value, bind, by, once)

    def ticket(self, name: str) -> Deferred[dict[str, Any]]:
        """What is known of ticket `name`; see `boundaries.Tickets.look`."""
        return self.tickets.look(name)

    def ticket_url(self, ticket: str | Ticket, expires: float | str, **asked: Any) -> str:
        """See `Request.ticket_url`, which asks for it. Any thread."""
        return origin_of_links(self.settings, self.addresses, self.bindings) + self.links.make(ticket, expires, **asked)

    # Another configuration.

    def reload(self, settings: Source | None = None) -> Deferred[Change]:
        """Go on with other settings, or with what the file that it was made from says now; requests notice nothing.

        Routes, modules, upstreams, limits and those keys of [server] change that are named in `reloading.CHANGEABLE`;
        what cannot is told by the `Change` that this fires with. Fails with `ConfigurationError` or `NotStarted`, and
        then nothing has changed; with `NotReloaded` if the proxy does not run; with ValueError without a file. One
        reload at a time.
        """
        source = self._file if settings is None else settings
        if source is None:
            return fail(ValueError("this proxy was made without a file: give reload() the settings"))
        if self.draining or not self._serves:
            return fail(NotReloaded("the proxy does not serve: nothing to reload"))
        return self._reloads.run(lambda: Deferred.fromCoroutine(reload(self, source)))

    def take(self, settings: Settings, bindings: list[Bound], upstreams: Upstreams) -> None:
        """From now on requests find these; for `reloading`, which has made them ready."""
        former, self.bindings = self.bindings, bindings
        if settings.tickets.keys != self.settings.tickets.keys:  # without any, the one that was made is kept
            self.links.sign_with(settings.tickets.keys)
        self.settings = settings
        self.lot.limit = settings.server.max_parked
        self.tickets.limit(ticket_limits(settings))
        self.links.place = place_of_links(bindings)
        for flow in (self.flow, self.admin_flow):
            flow.max_queued = settings.server.max_queued
            flow.error_pages = error_pages(settings.server)
            flow.spool_in_memory = settings.limits.spool
            flow.around = replace(flow.around, upstreams=upstreams)
            flow.signature.sign_as(settings.server.server_name, settings.server.via)
        for door in self.doors:
            door.limit(settings.limits)
        self.entrance.crowd.limit(settings.limits)
        for door in self._ports.public_doors:
            door.lead(*ways(bindings))
            door.believe(trust_of(settings.server))
        upstreams.succeed(self.upstreams)
        upstreams.forget_heads()
        self.upstreams = upstreams
        self._retiring.retire(former, bindings)

    # The end.

    @property
    def starting(self) -> bool:
        """Whether it was started and does not listen yet, for its modules start."""
        return not (self.draining or self._serves)

    @property
    def draining(self) -> bool:
        """Whether it takes no more connections, because it is to stop."""
        return self._ended is not None

    def drain(self, seconds: float | None = None) -> Deferred[list[str]]:
        """Stop listening, let requests finish for `seconds` (`server.drain` without), then cut them and stop.

        Fires with who was cut, a line each. The admin listener stays open until then. `stop` cuts it short.
        """
        if self._ended is None:
            patience = self.settings.server.drain if seconds is None else seconds
            self._drain = Drain(clock_of(self.reactor), self.flow, self._ports.public_doors)
            self._ended = Deferred.fromCoroutine(self._drain_and_stop(self._drain, patience))
        return awaited(self._ended)

    def begin_drain(self) -> None:
        """Do in a moment what SIGTERM does: `drain`, and under twistd the process ends. Nothing if it drains already.

        In a moment, so that whoever asked over the admin listener is answered first. To be called on the polling
        thread.
        """
        self.reactor.callLater(ANSWER_FIRST, self._drain_unless_draining)

    def _drain_unless_draining(self) -> None:
        if not self.draining:
            self.told_to_drain()

    def stop(self, patience: float = JOIN_PATIENCE) -> Deferred[None]:
        """Stop listening, end every exchange as if its client had left, stop the modules, and join the workers.

        Modules have `patience` seconds to clean up and to end what they block on; then they are given up. Called again,
        with less patience, it hurries those that are still at it.
        """
        self._patience = min(self._patience, patience)
        if self._drain is not None:
            self._drain.hurried = True
        if self._ended is None:
            self._ended = Deferred.fromCoroutine(self._stop())
        elif not self._ended.called:
            self.hooks.hurry(self._patience)
        return awaited(self._ended).addCallback(lambda _: None)

    async def _drain_and_stop(self, drain: Drain, seconds: float) -> list[str]:
        self.entrance.stop()
        await self._ports.close_public()
        cut = await drain.run(seconds)
        await self._stop()
        return cut

    async def _stop(self) -> list[str]:
        self.entrance.stop()
        self.onlookers.stop()
        await self._ports.close()
        for exchange in [*self.flow.exchanges, *self.admin_flow.exchanges]:
            exchange.left()
        began = time.monotonic()
        await self._let_finish(began)
        if self._resumer is not None:
            self._resumer.close()
        self._retiring.stop()
        await self.hooks.stop(patience=self._patience)
        self.watchdog.stop()  # first: joining the workers holds the polling thread
        for turn in self.workers.stop(max(0.5, began + self._patience - time.monotonic())):
            _log.error("Gave up a module that blocks: {who}", who=whose(turn))
        self._close_access_log()
        self.upstreams.close()
        await self.fetcher.stop()
        self.deadlines.stop()
        self.names.stop()
        return []

    def _close_access_log(self) -> None:
        log, self.access_log = self.access_log, None
        self.books.close()
        if log is not None:
            log.close()

    async def _let_finish(self, began: float) -> None:
        """Let modules clean up after clients that have left: their turns may still wait for a worker."""
        while self._clears_up() and time.monotonic() < began + self._patience:
            await deferLater(self.reactor, 0.01)

    def _clears_up(self) -> bool:
        return bool(self.flow.exchanges or self.flow.clean_ups or self.workers.waiting)

    def __repr__(self) -> str:
        where = ", ".join(map(address_text, self.addresses)) or "stopped"
        return f"<Proxy {where}>"


def _log_unheard(error: BaseException) -> None:
    _log.error("A call on a worker failed: {error!r}", error=error)
