"""The upstream side: one connection, and one forward over it, with its deadlines, its one retry and its cancellation.

The rule: a connection goes back to the pool only after a reply that was whole, exactly as long as its framing told,
to a request that was sent whole. Whatever else happens, time-out, cancellation, a stray byte, it is closed; so a
forward that is cancelled can never leave half a reply for the next one.

A `Forwarding` asks the pool (pool.py) for a connection, sends the request, and wakes whoever waits with a `Reply` as
soon as its head is there. The body then flows through a `BodyStream`, whose source is the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from asyncproxy.exchange.errors import UpstreamError
from asyncproxy.exchange.forwarding import Sifted, client_lines, sift, upstream_head
from asyncproxy.exchange.framing import LAST_CHUNK, FramingError, chunk
from asyncproxy.exchange.messages import Reply, Request
from asyncproxy.exchange.waits import Forward
from asyncproxy.polling.bodies import HIGH_WATER, BodyStream
from asyncproxy.polling.deadlines import NEVER, TICK, Due
from asyncproxy.polling.http1 import BadReply, Framing, ReplyHead, parse_reply

if TYPE_CHECKING:
    from asyncproxy.polling.pool import ServerPool

HEAD_LIMIT: Final = 64 * 1024
IDEMPOTENT: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PROPFIND", "SEARCH", "REPORT"))
"""Methods that may be sent again when a kept-alive connection turns out closed (RFC 9110 section 9.2.2)."""

Wake = Callable[[Any, BaseException | None], None]


@implementer(IPushProducer)
class UpstreamConnection(Due):
    """A connection to a server: a plain Twisted protocol. It serves one forward at a time, or idles in its pool."""

    __slots__ = ("_buffer", "_framing", "_head", "_method", "forwarding", "pool", "served", "stream", "transport")

    def __init__(self, pool: ServerPool) -> None:
        super().__init__()
        self.pool = pool
        self.transport: Any = None
        self.forwarding: Forwarding | None = None
        self.served = 0
        """Replies received whole on this connection."""
        self._buffer = b""
        self._framing: Framing | None = None
        self._head: ReplyHead | None = None
        self.stream: BodyStream | None = None
        self._method = ""

    def makeConnection(self, transport: Any) -> None:
        """Called by the transport: the connection is there."""
        self.transport = transport
        transport.registerProducer(self, True)
        self.pool.connected(self)

    def send(self, forwarding: Forwarding, head: bytes, method: str) -> None:
        """Begin `forwarding`'s request with `head`; its body follows by `write`."""
        self.forwarding = forwarding
        self._method = method
        self.transport.write(head)
        self.pool.deadlines.set(self, self.pool.first_byte)

    def write(self, data: bytes) -> None:
        """Send a piece of the request's body, framed already."""
        if self.forwarding is not None:
            self.transport.write(data)
            if self._head is None:
                self.pool.deadlines.set(self, self.pool.first_byte)

    def dataReceived(self, data: bytes) -> None:
        """Called by the transport."""
        if self.forwarding is None and self.stream is None:
            self.close()  # bytes that nobody asked for: the next reply could not be told from them
            return
        try:
            if self._framing is not None:
                self._take_body(data)
            else:
                self._take_head(data)
        except (BadReply, FramingError) as why:
            self._fail(UpstreamError("bad", f"the upstream's reply is malformed: {why}", str(self.pool)))

    def _take_head(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4 or end > HEAD_LIMIT:
            if len(data) > HEAD_LIMIT:
                raise BadReply(f"its head is longer than {HEAD_LIMIT} bytes")
            self._buffer = data
            return
        head = parse_reply(data[:end], self._method)
        rest = data[end:]
        if head.status < 200:
            if head.status == 101:
                raise BadReply("it switches protocols, which nobody asked for")
            if rest:
                self._take_head(rest)
            return
        self._head = head
        if not head.bodiless and head.length == len(rest):
            self._reply_whole(head, rest)
        else:
            self._begin_body(head, rest)

    def _reply_whole(self, head: ReplyHead, body: bytes) -> None:
        """The usual reply: head and body in one piece."""
        forwarding = self.forwarding
        assert forwarding is not None
        self._release(head.keep_alive and forwarding.sent)
        forwarding.arrived(head, body)

    def _begin_body(self, head: ReplyHead, rest: bytes) -> None:
        forwarding = self.forwarding
        assert forwarding is not None
        self._framing = framing = head.body()
        if framing.done:
            self._release(head.keep_alive and forwarding.sent and not rest)
            forwarding.arrived(head, b"")
            return
        self.stream = stream = BodyStream(self)
        self.pool.deadlines.set(self, self.pool.silence)
        if rest:
            self._take_body(rest)
        forwarding.arrived(head, stream)

    def _take_body(self, data: bytes) -> None:
        framing, stream = self._framing, self.stream
        assert framing is not None
        assert stream is not None
        piece = framing.feed(data)
        if not framing.done:
            self.pool.deadlines.set(self, self.pool.silence)
            if piece:
                stream.feed(piece)
            return
        head, forwarding = self._head, self.forwarding
        assert head is not None
        self._release(head.keep_alive and not framing.surplus and (forwarding is None or forwarding.sent))
        if piece:
            stream.feed(piece)
        stream.end()
        if forwarding is not None:
            forwarding.finished()

    def _release(self, reusable: bool) -> None:
        """The reply is whole: into the pool, or away."""
        self.forwarding = self._framing = self._head = self.stream = None
        self.served += 1
        if reusable:
            self.pool.put(self)
        else:
            self.close()

    def connectionLost(self, reason: Any) -> None:
        """Called by the transport, once."""
        self.pool.deadlines.remove(self)
        self.pool.lost(self)
        stream, framing = self.stream, self._framing
        if stream is not None and framing is not None and self._head is not None and self._ends_by_close():
            forwarding, self.forwarding, self.stream = self.forwarding, None, None
            stream.end()
            if forwarding is not None:
                forwarding.finished()
            return
        self._fail(
            UpstreamError("reset", "the upstream closed the connection before its reply was whole", str(self.pool))
        )

    def _ends_by_close(self) -> bool:
        head = self._head
        return head is not None and head.length is None and not head.chunked

    def expired(self) -> None:
        """A deadline passed: idle in the pool, or silent when it should speak."""
        if self.forwarding is None and self.stream is None:
            self.close()
        elif self._head is None:
            seconds = self.pool.first_byte
            self._fail(self._too_late("first-byte", f"did not begin its reply within {seconds:g} s"))
        else:
            seconds = self.pool.silence
            self._fail(self._too_late("idle", f"fell silent in its reply for {seconds:g} s"))

    def _too_late(self, which: str, words: str) -> UpstreamError:
        return UpstreamError(f"timeout:{which}", f"the upstream {words}", str(self.pool))

    def _fail(self, error: UpstreamError) -> None:
        """Whoever waits for this connection hears `error`; the connection is gone."""
        forwarding, self.forwarding = self.forwarding, None
        stream, self.stream = self.stream, None
        started = self._head is not None or bool(self._buffer)
        self.abort()
        if forwarding is not None and stream is None:
            forwarding.lost(error, self, started)
        elif stream is not None:
            stream.fail(error)
            if forwarding is not None:
                forwarding.finished()

    def close(self) -> None:
        """Close once everything is written."""
        self.pool.deadlines.remove(self)
        self.pool.forget(self)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close now."""
        self.pool.deadlines.remove(self)
        self.pool.forget(self)
        self.forwarding = self.stream = None
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    # As the source of the reply's body.

    def pause(self) -> None:
        """Read no more for now: the client is slower than the upstream, whose silence is then not its own."""
        self.pool.deadlines.set(self, NEVER)
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
        if self.forwarding is not None:
            self.forwarding.body_pause()

    def resumeProducing(self) -> None:
        """The upstream keeps up again."""
        if self.forwarding is not None:
            self.forwarding.body_resume()

    def stopProducing(self) -> None:
        """The transport is lost; `connectionLost` tells."""

    def __repr__(self) -> str:
        state = "idle" if self.forwarding is None else f"serving {self.forwarding.request!r}"
        return f"<UpstreamConnection to {self.pool}, {state}, {self.served} served>"


class Forwarding(Due):
    """One forward on its way. `wake` is called at most once, with a `Reply` or an error; never after `cancel`."""

    __slots__ = (
        "_chunked",
        "_ends",
        "_kept",
        "_kept_size",
        "_retried",
        "_wake",
        "connection",
        "fields",
        "others",
        "pool",
        "request",
        "sent",
        "target",
        "timeout",
        "withdraw",
    )

    def __init__(self, forward: Forward, wake: Wake) -> None:
        super().__init__()
        request = forward.request
        self.request: Request = request
        self.target = origin_form(forward.target or request.target)
        self.fields: Sifted = request.fields if forward.headers is None else sift(forward.headers)
        self.timeout = forward.timeout
        self.connection: UpstreamConnection | None = None
        self.pool: ServerPool | None = None
        self.others: list[ServerPool] = []
        """Servers of the group to turn to when this one refuses the connection."""
        self.withdraw: Callable[[], None] | None = None
        """Set by the pool while a connection is being made."""
        self.sent = False
        """Whether the whole request is written."""
        self._wake: Wake | None = wake
        self._retried = False
        self._chunked = request.length is None
        self._kept: list[bytes] | None = None
        self._kept_size = 0
        self._ends = NEVER

    def begin(self, connection: UpstreamConnection) -> None:
        """Send the request over `connection`, which is new or was idle."""
        self.connection = connection
        self.pool = connection.pool
        self.withdraw = None
        if self.timeout is None:
            self.due = NEVER
        else:
            self.pool.deadlines.set(self, self._ends - self.pool.deadlines.seconds())
        request = self.request
        framing = b""
        if self._chunked:
            framing = b"Transfer-Encoding: chunked\r\n"
        elif request.length or request.method in ("POST", "PUT", "PATCH"):
            framing = b"Content-Length: %d\r\n" % (request.length or 0)
        head = upstream_head(
            request.method,
            self.target,
            self.fields.passed,
            request.fields.host,
            client_lines(request.client[0], request.scheme),
            framing,
        )
        connection.send(self, head, request.method)
        if request.length == 0:
            self.sent = True
        else:
            self._send_body(connection)

    def _send_body(self, connection: UpstreamConnection) -> None:
        if self._kept is not None:  # again, after a reused connection turned out closed
            for data in self._kept:
                connection.write(data)
            self._kept = None
            if self.sent:
                return
        elif connection.served and self.request.method in IDEMPOTENT:
            self._kept = []
        stream = body_stream(self.request)
        if stream.ended and not stream.untouched:
            self.end()
        else:
            stream.attach(self)

    # As the sink of the request's body.

    def piece(self, data: bytes) -> None:
        """A piece of the request's body goes to the upstream."""
        self._write(chunk(data) if self._chunked else data)

    def end(self) -> None:
        """The request's body is complete."""
        self.sent = True
        if self._chunked:
            self._write(LAST_CHUNK)

    def failed(self, error: Exception) -> None:
        """The client's body is cut."""
        self._drop()
        self._tell(None, error)

    def _write(self, data: bytes) -> None:
        kept = self._kept
        if kept is not None:
            self._kept_size += len(data)
            if self._kept_size > HIGH_WATER:
                self._kept = None
            else:
                kept.append(data)
        if self.connection is not None:
            self.connection.write(data)

    def body_pause(self) -> None:
        """The upstream is slower than the client."""
        stream = self.request.stream
        if isinstance(stream, BodyStream):
            stream.pause()

    def body_resume(self) -> None:
        """The upstream keeps up again."""
        stream = self.request.stream
        if isinstance(stream, BodyStream):
            stream.resume()

    # What comes of it.

    def arrived(self, head: ReplyHead, stream: BodyStream | bytes) -> None:
        """The reply's head is there, its body in `stream`."""
        if not isinstance(stream, BodyStream):
            self.finished()
        reply = Reply(head.status, head.raw, head.fields, stream, head.length)
        self._tell(reply, None)

    def lost(self, error: Exception, connection: UpstreamConnection | None = None, started: bool = False) -> None:
        """No reply will come over `connection`; try once more if it was kept alive and nothing was lost."""
        self.connection = None
        if (
            isinstance(error, UpstreamError)
            and error.why == "reset"
            and connection is not None
            and connection.served
            and not started
            and not self._retried
            and self._may_send_again()
        ):
            self._retried = True
            assert self.pool is not None
            self.pool.connect_anew(self)
            return
        self._stop_body()
        self._tell(None, error)

    def unconnected(self, error: UpstreamError) -> None:
        """No connection came about: nothing is sent, so another server of the group may be tried."""
        if self.others:
            self.others.pop(0).acquire(self)
        else:
            self.lost(error)

    def _may_send_again(self) -> bool:
        return self.request.method in IDEMPOTENT and (self.request.length == 0 or self._kept is not None)

    def finished(self) -> None:
        """The reply is whole, or nobody wants the rest of it."""
        self.connection = None
        if self.pool is not None:
            self.pool.deadlines.remove(self)
        if not self.sent:
            self._stop_body()

    def _stop_body(self) -> None:
        stream = self.request.stream
        if isinstance(stream, BodyStream):
            stream.detach()

    def limit(self, delay: float, total: float) -> None:
        """Be due in `delay` seconds while no connection is there, in `total` seconds at the latest."""
        assert self.pool is not None
        self._ends = self.pool.deadlines.seconds() + total
        self.pool.deadlines.set(self, min(delay, total))

    def expired(self) -> None:
        """No connection in time, or the deadline of the whole forward passed."""
        assert self.pool is not None
        if self.pool.deadlines.seconds() < self._ends - TICK:
            seconds = self.pool.settings.connect_timeout
            error = UpstreamError(
                "timeout:connect", f"no connection to the upstream within {seconds:g} s", str(self.pool)
            )
        else:
            error = UpstreamError("timeout:total", f"the upstream took longer than {self.timeout:g} s", str(self.pool))
        stream = self.connection.stream if self.connection is not None else None
        self._drop()
        if stream is not None:
            stream.fail(error)
        self._tell(None, error)

    def cancel(self) -> None:
        """Nobody wants the reply any more: the connection, if there is one, is closed now."""
        self._wake = None
        self._drop()

    def _drop(self) -> None:
        if self.withdraw is not None:
            withdraw, self.withdraw = self.withdraw, None
            withdraw()
        if self.connection is not None:
            connection, self.connection = self.connection, None
            connection.abort()
        if self.pool is not None:
            self.pool.deadlines.remove(self)
        self._stop_body()

    def _tell(self, reply: Reply | None, error: BaseException | None) -> None:
        wake, self._wake = self._wake, None
        if wake is not None:
            wake(reply, error)

    def __repr__(self) -> str:
        return f"<Forwarding {self.request!r} over {self.connection!r}>"


def origin_form(target: bytes) -> bytes:
    """`target` as an origin server takes it (RFC 9112 section 3.2.1); an absolute form loses its authority."""
    if target.startswith(b"/") or target == b"*":
        return target
    _scheme, separator, rest = target.partition(b"://")
    if not separator:
        return target
    _, slash, path = rest.partition(b"/")
    return b"/" + path if slash else b"/" + (b"?" + rest.partition(b"?")[2] if b"?" in rest else b"")


def body_stream(message: Request | Reply) -> BodyStream:
    """The stream of `message`'s body; one whose body was whole from the start gets a stream of it."""
    if not isinstance(message.stream, BodyStream):
        message.stream = BodyStream.whole(message.stream or b"")
    return message.stream
