"""A fake beside every real thing that a request meets, stepped by hand: no sockets, no threads, no sleeps.

    house = House(Hello())
    client = house.connect()
    client.send(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    house.settle()
    assert client.status == 200

Nothing happens by itself. What a real loop would do on its next round (a connection that is made, the news that one is
lost, calls from other threads) waits in `PollingRound` until it is stepped; turns wait in `SteppedWorkers`; time stands
still until `House.advance`. `House.settle` steps all but time until nothing is left to do.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet import error as internet_errors
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from asyncproxy.boundaries import Surroundings
from asyncproxy.configuration import Upstream, load
from asyncproxy.polling.deadlines import Deadlines
from asyncproxy.polling.flow import Exchange, Flow
from asyncproxy.polling.listening import Door
from asyncproxy.polling.parking import ParkingLot
from asyncproxy.polling.pool import Means, Upstreams
from asyncproxy.polling.reporting import snapshot
from asyncproxy.polling.resolving import Resolver
from asyncproxy.polling.waiting import KINDS
from asyncproxy.service import Bound, bind, finder

SERVER = "http://127.0.0.1:9000"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class PollingRound:
    """The way back to the polling thread; what was delivered waits for `step`."""

    def __init__(self) -> None:
        self.calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()

    def deliver(self, call: Callable[..., Any], *args: Any) -> None:
        """Make the call at the next `step`."""
        self.calls.append((call, args))

    def step(self) -> bool:
        """Make every call that waits, in order; whether there was any."""
        some = bool(self.calls)
        for _ in range(len(self.calls)):
            call, args = self.calls.popleft()
            call(*args)
        return some


class SteppedWorkers:
    """Workers whose turns are run by hand, on the test's own thread.

    `take` runs the eldest waiting turn and keeps its news back, as long as a real worker would still be running it;
    `give` tells them. `step` is both. `most` is how many turns were running at once.
    """

    def __init__(self, total: int = 5) -> None:
        self.total = total
        self.queue: deque[Any] = deque()
        self.running: list[Any] = []
        self.done = 0

    @property
    def waiting(self) -> int:
        return len(self.queue)

    def do(self, turn: Any) -> None:
        owner = exchange_of(turn)
        if owner is not None:
            others = [other for other in (*self.queue, *self.running) if exchange_of(other) is owner]
            assert not others, f"turns of one exchange overlap: {turn!r} and {others!r}"
        self.queue.append(turn)

    def withdraw(self, turn: Any) -> bool:
        if turn not in self.queue:
            return False
        self.queue.remove(turn)
        return True

    def statistics(self) -> dict[str, int]:
        return {"total": self.total, "busy": len(self.running), "queued": len(self.queue)}

    def take(self) -> Any:
        """A worker takes a turn and runs it; the polling thread has not heard of its end."""
        turn = self.queue.popleft()
        self.running.append(turn)
        turn.run()
        return turn

    def give(self) -> None:
        """The polling thread hears of the end of the turn that was taken first."""
        self.running.pop(0).ran()
        self.done += 1

    def step(self) -> bool:
        """Run one turn and tell of its end; False if none waits."""
        if self.running:
            self.give()
        elif self.queue:
            self.take()
            self.give()
        else:
            return False
        return True


def exchange_of(turn: Any) -> Any:
    """The exchange whose line of code `turn` goes on with, if it is one's."""
    owner = turn.owner
    found = getattr(owner, "exchange", None) or getattr(owner, "_exchange", None)
    is_beside = type(owner).__name__ == "_Afterthought"  # runs when the exchange is over
    return found if found is not None and not is_beside else None


