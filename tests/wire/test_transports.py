"""One contract, held against native and Twisted's own transports, over TCP and Unix, from both ends."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import socket
import stat
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import (
    IConnector,
    IConsumer,
    IHalfCloseableProtocol,
    IListeningPort,
    IPushProducer,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
    ITCPTransport,
)
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from asyncproxy.polling.native_connection import NativeConnection
from asyncproxy.polling.transports import NativeNetwork, network

waits = pytest_twisted.ensureDeferred

BIG = bytes(range(256)) * 32768  # 8 MiB: more than a socket's buffers take


class Events:
    """Something that happens, and Deferreds for whoever waits until a condition holds."""

    def __init__(self) -> None:
        self.reactor: Any = None
        self._waiting: list[tuple[Callable[[], object], Deferred[None]]] = []

    def until(self, condition: Callable[[], object]) -> Deferred[None]:
        waiter: Deferred[None] = Deferred()
        self._waiting.append((condition, waiter))
        self.happened()
        return waiter.addTimeout(10, self.reactor)

    def happened(self) -> None:
        for entry in list(self._waiting):
            condition, waiter = entry
            if entry in self._waiting and condition():
                self._waiting.remove(entry)
                waiter.callback(None)


class Recorder(Protocol, Events):
    """Remembers what its transport told it."""

    def __init__(self) -> None:
        Events.__init__(self)
        self.received = bytearray()
        self.told: list[str] = []
        self.reason: Failure | None = None
        self.inside: str | None = None

    def connectionMade(self) -> None:
        self.told.append("made")
        self.happened()

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.happened()

    def connectionLost(self, reason: Failure = Protocol.connectionLost) -> None:  # type: ignore[assignment]
        self.told.append(f"lost inside {self.inside}" if self.inside else "lost")
        self.reason = reason
        self.happened()

    def has(self, data: bytes) -> Deferred[None]:
        return self.until(lambda: len(self.received) >= len(data))

    def gone(self) -> Deferred[None]:
        return self.until(lambda: self.reason is not None)

    def do(self, name: str) -> None:
        """Call the transport's method, noting what comes back inside the call."""
        self.inside = name
        getattr(self.transport, name)()
        self.inside = None


@implementer(IHalfCloseableProtocol)
class HalfRecorder(Recorder):
    def readConnectionLost(self) -> None:
        self.told.append("read ended")
        self.happened()

    def writeConnectionLost(self) -> None:
        self.told.append("write ended")
        self.happened()


class Peers(ClientFactory, Events):
    """A factory for either end that hands its one protocol to the test."""

    noisy = False

    def __init__(self, build: Callable[[], Protocol | None], reactor: Any) -> None:
        Events.__init__(self)
        self.build, self.reactor = build, reactor
        self.built: list[Any] = []
        self.addresses: list[Any] = []
        self.running = 0
        self.failed: list[Failure] = []
        self.lost: list[Failure] = []
        self.on_failure: Callable[[Any], None] = lambda connector: None

    async def made(self) -> Any:
        """Its first protocol, once that has a transport."""
        await self.until(lambda: self.built)
        await self.built[0].until(lambda: self.built[0].transport is not None)
        return self.built[0]

    def startFactory(self) -> None:
        self.running += 1

    def stopFactory(self) -> None:
        self.running -= 1
        self.happened()

    def buildProtocol(self, addr: Any) -> Any:
        self.addresses.append(addr)
        protocol = self.build()
        if isinstance(protocol, Events):
            protocol.reactor = self.reactor
        self.built.append(protocol)
        self.happened()
        return protocol

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.failed.append(reason)
        self.on_failure(connector)
        self.happened()

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        self.lost.append(reason)
        self.happened()


class Ground:
    """Listens and connects with one kind of transport over one family, and cleans up."""

    def __init__(self, kind: str, family: str, side: str, net: Any, reactor: Any, path: str) -> None:
        self.kind, self.family, self.side, self.net, self.reactor = kind, family, side, net, reactor
        self.path = path
        self.ports: list[Any] = []
        self.factories: list[Peers] = []

    def peers(self, build: Callable[[], Protocol | None] = Recorder) -> Peers:
        self.factories.append(Peers(build, self.reactor))
        return self.factories[-1]

    def listen(self, factory: Peers, **more: Any) -> Any:
        if self.family == "tcp":
            port = self.net.listenTCP(more.pop("port", 0), factory, interface="127.0.0.1", **more)
        else:
            port = self.net.listenUNIX(self.path, factory, **more)
        self.ports.append(port)
        return port

    def connect(self, factory: Peers, port: Any = None, **more: Any) -> Any:
        where = (port or self.ports[-1]).getHost()
        if self.family == "tcp":
            return self.net.connectTCP(where.host, where.port, factory, **more)
        return self.net.connectUNIX(self.path, factory, **more)

    async def pair(
        self,
        near: Callable[[], Protocol | None] = Recorder,
        far: Callable[[], Protocol | None] = Recorder,
    ) -> tuple[Any, Any]:
        """Two connected protocols; the first is at the end under test."""
        accepts, connects = (far, near) if self.side == "connected" else (near, far)
        accepting, connecting = self.peers(accepts), self.peers(connects)
        self.listen(accepting)
        self.connect(connecting)
        a, c = await accepting.made(), await connecting.made()
        return (c, a) if self.side == "connected" else (a, c)

    async def turns(self, count: int = 3) -> None:
        """Let the reactor go round: what was going to happen by itself has happened then."""
        for _ in range(count):
            await deferLater(self.reactor, 0, lambda: None)

    async def clean(self) -> None:
        for port in self.ports:
            await maybeDeferred(port.stopListening)
        for protocol in [p for factory in self.factories for p in factory.built if p is not None]:
            if protocol.transport is not None and isinstance(protocol, Recorder):
                protocol.transport.abortConnection()
                await protocol.gone()
        for factory in self.factories:
            await factory.until(lambda factory=factory: factory.running == 0)


