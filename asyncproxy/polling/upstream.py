"""One forward: the park that waits for a reply, its deadlines, its one retry, and its cancellation.

A `Forwarding` is given a connection by its server's pool, sends the request over it, and wakes whoever waits with a
`Reply` as soon as its head is there. The body then flows through a `BodyStream`, whose source is the connection. It is
the sink of the request's body meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from asyncproxy.exchange.errors import UpstreamError
from asyncproxy.exchange.forwarding import (
    CHUNKED,
    EXPECT,
    TAKES_TRAILERS,
    Block,
    elements,
    head_after_target,
    origin_form,
    without_length,
)
from asyncproxy.exchange.framing import chunk, last_chunk
from asyncproxy.exchange.last_recipient import COUNTED, forwards_left, last_answer, one_fewer
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.responses import Reply
from asyncproxy.exchange.trailers import Trailers
from asyncproxy.exchange.upgrading import offered, upgrade_block
from asyncproxy.exchange.waits import Forward
from asyncproxy.polling.bodies import HIGH_WATER, BodyStream, body_stream
from asyncproxy.polling.deadlines import NEVER, TICK, Due
from asyncproxy.polling.parking import BEGINNING, Parked, Wake
from asyncproxy.polling.spooling import Unspool

if TYPE_CHECKING:
    from asyncproxy.polling.pool import ServerPool
    from asyncproxy.polling.upstream_connection import UpstreamConnection

IDEMPOTENT: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PROPFIND", "SEARCH", "REPORT"))
"""Methods that may be sent again when a kept-alive connection turns out closed (RFC 9110 section 9.2.2)."""
_SLASH: Final = 47
_BODY_EXPECTED: Final = frozenset(("POST", "PUT", "PATCH"))


class Forwarding(Parked, Due):
    """On a `Forward`. It outlives the wait: until the reply's body is through, `cancel` closes its connection."""

    __slots__ = (
        "_ends",
        "_kept",
        "_retried",
        "_slot",
        "body",
        "connection",
        "due",
        "expecting",
        "others",
        "pool",
        "sent",
        "timeout",
        "withdraw",
    )

    def __init__(self, wait: Forward, owner: Any, wake: Wake) -> None:
        self.wait = wait
        self.owner = owner
        self.deadline = None
        self._wake = wake
        self._state = BEGINNING
        self._timer = None
        self._undone = False
        self._value = self._error = None
        self.due = self._slot = self._ends = NEVER
        self.timeout: float | None = wait.timeout
        self.connection: UpstreamConnection | None = None
        self.pool: ServerPool | None = None
        self.others: Sequence[ServerPool] = ()
        """Servers of the group to turn to when this one refuses the connection."""
        self.withdraw: Callable[[], None] | None = None
        """Set by the pool while a connection is being made or waited for."""
        self.sent = False
        """Whether the whole request is written."""
        self.body: BodyStream | None = None
        """The request's body, while it is sent."""
        self.expecting = False
        """Whether the upstream is to say if it wants the body, and client and body wait for that."""
        self._retried = False
        self._kept: bytearray | None = None

    @property
    def request(self) -> Request:
        """What is forwarded."""
        return self.wait.request  # type: ignore[no-any-return]

    @property
    def offer(self) -> bytes:
        """The protocols that the upstream may switch to."""
        request = self.request
        return offered(request.noted, request.minor)

    def begin(self) -> None:
        """Ask for a connection to the upstream. Raises RuntimeError if the request's body is not there any more."""
        owner, request = self.owner, self.wait.request
        if request.method in COUNTED and forwards_left(request) == 0:
            self.ready(last_answer(request, owner.binding.methods))
            return
        owner.attempts += 1
        if request.length != 0 and request.file is None and body_stream(request).taken:
            raise RuntimeError("the request's body was read in pieces, or forwarded before: it cannot be sent again")
        binding = owner.binding
        upstreams, name = binding.upstreams or owner.flow.around.upstreams, self.wait.upstream or binding.upstream
        group = upstreams.known.get(name)
        if group is not None:
            group.acquire(self)
        else:
            upstreams.acquire(self, name)

    def send_over(self, connection: UpstreamConnection) -> None:
        """Send the request over `connection`, which is new or was idle."""
        self.connection = connection
        self.withdraw = None
        wait = self.wait
        request = wait.request
        target = wait.target or request.target
        onward = request.onward if wait.headers is None else self._head_of_its_own()
        if onward is None:
            onward = self._head_passed_on()
        if target[0] != _SLASH:
            target = origin_form(target)
        head = b"%b %b%b%b\r\n\r\n" % (request.method.encode(), target, onward, request.mark)
        if request.length == 0:
            self.sent = True
            connection.send(self, head, request.method)
        else:
            self._expect()
            connection.send(self, head[:-4] + EXPECT if self.expecting else head, request.method)
            self._send_body(connection)

    def _head_passed_on(self) -> bytes:
        """What follows the target, with the client's fields; kept, for the client's next request is likely the same."""
        request = self.request
        framing = self._passed_framing()
        if not request.host_value and not request.noted.hosts:
            block = self._host() + self._going_on(request.passed)
            return head_after_target(block, request.peer.told(b""), self._via(), framing)
        told = request.peer.told(request.host_value)
        onward = head_after_target(self._going_on(request.passed), told, self._via(), framing)
        request.onward = onward
        return onward

    def _passed_framing(self) -> bytes:
        """What is told of framing and connection beside the client's fields."""
        request = self.request
        framing = (b"" if request.length is not None else CHUNKED) + _welcome(request)
        return framing + upgrade_block(self.offer) if request.noted.upgrade else framing

    def _head_of_its_own(self) -> bytes:
        """What follows the target, with the module's fields."""
        request = self.request
        framing = self._own_framing() + _welcome(request) + upgrade_block(self.offer)
        return head_after_target(self._own_block(), request.peer.told(request.host_value), self._via(), framing)

    def _via(self) -> bytes:
        via: bytes = self.owner.flow.signature.requests[self.request.minor]
        return via

    def _host(self) -> bytes:
        """The Host field that HTTP/1.1 asks for, when an HTTP/1.0 client has sent none: the server's own name."""
        assert self.pool is not None
        return b"\r\nHost: " + self.pool.origin.authority.encode()

    def _own_block(self) -> bytes:
        """The module's own fields: what they say of framing does not count, and the request's Host stands in."""
        fields = Block(self.wait.headers)
        asked = self.request.host_value
        host = b"" if fields.noted.hosts else b"\r\nHost: " + asked if asked else self._host()
        return host + self._going_on(without_length(fields.passed))

    def _going_on(self, block: bytes) -> bytes:
        """`block` as it goes on: without what the client says of the request's id, if an id is told behind it."""
        request = self.request
        block = one_fewer(block) if request.method in COUNTED else block
        return self.owner.flow.ids.without(block) if request.mark else block

    def _own_framing(self) -> bytes:
        """What tells the body's length beside fields of the module's own."""
        length = self.request.length
        if length is None:
            return CHUNKED
        return b"\r\nContent-Length: %d" % length if length or self.request.method in _BODY_EXPECTED else b""

    def _expect(self) -> None:
        """Have the upstream say whether it wants the body, if the client waits to hear of that."""
        request, pool = self.request, self.pool
        self.sent = False  # it may be sent again
        if pool is not None and pool.settings.expect_timeout and request.expects_continue and not self.expecting:
            self.expecting = type(request.stream) is BodyStream and request.stream.unasked

    def _send_body(self, connection: UpstreamConnection) -> None:
        if self.request.file is not None:
            self.body = Unspool(self.owner, self.request.file).stream
        elif self._kept is not None:  # again, after a reused connection turned out closed
            self._send_kept(connection, self._kept)
            return
        else:
            self.body = body_stream(self.request)
            if connection.served and self.request.method in IDEMPOTENT:
                self._kept = bytearray()
        self.body.attach(self, ask=not self.expecting)
        if self.expecting:
            connection.await_go_ahead()

    def _send_kept(self, connection: UpstreamConnection, kept: bytearray) -> None:
        """What was sent before goes out again; what is still to come follows it."""
        self._kept = None
        if self.expecting:
            connection.await_go_ahead()
        self.resume_body()
        if kept:
            connection.write(bytes(kept))
        if self.body is not None and self.body.ended:
            self.sent = True
            connection.await_reply()

    # As the sink of the request's body.

    def piece(self, data: bytes) -> None:
        """A piece of the request's body goes to the upstream."""
        if self.expecting and self.connection is not None:  # its client does not wait
            self.expecting = False
            self.connection.await_body()
        self._write(chunk(data) if self.request.length is None else data)

    def end(self, trailers: Trailers = ()) -> None:
        """The request's body is complete; the request has its trailers, though the body may come from a file."""
        self.sent = True
        self.expecting = False
        if self.request.length is None:
            self._write(last_chunk(self.request.trailers.raw))
        if self.connection is not None:
            self.connection.await_reply()

    def failed(self, error: Exception) -> None:
        """The client's body is cut."""
        self._cut(error)

    def _write(self, data: bytes) -> None:
        if self._kept is not None:
            self._kept += data
            if self.connection is not None and len(self._kept) > HIGH_WATER:
                self._kept = None
        if self.connection is not None:
            self.connection.write(data)

    def pause_body(self) -> None:
        """The upstream is slower than the client."""
        if self.body is not None:
            self.body.pause()

    def resume_body(self) -> None:
        """The upstream keeps up again."""
        if self.body is not None and not self.expecting:
            self.body.resume()

    def go_ahead(self) -> None:
        """The upstream wants the body, or has not said that it does not: its client is told to send it."""
        self.expecting = False
        self.resume_body()

    # What comes of it.

    def informed(self, head: Reply) -> None:
        """A 1xx has come: it goes to the client, unless that has its response already (RFC 9110 section 15.2)."""
        owner = self.owner
        if not owner.started and not owner.gone:
            owner.client.inform(head.status, without_length(head.passed) + owner.flow.signature.replies[head.minor])
        if head.status == 100 and self.expecting:
            self.go_ahead()

    def arrived(self, reply: Reply) -> None:
        """The reply's head is there, and its body, or a stream of it."""
        if type(reply.stream) is not bytes:
            self.owner.forwards.append(self)  # until its body is through, somebody must see to it
        else:
            self.connection = None
            if self.due != NEVER or not self.sent:
                self.finished()
        self.ready(reply)

    def lost(self, error: Exception, connection: UpstreamConnection | None = None, started: bool = False) -> None:
        """No reply will come over `connection`; try once more if it was kept alive and nothing was lost."""
        self.connection = None
        reset = isinstance(error, UpstreamError) and error.why == "reset"
        if reset and connection is not None and connection.served and not started and self._may_send_again():
            self._retried = True
            if self.request.file is None:
                self.pause_body()  # what comes before there is a connection again has to be kept
            else:
                self._stop_body()  # it is read from its beginning again
            self.owner.attempts += 1
            connection.pool.connect_anew(self)
            return
        self._stop_body()
        self.fail(error)

    def _may_send_again(self) -> bool:
        if self._retried or self.over or self.request.method not in IDEMPOTENT:
            return False
        return self.request.length == 0 or self.request.file is not None or self._kept is not None

    def unconnected(self, error: UpstreamError) -> None:
        """No connection came about: nothing is sent, so another server of the group may be tried."""
        if self.others:
            another, self.others = self.others[0], self.others[1:]
            self.owner.attempts += 1
            another.acquire(self)
        else:
            self.lost(error)

    def finished(self) -> None:
        """The reply is whole, or nobody wants the rest of it."""
        self.connection = None
        if self.due != NEVER and self.pool is not None:
            self.pool.deadlines.remove(self)
        if not self.sent:
            self._stop_body()

    def _stop_body(self) -> None:
        body, self.body = self.body, None
        if body is None:
            return
        body.detach()
        if body is not self.request.stream:
            body.drop()

    def limit_connecting(self, delay: float, total: float) -> None:
        """Be due in `delay` seconds while no connection is there, in `total` seconds at the latest."""
        assert self.pool is not None
        if self._ends == NEVER:
            self._ends = self.pool.deadlines.seconds() + total
        self.pool.deadlines.set(self, min(delay, self._ends - self.pool.deadlines.seconds()))

    def connected(self) -> None:
        """A connection is there: only the deadline of the whole forward holds from now on."""
        assert self.pool is not None
        if self._ends == NEVER:
            self.due = NEVER
        else:
            self.pool.deadlines.set(self, self._ends - self.pool.deadlines.seconds())

    def expired(self) -> None:
        """No connection in time, or the deadline of the whole forward passed."""
        pool = self.pool
        assert pool is not None
        if pool.deadlines.seconds() < self._ends - TICK:
            words = f"no connection to the upstream within {pool.settings.connect_timeout:g} s"
            error = UpstreamError("timeout:connect", words, str(pool))
        else:
            error = UpstreamError("timeout:total", f"the upstream took longer than {self.timeout:g} s", str(pool))
        self._cut(error)

    def _cut(self, error: Exception) -> None:
        """Whoever waits for the reply, or for the rest of it, hears `error`; the connection is closed."""
        stream = self.connection.stream if self.connection is not None else None
        self.cancel()
        if stream is not None:
            stream.fail(error)
        self.fail(error)

    def undo(self) -> None:
        """The wait is called off, and with it the forward."""
        self.cancel()

    def cancel(self) -> None:
        """Nobody wants the reply any more: the connection, if there is one, is closed now. Safe at any time."""
        withdraw, self.withdraw = self.withdraw, None
        if withdraw is not None:
            withdraw()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()
            self._stop_body()
        if self.due != NEVER and self.pool is not None:
            self.pool.deadlines.remove(self)

    def __repr__(self) -> str:
        return f"<Forwarding {self.request!r} over {self.connection!r}>"


def _welcome(request: Request) -> bytes:
    """What tells the upstream that the client takes trailers, if it does."""
    return TAKES_TRAILERS if request.noted.te and b"trailers" in elements(request.noted.te) else b""