class Wire:
    """One end of a connection in memory: the transport that a protocol writes to, and the peer that a test plays.

    As with a real one, news of its loss come later (`PollingRound.step`), nothing is read after a close, and neither
    bytes nor a hang-up are noticed while reading is paused.
    """

    def __init__(self, polling: PollingRound, protocol: Any, peer: tuple[str, int] = ("127.0.0.1", 4000)) -> None:
        self.polling = polling
        self.protocol = protocol
        self.peer = peer
        self.out = bytearray()
        """All that the protocol has written."""
        self.reading = True
        self.closing = False
        self.aborted = False
        self.half_closed = False
        self.lost = False
        self.is_slow = False
        self.producer: Any = None
        self._unread = b""
        self._hung_up = False
        protocol.makeConnection(self)

    # The test's side: the peer.

    def arrive(self, data: bytes) -> None:
        """The peer sends `data`."""
        if self.lost or self.closing:
            return
        if self.reading:
            self.protocol.dataReceived(data)
        else:
            self._unread += data

    def hang_up(self) -> None:
        """The peer closes its side; noticed at once only while reading goes on."""
        if self.reading or self.half_closed:
            self._lose(internet_errors.ConnectionDone())
        else:
            self._hung_up = True

    def slow(self) -> None:
        """The peer reads no more, and the buffers are full."""
        self.is_slow = True
        if self.producer is not None:
            self.producer.pauseProducing()

    def fast(self) -> None:
        """The peer has read everything."""
        self.is_slow = False
        if self.producer is not None:
            self.producer.resumeProducing()
        elif self.closing:
            self.polling.deliver(self._lose, internet_errors.ConnectionDone())

    def _lose(self, error: Exception) -> None:
        if self.lost:
            return
        self.lost = True
        if self.producer is not None:
            self.producer.stopProducing()
        self.protocol.connectionLost(Failure(error))

    # The protocol's side: ITransport, IConsumer, IPushProducer.

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes), f"{data!r} was written"
        if self.closing or self.lost or self.half_closed:
            return
        self.out += data
        if self._hung_up:  # a write to a closed peer is what notices it
            self.polling.deliver(self._lose, internet_errors.ConnectionLost())

    def writeSequence(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def loseConnection(self) -> None:
        if self.closing or self.lost:
            return
        self.closing = True
        if self.producer is None and not self.is_slow:
            self.polling.deliver(self._lose, internet_errors.ConnectionDone())

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        if not self.lost and not self.aborted:
            self.closing = self.aborted = True
            self.polling.deliver(self._lose, internet_errors.ConnectionAborted())

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self.producer is None, f"{self.producer!r} is registered already"
        assert streaming
        self.producer = producer
        if self.lost:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        self.producer = None
        if self.closing and not self.is_slow:
            self.polling.deliver(self._lose, internet_errors.ConnectionDone())

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        if self.reading or self.closing or self.lost:
            return
        self.reading = True
        self.polling.deliver(self._read_on)

    def _read_on(self) -> None:
        if not self.reading or self.closing or self.lost:
            return
        unread, self._unread = self._unread, b""
        if unread:
            self.protocol.dataReceived(unread)
        if self._hung_up and self.reading:
            self._lose(internet_errors.ConnectionDone())

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", *self.peer)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 8080)

    def setTcpNoDelay(self, _enabled: bool) -> None: ...


_RESPONSE = re.compile(rb"HTTP/1\.1 (\d\d\d) ")


class FakeClient:
    """A client, from its own point of view."""

    def __init__(self, house: House, peer: tuple[str, int]) -> None:
        self.house = house
        self.wire = Wire(house.polling, house.door.buildProtocol(None), peer)

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
        return [int(status) for status in _RESPONSE.findall(self.received)]

    @property
    def status(self) -> int | None:
        """The status of the latest response."""
        return self.statuses[-1] if self.statuses else None

    @property
    def body(self) -> bytes:
        """What follows the latest response's head."""
        *_, head = _RESPONSE.finditer(self.received)
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


class FakeUpstream:
    """A connection that the proxy asked for, from the server's point of view."""

    def __init__(self, network: MemoryNetwork, address: Any, factory: Any) -> None:
        self.network = network
        self.address = address
        self.factory = factory
        self.wire: Wire | None = None
        self.withdrawn = False
        self.failed = False

    @property
    def pending(self) -> bool:
        """Whether the connection is still to be made."""
        return self.wire is None and not self.withdrawn and not self.failed

    def accept(self) -> FakeUpstream:
        """Let the connection be made, if it is still wanted."""
        if self.pending:
            protocol = self.factory.buildProtocol(None)
            if protocol is None:
                self.withdrawn = True
            else:
                self.wire = Wire(self.network.polling, protocol, ("127.0.0.1", 9000))
        return self

    def refuse(self) -> None:
        """Refuse it."""
        self._fail(internet_errors.ConnectionRefusedError())

    def time_out(self) -> None:
        """The operating system gives it up."""
        self._fail(internet_errors.TimeoutError())

    def _fail(self, error: Exception) -> None:
        if self.pending:
            self.failed = True
            self.factory.clientConnectionFailed(self, Failure(error))

    def stopConnecting(self) -> None:
        """Called by the pool: nobody wants it."""
        self.withdrawn = True
        self.network.polling.deliver(self.factory.clientConnectionFailed, self, Failure(internet_errors.UserError()))

    @property
    def received(self) -> bytes:
        """All that the proxy has sent."""
        return bytes(self.wire.out) if self.wire is not None else b""

    @property
    def closed(self) -> bool:
        """Whether the proxy has closed the connection, or is about to."""
        return self.wire is not None and (self.wire.closing or self.wire.lost)

    def answer(self, data: bytes) -> None:
        """Send `data`; accepts first."""
        self.accept()
        if self.wire is not None:
            self.wire.arrive(data)

    def hang_up(self) -> None:
        """Close the connection."""
        if self.wire is not None:
            self.wire.hang_up()


class MemoryNetwork:
    """Connections asked for are kept in `asked`; `mode` says what becomes of them on the next round.

    ``"accept"``, ``"refuse"``, ``"hang"`` (the test decides), or ``"at once"``: accepted before connectTCP returns.
    """

    def __init__(self, polling: PollingRound) -> None:
        self.polling = polling
        self.asked: list[FakeUpstream] = []
        self.mode = "accept"

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float | None = 30) -> FakeUpstream:
        return self._connect((host, port), factory)

    def connectUNIX(self, path: Any, factory: Any, timeout: float | None = 30) -> FakeUpstream:
        return self._connect(path, factory)

    def _connect(self, address: Any, factory: Any) -> FakeUpstream:
        upstream = FakeUpstream(self, address, factory)
        self.asked.append(upstream)
        if self.mode == "at once":
            upstream.accept()
        elif self.mode != "hang":
            self.polling.deliver(upstream.accept if self.mode == "accept" else upstream.refuse)
        return upstream


