"""All rooms of the proxy put together around fakes: the real flow, parking lot, pools and connections, and nothing
below them that is real.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred

from asyncproxy.boundaries import Surroundings
from asyncproxy.configuration import Origin, Settings, Upstream
from asyncproxy.exchange.record import Record, Told
from asyncproxy.exchange.tickets import Once, Ticket, TicketLimits
from asyncproxy.links import Links
from asyncproxy.polling.books import Books
from asyncproxy.polling.deadlines import Deadlines
from asyncproxy.polling.entrance import Entrance
from asyncproxy.polling.flow import Exchange, Flow
from asyncproxy.polling.listening import Door
from asyncproxy.polling.metrics import Metrics
from asyncproxy.polling.onlookers import Onlookers
from asyncproxy.polling.operating import Operated
from asyncproxy.polling.parking import ParkingLot
from asyncproxy.polling.pool import Means, Upstreams
from asyncproxy.polling.reporting import snapshot
from asyncproxy.polling.resolving import Resolver
from asyncproxy.polling.tally import Tally
from asyncproxy.polling.tickets import MemoryTickets
from asyncproxy.polling.waiting import KINDS
from asyncproxy.resuming import Resumer, Resumption
from asyncproxy.service.binding import Bound, place_of_links, ways
from asyncproxy.service.furnishing import error_pages, request_ids, signature_of, ticket_limits, trust_of
from asyncproxy.service.hooks import Hooks
from asyncproxy.testing.clock import Clock, LabReactor
from asyncproxy.testing.network import Descriptors, MemoryNetwork, Names
from asyncproxy.testing.stepping import PollingRound, SteppedWorkers
from asyncproxy.testing.wire import Wire
from asyncproxy.watching.seats import Seats
from asyncproxy.watching.watchdog import Watchdog

_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d\d\d) ")


class FakeClient:
    """A client, from its own point of view: bytes out, bytes in."""

    def __init__(self, house: House, peer: tuple[str, int]) -> None:
        self.house = house
        self.wire = Wire(house.polling, house.door.buildProtocol(None), peer, f"client {peer[1]}")

    def send(self, data: bytes) -> None:
        """Send `data`; settles nothing."""
        self.wire.arrive(data)

    def get(self, path: str = "/") -> FakeClient:
        """Send a plain GET and settle."""
        self.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        self.house.settle()
        return self

    def leave(self) -> None:
        """Close the connection."""
        self.wire.hang_up()

    @property
    def received(self) -> bytes:
        """All that has come so far."""
        return bytes(self.wire.out)

    @property
    def statuses(self) -> list[int]:
        """The status of each response, informational ones too; bodies must not look like heads."""
        return [int(status) for status in _STATUS_LINE.findall(self.received)]

    @property
    def status(self) -> int | None:
        """The status of the latest response."""
        return self.statuses[-1] if self.statuses else None

    @property
    def body(self) -> bytes:
        """What follows the latest response's head."""
        *_, head = _STATUS_LINE.finditer(self.received)
        return self.received[head.start() :].partition(b"\r\n\r\n")[2]

    @property
    def closed(self) -> bool:
        """Whether the proxy has closed the connection, or is about to."""
        return self.wire.closing or self.wire.lost

    def slow(self) -> None:
        """Read no more."""
        self.wire.slow()

    def fast(self) -> None:
        """Read everything."""
        self.wire.fast()

    def __repr__(self) -> str:
        return f"<FakeClient {self.wire!r}>"


class Records(list[Record]):
    """An access log in memory."""

    def put(self, told: Sequence[Told]) -> None:
        """Keep a record of each."""
        self.extend(map(Record.of, told))

    def statistics(self) -> dict[str, int]:
        """All of them are written."""
        return {"written": len(self), "dropped": 0, "waiting": 0, "failing": 0}


