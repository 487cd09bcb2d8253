"""The response out, to the client of a connection: heads, bodies, and the client's pace.

The rule: what a head says of framing and connection is said here and nowhere else, whatever modules and upstreams say.
A client that is slow has its producer wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from asyncproxy.boundaries import Producer
from asyncproxy.exchange.errors import reason_phrase
from asyncproxy.exchange.forwarding import make_block, without_body
from asyncproxy.exchange.framing import LAST_CHUNK, chunk, last_chunk
from asyncproxy.exchange.headers import RawHeaders
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.trailers import Trailers
from asyncproxy.polling.deadlines import Due
from asyncproxy.polling.http1 import Framing
from asyncproxy.polling.responding import refusal
from asyncproxy.polling.unsent import count_unsent

if TYPE_CHECKING:
    from asyncproxy.polling.flow import Exchange
    from asyncproxy.polling.listening import Door

_BODILESS: Final = frozenset((204, 205, 304))
_STATUS_LINES: Final = {
    status: b"HTTP/1.1 %d %b" % (status, reason_phrase(status).encode()) for status in range(100, 600)
}


@implementer(IPushProducer)
class Answering(Due):
    """The `Client` of an exchange. A part of `accepting.ClientConnection`, which sets its attributes."""

    __slots__ = (
        "_buffer",
        "_chunked",
        "_continues",
        "_framing",
        "_full",
        "_producer",
        "door",
        "exchange",
        "request",
        "sent",
        "status",
        "transport",
    )

    door: Door
    transport: Any
    exchange: Exchange | None
    request: Request
    """The latest request; it decides how its response is framed, and whether another one follows."""
    status: int
    sent: int
    _buffer: bytes
    """What the client has sent behind its request."""
    _framing: Framing | None
    """While a request's body arrives."""
    _producer: Producer | None
    _full: bool
    """Whether the transport has no room; it says so once, perhaps before there is a producer to be told."""
    _chunked: bool
    _continues: bool
    """Whether the client waits for 100 Continue."""

    def answer(self, status: int, block: bytes, body: bytes) -> None:
        """Send a whole response."""
        request = self.request
        if status in _BODILESS or request.method == "HEAD":
            body = b""
            if status != 304:
                block = without_body(status, block)
        self._chunked = False
        self.status = status
        self.sent = len(body)
        plain = request.keep_alive and request.minor == 1 and self._framing is None and self.door.open
        options = b"" if plain else self._options()
        self.transport.write(b"%b%b%b%b\r\n\r\n%b" % (_STATUS_LINES[status], block, request.mark, options, body))
        self._done()

    def begin(self, status: int, block: bytes, producer: Producer, *, told: bool) -> None:
        """Send a response's head; its body follows by `piece`."""
        self._producer = producer
        self._chunked = not told and self.request.minor == 1
        if not told and self.request.minor == 0:
            self.request.keep_alive = False
        self.status = status
        self.sent = 0
        head = (_STATUS_LINES[status], block, self.request.mark, self._options())
        self.transport.write(b"%b%b%b%b\r\n\r\n" % head)

    def _options(self) -> bytes:
        """What a head says of framing and connection besides the length; it is said here and nowhere else."""
        if self._framing is not None or not self.door.open:
            # What is left of the request's body, or of us, is not worth another request.
            self.request.keep_alive = False
            self._continues = False  # the response is the answer to that, too
        options = b"\r\nTransfer-Encoding: chunked" if self._chunked else b""
        if not self.request.keep_alive:
            options += b"\r\nConnection: close"
        elif self.request.minor == 0:
            options += b"\r\nConnection: keep-alive"
        return options

    def piece(self, data: bytes) -> None:
        """Send a piece of the body."""
        self.sent += len(data)
        self.transport.write(chunk(data) if self._chunked else data)
        if self._full and self._producer is not None:
            self._producer.pause()

    def end(self, trailers: Trailers = ()) -> None:
        """The body is complete; only chunks have room for `trailers` (RFC 9112 section 7.1.2)."""
        if self._chunked:
            self.transport.write(last_chunk(trailers) if trailers else LAST_CHUNK)
        self._done()

    def failed(self, error: Exception) -> None:
        """The body that was being relayed is cut by its upstream."""
        exchange = self.exchange
        if exchange is not None:
            exchange.failed(error)

    def reached(self) -> Any:
        """The Twisted address of ours that the client has connected to."""
        return self.transport.getHost()

    def cut(self) -> None:
        """Close the connection at once, so that the client cannot take the body for a whole one."""
        self.exchange = self._producer = None
        self._closing()
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    def refuse(self, status: int, words: str, fields: RawHeaders | None = None) -> None:
        """Send an error of ours, as the request's Accept has it."""
        flow = self.door.flow
        block, body = refusal(flow, self.request, status, words)
        self.answer(status, flow.signature.own(block + make_block(fields or [])), body)

    def inform(self, status: int, block: bytes = b"") -> None:
        """Send an informational head (RFC 9110 section 15.2); HTTP/1.0 has none, and 100 is for who waits for it."""
        if self.request.minor == 0 or (status == 100 and not self._continues):
            return
        if status == 100:
            self._continues = False
        self.transport.write(b"%b%b\r\n\r\n" % (_STATUS_LINES[status], block))

    @property
    def behind(self) -> bool:
        """Whether the client has not taken all that it was sent."""
        return self._full or count_unsent(self.transport) > 0

    # As the producer of the response: called by the transport when the client is slow or keeps up again.

    def pauseProducing(self) -> None:
        """The client takes the response more slowly than it comes."""
        self._full = True
        if self._producer is not None:
            self._producer.pause()

    def resumeProducing(self) -> None:
        """The client keeps up again."""
        self._full = False
        if self._producer is not None:
            self._producer.resume()

    def stopProducing(self) -> None:
        """The transport is lost; `connectionLost` tells."""

    # What the connection does about it.

    def _done(self) -> None:
        """The response's last byte is written."""
        raise AssertionError("a subclass goes on to the next request")

    def _closing(self) -> None:
        """Nothing more is read."""
        raise AssertionError("a subclass reads requests")
