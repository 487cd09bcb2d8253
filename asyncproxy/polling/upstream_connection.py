"""One connection to a server: a request out, a reply in, and whether the connection is fit for another.

The rule: a connection goes back to its pool only after a reply that was whole, exactly as long as its framing told, to
a request that was sent whole. Whatever else happens, a time-out, a cancellation, a stray byte, it is closed; so a
forward that is cancelled can never leave half a reply for the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from asyncproxy.exchange.errors import UpstreamError
from asyncproxy.exchange.framing import FramingError
from asyncproxy.exchange.responses import Reply
from asyncproxy.exchange.trailers import passed_trailers
from asyncproxy.exchange.upgrading import SWITCHING, NotAgreed, agreed
from asyncproxy.polling.bodies import BodyStream
from asyncproxy.polling.deadlines import NEVER, TICK, Due
from asyncproxy.polling.http1 import BadReply, Framing, KnownReply, check_reply_beginning, parse_reply, reply_framing
from asyncproxy.polling.pace import Outflow
from asyncproxy.polling.tunnel import Tunnel

if TYPE_CHECKING:
    from asyncproxy.polling.pool import ServerPool
    from asyncproxy.polling.upstream import Forwarding

HEAD_LIMIT: Final = 64 * 1024
INFORMATIONAL_LIMIT: Final = 32
"""1xx replies that may come before the final one; together they are no longer than its head may be."""


@implementer(IPushProducer)
class UpstreamConnection(Due):
    """A plain Twisted protocol. It serves one forward at a time, or idles in its pool."""

    __slots__ = (
        "_buffer",
        "_closing",
        "_framing",
        "_full",
        "_head",
        "_informational",
        "_known",
        "_method",
        "_outflow",
        "_slot",
        "due",
        "forwarding",
        "pool",
        "served",
        "stream",
        "transport",
    )

    def __init__(self, pool: ServerPool) -> None:
        self.due = self._slot = NEVER
        self.pool = pool
        self.transport: Any = None
        self.forwarding: Forwarding | None = None
        self.stream: BodyStream | None = None
        """The body of the reply that is being received."""
        self.served = 0
        """Replies received whole on this connection."""
        self._buffer = b""
        self._framing: Framing | None = None
        self._head: Reply | None = None
        self._known: KnownReply | None = None
        self._method = ""
        self._informational = 0
        self._closing = self._full = False
        self._outflow: Outflow | None = None
        """Who watches that the upstream takes requests' bodies, once it has been slow."""

    def makeConnection(self, transport: Any) -> None:
        """Called by the transport: the connection is there."""
        self.transport = transport
        transport.registerProducer(self, True)
        self.pool.connected(self)

    def send(self, forwarding: Forwarding, head: bytes, method: str) -> None:
        """Begin `forwarding`'s request with `head`; its body follows by `write`."""
        self.forwarding = forwarding
        self._method = method
        self._informational = 0
        self.transport.write(head)
        if forwarding.sent:
            pool = self.pool
            self.due = due = pool.seconds() + pool.first_byte  # as `Deadlines.set`, without the call
            if due < self._slot - TICK:
                pool.deadlines.place(self)
        else:
            self.due = NEVER  # its body is awaited from the client: the upstream has nothing to answer yet

    def await_reply(self) -> None:
        """The request is written: it is the upstream's turn, once it has taken most of it."""
        if self._head is None and not self._full:
            self.pool.deadlines.set(self, self.pool.first_byte)

    def forget_head(self) -> None:
        """Read the next reply's head, though it be one that is known."""
        self._known = None

    def await_go_ahead(self) -> None:
        """The upstream is to say whether it wants the body; if it says nothing for a while, it gets it."""
        self.pool.deadlines.set(self, self.pool.settings.expect_timeout)

    def await_body(self) -> None:
        """The body comes from the client: the upstream has nothing to answer yet."""
        if self._head is None:
            self.due = NEVER

    def write(self, data: bytes) -> None:
        """Send a piece of the request's body, framed already."""
        if self.forwarding is not None:
            self.transport.write(data)

    # The reply in.

    def dataReceived(self, data: bytes) -> None:
        """Called by the transport."""
        try:
            if self._framing is not None:
                self._take_body(data)
            elif self.forwarding is not None:
                known = self._known
                reply = None if known is None or self._buffer or self._method == "HEAD" else known.again(data)
                if reply is None:
                    self._take_head(data)
                else:
                    self._whole(reply, reply.stream, True)
            elif not self._closing:
                self.close()  # bytes that nobody asked for: the next reply could not be told from them
        except (BadReply, FramingError) as why:
            self._fail(UpstreamError("bad", "the upstream's reply is malformed", str(self.pool), str(why)))

    def _take_head(self, data: bytes) -> None:
        looked_at = len(self._buffer)
        if looked_at:
            data = self._buffer + data
            self._buffer = b""
        end = data.find(b"\r\n\r\n", max(0, looked_at - 3)) + 4
        if end < 4 or end > HEAD_LIMIT:
            if len(data) > HEAD_LIMIT:
                raise BadReply(f"its head is longer than {HEAD_LIMIT} bytes")
            check_reply_beginning(data, looked_at)
            self._buffer = data
            return
        head = parse_reply(data[:end], self._method)
        rest = data[end:]
        forwarding = self.forwarding
        ids = None if forwarding is None else forwarding.owner.flow.ids
        if ids is not None:  # what the server says of the request's id: it is ours to tell
            head.passed = ids.without(head.passed)
        if self.served and KnownReply.repeats(head):
            self._known = KnownReply(data[:end], head)
        if head.status < 200:
            self._take_informational(head, end, rest)
        elif head.length == len(rest) and not head.bodiless:  # the usual reply: head and body in one piece
            self._whole(head, rest, head.keep_alive)
        else:
            self._begin_body(head, rest)

    def _take_informational(self, head: Reply, size: int, rest: bytes) -> None:
        """A 1xx of `size` bytes is not the reply; the reply is still to come, and may take as long as before.

        But for a 101: it is the end of HTTP here.
        """
        if head.status == SWITCHING:
            self._switched(head, rest)
            return
        self._informational += max(size, HEAD_LIMIT // INFORMATIONAL_LIMIT)
        forwarding = self.forwarding
        assert forwarding is not None
        if self._informational > HEAD_LIMIT:
            raise BadReply(f"more than {INFORMATIONAL_LIMIT} informational replies before it, or {HEAD_LIMIT} bytes")
        if forwarding.sent:
            self.await_reply()
        elif head.status == 100:
            self.await_body()
        forwarding.informed(head)
        if rest and self.forwarding is not None:
            self._take_head(rest)

    def _switched(self, head: Reply, rest: bytes) -> None:
        """The upstream speaks another protocol from now on: what was offered, or it breaks the rules."""
        forwarding = self.forwarding
        assert forwarding is not None
        try:
            protocol = agreed(head, head.minor, forwarding.offer)
        except NotAgreed as why:
            raise BadReply(str(why)) from None
        if not forwarding.sent:
            raise BadReply("it switches protocols before it has the whole request")
        self.forwarding = None
        self.pool.deadlines.remove(self)
        head.stream = Tunnel(forwarding, self, protocol, rest)
        forwarding.arrived(head)

    def _whole(self, head: Reply, body: bytes, reusable: bool) -> None:
        forwarding = self.forwarding
        assert forwarding is not None
        self.forwarding = None
        self.served += 1
        if reusable and forwarding.sent:
            self.pool.put(self)
        else:
            self.close()
        head.stream = body
        forwarding.arrived(head)

    def _begin_body(self, head: Reply, rest: bytes) -> None:
        forwarding = self.forwarding
        assert forwarding is not None
        framing = reply_framing(head)
        if framing.done:
            self._whole(head, b"", head.keep_alive and not rest)
            return
        self._head, self._framing = head, framing
        self.stream = stream = BodyStream(self)
        self.pool.deadlines.set(self, self.pool.silence)
        if rest:
            self._take_body(rest)
        head.stream = stream
        forwarding.arrived(head)

    def _take_body(self, data: bytes) -> None:
        framing, stream = self._framing, self.stream
        assert framing is not None
        assert stream is not None
        piece = framing.feed(data)
        if framing.done:
            self._body_whole(framing, stream, piece)
            return
        self.pool.deadlines.set(self, self.pool.silence)
        if piece:
            stream.feed(piece)

    def _body_whole(self, framing: Framing, stream: BodyStream, piece: bytes) -> None:
        head, forwarding = self._head, self.forwarding
        assert head is not None
        assert forwarding is not None
        if framing.trailers:
            ids = forwarding.owner.flow.ids
            head.take_trailers(passed_trailers(framing.trailers, head.noted.connection, ids))
        stream.let_go()
        self.forwarding = self.stream = self._framing = self._head = None
        self.served += 1
        if head.keep_alive and not framing.surplus and forwarding.sent:
            self.pool.put(self)
        else:
            self.close()
        forwarding.finished()  # before the end: it ends the exchange, which cancels what is not through
        if piece:
            stream.feed(piece)
        stream.end(head.trailers.raw)

    # Its end.

    def connectionLost(self, reason: Any) -> None:
        """Called by the transport, once."""
        self._closing = True
        if self._outflow is not None:
            self._outflow.stop()
        self.pool.lost(self)
        head, stream, forwarding = self._head, self.stream, self.forwarding
        if head is not None and stream is not None and head.ends_by_close and reason.check(ConnectionDone):
            self.forwarding = self.stream = self._head = self._framing = None
            self.pool.deadlines.remove(self)
            stream.end()
            if forwarding is not None:
                forwarding.finished()
            return
        words = "the upstream closed the connection before its reply was whole"
        self._fail(UpstreamError("reset", words, str(self.pool)))

    def expired(self) -> None:
        """A deadline passed: idle in the pool, or silent when it should speak."""
        if self.forwarding is None:
            if self._closing:
                self.transport.abortConnection()
            else:
                self.close()
        elif self._head is None and self.forwarding.expecting and not self._full:
            self.await_body()
            self.forwarding.go_ahead()
        elif self._head is None:
            self._too_late("first-byte", f"did not begin its reply within {self.pool.first_byte:g} s")
        else:
            self._too_late("idle", f"fell silent in its reply for {self.pool.silence:g} s")

    def _too_late(self, which: str, words: str) -> None:
        self._fail(UpstreamError(f"timeout:{which}", f"the upstream {words}", str(self.pool)))

    def _fail(self, error: UpstreamError) -> None:
        """Whoever waits for this connection hears `error`; the connection is gone."""
        forwarding, stream = self.forwarding, self.stream
        started = self._head is not None or bool(self._buffer or self._informational)
        self.abort()
        if forwarding is None:
            return
        if stream is None or not forwarding.over:  # or the body broke right behind the head, which nobody has yet
            forwarding.lost(error, self, started)
        else:
            forwarding.finished()
            stream.fail(error)

    def close(self) -> None:
        """Close once everything is written; what hangs is aborted."""
        self._closing = True
        self.pool.forget(self)
        self.pool.deadlines.set(self, self.pool.settings.connect_timeout)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close now."""
        self._closing = True
        if self._outflow is not None:
            self._outflow.stop()
        self.forwarding = self.stream = self._framing = self._head = None
        self.pool.deadlines.remove(self)
        self.pool.forget(self)
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    # As the source of the reply's body.

    def pause(self) -> None:
        """Read no more for now: the client is slower than the upstream, whose silence is then not its own."""
        self.due = NEVER
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        self.pool.deadlines.set(self, self.pool.silence)
        self.transport.resumeProducing()

    def drop(self) -> None:
        """Nobody wants the rest of the reply."""
        forwarding = self.forwarding
        self.abort()
        if forwarding is not None:
            forwarding.finished()

    # As the producer of the request's body: called by the transport when the upstream is slow or keeps up again.

    def pauseProducing(self) -> None:
        """The upstream takes the body more slowly than the client sends it."""
        self._full = True
        if self.forwarding is not None:
            self.forwarding.pause_body()
            if self._head is None:
                self.due = NEVER
                self._watch()

    def resumeProducing(self) -> None:
        """The upstream keeps up again."""
        self._full = False
        if self._outflow is not None:
            self._outflow.keeps_up()
        forwarding = self.forwarding
        if forwarding is None:
            return
        forwarding.resume_body()
        if forwarding.expecting:
            self.await_go_ahead()
        elif forwarding.sent:
            self.await_reply()
        else:
            self.await_body()

    def stopProducing(self) -> None:
        """The transport is lost; `connectionLost` tells."""

    # As the sender that an outflow watches.

    def _watch(self) -> None:
        if self._outflow is None:
            self._outflow = Outflow(self, self.pool.deadlines)
        self._outflow.behind()

    def patience(self) -> tuple[float, int, float]:
        """See `pace.Sender`; of a server no rate is asked."""
        return self.pool.patience, 0, 0.0

    def stalled(self, _why: str, words: str) -> None:
        """The upstream does not take the request's body; one that answers meanwhile need not."""
        if self.forwarding is not None and self._head is None:
            self._too_late("send", words)

    def __repr__(self) -> str:
        state = "idle" if self.forwarding is None else f"serving {self.forwarding.request!r}"
        return f"<UpstreamConnection to {self.pool}, {'closing' if self._closing else state}, {self.served} served>"
