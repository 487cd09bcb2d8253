"""Doors: where connections come in, what holds for all of them, and which route a request takes.

A door is the Twisted factory of one listener. It counts its connections, knows the limits, and makes a `Request` out
of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from asyncproxy.boundaries import Binding
from asyncproxy.exchange.errors import ClientError
from asyncproxy.exchange.forwarding import make_block, split_block
from asyncproxy.exchange.identity import RequestIds
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.networks import UNIX
from asyncproxy.exchange.peers import NO_TRUST, Peer, Trust, TrustedPeer, peer_at
from asyncproxy.exchange.routing import MethodNotAllowed, NoRoute, normal_path
from asyncproxy.polling.accepting import ClientConnection
from asyncproxy.polling.crowd import Crowd
from asyncproxy.polling.deadlines import NEVER
from asyncproxy.polling.flow import Exchange, Flow
from asyncproxy.polling.http1 import is_authority
from asyncproxy.polling.introducing import Introducing
from asyncproxy.polling.reached import Reached

if TYPE_CHECKING:
    from asyncproxy.polling.web_client import WebClient


class Limits(Protocol):
    """Bytes, seconds and counts that hold for every client connection; see `configuration.settings.Limits`."""

    request_line: int
    head: int
    fields: int
    body: int
    pipeline_buffer: int
    requests_per_connection: int | None
    first_request_timeout: float
    head_timeout: float
    keep_alive: float
    body_idle: float
    body_rate: int
    body_rate_grace: float
    send_timeout: float
    send_rate: int
    linger: float
    tunnel_idle: float | None


class Door:
    """One listener's connections.

    `find(host, path, method)` gives a route or raises `NoRoute`; `only` is the route if one takes everything, and
    `by_host` says whether hosts matter to any.
    """

    noisy = False

    def __init__(
        self,
        flow: Flow,
        limits: Any,
        find: Callable[[str, str, str], Binding],
        scheme: str = "http",
        only: Binding | None = None,
        by_host: bool = True,
    ) -> None:
        self.flow = flow
        self.deadlines = flow.deadlines
        self.seconds = flow.deadlines.seconds
        self.scheme = scheme
        self.limit(limits)
        self.lead(find, only, by_host)
        ids = self.ids = flow.ids
        self._marks = b"" if ids is None else ids.marks(flow.prefix)
        self._takes_ids = ids is not None and ids.trusted
        self.trust = NO_TRUST
        self._believes = self._takes_ids
        """Whether anybody is believed anything."""
        self.open = True
        """Whether connections are kept for another request."""
        self.connections: set[ClientConnection | Introducing] = set()
        self.accepted: Callable[[], None] | None = None
        """Called for each new connection."""
        self.crowd: Crowd | None = None
        """Who counts the connections of several doors; None: nobody."""
        self.reached = Reached(flow.deadlines.seconds)
        """Who counts the limits that clients reach."""

    def limit(self, limits: Any) -> None:
        """From now on `limits` hold, for connections that are open too."""
        self.limits: Limits = limits
        self.keep_alive = self.limits.keep_alive
        last = self.limits.requests_per_connection or NEVER
        self.last_number: float = last if self.keep_alive else 1
        """Of the last request that a connection may have: its answer says so."""
        self.flow.tunnels.limit(self.limits.tunnel_idle)

    def lead(self, find: Callable[[str, str, str], Binding], only: Binding | None, by_host: bool) -> None:
        """From now on requests take these routes; those that are under way go on as they are."""
        self.find = find
        self._only = only
        self._by_host = by_host

    def believe(self, trust: Trust) -> None:
        """From now on `trust` holds, for connections that are open too."""
        self.trust = trust
        self._believes = self._takes_ids or bool(trust.networks)
        for connection in list(self.connections):
            connection.meet(connection.peer.under(trust))

    def peer_of(self, address: Any) -> Peer:
        """The peer of a connection from a Twisted `address`."""
        host, port = getattr(address, "host", UNIX), getattr(address, "port", 0)
        return peer_at(host, port, self.scheme, self.flow.prefix, self.trust)

    def admit(self, client: ClientConnection | WebClient, request: Request) -> Exchange:
        """The exchange of a request whose head is whole. Raises `ClientError` if no route takes it."""
        self.name(client, request)
        if not request.target.startswith(b"/"):
            _take_absolute_form(request)
        try:
            path = normal_path(request.target)
            binding = self._only or self.find(request.host if self._by_host else "", path, request.method)
        except (ValueError, NoRoute) as why:
            raise _refusal(why) from None
        request.route = binding
        flow = self.flow
        exchange = Exchange(flow, binding, request, client)
        flow.exchanges.add(exchange)
        return exchange

    def name(self, client: ClientConnection | WebClient, request: Request) -> None:
        """Give `request` its id, and the field that tells it."""
        flow = self.flow
        flow.numbers = request.number = number = flow.numbers + 1
        request.peer = client.peer
        if self._marks:
            request.mark = self._marks % number
        if self._believes:
            self._hear(request)

    def _hear(self, request: Request) -> None:
        """Take in what `request` says of its client and of its id, as far as that is believed."""
        peer = request.peer
        if isinstance(peer, TrustedPeer):
            request.peer = peer.client_of(request.block)
        if self._takes_ids and self.ids is not None:
            self._take_given_id(request, self.ids)

    def _take_given_id(self, request: Request, ids: RequestIds) -> None:
        given = ids.given(request.block)
        if given is not None:
            request.take_id(given)
            request.mark = ids.mark(given)

    def drain(self, patience: float) -> None:
        """Close what idles, and keep no connection for another request; a first one has `patience` seconds to come."""
        self.open = False
        for connection in list(self.connections):
            connection.drain(patience)

    def close_connections(self) -> None:
        """Close every connection now; their exchanges hear that the client has left."""
        for connection in list(self.connections):
            connection.transport.abortConnection()

    # Twisted's factory.

    def buildProtocol(self, _address: Any) -> ClientConnection | Introducing:
        """A protocol for a new connection."""
        if self.accepted is not None:
            self.accepted()
        return Introducing(self) if self.trust.proxy_protocol else ClientConnection(self)

    def doStart(self) -> None:
        """Listening begins."""

    def doStop(self) -> None:
        """Listening ends."""

    def statistics(self) -> dict[str, int]:
        """Open connections."""
        return {"connections": len(self.connections)}

    def __repr__(self) -> str:
        return f"<Door {len(self.connections)} connections{'' if self.open else ', closing'}>"


def _refusal(why: ValueError | NoRoute) -> ClientError:
    """What a client reads when no route takes its request, or none could."""
    if isinstance(why, MethodNotAllowed):
        allow = ", ".join(why.allow)
        return ClientError(405, f"this path takes {allow}", [(b"Allow", allow.encode())])
    if isinstance(why, NoRoute):
        return ClientError(404, "no route takes this host and path")
    return ClientError(400, str(why))


def _take_absolute_form(head: Request) -> None:
    """In absolute-form the target wins over Host, for modules too (RFC 9112 section 3.2.2)."""
    if head.method == "CONNECT":
        raise ClientError(501, "CONNECT is not offered here")
    if head.target == b"*":
        if head.method == "OPTIONS":  # it asks about the server, so it is below no route's path
            raise _refusal(NoRoute())
        raise ClientError(400, "the target * is for OPTIONS alone")
    scheme, separator, rest = head.target.partition(b"://")
    authority = rest.partition(b"/")[0].partition(b"?")[0]
    if not separator or scheme.lower() not in (b"http", b"https") or not authority or not is_authority(authority):
        raise ClientError(400, "the target is neither a path nor an http URL")
    head.host_value = authority
    head.block, head.passed = _with_host(head.block, authority), _with_host(head.passed, authority)


def _with_host(block: bytes, authority: bytes) -> bytes:
    """`block` with `authority` as its Host, whether it had one or not."""
    return make_block([(b"Host", authority), *(field for field in split_block(block) if field[0].lower() != b"host")])
