"""The client side: HTTP/1.1 connections, one request of each at a time, its limits and time-outs.

The rule: a connection reads on while its request is answered, so that a hang-up is noticed at once; what comes early is
kept, up to `pipeline_buffer`. Requests are answered in order. A request that breaks the grammar is answered once, and
nothing after it is read as a request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from asyncproxy.exchange.errors import ClientError, ClientGone, ClientStalled, ProxyError
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.peers import Peer
from asyncproxy.exchange.upgrading import SWITCHING
from asyncproxy.polling.deadlines import NEVER, TICK
from asyncproxy.polling.failures import blame
from asyncproxy.polling.http1 import KnownRequest, check_beginning, parse_request
from asyncproxy.polling.pace import Outflow
from asyncproxy.polling.receiving import DROPPED, Receiving
from asyncproxy.polling.unsent import count_unsent, count_untaken

if TYPE_CHECKING:
    from asyncproxy.polling.listening import Door
    from asyncproxy.polling.tunnel import Tunnel

_CR: Final = 13
_EMPTY_LINES: Final = re.compile(rb"\A(?:\r\n)+")
_IDLE, _HEAD, _BUSY, _CLOSING = range(4)
_NO_REQUEST: Final = Request("GET", b"/")
_NO_PEER: Final = Peer()


class ClientConnection(Receiving):
    """One connection of a client: a plain Twisted protocol, and the `Client` of its exchanges."""

    __slots__ = (
        "_known",
        "_looked_at",
        "_looping",
        "_number",
        "_outflow",
        "_paused",
        "_phase",
        "_slot",
        "due",
    )

    def __init__(self, door: Door) -> None:
        self.due = self._slot = NEVER
        self.door = door
        self.transport = self.exchange = None
        self.request = _NO_REQUEST
        self.peer = _NO_PEER
        self._phase = _IDLE
        self._known: KnownRequest | None = None
        self._looked_at = 0
        """Bytes of the head that is being read which were found good."""
        self._number = 0
        """Of the latest request, from 1."""
        self._buffer = b""
        self._framing = self._producer = self._body = self._pace = None
        self._body_size = 0
        self._outflow: Outflow | None = None
        """Who watches that the client takes its answers, once it has been slow."""
        self._full = False
        self._looping = False
        self._paused = False
        self._continues = False
        self._chunked = False
        self.status = 0
        self.sent = 0

    # Twisted's side.

    def makeConnection(self, transport: Any) -> None:
        """Called by the transport: the connection is there."""
        self.greet(transport, self.door.peer_of(transport.getPeer()))

    def greet(self, transport: Any, peer: Peer) -> None:
        """The connection is there, and `peer` is at its other end."""
        self.transport = transport
        self.meet(peer)
        transport.registerProducer(self, True)
        door = self.door
        door.connections.add(self)
        door.deadlines.set(self, door.limits.first_request_timeout)
        if door.crowd is not None and (error := door.crowd.come(self, "" if peer.shared else peer.address)) is not None:
            self._refuse_alone(error)

    def meet(self, peer: Peer) -> None:
        """From now on `peer` is who is at the other end; what is known of its requests may be told otherwise."""
        self.peer = peer
        self._known = None

    def dataReceived(self, data: bytes) -> None:
        """Called by the transport."""
        if (
            self._phase == _IDLE
            and not self._buffer
            and not self._looping
            and data.find(b"\r\n\r\n") + 4 == len(data) > 4
            and data[0] != _CR
        ):
            self._read_head(data)  # the usual: one whole head and nothing else
        elif self._framing is not None:
            self._take_body(data)
        elif self._phase != _CLOSING:
            self._buffer += data
            if self._phase != _BUSY and not self._looping:
                self._read_requests()
            elif len(self._buffer) > self.door.limits.pipeline_buffer:
                self._hold()

    def connectionLost(self, reason: Any) -> None:
        """Called by the transport, once."""
        door = self.door
        door.deadlines.remove(self)
        door.connections.discard(self)
        if door.crowd is not None:
            door.crowd.leave(self)
        if self._outflow is not None:
            self._outflow.stop()
        self._closing()
        self._framing = self._producer = None
        body, self._body = self._body, None
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.left()
        if body is not None:
            body.fail(ClientGone("the client closed its connection in its request's body"))

    def expired(self) -> None:
        """A deadline passed: idle for too long, a head or a body that does not come, or a close that hangs."""
        if self._phase == _CLOSING:
            if count_untaken(self.transport):  # slow, but perhaps it takes what is left
                self._watch().behind()
            else:
                self.transport.abortConnection()
        elif self._framing is not None:
            self._body_broke(self._body_late())
        elif self._phase == _HEAD:
            words = f"the request's head did not come within {self.door.limits.head_timeout:g} s"
            self._refuse_alone(ClientError(408, words, detail="limits.head_timeout"))
        elif self.exchange is None:
            if self.request is _NO_REQUEST:
                words = f"sent no request within {self.door.limits.first_request_timeout:g} s"
                self.door.reached.note(self.peer.address, ProxyError(words, "limits.first_request_timeout"))
            else:
                self.door.reached.count("limits.keep_alive")
            self._close()

    def drain(self, patience: float) -> None:
        """No request comes after the one that is answered now; one whose first is on its way has `patience` seconds."""
        if self._phase == _BUSY:
            self.request.keep_alive = False
        elif self._phase == _IDLE and self.request is not _NO_REQUEST:
            self._close()
        elif self._phase != _CLOSING:
            self.door.deadlines.set(self, patience)

    @property
    def owes(self) -> bool:
        """Whether the answer has been given, but not all of it is out."""
        return self._phase == _CLOSING and count_unsent(self.transport) > 0

    # Requests in.

    def _read_requests(self) -> None:
        """Take requests out of the buffer, as long as each is answered at once."""
        self._looping = True
        while self._buffer and not self._full and self._phase in (_IDLE, _HEAD) and self._read_request():
            pass
        self._looping = False

    def _read_request(self) -> bool:
        """Take one request out of the buffer; False if its head is not whole."""
        data = self._buffer
        if data[0] == _CR:  # RFC 9112 section 2.2: empty lines before a request are ignored
            data = self._buffer = _EMPTY_LINES.sub(b"", data)
            if data in (b"", b"\r"):
                return False
        end = data.find(b"\r\n\r\n", max(0, self._looked_at - 3) if self._phase == _HEAD else 0) + 4
        if end < 4:
            self._await_head(data)
            return False
        self._buffer = data[end:]
        self._read_head(data[:end])
        return True

    def _read_head(self, data: bytes) -> None:
        """A head is whole: read it and make it an exchange, or refuse it."""
        door = self.door
        limits = door.limits
        if len(data) > limits.head:
            self._await_head(data)
            return
        self._phase = _BUSY
        self.due = NEVER
        self._number = number = self._number + 1
        known = self._known
        request = None if known is None else known.again(data, limits.request_line)
        try:
            if request is None:
                request = self._parse(data)
                if request.length != 0:
                    self._expect_body(request)
            self.request = request
            if number >= door.last_number:
                self._last(request)
            self.exchange = exchange = door.admit(self, request)
        except ClientError as error:
            self._refuse_alone(error, request)
            return
        if self._buffer and self._framing is not None:
            data, self._buffer = self._buffer, b""
            self._take_body(data)
        exchange.flow.start(exchange)

    def _last(self, request: Request) -> None:
        """No other request may follow `request`."""
        request.keep_alive = False
        if self.door.keep_alive:
            self.door.reached.count("limits.requests_per_connection")

    def _parse(self, head: bytes) -> Request:
        """Read a head that is new to this connection; from the second on, the next may be like it."""
        limits = self.door.limits
        if head.count(b"\r\n") - 2 > limits.fields:
            words = f"the request has more than {limits.fields} header fields"
            raise ClientError(431, words, detail="limits.fields")
        request = parse_request(head, limits.request_line)
        if self.request is not _NO_REQUEST and KnownRequest.repeats(request):
            self._known = KnownRequest(request)
        return request

    def _await_head(self, data: bytes) -> None:
        """The head is not whole yet, or is too long."""
        limits = self.door.limits
        looked_at = self._looked_at if self._phase == _HEAD else 0
        try:
            check_beginning(data, limits.request_line, limits.head, looked_at)
        except ClientError as error:
            self._refuse_alone(error)
            return
        self._looked_at = len(data)
        if self._phase == _IDLE:
            self._phase = _HEAD
            self.door.deadlines.set(self, limits.head_timeout)

    # Between requests.

    def _refuse_alone(self, error: ProxyError, request: Request | None = None) -> None:
        """Refuse what did not become an exchange; after a broken rule nothing more is read as a request.

        Its `request`, as far as it could be read, is what the access log tells.
        """
        if error.status not in (404, 405):
            self._framing = DROPPED
        self.door.reached.note(self.peer.address, error)
        request = request or Request("-", b"-", b"")
        if not request.number:
            self.door.name(self, request)
        self.request = request
        self._body = None
        self.refuse(error.status, error.words, error.fields)
        books = self.door.flow.books
        if books is not None:
            books.refused(request, error, self.sent)

    def _done(self) -> None:
        """The response's last byte is written: on to the next request, or to the close."""
        exchange, self.exchange = self.exchange, None
        self._producer = None
        if exchange is not None:
            exchange.finish()
        if self._framing is not None:
            self._linger()
        elif not self.request.keep_alive:
            self._close()
        else:
            self._phase = _IDLE
            door = self.door
            self.due = due = door.seconds() + door.keep_alive  # as `Deadlines.set`, without the call
            if due < self._slot - TICK:
                door.deadlines.place(self)
            if self._full:
                self._hold()
            elif self._paused or self._buffer:
                self._hear_on()

    def _hold(self) -> None:
        """Read nothing more: the client asks for more than is answered, or than it takes of its answers."""
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def _hear_on(self) -> None:
        """Go on with what was kept, and with what comes."""
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        if self._buffer and not self._looping:
            self._read_requests()

    def pauseProducing(self) -> None:
        """The client takes its responses more slowly than they come."""
        super().pauseProducing()
        self._watch().behind()
        if self._phase in (_IDLE, _HEAD):
            self._hold()

    def resumeProducing(self) -> None:
        """The client keeps up again."""
        super().resumeProducing()
        if self._outflow is not None:
            self._outflow.keeps_up()
        if self._phase in (_IDLE, _HEAD):
            self._hear_on()

    def _is_busy(self) -> bool:
        return self._phase == _BUSY

    # As the sender that an outflow watches.

    def _watch(self) -> Outflow:
        """Who watches that the client takes its answers."""
        outflow = self._outflow
        if outflow is None:
            self._outflow = outflow = Outflow(self, self.door.deadlines)
        return outflow

    def patience(self) -> tuple[float, int, float]:
        """See `pace.Sender`."""
        limits = self.door.limits
        return limits.send_timeout, limits.send_rate, limits.body_rate_grace

    def stalled(self, why: str, words: str) -> None:
        """The client does not take its answers: it is cut."""
        error = ClientStalled(f"the client {words}", f"limits.{why}")
        self.door.reached.note(self.peer.address, error)
        if self.exchange is not None:
            blame(self.exchange, error)
        self.transport.abortConnection()

    def switch(self, block: bytes, tunnel: Tunnel) -> None:
        """Send a 101 with the fields of `block`; from now on the connection is one end of `tunnel`."""
        self.inform(SWITCHING, block + self.request.mark)
        self.status, self.sent = SWITCHING, 0
        self.door.deadlines.remove(self)
        if self._outflow is not None:
            self._outflow.stop()
        early, self._buffer = self._buffer, b""
        tunnel.open(self, early)

    # The end.

    def _closing(self) -> None:
        """Nothing more is read as a request."""
        self._phase = _CLOSING
        self._buffer = b""

    def _close(self) -> None:
        """Close once everything is written."""
        self._closing()
        self.door.deadlines.set(self, self.door.limits.send_timeout)
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        if count_unsent(self.transport):
            self._watch().behind()

    def _linger(self) -> None:
        """End our side, and drop what the client still sends, or its kernel would throw our answer away."""
        linger = self.door.limits.linger
        self._framing = self._body = None
        if not linger:
            self._close()
            return
        self._closing()
        self.door.deadlines.set(self, linger)
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()
        self.transport.resumeProducing()

    def __repr__(self) -> str:
        state = ("idle", "reading a head", f"with {self.exchange!r}", "closing")[self._phase]
        return f"<ClientConnection {self.peer.address}:{self.peer.port} {state}>"
