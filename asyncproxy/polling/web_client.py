"""A request of a stock twisted.web server as the client of an exchange: what stands where `ClientConnection` does.

The rule: Twisted has read the request and frames the response; between the two it is the exchange's. What Twisted has
read is read again by our own parser, so that what an upstream is sent is no less strict than what came over our doors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IPushProducer
from twisted.web.http_headers import Headers as TwistedHeaders
from zope.interface import implementer

from asyncproxy.boundaries import Producer
from asyncproxy.exchange.errors import ClientError, reason_phrase
from asyncproxy.exchange.forwarding import make_block, split_block, without_body
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.peers import Peer
from asyncproxy.exchange.trailers import Trailers
from asyncproxy.polling.http1 import parse_request
from asyncproxy.polling.responding import refusal
from asyncproxy.polling.unsent import count_unsent

if TYPE_CHECKING:
    from asyncproxy.polling.flow import Exchange, Flow
    from asyncproxy.polling.listening import Door
    from asyncproxy.polling.tunnel import Tunnel

_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding"))


@implementer(IPushProducer)
class WebClient:
    """The client behind `web`, a twisted.web request; `gone` says whether it has left."""

    def __init__(self, web: Any, flow: Flow) -> None:
        self.web = web
        self.peer = peer_of(web, flow.prefix)
        self.exchange: Exchange | None = None
        self.gone = False
        self.status = 0
        self.sent = 0
        self._flow = flow
        self._ids = flow.ids
        self._producer: Producer | None = None
        web.notifyFinish().addErrback(self._left)

    def begin_exchange(self, door: Door) -> None:
        """Make the request an exchange and let it begin, or refuse it."""
        try:
            request = read_request(self.web)
            self.exchange = exchange = door.admit(self, request)
        except ClientError as error:
            self.refuse(error.status, error.words)
        else:
            self.web.content = None  # it is the exchange's now: Twisted would close it under a module that reads it
            door.flow.start(exchange)

    def _left(self, _reason: Any) -> None:
        self.gone = True
        if self.exchange is not None:
            self.exchange.left()

    # As the client of an exchange.

    def answer(self, status: int, block: bytes, body: bytes) -> None:
        """Send a whole response."""
        if status in (204, 205, 304):
            body = b""
        self._head(status, block)
        self.sent = 0 if self.web.method == b"HEAD" else len(body)
        self.web.write(body)
        self._done()

    def begin(self, status: int, block: bytes, producer: Producer, *, told: bool) -> None:
        """Send a response's head; its body follows by `piece`."""
        self._producer = producer
        self._head(status, block)
        self.web.write(b"")
        self.web.registerProducer(self, True)

    def _head(self, status: int, block: bytes) -> None:
        """Give Twisted the head as it shall go out: no type is made up, and no id but ours is told."""
        web, mark = self.web, self._mark
        if mark and self._ids is not None:
            block = self._ids.without(block) + mark
        self.status = status
        web.setResponseCode(status, reason_phrase(status).encode())
        web.defaultContentType = None
        fields: dict[bytes, list[bytes]] = {}
        for name, value in split_block(without_body(status, block)):
            fields.setdefault(name.lower(), []).append(value)
        for name, values in fields.items():
            web.responseHeaders.setRawHeaders(name, values)

    @property
    def _mark(self) -> bytes:
        return b"" if self.exchange is None else self.exchange.request.mark

    def piece(self, data: bytes) -> None:
        """Send a piece of the body."""
        self.sent += len(data)
        self.web.write(data)

    def end(self, trailers: Trailers = ()) -> None:
        """The body is complete; Twisted sends no trailers."""
        self._producer = None
        self.web.unregisterProducer()
        self._done()

    def failed(self, error: Exception) -> None:
        """The body that was being relayed is cut by its upstream."""
        if self.exchange is not None:
            self.exchange.failed(error)

    def refuse(self, status: int, words: str) -> None:
        """Send an error of ours, as the request's Accept has it."""
        request = self.exchange.request if self.exchange is not None else None
        self.answer(status, *refusal(self._flow, request, status, words))

    def inform(self, status: int, block: bytes = b"") -> None:
        """Send an informational head (RFC 9110 section 15.2); 100 Twisted has said itself when it read the body."""
        if status == 100 or self.web.clientproto == b"HTTP/1.0":
            return
        fields = TwistedHeaders()
        for name, value in split_block(block):
            fields.addRawHeader(name, value)
        self.web.channel.writeHeaders(b"HTTP/1.1", b"%d" % status, reason_phrase(status).encode(), fields)

    def switch(self, block: bytes, tunnel: Tunnel) -> None:
        """Never called: no upstream is offered to switch, for Twisted has the connection; see `read_request`."""
        raise AssertionError(f"{tunnel!r} for {self!r}, which offered nothing")

    @property
    def behind(self) -> bool:
        """Whether the client has not taken all that it was sent."""
        return count_unsent(self.web.channel.transport) > 0

    def cut(self) -> None:
        """Close the connection at once, so that the client cannot take the body for a whole one."""
        self._producer = None
        channel = getattr(self.web, "channel", None)
        if channel is not None:
            getattr(channel, "abortConnection", channel.transport.abortConnection)()

    def reached(self) -> Any:
        """The Twisted address of ours that the client has connected to."""
        return self.web.getHost()

    def _done(self) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.finish()
        self.web.finish()

    # As the producer of the response.

    def pauseProducing(self) -> None:
        """The client takes the response more slowly than it comes."""
        if self._producer is not None:
            self._producer.pause()

    def resumeProducing(self) -> None:
        """The client keeps up again."""
        if self._producer is not None:
            self._producer.resume()

    def stopProducing(self) -> None:
        """The connection is lost; `notifyFinish` tells."""

    def __repr__(self) -> str:
        state = f"with {self.exchange!r}" if self.exchange is not None else "gone" if self.gone else "idle"
        return f"<WebClient {self.peer.address}:{self.peer.port} {state}>"


def peer_of(web: Any, prefix: str) -> Peer:
    """The other end of `web`'s connection; `prefix` begins its requests' ids."""
    address = web.getClientAddress()
    scheme = "https" if web.isSecure() else "http"
    return Peer(getattr(address, "host", "unix"), getattr(address, "port", 0), scheme, prefix)


def read_request(web: Any) -> Request:
    """`web` as a `Request`, its body the file that Twisted has collected it in. Raises `ClientError`."""
    size = web.content.seek(0, 2)
    fields = [(name, value) for name, values in web.requestHeaders.getAllRawHeaders() for value in values]
    framed = [name for name, _ in fields if name.lower() in _FRAMING]
    fields = [field for field in fields if field[0].lower() not in _FRAMING]
    if framed or size:
        fields.append((b"Content-Length", b"%d" % size))
    version = b"1.0" if web.clientproto == b"HTTP/1.0" else b"1.1"
    head = b"%b %b HTTP/%b%b\r\n\r\n" % (web.method, web.uri, version, make_block(fields))
    request = parse_request(head, len(head))
    request.file = web.content
    if request.noted.upgrade:
        request.noted.upgrade = b""  # Twisted has the connection: an upstream is not offered to switch
    return request
