"""Twisted protocols on uvloop's native transports; whoever opens or accepts connections asks `network` how.

Protocols stay plain Twisted and know nothing of it: on uvloop a small proxied request costs half of what it
does on Twisted's own transports, and on any other reactor the very same code runs on those.

Polling thread only.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, Protocol, cast

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.interfaces import (
    IConnector,
    IListeningPort,
    IProtocolFactory,
    IReactorTCP,
    IReactorUNIX,
)
from twisted.internet.protocol import ClientFactory, Factory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from asyncproxy.polling.native_connecting import NativeConnector, NativeTCPConnector, NativeUNIXConnector
from asyncproxy.polling.native_connection import NativeConnection, log
from asyncproxy.polling.native_listening import NativePort, NativeTCPPort, NativeUNIXPort

try:
    import uvloop
except ImportError:  # Windows
    uvloop = None  # type: ignore[assignment]

__all__ = ["NativeNetwork", "Network", "network"]

BACKLOG = 4096


class Network(Protocol):
    """Opens and accepts connections: IReactorTCP and IReactorUNIX, for Twisted's endpoints too."""

    def listenTCP(
        self, port: int, factory: Any, backlog: int = BACKLOG, interface: str = ""
    ) -> NativePort | IListeningPort:
        """Listen at once; CannotListenError."""

    def listenUNIX(
        self, address: Any, factory: Any, backlog: int = BACKLOG, mode: int = 0o666, wantPID: int = 0
    ) -> NativePort | IListeningPort:
        """Listen at once; CannotListenError."""

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> NativeConnector | IConnector:
        """Start connecting; the factory hears how it went."""

    def connectUNIX(
        self, address: Any, factory: Any, timeout: float = 30, checkPID: int = 0
    ) -> NativeConnector | IConnector:
        """Start connecting; the factory hears how it went."""


@implementer(IReactorTCP, IReactorUNIX)
class NativeNetwork:
    """The network on uvloop's transports; all else is the reactor's own, and it passes for that reactor."""

    def __init__(self, reactor: Any, loop: asyncio.AbstractEventLoop) -> None:
        """For `network` to call."""
        self.reactor = reactor
        self.loop = loop
        directlyProvides(self, providedBy(reactor))

    def __repr__(self) -> str:
        """Says which loop serves."""
        return f"<native network on {self.loop!r}>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reactor, name)

    def listenTCP(
        self,
        port: int,
        factory: Factory | IProtocolFactory,
        backlog: int = BACKLOG,
        interface: str = "",
    ) -> NativePort:
        """Listen on an IPv4 or IPv6 interface, at once; port 0 is any free one. CannotListenError."""
        return _started(NativeTCPPort(self.loop, port, factory, backlog, interface))

    def listenUNIX(
        self,
        address: str | bytes,
        factory: Factory | IProtocolFactory,
        backlog: int = BACKLOG,
        mode: int = 0o666,
        wantPID: int = 0,
    ) -> NativePort:
        """Listen on a Unix socket, at once; CannotListenError if it can't be had.

        A file left by a dead process is replaced, one that anybody listens on never. With `wantPID` a lock
        file stands beside it as long as we listen.
        """
        return _started(NativeUNIXPort(self.loop, address, factory, backlog, mode, bool(wantPID)))

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory,
        timeout: float | None = 30,
        bindAddress: tuple[str, int] | None = None,
    ) -> NativeConnector:
        """Connect to an IPv4 or IPv6 address; ValueError, at once, for a name.

        The factory gets clientConnectionFailed with a ConnectError; a TimeoutError after `timeout` seconds.
        With None there is no timer of ours: right for a caller that has one.
        """
        address = IPv6Address if isIPv6Address(host) else IPv4Address
        if not isIPAddress(host) and address is IPv4Address:
            raise ValueError(f"{host!r} is no IPv4 or IPv6 address; resolve names before connectTCP")
        if not 0 <= port <= 65535:
            raise ValueError(f"{port!r} is no TCP port")
        destination = address("TCP", host, port)
        connector = NativeTCPConnector(self.loop, self.reactor, factory, timeout, destination, bindAddress)
        connector.connect()
        return connector

    def connectUNIX(
        self, address: str | bytes, factory: ClientFactory, timeout: float | None = 30, checkPID: int = 0
    ) -> NativeConnector:
        """Connect to a Unix socket; the same as connectTCP otherwise."""
        path = os.fsencode(address)
        if path.startswith(b"\0"):  # libuv takes a C string for the path: abstract names are Twisted's own to open
            return cast(NativeConnector, self.reactor.connectUNIX(address, factory, timeout, checkPID))
        connector = NativeUNIXConnector(self.loop, self.reactor, factory, timeout, path, bool(checkPID))
        connector.connect()
        return connector


def _started(port: NativePort) -> NativePort:
    port.startListening()
    return port


def network(reactor: Any) -> Network:
    """The means of listening and connecting on `reactor`: native on uvloop, the reactor itself elsewhere.

    May be called as often as one likes.
    """
    loop = _uvloop_of(reactor)
    if loop is None:
        return cast(Network, reactor)
    _report_failures(loop)
    return NativeNetwork(reactor, loop)


def _uvloop_of(reactor: Any) -> asyncio.AbstractEventLoop | None:
    if uvloop is None or not isinstance(reactor, AsyncioSelectorReactor):
        return None
    loop = reactor._asyncioEventloop  # Twisted has no public name for it
    return loop if isinstance(loop, uvloop.Loop) else None


def _report_failures(loop: asyncio.AbstractEventLoop) -> None:
    """Have exceptions from our protocols logged by Twisted, not by the stdlib where uvloop sends them.

    `connectionLost` gets the same exception. All else that goes wrong on the loop is reported as it was
    before.
    """
    before = loop.get_exception_handler()
    if getattr(before, "reports_failures", False):
        return

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        connection, exc = context.get("protocol"), context.get("exception")
        if isinstance(connection, NativeConnection) and exc is not None:
            failure = Failure(exc, type(exc), exc.__traceback__)
            log.failure("{connection!r}: its protocol failed", failure, connection=connection)
        elif before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    report.reports_failures = True  # type: ignore[attr-defined]
    loop.set_exception_handler(report)