@pytest.fixture(params=["native", "twisted"])
def kind(request: Any, reactor: Any) -> str:
    if request.param == "native" and not isinstance(network(reactor), NativeNetwork):
        pytest.skip("native transports need the asyncio reactor on uvloop")
    return str(request.param)


@pytest.fixture(params=["tcp", "unix"])
def family(request: Any) -> str:
    return str(request.param)


@pytest.fixture(params=["accepted", "connected"])
def side(request: Any) -> str:
    return str(request.param)


def made_ground(kind: str, family: str, side: str, reactor: Any, tmp_path: Any) -> Iterator[Ground]:
    net = network(reactor) if kind == "native" else reactor
    made = Ground(kind, family, side, net, reactor, str(tmp_path / "s"))
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.clean()))


@pytest.fixture
def ground(kind: str, family: str, side: str, reactor: Any, tmp_path: Any) -> Iterator[Ground]:
    yield from made_ground(kind, family, side, reactor, tmp_path)


@pytest.fixture
def place(kind: str, family: str, reactor: Any, tmp_path: Any) -> Iterator[Ground]:
    """A ground for tests in which no end is the one under test."""
    yield from made_ground(kind, family, "connected", reactor, tmp_path)


class Push:
    """A push producer that only notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class Pull:
    """A pull producer of a few pieces, that then unregisters and does what comes next."""

    def __init__(self, transport: Any, pieces: list[bytes], then: Callable[[], object]) -> None:
        self.transport, self.pieces, self.then = transport, pieces, then

    def resumeProducing(self) -> None:
        if self.pieces:
            self.transport.write(self.pieces.pop(0))
        else:
            self.transport.unregisterProducer()
            self.then()

    def stopProducing(self) -> None:
        self.pieces = []


class TestTransports:
    """What a Twisted protocol may rely on, whatever carries it."""

    @waits
    async def test_what_is_written_arrives_both_ways(self, ground: Ground) -> None:
        near, far = await ground.pair()
        near.transport.write(b"ping")
        await far.has(b"ping")
        far.transport.write(b"pong")
        await near.has(b"pong")
        assert (far.received, near.received) == (b"ping", b"pong")

    @waits
    async def test_a_sequence_arrives_in_order(self, ground: Ground) -> None:
        near, far = await ground.pair()
        near.transport.writeSequence([b"a", b"b", BIG, b"c"])
        near.transport.write(b"d")
        await far.has(b"abcd" + BIG)
        assert far.received == b"ab" + BIG + b"cd"

    @waits
    async def test_text_is_refused(self, ground: Ground) -> None:
        near, _far = await ground.pair()
        with pytest.raises(TypeError):
            near.transport.write("text")

    @waits
    async def test_native_write_takes_bytearrays_and_views(self, ground: Ground) -> None:
        if ground.kind == "twisted":
            pytest.skip("Twisted's own transports take bytes only")
        near, far = await ground.pair()
        near.transport.write(bytearray(b"one"))
        near.transport.write(memoryview(b"-two-")[1:4])
        await far.has(b"onetwo")
        assert far.received == b"onetwo"

    @waits
    async def test_interfaces_are_provided(self, ground: Ground) -> None:
        near, _far = await ground.pair()
        for interface in (ITCPTransport, IConsumer, IPushProducer):
            assert verifyObject(interface, near.transport)

    # Closing.

    @waits
    async def test_lose_connection_flushes_what_was_written_before(self, ground: Ground) -> None:
        near, far = await ground.pair()
        near.transport.write(BIG)
        near.do("loseConnection")
        await far.gone()
        await near.gone()
        assert far.received == BIG
        assert near.reason.check(error.ConnectionDone)
        assert far.reason.check(error.ConnectionDone)
        assert near.told == far.told == ["made", "lost"]

    @waits
    async def test_a_write_after_lose_connection_is_ignored(self, ground: Ground) -> None:
        near, far = await ground.pair()
        near.transport.write(b"before")
        near.do("loseConnection")
        near.transport.write(b"after")
        near.transport.writeSequence([b"after"])
        await near.gone()
        near.transport.write(b"long after")
        near.transport.writeSequence([b"long after"])
        await far.gone()
        # Twisted's own still sends what comes before the flush, promising it to nobody.
        assert far.received in ((b"before",) if ground.kind == "native" else (b"before", b"beforeafterafter"))

    @waits
    async def test_closing_twice_or_after_the_end_does_nothing(self, ground: Ground) -> None:
        near, far = await ground.pair()
        near.do("loseConnection")
        near.do("loseConnection")
        await near.gone()
        for name in (
            "loseConnection",
            "abortConnection",
            "stopProducing",
            "pauseProducing",
            "resumeProducing",
        ):
            near.do(name)
        near.transport.unregisterProducer()
        await far.gone()
        await ground.turns()
        assert near.told == ["made", "lost"]

    @waits
    async def test_abort_drops_what_is_pending_and_the_peer_sees_a_reset(self, ground: Ground) -> None:
        near, far = await ground.pair()
        far.transport.pauseProducing()
        near.transport.write(BIG)
        near.do("abortConnection")
        near.transport.write(b"after")
        near.do("abortConnection")
        await near.gone()
        assert near.reason.check(error.ConnectionAborted)
        assert near.told == ["made", "lost"]
        far.transport.resumeProducing()
        await far.gone()
        assert len(far.received) < len(BIG)
        assert far.reason.check(error.ConnectionLost if ground.family == "tcp" else error.ConnectionClosed)

    @waits
    async def test_abort_ends_a_close_that_waits_for_a_peer_who_does_not_read(self, ground: Ground) -> None:
        near, far = await ground.pair()
        far.transport.pauseProducing()
        near.transport.write(BIG)
        near.do("loseConnection")
        await ground.turns()
        assert near.reason is None
        near.do("abortConnection")
        await near.gone()
        assert near.reason.check(error.ConnectionAborted)

    @waits
    async def test_nothing_is_lost_inside_connection_made(self, ground: Ground) -> None:
        class Leaver(Recorder):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.do("abortConnection")

        near, far = await ground.pair(Leaver)
        await near.gone()
        await far.gone()
        assert near.told == ["made", "lost"]
        assert near.reason.check(error.ConnectionAborted)

    @waits
    async def test_the_states_are_what_protocols_look_at(self, ground: Ground) -> None:
        near, _far = await ground.pair()

        def states() -> list[bool]:
            t = near.transport
            return [bool(t.connected), bool(t.disconnecting), bool(t.disconnected)]

        assert states() == [True, False, False]
        near.transport.loseConnection()
        assert states() == [True, True, False]
        await near.gone()
        assert states() == [False, True, True]

    @waits
    async def test_a_reset_by_the_peer_is_a_lost_connection(self, ground: Ground) -> None:
        if ground.family == "unix":
            pytest.skip("Unix sockets know no reset")
        near, far = await ground.pair()
        far.transport.abortConnection()
        await near.gone()
        assert near.reason.check(error.ConnectionLost)

    @waits
    async def test_the_peers_end_is_ours_and_what_is_pending_is_dropped(self, ground: Ground) -> None:
        near, far = await ground.pair(Recorder, HalfRecorder)
        far.transport.pauseProducing()
        near.transport.write(BIG)
        far.transport.loseWriteConnection()
        await near.gone()
        assert near.reason.check(error.ConnectionDone)
        far.transport.resumeProducing()
        await far.until(lambda: "read ended" in far.told or far.reason is not None)
        assert len(far.received) < len(BIG)

    # Half-closing.

    @waits
    async def test_a_half_closed_connection_still_carries_the_other_way(self, ground: Ground) -> None:
        near, far = await ground.pair(HalfRecorder, HalfRecorder)
        near.transport.write(b"question")
        near.do("loseWriteConnection")
        await near.until(lambda: "write ended" in near.told)
        near.transport.write(b"too late")
        await far.until(lambda: "read ended" in far.told)
        far.transport.write(BIG)
        await near.has(BIG)
        far.transport.loseConnection()
        await near.until(lambda: "read ended" in near.told)
        near.transport.loseConnection()
        await near.gone()
        await far.gone()
        assert far.received == b"question"
        assert near.received == BIG
        assert near.told == ["made", "write ended", "read ended", "lost"]
        assert far.told == ["made", "read ended", "lost"]
        assert near.reason.check(error.ConnectionDone)

    @waits
    async def test_half_closing_flushes_first(self, ground: Ground) -> None:
        near, far = await ground.pair(HalfRecorder, HalfRecorder)
        far.transport.pauseProducing()
        near.transport.write(BIG)
        near.transport.loseWriteConnection()
        await ground.turns(5)
        assert "write ended" not in near.told
        far.transport.resumeProducing()
        await near.until(lambda: "write ended" in near.told)
        await far.until(lambda: "read ended" in far.told)
        assert far.received == BIG

    @waits
    async def test_after_the_peers_end_reading_is_not_resumed(self, ground: Ground) -> None:
        near, far = await ground.pair(HalfRecorder, HalfRecorder)
        far.transport.loseWriteConnection()
        await near.until(lambda: "read ended" in near.told)
        if ground.kind == "native":  # Twisted's own would hear of the end again
            near.transport.pauseProducing()
            near.transport.resumeProducing()
        near.transport.write(b"still here")
        await far.has(b"still here")
        assert near.told == ["made", "read ended"]

    # Producers that write to the transport.

    @waits
    async def test_a_push_producer_is_paused_when_the_buffer_fills_and_resumed_when_it_drains(
        self, ground: Ground
    ) -> None:
        near, far = await ground.pair()
        far.transport.pauseProducing()
        push = Push()
        near.transport.registerProducer(push, True)
        near.transport.write(b"little")
        assert push.told == []
        near.transport.write(BIG)
        assert push.told == ["pause"]
        far.transport.resumeProducing()
        await far.has(b"little" + BIG)
        await near.until(lambda: True)
        await ground.turns()
        assert push.told == ["pause", "resume"]
        near.transport.unregisterProducer()

    @waits
    async def test_a_push_producer_that_comes_when_the_buffer_is_full_is_held_back(self, ground: Ground) -> None:
        near, far = await ground.pair()
        far.transport.pauseProducing()
        near.transport.write(BIG)
        push = Push()
        near.transport.registerProducer(push, True)
        near.transport.write(b"more")
        assert push.told == ["pause"]
        far.transport.resumeProducing()
        await far.has(BIG + b"more")
        await ground.turns()
        assert push.told == ["pause", "resume"]

    @waits
    async def test_a_pull_producer_is_asked_until_it_unregisters(self, ground: Ground) -> None:
        near, far = await ground.pair()
        pieces = [b"small", BIG, b"", b"x", BIG, b"end"] if ground.kind == "native" else [b"small", BIG, b"x"]
        whole = b"".join(pieces)
        near.transport.registerProducer(Pull(near.transport, list(pieces), near.transport.loseConnection), False)
        await far.gone()
        assert far.received == whole

    @waits
    async def test_writes_go_on_plainly_after_a_pull_producer(self, ground: Ground) -> None:
        near, far = await ground.pair()
        near.transport.registerProducer(
            Pull(near.transport, [b"pulled"], lambda: near.transport.write(b" written")), False
        )
        await far.has(b"pulled written")
        near.transport.write(b" again")
        await far.has(b"pulled written again")
        assert far.received == b"pulled written again"

    @waits
    async def test_a_close_waits_for_the_producer_and_its_writes_arrive(self, ground: Ground) -> None:
        near, far = await ground.pair()
        near.transport.registerProducer(Push(), True)
        near.do("loseConnection")
        near.transport.write(BIG)
        await far.has(BIG)
        await ground.turns()
        assert near.reason is None
        near.transport.write(b"last")
        near.transport.unregisterProducer()
        await far.gone()
        await near.gone()
        assert far.received == BIG + b"last"

    @waits
    async def test_a_close_waits_for_a_pull_producer(self, ground: Ground) -> None:
        near, far = await ground.pair()
        near.transport.registerProducer(Pull(near.transport, [b"a", BIG, b"b"], lambda: None), False)
        near.do("loseConnection")
        await far.gone()
        assert far.received == b"a" + BIG + b"b"

    @waits
    async def test_a_half_close_waits_for_the_producer(self, ground: Ground) -> None:
        if ground.kind == "twisted":
            pytest.skip("Twisted's own forgets the half-close if nothing is written after unregisterProducer")
        near, far = await ground.pair(HalfRecorder, HalfRecorder)
        near.transport.registerProducer(Push(), True)
        near.do("loseWriteConnection")
        near.transport.write(b"body")
        await far.has(b"body")
        assert "read ended" not in far.told
        near.transport.unregisterProducer()
        await far.until(lambda: "read ended" in far.told)
        await near.until(lambda: "write ended" in near.told)

    @waits
    async def test_a_second_producer_is_refused(self, ground: Ground) -> None:
        near, _far = await ground.pair()
        near.transport.registerProducer(Push(), True)
        with pytest.raises(RuntimeError):
            near.transport.registerProducer(Push(), True)
        near.transport.unregisterProducer()
        near.transport.registerProducer(Push(), True)

    @waits
    async def test_the_producer_of_a_lost_connection_is_stopped(self, ground: Ground) -> None:
        near, _far = await ground.pair()
        push, late = Push(), Push()
        near.transport.registerProducer(push, True)
        near.transport.abortConnection()
        await near.gone()
        assert push.told == ["stop"]
        near.transport.registerProducer(late, True)
        assert late.told == ["stop"]

    # The transport as a producer.

    @waits
    async def test_a_paused_transport_delivers_nothing_until_resumed(self, ground: Ground) -> None:
        near, far = await ground.pair()
        near.transport.pauseProducing()
        near.transport.pauseProducing()
        far.transport.write(b"wait")
        await ground.turns(10)
        assert near.received == b""
        near.transport.resumeProducing()
        near.transport.resumeProducing()
        await near.has(b"wait")

    @waits
    async def test_a_paused_transport_hears_of_no_end_until_resumed(self, ground: Ground) -> None:
        near, far = await ground.pair()
        near.transport.pauseProducing()
        far.transport.write(b"last words")
        far.transport.loseConnection()
        await far.gone()
        await ground.turns(10)
        assert near.reason is None
        near.transport.resumeProducing()
        await near.gone()
        assert near.received == b"last words"

    @waits
    async def test_pausing_inside_data_received_stops_at_that_piece(self, ground: Ground) -> None:
        class Sipper(Recorder):
            def dataReceived(self, data: bytes) -> None:
                self.transport.pauseProducing()
                super().dataReceived(data)

        near, far = await ground.pair(Sipper)
        far.transport.write(BIG)
        await near.until(lambda: near.received)
        sip = len(near.received)
        await ground.turns(10)
        assert len(near.received) == sip
        while len(near.received) < len(BIG):
            before = len(near.received)
            near.transport.resumeProducing()
            await near.until(lambda before=before: len(near.received) > before)
        assert near.received == BIG

    @waits
    @pytest.mark.parametrize("flicker", [False, True])
    async def test_pausing_inside_connection_made_holds_all_back(self, ground: Ground, flicker: bool) -> None:
        class Shy(Recorder):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.pauseProducing()
                if flicker:
                    self.transport.resumeProducing()
                    self.transport.pauseProducing()

        class Eager(Recorder):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.write(b"hello")

        near, far = await ground.pair(Shy, Eager)
        await ground.turns(10)
        far.transport.write(BIG)
        await ground.turns(10)
        assert near.received == b""
        for _ in range(2 if flicker else 1):
            near.transport.resumeProducing()
            near.transport.pauseProducing()
            near.transport.resumeProducing()
        await near.has(b"hello" + BIG)
        assert near.received == b"hello" + BIG
        far.transport.loseConnection()
        await near.gone()

    @waits
    async def test_a_pause_taken_back_inside_connection_made_is_none(self, ground: Ground) -> None:
        class Wavering(Recorder):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.pauseProducing()
                self.transport.resumeProducing()

        near, far = await ground.pair(Wavering)
        far.transport.write(b"hello")
        await near.has(b"hello")

    # Exceptions.

    @waits
    @pytest.mark.parametrize("kind_of_error", [ZeroDivisionError, FileNotFoundError])
    async def test_an_exception_in_data_received_is_logged_and_ends_the_connection(
        self, ground: Ground, failures: list[Any], caplog: Any, kind_of_error: type[Exception]
    ) -> None:
        class Clumsy(Recorder):
            def dataReceived(self, data: bytes) -> None:
                raise kind_of_error("clumsy")

        near, far = await ground.pair(Clumsy)
        far.transport.write(b"x")
        await near.gone()
        await far.gone()
        assert near.reason.check(kind_of_error)
        assert "in dataReceived" in near.reason.getTraceback()
        assert [failure.type for failure in failures] == [kind_of_error]
        assert caplog.records == []
        assert near.told == ["made", "lost"]

    @waits
    async def test_an_exception_after_an_abort_is_logged_too(self, ground: Ground, failures: list[Any]) -> None:
        class Clumsy(Recorder):
            def dataReceived(self, data: bytes) -> None:
                self.do("abortConnection")
                raise ZeroDivisionError

        near, far = await ground.pair(Clumsy)
        far.transport.write(b"x")
        await near.gone()
        await ground.turns()
        assert [failure.type for failure in failures] == [ZeroDivisionError]
        assert near.told == ["made", "lost"]

    @waits
    async def test_an_exception_in_connection_made_is_logged_and_ends_the_connection(
        self, ground: Ground, failures: list[Any]
    ) -> None:
        if ground.kind == "twisted":
            pytest.skip("Twisted's own keeps some connections whose protocol failed to start")

        class Clumsy(Recorder):
            def connectionMade(self) -> None:
                raise ZeroDivisionError

        near, far = await ground.pair(Clumsy)
        await near.gone()
        await far.gone()
        assert near.reason.check(ZeroDivisionError)
        assert [failure.type for failure in failures] == [ZeroDivisionError]

    @waits
    async def test_an_exception_in_read_connection_lost_ends_the_connection(
        self, ground: Ground, failures: list[Any]
    ) -> None:
        class Clumsy(HalfRecorder):
            def readConnectionLost(self) -> None:
                raise ZeroDivisionError

        near, far = await ground.pair(Clumsy)
        far.transport.loseConnection()
        await near.gone()
        assert near.reason.check(ZeroDivisionError)
        assert [failure.type for failure in failures] == [ZeroDivisionError]

    @waits
    async def test_an_exception_of_a_producer_that_is_resumed_ends_the_connection(
        self, ground: Ground, failures: list[Any]
    ) -> None:
        class Clumsy(Push):
            def resumeProducing(self) -> None:
                raise ZeroDivisionError

        near, far = await ground.pair()
        near.transport.registerProducer(Clumsy(), True)
        near.transport.write(BIG)
        await near.gone()
        await far.gone()
        assert near.reason.check(ZeroDivisionError)
        assert [failure.type for failure in failures] == [ZeroDivisionError]

    @waits
    async def test_an_exception_in_connection_lost_is_logged(self, place: Ground, failures: list[Any]) -> None:
        class Clumsy(Recorder):
            def connectionLost(self, reason: Any = None) -> None:
                super().connectionLost(reason)
                raise ZeroDivisionError

        if place.kind == "twisted":
            pytest.skip("where Twisted's own logs it depends on what ended the connection")
        near, _far = await place.pair(Clumsy)
        near.transport.loseConnection()
        await near.gone()
        await place.turns()
        assert [failure.type for failure in failures] == [ZeroDivisionError]
        assert len(place.factories[-1].lost) == 1

    # The ends.

    @waits
    async def test_both_ends_are_named(self, ground: Ground) -> None:
        near, far = await ground.pair()
        if ground.family == "tcp":
            assert near.transport.getHost() == far.transport.getPeer()
            assert near.transport.getPeer() == far.transport.getHost()
            assert isinstance(near.transport.getPeer(), IPv4Address)
            assert ground.factories[0].addresses[0].port == ground.factories[1].built[0].transport.getHost().port
        else:
            ours = UNIXAddress(ground.path.encode())
            end = near.transport.getHost if ground.side == "accepted" else near.transport.getPeer
            assert end() == ours
            assert isinstance(near.transport.getHost(), UNIXAddress)
            assert isinstance(near.transport.getPeer(), UNIXAddress)
        peer = near.transport.getPeer()
        near.transport.loseConnection()
        await near.gone()
        assert near.transport.getPeer() == peer

    @waits
    async def test_socket_options_are_set_and_read(self, ground: Ground) -> None:
        near, _far = await ground.pair()
        transport = near.transport
        if ground.family == "tcp":
            if ground.kind == "native":
                assert transport.getTcpNoDelay()
            for wanted in (True, False):
                transport.setTcpNoDelay(wanted)
                assert transport.getTcpNoDelay() == wanted
        else:
            transport.setTcpNoDelay(True)
            assert not transport.getTcpNoDelay()
        for wanted in (True, False):
            transport.setTcpKeepAlive(wanted)
            assert transport.getTcpKeepAlive() == wanted
        assert transport.getHandle().fileno() > 0

    @waits
    async def test_another_protocol_takes_over(self, ground: Ground) -> None:
        near, far = await ground.pair()
        successor = Recorder()
        successor.reactor = ground.reactor
        far.transport.write(b"first")
        await near.has(b"first")
        near.transport.protocol = successor
        successor.makeConnection(near.transport)
        far.transport.write(b"second")
        await successor.has(b"second")
        far.transport.loseConnection()
        await successor.gone()
        assert near.received == b"first"
        assert near.told == ["made"]
        near.reason = successor.reason  # it will hear nothing more

    @waits
    async def test_nothing_of_a_lost_connection_is_left_to_the_collector(self, ground: Ground) -> None:
        class Watched(Recorder):
            pass

        gc.collect()
        gc.disable()
        try:
            near, far = await ground.pair(Watched)
            far.transport.write(b"x")
            await near.has(b"x")
            near.transport.loseConnection()
            await near.gone()
            await ground.turns()
            left = weakref.ref(near)
            del near
            ground.factories[0 if ground.side == "accepted" else 1].built.clear()
            await ground.turns()
            assert left() is None
        finally:
            gc.enable()

    @waits
    async def test_a_native_repr_is_a_diagnosis(self, ground: Ground) -> None:
        if ground.kind == "twisted":
            pytest.skip("Twisted's own words its repr")
        near, far = await ground.pair()
        transport = near.transport
        words = repr(transport)
        assert ground.family in words
        assert "read on, write on" in words
        assert "Recorder" in words
        far.transport.pauseProducing()
        assert "read paused" in repr(far.transport)
        transport.write(BIG)
        assert "bytes unsent" in repr(transport)
        transport.loseConnection()
        assert "closing" in repr(transport)
        transport.abortConnection()
        assert "aborting" in repr(transport)
        await near.gone()
        assert "lost" in repr(transport)


class TestListening:
    """Ports: taken, stopped, started again."""

    @waits
    async def test_a_taken_address_is_an_error_at_once(self, place: Ground) -> None:
        if (place.kind, place.family) == ("twisted", "unix"):
            pytest.skip("Twisted's own leaves the socket open and the factory started")
        first = place.listen(place.peers())
        where = {"port": first.getHost().port} if place.family == "tcp" else {}
        with pytest.raises(error.CannotListenError):
            place.listen(place.peers(), **where)

    @waits
    async def test_no_protocol_refuses_the_connection(self, place: Ground) -> None:
        refusing, connecting = place.peers(lambda: None), place.peers()
        place.listen(refusing)
        place.connect(connecting)
        await connecting.made()
        await connecting.built[0].gone()

    @waits
    async def test_a_failing_factory_loses_that_connection_only(self, place: Ground, failures: list[Any]) -> None:
        if place.kind == "twisted":
            pytest.skip("Twisted's own leaves the socket to whoever holds the traceback")
        protocols = iter([ZeroDivisionError(), Recorder()])

        def build() -> Protocol:
            protocol = next(protocols)
            if isinstance(protocol, Exception):
                raise protocol
            return protocol

        accepting, connecting = place.peers(build), place.peers()
        place.listen(accepting)
        place.connect(connecting)
        await connecting.made()
        await connecting.built[0].gone()
        place.connect(connecting)
        await accepting.made()
        assert [failure.type for failure in failures] == [ZeroDivisionError]

    @waits
    async def test_after_stop_nobody_gets_in_but_connections_go_on(self, place: Ground) -> None:
        near, far = await place.pair()
        port = place.ports[0]
        where = port.getHost()
        await port.stopListening()
        assert place.factories[0].running == 0
        late = place.peers()
        if place.family == "tcp":
            place.net.connectTCP(where.host, where.port, late)
        else:
            place.net.connectUNIX(place.path, late)
        await late.until(lambda: late.failed)
        near.transport.write(b"still")
        await far.has(b"still")
        assert place.family == "tcp" or Path(place.path) not in Path(place.path).parent.iterdir()
        await maybeDeferred(port.stopListening)

    @waits
    async def test_the_address_is_free_after_stop(self, place: Ground) -> None:
        first = place.listen(place.peers())
        where = {"port": first.getHost().port} if place.family == "tcp" else {}
        await first.stopListening()
        accepting, connecting = place.peers(), place.peers()
        place.listen(accepting, **where)
        place.connect(connecting)
        await accepting.made()
        await connecting.made()

    @waits
    async def test_a_port_is_a_listening_port(self, place: Ground) -> None:
        port = place.listen(place.peers())
        assert verifyObject(IListeningPort, port)
        assert str(getattr(port.getHost(), "port", place.path)) in repr(port)

    @waits
    async def test_tcp_listens_on_ipv6(self, kind: str, reactor: Any) -> None:
        net = network(reactor) if kind == "native" else reactor
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("no IPv6 on this machine")
        accepting, connecting = Peers(Recorder, reactor), Peers(Recorder, reactor)
        port = net.listenTCP(0, accepting, interface="::1")
        net.connectTCP("::1", port.getHost().port, connecting)
        await accepting.made()
        await connecting.made()
        peer = accepting.built[0].transport.getPeer()
        assert isinstance(peer, IPv6Address)
        assert peer.host == "::1"
        assert peer.port == connecting.built[0].transport.getHost().port
        await port.stopListening()
        connecting.built[0].transport.abortConnection()
        await accepting.built[0].gone()
        await connecting.built[0].gone()

    @waits
    async def test_a_unix_socket_has_the_mode_and_the_lock_asked_for(
        self, kind: str, reactor: Any, tmp_path: Any
    ) -> None:
        net = network(reactor) if kind == "native" else reactor
        path = str(tmp_path / "s")
        port = net.listenUNIX(path, Peers(Recorder, reactor), mode=0o600, wantPID=1)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        connecting = Peers(Recorder, reactor)
        net.connectUNIX(path, connecting, checkPID=1)
        await connecting.made()
        connecting.built[0].transport.abortConnection()
        await connecting.built[0].gone()
        with pytest.raises(error.CannotListenError):
            net.listenUNIX(path, Peers(Recorder, reactor), wantPID=1)
        await port.stopListening()
        assert os.listdir(tmp_path) == []

    @waits
    async def test_a_file_left_by_the_dead_is_replaced_and_others_are_not(self, reactor: Any, tmp_path: Any) -> None:
        net = network(reactor)
        if net is reactor:
            pytest.skip("native transports need the asyncio reactor on uvloop")
        path = str(tmp_path / "s")
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as dead:
            dead.bind(path)
        port: Any = net.listenUNIX(path, Peers(Recorder, reactor))
        os.rename(path, path + ".ours")
        (tmp_path / "s").write_text("somebody else's file")
        with pytest.raises(error.CannotListenError):
            net.listenUNIX(path, Peers(Recorder, reactor))
        await port.stopListening()
        assert (tmp_path / "s").read_text() == "somebody else's file"


class TestConnecting:
    """Attempts: each ends once."""

    @waits
    async def test_a_refused_connection_is_reported(self, place: Ground) -> None:
        port = place.listen(place.peers())
        where = port.getHost()
        await port.stopListening()
        factory = place.peers()
        if place.family == "tcp":
            connector = place.net.connectTCP(where.host, where.port, factory)
        else:
            connector = place.net.connectUNIX(place.path, factory)
        assert factory.running == 1
        assert factory.failed == []
        await factory.until(lambda: factory.failed)
        await place.turns()
        assert factory.failed[0].check(error.ConnectError)
        if place.family == "tcp":
            assert factory.failed[0].check(error.ConnectionRefusedError)
            assert factory.failed[0].value.osError == errno.ECONNREFUSED
        assert connector.state == "disconnected"
        assert factory.running == 0

    @pytest.fixture
    def deaf(self) -> Iterator[tuple[str, int]]:
        """A TCP address whose queue is full: nobody answers there."""
        with contextlib.ExitStack() as stack:
            listening = stack.enter_context(contextlib.closing(socket.socket()))
            listening.bind(("127.0.0.1", 0))
            listening.listen(0)
            for _ in range(4):
                waiting = stack.enter_context(contextlib.closing(socket.socket()))
                waiting.setblocking(False)
                waiting.connect_ex(listening.getsockname())
            yield listening.getsockname()

    @waits
    async def test_an_attempt_ends_at_its_timeout(self, kind: str, reactor: Any, deaf: tuple[str, int]) -> None:
        net = network(reactor) if kind == "native" else reactor
        factory = Peers(Recorder, reactor)
        net.connectTCP(*deaf, factory, timeout=0.05)
        await factory.until(lambda: factory.failed)
        assert factory.failed[0].check(error.TimeoutError)
        await factory.until(lambda: factory.running == 0)

    @waits
    @pytest.mark.parametrize("how", ["stopConnecting", "disconnect", "abort"])
    async def test_an_attempt_can_be_given_up(self, kind: str, reactor: Any, deaf: tuple[str, int], how: str) -> None:
        net = network(reactor) if kind == "native" else reactor
        factory = Peers(Recorder, reactor)
        if (kind, how) == ("twisted", "abort"):
            pytest.skip("Twisted's own connectors have no abortConnection")
        before = len(os.listdir("/proc/self/fd"))
        connector = net.connectTCP(*deaf, factory)
        await deferLater(reactor, 0, lambda: None)
        assert len(os.listdir("/proc/self/fd")) == before + 1
        getattr(connector, how)()
        assert factory.failed[0].check(error.UserError)
        assert factory.running == 0
        with pytest.raises(error.NotConnectingError):
            connector.stopConnecting()
        for _ in range(5):
            await deferLater(reactor, 0, lambda: None)
        assert len(os.listdir("/proc/self/fd")) == before
        assert len(factory.failed) == 1

    @waits
    async def test_an_attempt_given_up_at_any_moment_never_becomes_a_connection(self, place: Ground) -> None:
        accepting = place.peers()
        place.listen(accepting)
        for moment in range(6):
            factory = place.peers()
            connector = place.connect(factory)
            await place.turns(moment)
            connector.disconnect()
            await factory.until(lambda factory=factory: factory.failed or factory.lost)
            await place.turns()
            assert len(factory.failed) + len(factory.lost) == 1
            assert len(factory.built) == len(factory.lost)
            assert factory.running == 0

    @waits
    async def test_a_failed_factory_may_try_again_at_once(self, place: Ground) -> None:
        port = place.listen(place.peers())
        where = port.getHost()
        await port.stopListening()
        factory = place.peers()

        def again(connector: Any) -> None:
            if len(factory.failed) < 3:
                connector.connect()

        factory.on_failure = again
        if place.family == "tcp":
            place.net.connectTCP(where.host, where.port, factory)
        else:
            place.net.connectUNIX(place.path, factory)
        await factory.until(lambda: len(factory.failed) == 3)
        await place.turns()
        assert factory.running == 0

    @waits
    async def test_the_factory_hears_of_the_end_after_its_protocol(self, place: Ground) -> None:
        near, _far = await place.pair()
        factory = place.factories[1]
        near.transport.loseConnection()
        await factory.until(lambda: factory.lost)
        assert near.told == ["made", "lost"]
        assert factory.lost == [near.reason]
        await place.turns()
        assert factory.running == 0

    @waits
    async def test_no_protocol_ends_the_connection(self, place: Ground) -> None:
        accepting, connecting = place.peers(), place.peers(lambda: None)
        place.listen(accepting)
        place.connect(connecting)
        await connecting.until(lambda: connecting.lost)
        await accepting.built[0].gone()

    @waits
    async def test_a_connector_knows_its_destination(self, place: Ground) -> None:
        accepting, connecting = place.peers(), place.peers()
        port = place.listen(accepting)
        connector = place.connect(connecting, timeout=None)
        assert verifyObject(IConnector, connector)
        assert connector.getDestination() == port.getHost()
        assert connector.state == "connecting"
        await accepting.made()
        await connecting.made()
        assert connector.state == "connected"
        with pytest.raises(RuntimeError):
            connector.connect()
        connector.disconnect()
        await connecting.until(lambda: connecting.lost)
        assert connector.state == "disconnected"

    @waits
    async def test_tcp_binds_to_the_address_asked_for(self, kind: str, reactor: Any) -> None:
        net = network(reactor) if kind == "native" else reactor
        accepting, connecting = Peers(Recorder, reactor), Peers(Recorder, reactor)
        port = net.listenTCP(0, accepting, interface="127.0.0.1")
        net.connectTCP("127.0.0.1", port.getHost().port, connecting, bindAddress=("127.0.0.9", 0))
        await accepting.made()
        await connecting.made()
        assert accepting.addresses[0].host == "127.0.0.9"
        connecting.built[0].transport.loseConnection()
        await accepting.built[0].gone()
        await connecting.built[0].gone()
        await port.stopListening()

    @waits
    async def test_a_native_connector_aborts_its_connection(self, place: Ground) -> None:
        if place.kind == "twisted":
            pytest.skip("Twisted's own connectors have no abortConnection")
        accepting, connecting = place.peers(), place.peers()
        place.listen(accepting)
        connector = place.connect(connecting)
        assert "connecting" in repr(connector)
        await connecting.made()
        connector.abort()
        await connecting.until(lambda: connecting.lost)
        assert connecting.lost[0].check(error.ConnectionAborted)
        await (await accepting.made()).gone()

    @waits
    async def test_without_the_lock_asked_for_nothing_is_connected(
        self, kind: str, reactor: Any, tmp_path: Any
    ) -> None:
        net = network(reactor) if kind == "native" else reactor
        path = str(tmp_path / "s")
        port = net.listenUNIX(path, Peers(Recorder, reactor))
        factory = Peers(Recorder, reactor)
        net.connectUNIX(path, factory, checkPID=1)
        await factory.until(lambda: factory.failed)
        assert factory.failed[0].check(error.BadFileError)
        await port.stopListening()

    @waits
    async def test_a_factory_that_fails_to_hear_of_its_failure_is_logged(
        self, place: Ground, failures: list[Any]
    ) -> None:
        if place.kind == "twisted":
            pytest.skip("Twisted's own logs it in other ways")

        def clumsy(connector: Any) -> None:
            raise ZeroDivisionError

        port = place.listen(place.peers())
        factory = place.peers()
        factory.on_failure = clumsy
        where = port.getHost()
        await port.stopListening()
        if place.family == "tcp":
            place.net.connectTCP(where.host, where.port, factory)
        else:
            place.net.connectUNIX(place.path, factory)
        await factory.until(lambda: factory.failed and not factory.running)
        assert [failure.type for failure in failures] == [ZeroDivisionError]


class TestNetwork:
    """What `network` gives for a reactor."""

    @pytest.fixture
    def net(self, reactor: Any) -> Any:
        net = network(reactor)
        if net is reactor:
            pytest.skip("native transports need the asyncio reactor on uvloop")
        return net

    def test_any_other_reactor_serves_itself(self) -> None:
        other = object()
        assert network(other) is other

    def test_it_passes_for_the_reactor(self, net: Any, reactor: Any) -> None:
        assert verifyObject(IReactorTCP, net)
        assert verifyObject(IReactorUNIX, net)
        assert IReactorTime.providedBy(net)
        assert net.seconds() <= reactor.seconds()
        with pytest.raises(AttributeError):
            net.no_such_thing  # noqa: B018

    @pytest.mark.parametrize(("host", "port"), [("localhost", 80), ("", 80), ("127.1", 80), ("127.0.0.1", 70000)])
    def test_only_addresses_are_connected_to(self, net: Any, host: str, port: int) -> None:
        with pytest.raises(ValueError, match="is no"):
            net.connectTCP(host, port, ClientFactory())

    @waits
    @pytest.mark.parametrize("where", ["tcp:0:interface=127.0.0.1", "unix:{path}"])
    async def test_endpoints_serve_natively(self, net: Any, reactor: Any, tmp_path: Any, where: str) -> None:
        accepting, connecting = Peers(Recorder, reactor), Peers(Recorder, reactor)
        path = str(tmp_path / "s")
        port = await serverFromString(net, where.format(path=path)).listen(accepting)
        there = f"unix:{path}" if "unix" in where else f"tcp:127.0.0.1:{port.getHost().port}"
        near = await clientFromString(net, there).connect(connecting)
        await accepting.made()
        assert isinstance(accepting.built[0].transport, NativeConnection)
        assert isinstance(near.transport, NativeConnection)
        near.transport.loseConnection()
        await accepting.built[0].gone()
        await near.gone()
        await port.stopListening()

    @waits
    async def test_names_of_the_abstract_kind_are_served(self, net: Any, reactor: Any) -> None:
        name = f"\0asyncproxy-{os.getpid()}"
        accepting, connecting = Peers(Recorder, reactor), Peers(Recorder, reactor)
        port = net.listenUNIX(name, accepting)
        net.connectUNIX(name, connecting)
        await accepting.made()
        await connecting.made()
        connecting.built[0].transport.loseConnection()
        await accepting.built[0].gone()
        await connecting.built[0].gone()
        await port.stopListening()

    @waits
    async def test_other_trouble_on_the_loop_is_reported_as_before(self, net: Any, caplog: Any) -> None:
        network(net.reactor)
        net.loop.call_exception_handler({"message": "something else", "exception": None})
        assert [record.message for record in caplog.records] == ["something else"]


def test_a_factory_of_any_kind_listens(reactor: Any) -> None:
    port: Any = network(reactor).listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
    stopped = partial(port.stopListening)
    assert stopped() is not None