class House(Operated):
    """All rooms around fakes; nothing in it happens by itself.

    What a real loop would do on its next round waits in `polling` until it is stepped, turns wait in `workers`, time
    stands still until `advance`. `settle` steps all but time until nothing is left to do. `clock` is the time of parks
    and `wheel` that of deadlines.
    """

    batch = 1
    """Ends that are noted until they are counted: what has ended is in `records` at once."""

    def __init__(
        self,
        settings: Settings,
        bindings: Sequence[Bound],
        *,
        polling: PollingRound | None = None,
        kinds: Any = KINDS,
        clock: Clock | None = None,
        wheel: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.failures: dict[int, BaseException] = {}
        """What modules raised, by the port of the client that asked; kept below a lab alone."""
        self.polling = polling or PollingRound()
        self.workers = SteppedWorkers(settings.server.workers)
        self.network = MemoryNetwork(self.polling)
        self.descriptors = Descriptors()
        self.names = self.make_names()
        self.reactor = LabReactor(self.polling, self.network, self.descriptors, self.names)
        self.clock = clock or self.reactor
        self.wheel = wheel or self.clock
        self.fetches: list[tuple[Any, Deferred[Any]]] = []
        self.deadlines = self.make_deadlines(self.wheel)
        means = Means(self.network, self.deadlines, Resolver(self.names, self.wheel))
        self.upstreams = self.make_upstreams(settings.upstream, means)
        self.records = Records()
        """What an access log would have got."""
        self.books = Books(Tally(), self.wheel, self.records, wall=self.wheel.seconds, batch=self.batch)
        self.lot = ParkingLot(self.clock, kinds, settings.server.max_parked)
        self.tickets = self.make_tickets(self.clock, ticket_limits(settings))
        self.links = Links(settings.tickets.keys, self.clock.seconds)
        self.links.place = place_of_links(bindings)
        self.resumer = Resumer(self.polling, self.tickets)
        around = Surroundings(self.polling, self.upstreams, self.tickets, self.descriptors, self.fetch)
        self.flow = self.make_flow(around)
        self.hooks = Hooks(self.flow)
        self.watchdog = Watchdog(self.workers, self.polling, settings.server.stall or math.inf)
        """Never started: nothing here happens on a thread."""
        self.onlookers = Onlookers(self.flow, Seats(self.workers).rows, self.watchdog.shown)
        """Who looks at it; samples are taken when a test calls `onlookers.samples.take`."""
        self.bindings = list(bindings)
        self.flow.error_pages = error_pages(settings.server)
        self.door = Door(self.flow, settings.limits, **ways(self.bindings)._asdict())
        self.entrance = Entrance(self.wheel, settings.limits)
        self.entrance.lead_to(self.door)
        self.door.believe(trust_of(settings.server))
        self.clients: list[FakeClient] = []

    # What a lab makes otherwise.

    def make_names(self) -> Names:
        """Whoever looks names up."""
        return Names()

    def make_tickets(self, clock: Clock, limits: TicketLimits) -> MemoryTickets:
        """Whoever keeps tickets."""
        return MemoryTickets(clock, limits)

    def make_deadlines(self, clock: Clock) -> Deadlines:
        """The wheel."""
        return Deadlines(clock)

    def make_upstreams(self, groups: dict[str, Any], means: Means) -> Upstreams:
        """The pools."""
        return Upstreams(groups, one_server, means)

    def make_flow(self, around: Surroundings) -> Flow:
        """The flow."""
        return Flow(self.workers, self.lot, self.deadlines, around, **self.flow_limits())

    def flow_limits(self) -> dict[str, Any]:
        """The limits that a flow is given."""
        server = self.settings.server
        return {
            "max_queued": server.max_queued,
            "spool_in_memory": self.settings.limits.spool,
            "ids": request_ids(server),
            "signature": signature_of(server, self.wheel.seconds),
            "books": self.books,
        }

    def fetch(self, fetch: Any) -> Deferred[Any]:
        """Whoever sends a module's fetches: here they wait in `fetches`."""
        deferred: Deferred[Any] = Deferred()
        self.fetches.append((fetch, deferred))
        return deferred

    # What modules see as the running proxy.

    draining = False
    """Whether it takes no more connections, because it is to stop."""
    admin_address = IPv4Address("TCP", "127.0.0.1", 8081)
    """Where the admin listener would listen."""
    told_to_drain = False
    """Whether somebody has asked for it, by `begin_drain`."""

    def begin_drain(self) -> None:
        """Note that it was asked for: nothing here happens by itself."""
        self.told_to_drain = True

    def snapshot(self, limit: int = 1000, after: str | None = None) -> dict[str, Any]:
        """What it holds right now, as ``/status.json`` shows it."""
        return {**snapshot(self.flow, limit, after), **self.watchdog.shown(), **self.entrance.shown()}

    def overview(self, limit: int = 100) -> dict[str, Any]:
        """The figures and the eldest `limit` parked requests, as ``/status`` shows them."""
        return self.onlookers.view(limit)

    def metrics(self) -> bytes:
        """Its figures, as ``/metrics`` shows them."""
        return Metrics(self.flow, self.upstreams, [self.door], self.watchdog.statistics()).text()

    def resume(
        self, name: str, value: Any = None, *, bind: str | None = None, by: str = "", once: Once | None = None
    ) -> Resumption:
        """As `asyncproxy.resume`, of this proxy alone."""
        return self.resumer.resume(name, value, bind, by, once)

    def ticket(self, name: str) -> Deferred[dict[str, Any]]:
        """What is known of ticket `name`."""
        return self.tickets.look(name)

    def ticket_url(self, ticket: str | Ticket, expires: float | str, **asked: Any) -> str:
        """See `Request.ticket_url`."""
        return (self.settings.tickets.url or "http://lab") + self.links.make(ticket, expires, **asked)

    # Playing.

    def connect(self) -> FakeClient:
        """A new client."""
        client = FakeClient(self, ("127.0.0.1", 4000 + len(self.clients)))
        self.clients.append(client)
        return client

    def settle(self) -> None:
        """Step workers and polling thread until nothing is left to do but wait."""
        while self.polling.step() or self.workers.step():
            pass

    def poll(self) -> None:
        """Step the polling thread alone, until nothing is left to do there."""
        while self.polling.step():
            pass

    def advance(self, seconds: float) -> None:
        """Settle, then let time pass, from one timer to the next, and settle after each."""
        self.settle()
        clocks = (self.clock, self.wheel) if self.clock is not self.wheel else (self.clock,)
        end = self.wheel.seconds() + seconds
        while True:
            timers = [clock.next_time for clock in clocks]
            now = min([end, *(at for at in timers if at is not None)])
            for clock in clocks:
                clock.advance(max(0.0, now - clock.seconds()))
            self.settle()
            if now >= end:
                return

    def shut_down(self) -> None:
        """What a stop does before it joins the workers."""
        self.door.open = False
        self.door.close_connections()
        for exchange in sorted(self.flow.exchanges, key=_age):
            exchange.left()
        self.upstreams.close()

    def __repr__(self) -> str:
        return f"<House {self.flow!r}>"


def one_server(origin: Origin) -> Upstream:
    """The settings of a group that a URL makes."""
    return Upstream(servers=(origin,))


def _age(exchange: Exchange) -> int:
    return exchange.request.number
