"""Bytes both ways after an upstream has switched protocols, as they come, until both sides have ended.

A `Tunnel` is what a 101 has in the place of a body. Its module may look at the reply for as long as it likes; when it
answers with it, the two connections get an `End` each for their protocol and know of HTTP no more.

The rule: what is read from one side is written to the other and kept nowhere; a side that is slow has the other's
reading wait. A FIN of one side becomes a FIN to the other behind its bytes, and the other way goes on; a reset of one
side is one to the other. Polling thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from zope.interface import implementer

from asyncproxy.exchange.errors import TunnelIdle, UpstreamError
from asyncproxy.exchange.lifecycle import SWITCHED
from asyncproxy.polling.bodies import HIGH_WATER
from asyncproxy.polling.deadlines import NEVER, TICK, Due
from asyncproxy.polling.unsent import count_unsent, count_untaken

if TYPE_CHECKING:
    from asyncproxy.polling.accepting import ClientConnection
    from asyncproxy.polling.flow import Exchange
    from asyncproxy.polling.upstream import Forwarding
    from asyncproxy.polling.upstream_connection import UpstreamConnection


@implementer(IPushProducer, IHalfCloseableProtocol)
class End:
    """One side of a tunnel: its connection's protocol, and the producer that is told of its pace."""

    __slots__ = ("before", "count", "ended", "full", "gone", "other", "sink", "transport", "tunnel")

    def __init__(self, tunnel: Tunnel, before: Any) -> None:
        self.tunnel = tunnel
        self.before = before
        """The protocol that the connection had; it hears of its loss."""
        self.transport: Any = before.transport
        self.sink: Any = None
        """Who takes what comes: the other side's transport."""
        self.other: End | None = None
        self.count = 0
        """Bytes that came."""
        self.ended = False
        """Whether its peer has ended its side."""
        self.full = False
        """Whether the transport has no room; it says so once, perhaps before there is another side to be told."""
        self.gone = False

    def take_over(self) -> None:
        """The connection is ours from now on, and is read."""
        transport = self.transport
        transport.unregisterProducer()
        transport.protocol = self
        if not self.ended:
            transport.resumeProducing()
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Called by the transport."""
        self.count += len(data)
        tunnel = self.tunnel
        tunnel.heard = tunnel.seconds()
        self.sink.write(data)

    def readConnectionLost(self) -> None:
        """Called by the transport: the peer sends no more."""
        if not self.ended:
            self.ended = True
            self.tunnel.half_closed(self)

    def writeConnectionLost(self) -> None:
        """Called by the transport: our FIN is out."""

    def connectionLost(self, reason: Any) -> None:
        """Called by the transport, once."""
        self.gone = True
        self.tunnel.lost(self, reason)
        self.before.connectionLost(reason)

    # As the producer of what goes to the peer: called by the transport when the peer is slow or keeps up again.

    def pauseProducing(self) -> None:
        """The peer takes less than the other side sends."""
        self.full = True
        if self.other is not None:
            self.other.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The peer keeps up again."""
        self.full = False
        if self.other is not None and not self.other.ended:
            self.other.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The transport is lost; `connectionLost` tells."""

    def end_writing(self) -> None:
        """Send a FIN once everything is written."""
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()

    def close(self) -> None:
        """Close once everything is written."""
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close now."""
        if not self.gone:
            self.transport.unregisterProducer()
            self.transport.abortConnection()

    def __repr__(self) -> str:
        state = "gone" if self.gone else "ended" if self.ended else "open"
        return f"<End {state}, {self.count} bytes came, before it {self.before!r}>"


class _Held:
    """What an upstream sends behind its 101, until there is a client to take it; bounded."""

    __slots__ = ("_transport", "data")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.data = b""

    def write(self, data: bytes) -> None:
        """Keep `data`."""
        self.data += data
        if len(self.data) > HIGH_WATER:
            self._transport.pauseProducing()


