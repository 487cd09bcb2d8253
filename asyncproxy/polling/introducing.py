"""A connection before its PROXY header is read: see `exchange.proxy_header`.

The rule: only trusted peers are heard, and nothing of a connection is read as HTTP before it is known whose it is. Then
a `ClientConnection` takes the transport over, with what has come behind the header, and nothing of this stays on the
way. Polling thread only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncproxy.exchange.errors import ProxyError
from asyncproxy.exchange.peers import Peer, TrustedPeer, Unnamed, peer_at
from asyncproxy.exchange.proxy_header import BadHeader, Introduction, introduction
from asyncproxy.polling.accepting import ClientConnection
from asyncproxy.polling.deadlines import NEVER, Due

if TYPE_CHECKING:
    from asyncproxy.polling.listening import Door

_KEY = "server.proxy_protocol"


class Introducing(Due):
    """A plain Twisted protocol: who a trusted peer has come for is still to be told."""

    __slots__ = ("_buffer", "_client", "_slot", "door", "due", "peer", "transport")

    owes = False
    """Whether an answer is not all out: there is none yet."""

    def __init__(self, door: Door) -> None:
        self.due = self._slot = NEVER
        self.door = door
        self.transport: Any = None
        self.peer = Peer()
        self._buffer = b""
        self._client: ClientConnection | None = None

    def makeConnection(self, transport: Any) -> None:
        """Called by the transport: the connection is there."""
        self.transport = transport
        door = self.door
        self.peer = door.peer_of(transport.getPeer())
        door.connections.add(self)
        if door.crowd is not None:
            door.crowd.come(self, "")
        if isinstance(self.peer, TrustedPeer):
            door.deadlines.set(self, door.limits.first_request_timeout)
        self.meet(self.peer)

    def meet(self, peer: Peer) -> None:
        """From now on `peer` is who is at the other end; one that is not trusted has nothing to say."""
        self.peer = peer
        if not isinstance(peer, TrustedPeer):
            self._refuse("is not in server.trusted, and nobody else may connect")

    def dataReceived(self, data: bytes) -> None:
        """Called by the transport."""
        if self._client is not None:  # a transport that keeps to the protocol that it was made for
            self._client.dataReceived(data)
            return
        self._buffer += data
        try:
            found = introduction(self._buffer)
        except BadHeader as why:
            self._refuse(f"sent no good PROXY header: {why}")
        else:
            if found is not None:
                self._hand_over(found)

    def _hand_over(self, found: Introduction) -> None:
        """The header is whole: what follows it is its client's."""
        door, rest, due = self.door, self._buffer[found.size :], self.due
        self._leave()
        self._client = client = ClientConnection(door)
        self.transport.protocol = client
        client.greet(self.transport, self._introduced(found))
        if client.due == NEVER or client.due > due:  # all of the first request is to come in its time
            door.deadlines.set(client, max(0.0, due - door.seconds()))
        if rest:
            client.dataReceived(rest)

    def _introduced(self, found: Introduction) -> Peer:
        peer, trust = self.peer, self.door.trust
        if found.address:
            return peer_at(found.address, found.port, peer.scheme, peer.prefix, trust)
        return Unnamed(peer.address, peer.port, peer.scheme, peer.prefix, trust)

    def _refuse(self, words: str) -> None:
        self._buffer = b""
        self.door.reached.note(self.peer.address, ProxyError(words, _KEY))
        self.transport.loseConnection()

    def expired(self) -> None:
        """The header has not come in time."""
        self._refuse(f"sent no PROXY header within {self.door.limits.first_request_timeout:g} s")

    def drain(self, patience: float) -> None:
        """A first request may still come, within `patience` seconds."""
        self.door.deadlines.set(self, patience)

    def connectionLost(self, reason: Any) -> None:
        """Called by the transport, once."""
        if self._client is not None:
            self._client.connectionLost(reason)
        else:
            self._leave()

    def _leave(self) -> None:
        door = self.door
        door.deadlines.remove(self)
        door.connections.discard(self)
        if door.crowd is not None:
            door.crowd.leave(self)

    def __repr__(self) -> str:
        return f"<Introducing {self.peer!r}, {len(self._buffer)} bytes>"
