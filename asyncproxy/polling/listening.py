"""Doors: where connections come in, what holds for all of them, and which route a request takes.

A door is the Twisted factory of one listener. It counts its connections, knows the limits, and makes a `Request` out
of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from asyncproxy.exchange.errors import ClientError
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.routing import normal_path
from asyncproxy.polling.accepting import ClientConnection
from asyncproxy.polling.bodies import BodyStream
from asyncproxy.polling.flow import Binding, Exchange, Flow
from asyncproxy.polling.http1 import RequestHead


class Limits(Protocol):
    """Bytes and seconds that hold for every client connection."""

    request_line: int
    head: int
    body: int
    pipeline_buffer: int
    head_timeout: float
    keep_alive: float
    body_idle: float


class Door:
    """One listener's connections. `find(host, path, method)` gives a route or raises `ClientError`."""

    noisy = False

    def __init__(self, flow: Flow, limits: Any, find: Callable[[str, str, str], Binding], scheme: str = "http") -> None:
        self.flow = flow
        self.deadlines = flow.deadlines
        self.limits: Limits = limits
        self.find = find
        self.scheme = scheme
        self.open = True
        """Whether connections are kept for another request."""
        self.connections: set[ClientConnection] = set()
        self._requests = 0

    def admit(self, client: ClientConnection, head: RequestHead, stream: BodyStream | bytes) -> Exchange:
        """The exchange of a request whose head is whole. Raises `ClientError` if no route takes it."""
        fields = head.fields
        if not head.target.startswith(b"/"):
            _take_absolute_form(head)
        try:
            path = normal_path(head.target)
        except ValueError as why:
            raise ClientError(400, str(why)) from None
        binding = self.find(fields.host.decode("latin-1"), path, head.method)
        self._requests += 1
        request = Request(
            head.method,
            head.target,
            head.raw,
            identity=self.flow.next_identity(),
            client=client.peer,
            scheme=self.scheme,
            http_version="1.1" if head.minor else "1.0",
            length=head.length,
            route=binding,
            stream=stream,
            fields=fields,
        )
        return self.flow.admit(binding, request, client)

    def close_connections(self) -> None:
        """Close every connection now; their exchanges hear that the client has left."""
        for connection in list(self.connections):
            connection.transport.abortConnection()

    # Twisted's factory.

    def buildProtocol(self, _address: Any) -> ClientConnection:
        """A protocol for a new connection."""
        return ClientConnection(self)

    def doStart(self) -> None:
        """Listening begins."""

    def doStop(self) -> None:
        """Listening ends."""

    def statistics(self) -> dict[str, int]:
        """Open connections and requests so far."""
        return {"connections": len(self.connections), "requests": self._requests}

    def __repr__(self) -> str:
        return f"<Door {len(self.connections)} connections, {self._requests} requests>"


def _take_absolute_form(head: RequestHead) -> None:
    """In absolute-form the target wins over Host (RFC 9112 section 3.2.2)."""
    if head.method == "CONNECT":
        raise ClientError(501, "CONNECT is not offered here")
    if head.target == b"*":
        if head.method == "OPTIONS":
            return
        raise ClientError(400, "the target * is for OPTIONS alone")
    scheme, separator, rest = head.target.partition(b"://")
    authority = rest.partition(b"/")[0].partition(b"?")[0]
    if not separator or scheme.lower() not in (b"http", b"https") or not authority or b"@" in authority:
        raise ClientError(400, "the target is neither a path nor an http URL")
    fields = head.fields
    fields.host = authority
    fields.passed = [(b"Host", authority), *(field for field in fields.passed if field[0].lower() != b"host")]