class Descriptors:
    """Whoever watches descriptors: `ready` says that all that are watched can be read or written."""

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.writers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def addWriter(self, writer: Any) -> None:
        self.writers.append(writer)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def removeWriter(self, writer: Any) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def ready(self) -> None:
        for reader in list(self.readers):
            reader.doRead()
        for writer in list(self.writers):
            writer.doWrite()


class Names:
    """Looks names up: `asked` has the names, `answer` tells the addresses of the eldest that waits."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._receivers: list[Any] = []

    def resolveHostName(self, receiver: Any, name: str) -> None:
        self.asked.append(name)
        self._receivers.append(receiver)

    def answer(self, *addresses: str) -> None:
        receiver = self._receivers.pop(0)
        receiver.resolutionBegan(None)
        for address in addresses:
            receiver.addressResolved(IPv4Address("TCP", address, 0))
        receiver.resolutionComplete()


class House:
    """All rooms put together around fakes.

    `module` serves every path: a `Module`, or the name of a stock one. `route` has the route's other keys, `server`,
    `limits` and `groups` those of their tables. `modules` are further modules by path.
    """

    def __init__(
        self,
        module: Any = "reverse",
        *,
        route: Mapping[str, Any] | None = None,
        server: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        groups: Mapping[str, Any] | None = None,
        modules: Mapping[str, Any] | None = None,
        kinds: Any = KINDS,
    ) -> None:
        by_path = {"/": module, **(modules or {})}
        rows = [
            {"path": path, "module": row if isinstance(row, str) else "reverse", "upstream": SERVER, **(route or {})}
            for path, row in by_path.items()
        ]
        self.settings = load(
            {
                "server": {"listen": "tcp:0", **(server or {})},
                "limits": limits or {},
                "upstream": groups or {},
                "route": rows,
            }
        )
        self.clock = Clock()
        """Time of parks."""
        self.wheel = Clock()
        """Time of deadlines; the same, but apart, so that a timer that a park leaves behind is seen."""
        for clock in (self.clock, self.wheel):
            clock.advance(1000)  # a machine that has been up for a while: no time is 0
        self.polling = PollingRound()
        self.workers = SteppedWorkers(self.settings.server.workers)
        self.network = MemoryNetwork(self.polling)
        self.descriptors = Descriptors()
        self.names = Names()
        self.fetches: list[tuple[Any, Deferred[Any]]] = []
        self.deadlines = Deadlines(self.wheel)
        means = Means(self.network, self.deadlines, Resolver(self.names, self.wheel))
        self.upstreams = Upstreams(self.settings.upstream, lambda origin: Upstream(servers=(origin,)), means)
        self.lot = ParkingLot(self.clock, kinds, self.settings.server.max_parked)
        self.flow = Flow(
            self.workers,
            self.lot,
            self.deadlines,
            Surroundings(self.polling, self.upstreams, self.descriptors, self._fetch),
            max_queued=self.settings.server.max_queued,
            spool_in_memory=self.settings.limits.spool,
        )
        bindings = [
            bind(settings) if isinstance(module, str) else Bound(settings, module)
            for index, (settings, module) in enumerate(zip(self.settings.route, by_path.values(), strict=True))
        ]
        for binding in bindings:
            binding.module.proxy = self
        self.door = Door(self.flow, self.settings.limits, finder(bindings))
        self.clients: list[FakeClient] = []

    def _fetch(self, fetch: Any) -> Deferred[Any]:
        deferred: Deferred[Any] = Deferred()
        self.fetches.append((fetch, deferred))
        return deferred

    def snapshot(self, limit: int = 1000, after: str | None = None) -> dict[str, Any]:
        """What modules see of the running proxy."""
        return snapshot(self.flow, limit, after)

    # Playing.

    def connect(self) -> FakeClient:
        """A new client."""
        client = FakeClient(self, ("127.0.0.1", 4000 + len(self.clients)))
        self.clients.append(client)
        return client

    def get(self, path: str = "/") -> FakeClient:
        """A new client that has sent a GET; settled."""
        return self.connect().get(path)

    def upstream(self, number: int = -1) -> FakeUpstream:
        """A connection to a server, in the order they were asked for; the latest by default."""
        return self.network.asked[number]

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
        end = self.wheel.seconds() + seconds
        while True:
            timers = [call.getTime() for clock in (self.clock, self.wheel) for call in clock.getDelayedCalls()]
            now = min([end, *timers])
            for clock in (self.clock, self.wheel):
                clock.advance(max(0.0, now - clock.seconds()))
            self.settle()
            if now >= end:
                return

    def exchange(self) -> Exchange:
        """The one exchange there is."""
        (exchange,) = self.flow.exchanges
        return exchange

    def stages(self) -> dict[str, int]:
        """The stages that have any exchange."""
        return {stage: count for stage, count in self.flow.stages().items() if count}

    def pool(self, number: int = 0) -> dict[str, int]:
        """Statistics of a server's pool."""
        return self.upstreams.pools()[number].statistics()

    def shut_down(self) -> None:
        """What a stop does before it joins the workers."""
        self.door.open = False
        self.door.close_connections()
        for exchange in list(self.flow.exchanges):
            exchange.left()
        self.upstreams.close()

    def assert_nothing_left(self) -> None:
        """Everything that requests took was given back; closes what is merely kept alive."""
        assert not self.flow.exchanges, self.flow.exchanges
        assert not self.lot.parked, self.lot.parked
        assert not self.clock.getDelayedCalls(), self.clock.getDelayedCalls()
        assert not self.descriptors.readers
        assert not self.descriptors.writers
        assert self.workers.statistics() == {"total": self.workers.total, "busy": 0, "queued": 0}
        for client in self.clients:
            client.wire.hang_up()
        self.upstreams.close()
        self.settle()
        for statistics in self.upstreams.statistics().values():
            assert set(statistics.values()) == {0}, statistics
        self.advance(200)
        assert not self.door.connections
        assert self.deadlines.statistics()["standing"] == 0
