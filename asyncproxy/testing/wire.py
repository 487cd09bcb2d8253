"""A connection in memory: the transport that a protocol writes to, and the peer at its other end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import error as internet_errors
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure

from asyncproxy.testing.stepping import PollingRound


class Wire:
    """One end of a connection in memory: the transport that a protocol writes to, and the peer that a test plays.

    As with a real one, news of its loss come later (`PollingRound.step`), nothing is read after a close, and neither
    bytes nor a hang-up are noticed while reading is paused. `name` is for traces; `written` is called after each write.
    """

    def __init__(
        self,
        polling: PollingRound,
        protocol: Any,
        peer: tuple[str, int] = ("127.0.0.1", 4000),
        name: str = "wire",
        written: Callable[[], None] | None = None,
    ) -> None:
        self.polling = polling
        self.protocol = protocol
        self.peer = peer
        self.name = name
        self._written = written
        self.out = bytearray()
        """All that the protocol has written."""
        self.reading = True
        self.closing = False
        self.aborted = False
        self.half_closed = False
        self.ended = False
        """Whether the peer has ended its side, and the protocol was told."""
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
            self._end()
        else:
            self._hung_up = True

    def reset(self) -> None:
        """The peer resets the connection; noticed though it is not read."""
        self._lose(internet_errors.ConnectionLost())

    def _end(self) -> None:
        """The peer's FIN is there: the end of the connection, unless its protocol can go on with one side."""
        if not IHalfCloseableProtocol.providedBy(self.protocol):
            self._lose(internet_errors.ConnectionDone())
        elif not self.closing and not self.ended:
            self.ended = True
            self.protocol.readConnectionLost()

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
            self.polling.happen(self, self._lose, internet_errors.ConnectionDone())

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
        if self._written is not None:
            self._written()
        # A write to a closed peer is what notices it.
        if self._hung_up and not IHalfCloseableProtocol.providedBy(self.protocol):
            self.polling.happen(self, self._lose, internet_errors.ConnectionLost())

    def writeSequence(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def loseConnection(self) -> None:
        if self.closing or self.lost:
            return
        self.closing = True
        if self.producer is None and not self.is_slow:
            self.polling.happen(self, self._lose, internet_errors.ConnectionDone())

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        if not self.lost and not self.aborted:
            self.closing = self.aborted = True
            self.polling.happen(self, self._lose, internet_errors.ConnectionAborted())

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self.producer is None, f"{self.producer!r} is registered already"
        assert streaming
        self.producer = producer
        if self.lost:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        self.producer = None
        if self.closing and not self.is_slow:
            self.polling.happen(self, self._lose, internet_errors.ConnectionDone())

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        if self.reading or self.closing or self.lost:
            return
        self.reading = True
        self.polling.happen(self, self._read_on)

    def _read_on(self) -> None:
        if not self.reading or self.closing or self.lost:
            return
        unread, self._unread = self._unread, b""
        if unread:
            self.protocol.dataReceived(unread)
        if self._hung_up and self.reading:
            self._end()

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", *self.peer)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 8080)

    def setTcpNoDelay(self, _enabled: bool) -> None: ...

    @property
    def unsent(self) -> bool:
        """Whether something that was written waits for the peer to read again."""
        return self.is_slow and not self.lost

    @property
    def open(self) -> bool:
        """Whether neither side has closed it."""
        return not (self.closing or self.lost or self._hung_up)

    def __repr__(self) -> str:
        state = "lost" if self.lost else "aborted" if self.aborted else "closing" if self.closing else "open"
        return f"<Wire {self.name}, {state}, {len(self.out)} bytes out>"