class Tunnel(Due):
    """See the file's head. `open` joins it to a client; until then the upstream's side is held."""

    __slots__ = (
        "_closing",
        "_forwarding",
        "_left",
        "_over",
        "_slot",
        "_verdict",
        "client",
        "due",
        "error",
        "exchange",
        "heard",
        "protocol",
        "seconds",
        "server",
    )

    def __init__(self, forwarding: Forwarding, connection: UpstreamConnection, protocol: bytes, rest: bytes) -> None:
        """`connection` has switched to `protocol` for `forwarding`; `rest` is what came behind its 101."""
        self.due = self._slot = NEVER
        self.protocol = protocol
        self.error: UpstreamError | None = None
        """Why it cannot be opened any more."""
        self.exchange: Exchange | None = None
        self.client: End | None = None
        self.server = server = End(self, connection)
        self.seconds = forwarding.owner.flow.seconds
        self.heard = 0.0
        """When a byte last came from either side."""
        self._forwarding: Forwarding | None = forwarding
        self._closing = self._over = False
        self._left = 0  # bytes not taken when last looked at
        self._verdict: Callable[[], None] | None = None
        """What a reset comes to, once what came before it has gone on."""
        server.sink = _Held(server.transport)
        server.take_over()
        if rest:
            server.dataReceived(rest)

    def is_of(self, exchange: Exchange) -> bool:
        """Whether `exchange` has asked for it, and so may answer with it."""
        return self._forwarding is not None and self._forwarding.owner is exchange

    @property
    def taken(self) -> bool:
        """Whether it has been opened, or let go: a reply can be answered with once."""
        return self.exchange is not None or self._over

    def open(self, connection: ClientConnection, early: bytes) -> None:
        """Join it to the client of `connection`, which was told 101 and has sent `early` already."""
        forwarding, exchange = self._forwarding, connection.exchange
        assert forwarding is not None
        assert exchange is not None
        self._forwarding = None
        self.exchange, connection.exchange = exchange, None
        flow = exchange.flow
        self._belong_to(exchange, forwarding)
        self.heard = flow.seconds()
        flow.tunnels.opened(self)
        server, held = self.server, self.server.sink.data
        self.client = client = End(self, connection)
        client.other, server.other = server, client
        client.sink, server.sink = server.transport, client.transport
        if not server.ended:
            server.transport.resumeProducing()
        client.take_over()
        if server.full:
            client.transport.pauseProducing()
        if held:
            client.transport.write(held)
        if early:
            client.dataReceived(early)
        if server.ended:
            self.half_closed(server)

    def _belong_to(self, exchange: Exchange, forwarding: Forwarding) -> None:
        """`exchange` is a tunnel now; deadlines of its request and its forward, of which there is an end, are over."""
        exchange.enter(SWITCHED, exchange.flow.seconds())
        exchange.source = self
        exchange.forwards.remove(forwarding)
        forwarding.finished()
        deadline, exchange.deadline = exchange.deadline, None
        if deadline is not None:
            exchange.flow.deadlines.remove(deadline)

    # What its ends tell.

    def half_closed(self, end: End) -> None:
        """The peer of `end` sends no more: nor do we, to the other side."""
        if self.exchange is None:
            return
        other = end.other
        assert other is not None
        self.heard = self.seconds()
        if not other.ended:
            other.end_writing()
            return
        self._closing = True
        self._left = self._waiting(count_untaken)
        self.exchange.flow.tunnels.watch(self)
        for one in (other, end):
            one.close()

    def lost(self, end: End, reason: Any) -> None:
        """The connection of `end` is gone."""
        exchange = self.exchange
        if self._over:
            return
        if exchange is None:
            self.error = _reset(self)
        elif self._verdict is not None:
            self._verdict()
        elif not self._closing or not reason.check(ConnectionDone):
            self._broken(exchange.left if end is self.client else partial(exchange.call_off, _reset(self)), end)
        elif end.other is not None and end.other.gone:
            exchange.source = None
            self._end()
            exchange.finish()

    def _broken(self, verdict: Callable[[], None], end: End) -> None:
        """`end` was reset. What it sent before that the other side's kernel shall have first, as without us."""
        other = end.other
        if other is None or other.gone or not count_unsent(other.transport):
            verdict()
            return
        assert self.exchange is not None
        self._verdict = verdict
        if not other.ended:
            other.transport.pauseProducing()
        self.exchange.flow.tunnels.look(self, TICK)

    def expired(self) -> None:
        """No byte has come for so long: it is over, unless a peer that is slow has taken some; or it was reset."""
        exchange, client = self.exchange, self.client
        assert exchange is not None
        assert client is not None
        left = self._waiting(count_untaken if self._verdict is None else count_unsent)
        settled = left in (0, self._left)
        self._left = left
        if self._verdict is not None:
            self._verdict() if settled else exchange.flow.tunnels.look(self, TICK)
            return
        if not settled:
            self.heard = self.seconds()
        limit = self.patience
        if self.heard + limit > self.seconds():
            exchange.flow.tunnels.watch(self)
            return
        key = "limits.tunnel_idle" if limit == exchange.flow.tunnels.idle else "limits.send_timeout"
        error = TunnelIdle(f"no byte went through its tunnel for {limit:g} s", key)
        client.before.door.reached.note(exchange.request.peer.address, error)
        exchange.call_off(error)

    def _waiting(self, count: Callable[[Any], int]) -> int:
        """Bytes that wait for the peers, by `count`."""
        return sum(count(end.transport) for end in self._ends() if not end.gone)

    @property
    def patience(self) -> float:
        """Seconds that no byte may come; once both sides have ended, that none may be taken of what is left."""
        assert self.exchange is not None
        idle = self.exchange.flow.tunnels.idle
        if self.client is None or not self._closing:
            return idle
        send_timeout: float = self.client.before.door.limits.send_timeout
        return min(idle, send_timeout)

    def statistics(self) -> dict[str, int]:
        """Bytes ``received`` from its client and ``sent`` to it."""
        return {"received": self.received, "sent": self.server.count}

    @property
    def received(self) -> int:
        """Bytes that its client has sent."""
        return 0 if self.client is None else self.client.count

    # Its end.

    def drop(self) -> None:
        """It is over: what of it is there is closed now."""
        if not self._over:
            self._end()
            for end in self._ends():
                end.abort()

    def _end(self) -> None:
        self._over = True
        exchange, client = self.exchange, self.client
        if exchange is not None and client is not None:
            client.before.sent = self.server.count
            exchange.flow.tunnels.closed(self)

    def _ends(self) -> Iterator[End]:
        if self.client is not None:
            yield self.client
        yield self.server

    def pause(self) -> None:
        """What feeds a client can be told to wait; the ends of a tunnel tell one another."""

    def resume(self) -> None:
        """The same."""

    def __repr__(self) -> str:
        state = "over" if self._over else "held" if self.exchange is None else "closing" if self._closing else "open"
        return f"<Tunnel of {self.protocol.decode('ascii')}, {state}, {self.client!r}, {self.server!r}>"


def _reset(tunnel: Tunnel) -> UpstreamError:
    pool = tunnel.server.before.pool
    return UpstreamError("reset", "the upstream closed the connection that it had switched", str(pool))
