"""The client side: HTTP/1.1 connections, one request of each at a time, its limits and time-outs.

The rule: a connection reads on while its request is answered, so that a hang-up is noticed at once; what comes early is
kept, up to `pipeline_buffer`. Requests are answered in order. A request that breaks the grammar is answered once, and
nothing after it is read as a request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from asyncproxy.exchange.errors import ClientError, ClientGone
from asyncproxy.exchange.framing import FramingError, UntilClose
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.peers import Peer
from asyncproxy.polling.answering import Answering
from asyncproxy.polling.bodies import BodyStream
from asyncproxy.polling.deadlines import NEVER, TICK
from asyncproxy.polling.http1 import Framing, KnownRequest, check_beginning, parse_request, request_framing
from asyncproxy.polling.unsent import count_unsent

if TYPE_CHECKING:
    from asyncproxy.polling.listening import Door

LINGER: Final = 2.0
"""Seconds that a refused body is read and dropped, so that its client gets to see the answer (RFC 9112 section 9.6)."""
FLUSH: Final = 60.0
"""Seconds in which a client has to take something of what is left when its connection is to be closed."""

_CR: Final = 13
_EMPTY_LINES: Final = re.compile(rb"\A(?:\r\n)+")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_DROPPED: Final = UntilClose()
"""The framing of a body that broke a rule: whatever comes is dropped until the connection ends."""
_IDLE, _HEAD, _BUSY, _CLOSING = range(4)
_NO_REQUEST: Final = Request("GET", b"/")
_NO_PEER: Final = Peer()


class ClientConnection(Answering):
    """One connection of a client: a plain Twisted protocol, and the `Client` of its exchanges."""

    __slots__ = (
        "_body",
        "_body_size",
        "_known",
        "_left",
        "_looping",
        "_paused",
        "_phase",
        "_slot",
        "due",
        "peer",
    )

    def __init__(self, door: Door) -> None:
        self.due = self._slot = NEVER
        self.door = door
        self.transport = self.exchange = None
        self.request = _NO_REQUEST
        self.peer = _NO_PEER
        self._phase = _IDLE
        self._known: KnownRequest | None = None
        self._buffer = b""
        """Bytes of heads that are not read yet."""
        self._framing = self._producer = None
        self._body: BodyStream | None = None
        self._body_size = 0
        self._full = False
        self._looping = False
        self._paused = False
        self._left = 0  # bytes not taken when last looked at, once the connection is to be closed
        self._continues = False
        self._chunked = False
        self.status = 0
        self.sent = 0

    # Twisted's side.

    def makeConnection(self, transport: Any) -> None:
        """Called by the transport: the connection is there."""
        self.transport = transport
        self.meet(self.door.peer_of(transport.getPeer()))
        transport.registerProducer(self, True)
        self.door.connections.add(self)
        self.door.deadlines.set(self, self.door.limits.head_timeout)

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
        self.door.deadlines.remove(self)
        self.door.connections.discard(self)
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
            before, self._left = self._left, count_unsent(self.transport)
            if self._left in (0, before):
                self.transport.abortConnection()
            else:  # slow, but it takes what is left
                self.door.deadlines.set(self, FLUSH)
        elif self._framing is not None:
            self._body_broke(ClientError(408, "the request's body stopped coming"))
        elif self._buffer and self.exchange is None:
            self._refuse_alone(ClientError(408, "the request's head did not come in time"))
        elif self.exchange is None:
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
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            self._await_head(data)
            return False
        self._buffer = data[end:]
        self._read_head(data[:end])
        return True

    def _read_head(self, data: bytes) -> None:
        """A head is whole: read it and make it an exchange, or refuse it."""
        limits = self.door.limits
        if len(data) > limits.head:
            self._await_head(data)
            return
        self._phase = _BUSY
        self.due = NEVER
        known = self._known
        request = None if known is None else known.again(data, limits.request_line)
        try:
            if request is None:
                request = self._parse(data)
                if request.length != 0:
                    self._expect_body(request)
            self.request = request
            self.exchange = exchange = self.door.admit(self, request)
        except ClientError as error:
            self._refuse_alone(error, request)
            return
        if self._buffer and self._framing is not None:
            data, self._buffer = self._buffer, b""
            self._take_body(data)
        exchange.flow.start(exchange)

    def _parse(self, head: bytes) -> Request:
        """Read a head that is new to this connection; from the second on, the next may be like it."""
        request = parse_request(head, self.door.limits.request_line)
        if self.request is not _NO_REQUEST and KnownRequest.repeats(request):
            self._known = KnownRequest(request)
        return request

    def _expect_body(self, request: Request) -> None:
        """A body follows. Raises `ClientError` if it is told to be too long."""
        limit = self.door.limits.body
        if limit and request.length is not None and request.length > limit:
            raise ClientError(413, f"the request's body is longer than {limit} bytes")
        self._framing = request_framing(request)
        self._body_size = 0
        self._body = request.stream = BodyStream(self)
        self._continues = request.expects_continue
        if request.expects_continue:
            self._body.pause()
        else:
            self.door.deadlines.set(self, self.door.limits.body_idle)

    def _await_head(self, data: bytes) -> None:
        """The head is not whole yet, or is too long."""
        limits = self.door.limits
        try:
            check_beginning(data, limits.request_line, limits.head)
        except ClientError as error:
            self._refuse_alone(error)
            return
        if self._phase == _IDLE:
            self._phase = _HEAD
            self.door.deadlines.set(self, limits.head_timeout)

    def _take_body(self, data: bytes) -> None:
        """Bytes of the request's body."""
        framing, body = self._framing, self._body
        assert framing is not None
        if framing is _DROPPED:
            return
        if self._continues and body is not None:  # the client does not wait for 100 Continue
            self._continues = False
            body.resume()
        try:
            piece = framing.feed(data)
            self._body_size += len(piece)
            if 0 < self.door.limits.body < self._body_size:
                raise ClientError(413, f"the request's body is longer than {self.door.limits.body} bytes")
        except FramingError as why:
            self._body_broke(ClientError(400, f"malformed body: {why}"))
        except ClientError as error:
            self._body_broke(error)
        else:
            self._pass_body(framing, body, piece)

    def _pass_body(self, framing: Framing, body: BodyStream | None, piece: bytes) -> None:
        """Hand `piece` to whoever takes the body; after the last one the connection is free for what comes next."""
        if framing.done:
            self._framing = self._body = None
            self._buffer = framing.surplus
            if body is not None:
                body.let_go()
            self.due = NEVER
        else:
            self.door.deadlines.set(self, self.door.limits.body_idle)
        if body is not None:
            if piece:
                body.feed(piece)
            if framing.done:
                body.end()

    def _body_broke(self, error: ClientError) -> None:
        """The request's body breaks a rule: whoever takes it hears so; nothing after it is read as a request."""
        self.request.keep_alive = False
        self._framing = _DROPPED
        self._buffer = b""
        self.due = NEVER
        body, self._body = self._body, None
        if body is not None:
            body.fail(error)

    # As the source of the request's body.

    def pause(self) -> None:
        """Whoever takes the body is slow."""
        if not self._continues and self._phase == _BUSY:
            self.due = NEVER
            self.transport.pauseProducing()

    def resume(self) -> None:
        """The body is wanted, or wanted again."""
        if self._phase != _BUSY:
            return
        if self._framing is not None:
            self.door.deadlines.set(self, self.door.limits.body_idle)
        if self._continues:
            self._continues = False
            self.transport.write(_CONTINUE)
        self.transport.resumeProducing()

    def drop(self) -> None:
        """Nobody wants the rest of the body: it is read to its end and dropped."""
        self._body = None

    # Between requests.

    def _refuse_alone(self, error: ClientError, request: Request | None = None) -> None:
        """Refuse what did not become an exchange; after a broken rule nothing more is read as a request.

        Its `request`, as far as it could be read, is what the access log tells.
        """
        if error.status not in (404, 405):
            self._framing = _DROPPED
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
        if self._phase in (_IDLE, _HEAD):
            self._hold()

    def resumeProducing(self) -> None:
        """The client keeps up again."""
        super().resumeProducing()
        if self._phase in (_IDLE, _HEAD):
            self._hear_on()

    def _closing(self) -> None:
        """Nothing more is read as a request."""
        self._phase = _CLOSING
        self._buffer = b""

    def _close(self) -> None:
        """Close once everything is written."""
        self._closing()
        self.door.deadlines.set(self, FLUSH)
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._left = count_unsent(self.transport)

    def _linger(self) -> None:
        """End our side, and drop what the client still sends, or its kernel would throw our answer away."""
        self._closing()
        self._framing = self._body = None
        self.door.deadlines.set(self, LINGER)
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()
        self.transport.resumeProducing()

    def __repr__(self) -> str:
        state = ("idle", "reading a head", f"with {self.exchange!r}", "closing")[self._phase]
        return f"<ClientConnection {self.peer.address}:{self.peer.port} {state}>"
