"""Who is at the other end of a client's connection, who asks through it, and what upstreams are told about either.

A `Peer` is made for each connection. A peer that is trusted may speak for others: of its requests each has the peer
that is its client, a `Relayed` one, which is the same as long as the fields that say so are.
"""

from __future__ import annotations

from typing import NamedTuple

from asyncproxy.exchange.forwarded import BOTH, Chain, Said, chain_of, element, said, tell
from asyncproxy.exchange.networks import UNIX, Networks


class Trust(NamedTuple):
    """Whom we believe, and what we say ourselves."""

    networks: Networks = Networks()
    """Of peers that may say who the client is."""
    telling: str = BOTH
    """Which fields upstreams are told; see `forwarded.TELLINGS`."""
    proxy_protocol: bool = False
    """Whether these peers begin each connection with a PROXY header, and nobody else may connect."""


NO_TRUST = Trust()


class Peer:
    """The other end of a client's connection, and how its requests came in.

    `prefix` is the first part of its requests' ids.
    """

    __slots__ = ("_host", "_told", "address", "port", "prefix", "scheme", "trust")
    shared = False
    """Whether many clients come with its address."""

    def __init__(
        self,
        address: str = "127.0.0.1",
        port: int = 0,
        scheme: str = "http",
        prefix: str = "request",
        trust: Trust = NO_TRUST,
    ) -> None:
        self.address = address
        self.port = port
        self.scheme = scheme
        self.prefix = prefix
        self.trust = trust
        self._host: bytes | None = None
        self._told = b""

    def under(self, trust: Trust) -> Peer:
        """This peer, if `trust` holds."""
        return peer_at(self.address, self.port, self.scheme, self.prefix, trust)

    def told(self, host: bytes) -> bytes:
        """What upstreams are told about it, as a header block, when `host` is asked for."""
        if host != self._host:
            self._told = self._tell(host)
            self._host = host
        return self._told

    def _tell(self, host: bytes) -> bytes:
        mine = element(self.address, self.scheme, host)
        return tell(self.trust.telling, (self.address,), self.scheme, host, (mine,))

    def asked_for(self, host: bytes) -> bytes:
        """Which host the client itself asked for, when `host` is asked of us."""
        return host

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}:{self.port}>"


class TrustedPeer(Peer):
    """A peer that is believed what it says of others."""

    __slots__ = ("_client", "_said")
    shared = True

    def __init__(self, address: str, port: int, scheme: str, prefix: str, trust: Trust) -> None:
        super().__init__(address, port, scheme, prefix, trust)
        self._said: Said = []
        self._client: Peer = self

    def client_of(self, block: bytes) -> Peer:
        """Who asks by a request with this header block: another, or this peer itself."""
        found = said(block)
        if found != self._said:
            self._client = self._relayed(chain_of(found))
            self._said = found
        return self._client

    def _relayed(self, chain: Chain) -> Peer:
        return Relayed(self, chain) if chain.hops or chain.scheme or chain.host else self


class Unnamed(Peer):
    """Somebody whom a trusted peer has connected and not named: he has its address, and nothing of its trust."""

    __slots__ = ()
    shared = True

    def under(self, trust: Trust) -> Peer:
        """This peer, if `trust` holds."""
        return Unnamed(self.address, self.port, self.scheme, self.prefix, trust)


class Relayed(Peer):
    """The client for whom a trusted peer speaks."""

    __slots__ = ("_asked", "_at", "_chain", "_front")

    def __init__(self, front: TrustedPeer, chain: Chain) -> None:
        at = self._at = chain.client(front.trust.networks)
        address, port = (front.address, front.port) if at is None else (chain.hops[at].address, chain.hops[at].port)
        scheme, host = chain.scheme, chain.host
        if chain.hops:
            hop = chain.hops[-1 if at is None else at]  # of a client without an address the peer itself still tells
            scheme, host = hop.scheme or scheme, hop.host or host
        super().__init__(address, port, scheme or front.scheme, front.prefix, front.trust)
        self._asked = host
        self._chain = chain
        self._front = front

    def asked_for(self, host: bytes) -> bytes:
        """The host that the peer in front of us was asked for, as far as it says so."""
        return self._asked or host

    def _tell(self, host: bytes) -> bytes:
        front, hops = self._front, self._chain.hops
        nodes = [hop.node for hop in hops]
        elements = [hop.element or self._element(index) for index, hop in enumerate(hops)]
        scheme = front.scheme if hops else self.scheme
        elements.append(element(front.address, scheme, host if hops else self.asked_for(host)))
        if not nodes or front.address != UNIX:
            nodes.append(front.address)
        return tell(self.trust.telling, nodes, self.scheme, self.asked_for(host), elements)

    def _element(self, index: int) -> bytes:
        """A hop of X-Forwarded-For as an element of Forwarded; the client's has what X-Forwarded-* say besides."""
        hop = self._chain.hops[index]
        if index != self._at:
            return element(hop.node, hop.scheme, hop.host)
        return element(hop.node, self.scheme, self._asked)


def peer_at(address: str, port: int, scheme: str, prefix: str, trust: Trust) -> Peer:
    """The peer of a connection from `address`."""
    return (TrustedPeer if address in trust.networks else Peer)(address, port, scheme, prefix, trust)
