"""Listening ports on uvloop: the socket is ours until it listens, so that a taken port is an error at once.

uvloop's ``create_server`` binds inside a coroutine; a service that starts needs to know before it goes on.

Polling thread only.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import stat
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, Final

from twisted.internet import defer
from twisted.internet.abstract import isIPv6Address
from twisted.internet.address import UNIXAddress
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.python.lockfile import FilesystemLock
from zope.interface import implementer

from asyncproxy.polling.native_connection import NativeConnection
from asyncproxy.polling.native_origin import Address, internet_address


def _at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that has nothing to wait for: create_server, given a socket."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} was expected not to wait")


ACCEPTS_A_ROUND: Final = 8
"""Connections that one round of the loop takes in. libuv accepts one for each listening descriptor, and a round for
each new connection is what made them dear; so a port listens with as many duplicates of its descriptor."""


@implementer(IListeningPort)
class NativePort(ABC):
    """What TCP and Unix ports share: from a bound socket to connections, and back to nothing.

    `startListening` raises CannotListenError; a port that was stopped may be started again.
    """

    host: Address | None = None
    peer: Address | None = None

    def __init__(self, loop: asyncio.AbstractEventLoop, factory: Factory | IProtocolFactory, backlog: int) -> None:
        """Remember what to listen with; startListening does it."""
        self.loop = loop
        self.factory: Any = factory
        self.backlog = backlog
        self._servers: list[Any] = []
        self._socket: socket.socket | None = None
        """What listens, while accepting pauses too."""
        self._address: Any = None

    def __repr__(self) -> str:
        """Where, for whom, and whether it listens."""
        state = "listening" if self._servers else "pausing" if self._socket is not None else "not listening"
        return f"<native port {self._address}, {state}, for {self.factory!r}>"

    def startListening(self) -> None:
        """Bind, listen and accept from now on; CannotListenError if the address can't be had."""
        self._socket = self._bind()
        with contextlib.ExitStack() as unless_listening:
            unless_listening.callback(self._close)
            self.factory.doStart()
            self.startReading()
            unless_listening.pop_all()

    def startReading(self) -> None:
        """Accept again after a pause; OSError if there are no descriptors for it."""
        if self._socket is None or self._servers:
            return
        make = functools.partial(NativeConnection, self)
        for _ in range(ACCEPTS_A_ROUND):
            server = self.loop.create_server(make, sock=self._socket.dup(), backlog=self.backlog)
            self._servers.append(_at_once(server))

    def stopReading(self) -> None:
        """Pause: the kernel lets new connections wait. uvloop cannot, so its servers are closed and made anew."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    def stopListening(self) -> defer.Deferred[None]:
        """Accept no more; connections go on. Everything is done when it returns, and so is the Deferred."""
        if self._socket is not None:
            self._close()
            self._unbind()
            self.factory.doStop()
        return defer.succeed(None)

    def _close(self) -> None:
        self.stopReading()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def getHost(self) -> Any:
        """The address with the real port; also after the end."""
        return self._address

    def build(self, connection: NativeConnection) -> Any:
        """The factory's protocol; None for who was accepted just before the end, or has left already."""
        peer = connection.getPeer()
        if self._socket is None or peer is None:
            return None
        return self.factory.buildProtocol(peer)

    def lost(self, connection: NativeConnection, reason: Failure) -> None:  # noqa: B027 - what a port does, not a gap
        """Nothing: a port does not count its connections."""

    @abstractmethod
    def _bind(self) -> socket.socket: ...

    def _unbind(self) -> None:  # noqa: B027 - closing a TCP port leaves nothing
        """Clean up what closing the socket leaves."""


UNSENT_IN_KERNEL: Final = 256 * 1024
"""Bytes of a slow client's answer that the kernel keeps beside those that are on their way; it would take megabytes."""


def limit_unsent(bound: socket.socket) -> None:
    """Have connections that `bound` will accept give the kernel no more than they need; they inherit the option.

    Some hundred clients that read slowly use up what the kernel has for all of TCP otherwise, and then nobody's
    connections move (docs/decisions/0028-limits.md).
    """
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_IN_KERNEL)


class NativeTCPPort(NativePort):
    """A TCP port; `interface` is an IPv4 or IPv6 address, or empty for every IPv4 interface."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        port: int,
        factory: Factory | IProtocolFactory,
        backlog: int,
        interface: str,
    ) -> None:
        """See IReactorTCP.listenTCP."""
        super().__init__(loop, factory, backlog)
        self._port, self._interface = port, interface

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if isIPv6Address(self._interface) else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            limit_unsent(bound)
            bound.bind((self._interface, self._port))
            bound.listen(self.backlog)
        except (OSError, OverflowError) as error:
            bound.close()
            raise CannotListenError(self._interface, self._port, error) from error
        self._address = internet_address(bound.getsockname())
        return bound


class NativeUNIXPort(NativePort):
    """A Unix socket; its file is removed at the end, and before if nobody listens on it any more."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: str | bytes,
        factory: Factory | IProtocolFactory,
        backlog: int,
        mode: int,
        want_pid: bool,
    ) -> None:
        """See IReactorUNIX.listenUNIX."""
        super().__init__(loop, factory, backlog)
        self.peer = UNIXAddress(None)
        self.host = self._address = UNIXAddress(os.fsencode(address))
        self._path = os.fsencode(address)
        self._mode = mode
        self._lock = FilesystemLock(os.fsdecode(address) + ".lock") if want_pid else None
        self._identity: tuple[int, int] | None = None

    def _bind(self) -> socket.socket:
        if self._lock is not None and not self._lock.lock():
            raise CannotListenError(None, self._path, "another process holds its lock")
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._bind_file(bound)
            bound.listen(self.backlog)
        except OSError as error:
            bound.close()
            self._unlock()
            raise CannotListenError(None, self._path, error) from error
        return bound

    def _bind_file(self, bound: socket.socket) -> None:
        if self._path.startswith(b"\0"):  # Linux's abstract names: no file
            bound.bind(self._path)
            return
        if _is_stale(self._path):
            os.unlink(self._path)
        bound.bind(self._path)
        os.chmod(self._path, self._mode)  # before listen(): nobody gets in by a mode we did not want
        self._identity = _identity(self._path)

    def _unbind(self) -> None:
        # Not when somebody else has put their own socket there meanwhile.
        if self._identity is not None and _identity(self._path) == self._identity:
            os.unlink(self._path)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None and self._lock.locked:
            self._lock.unlock()


def _identity(path: bytes) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_stale(path: bytes) -> bool:
    """Whether a socket's file is there that nobody listens on: only a refusal proves it."""
    if not os.path.exists(path) or not stat.S_ISSOCK(os.stat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a listener whose queue is full answers EAGAIN: alive
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
