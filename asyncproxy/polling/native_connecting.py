"""Connectors on uvloop: one attempt ends in exactly one of a protocol or clientConnectionFailed.

uvloop opens the socket itself, in a task: 50 us of CPU a connection on loopback, against 122 for a socket of
our own handed over when it is writable; driving the coroutine without a task saved nothing. A socket of our
own would also be closed twice if its connection ended before uvloop has taken it over.

Polling thread only.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IConnector
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure
from twisted.python.lockfile import isLocked
from zope.interface import implementer

from asyncproxy.polling.native_connection import NativeConnection, log
from asyncproxy.polling.native_origin import Address


@implementer(IConnector)
class NativeConnector(ABC):
    """One outgoing connection at a time; `connect` may be called again once it has failed or is lost.

    `state` is "disconnected", "connecting" or "connected".
    """

    host: Address | None = None
    peer: Address

    def __init__(
        self, loop: asyncio.AbstractEventLoop, reactor: Any, factory: ClientFactory, timeout: float | None
    ) -> None:
        """Remember whom to tell; connect does the rest."""
        self.loop = loop
        self.reactor = reactor
        self.factory: Any = factory
        self.timeout = timeout
        self.state = "disconnected"
        self.transport: NativeConnection | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._deadline: Any = None
        self._started = False

    def __repr__(self) -> str:
        """Where to, how far, for whom."""
        return f"<native connector to {self.peer}, {self.state}, for {self.factory!r}>"

    def connect(self) -> None:
        """Start an attempt; RuntimeError if one is under way or the connection stands."""
        if self.state != "disconnected":
            raise RuntimeError(f"{self!r} cannot connect again yet")
        if not self._started:
            self.factory.doStart()
            self._started = True
        self.state = "connecting"
        self.transport = NativeConnection(self)
        self._attempt = self.loop.create_task(self._try(self.transport))
        if self.timeout is not None:
            self._deadline = self.reactor.callLater(self.timeout, self._fail, error.TimeoutError())
        self.factory.startedConnecting(self)

    def stopConnecting(self) -> None:
        """Give up; clientConnectionFailed says UserError, now. NotConnectingError if it is not connecting."""
        if self.state != "connecting":
            raise error.NotConnectingError("we're not trying to connect")
        self._fail(error.UserError())

    def disconnect(self) -> None:
        """Give up, or lose the connection in order, whichever fits."""
        if self.state == "connecting":
            self.stopConnecting()
        elif self.transport is not None:
            self.transport.loseConnection()

    def abort(self) -> None:
        """Give up, or drop the connection, whichever fits."""
        if self.state == "connecting":
            self.stopConnecting()
        elif self.transport is not None:
            self.transport.abortConnection()

    def getDestination(self) -> Address:
        """Where it connects to."""
        return self.peer

    async def _try(self, connection: NativeConnection) -> None:
        try:
            await self._open(lambda: connection)
        except OSError as refusal:
            self._attempt = None
            self._fail(error.getConnectError(refusal))

    @abstractmethod
    async def _open(self, make: Callable[[], NativeConnection]) -> None: ...

    def _fail(self, why: BaseException) -> None:
        if self.state != "connecting":
            return
        attempt = self._settle()
        if attempt is not None:
            attempt.cancel()  # uvloop closes its socket
        self._over("clientConnectionFailed", Failure(why))

    def _settle(self) -> asyncio.Task[None] | None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()
        attempt, self._attempt = self._attempt, None
        return attempt

    def _over(self, happening: str, reason: Failure) -> None:
        self.state, self.transport = "disconnected", None
        try:
            getattr(self.factory, happening)(self, reason)
        except Exception:  # noqa: BLE001 - whatever a factory raises would be lost in uvloop's task
            log.failure("{connector!r}: its factory failed", connector=self)
        if self.state == "disconnected" and self._started:  # nobody called connect() in there
            self._started = False
            self.factory.doStop()

    def build(self, connection: NativeConnection) -> Any:
        """The factory's protocol. Refuses the connection of an attempt that was given up meanwhile."""
        if connection is not self.transport:
            return None
        self._settle()
        self.state = "connected"
        return self.factory.buildProtocol(self.peer)

    def lost(self, connection: NativeConnection, reason: Failure) -> None:
        """Pass on clientConnectionLost."""
        if connection is self.transport:
            self._over("clientConnectionLost", reason)


class NativeTCPConnector(NativeConnector):
    """To an IPv4 or IPv6 address; names are resolved elsewhere."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        reactor: Any,
        factory: ClientFactory,
        timeout: float | None,
        destination: IPv4Address | IPv6Address,
        local: tuple[str, int] | None,
    ) -> None:
        """See IReactorTCP.connectTCP."""
        super().__init__(loop, reactor, factory, timeout)
        self.peer = destination
        self._destination, self._local = destination, local

    async def _open(self, make: Callable[[], NativeConnection]) -> None:
        host, port = self._destination.host, self._destination.port
        await self.loop.create_connection(make, host, port, local_addr=self._local)


class NativeUNIXConnector(NativeConnector):
    """To a Unix socket in the file system; with `check_pid`, only if somebody holds its lock file."""

    host = UNIXAddress(None)

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        reactor: Any,
        factory: ClientFactory,
        timeout: float | None,
        path: bytes,
        check_pid: bool,
    ) -> None:
        """See IReactorUNIX.connectUNIX."""
        super().__init__(loop, reactor, factory, timeout)
        self.peer = UNIXAddress(path)
        self._path, self._check_pid = os.fsdecode(path), check_pid

    async def _open(self, make: Callable[[], NativeConnection]) -> None:
        if self._check_pid and not isLocked(self._path + ".lock"):
            self._attempt = None
            self._fail(error.BadFileError(string=self._path))
            return
        await self.loop.create_unix_connection(make, self._path)
