"""Servers, names and descriptors in memory: what the proxy would reach beyond its own process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet import error as internet_errors
from twisted.internet.address import IPv4Address
from twisted.python.failure import Failure

from asyncproxy.testing.stepping import PollingRound
from asyncproxy.testing.wire import Wire


class FakeUpstream:
    """A connection that the proxy asked for, from the server's point of view."""

    def __init__(self, network: MemoryNetwork, address: Any, factory: Any) -> None:
        self.network = network
        self.address = address
        self.factory = factory
        self.wire: Wire | None = None
        self.withdrawn = False
        self.failed = False
        self.name = f"server {network.numbers}"

    @property
    def pending(self) -> bool:
        """Whether the connection is still to be made."""
        return self.wire is None and not self.withdrawn and not self.failed

    def accept(self) -> FakeUpstream:
        """Let the connection be made, if it is still wanted."""
        if self.pending:
            protocol = self.factory.buildProtocol(None)
            if protocol is None:
                self.withdrawn = True
            else:
                network = self.network
                self.wire = Wire(network.polling, protocol, ("127.0.0.1", 9000), self.name, self._written)
        return self

    def _written(self) -> None:
        if self.network.heard is not None:
            self.network.heard.append(self)

    def refuse(self) -> None:
        """Refuse it."""
        self._fail(internet_errors.ConnectionRefusedError())

    def time_out(self) -> None:
        """The operating system gives it up."""
        self._fail(internet_errors.TimeoutError())

    def _fail(self, error: Exception) -> None:
        if self.pending:
            self.failed = True
            self.factory.clientConnectionFailed(self, Failure(error))

    def stopConnecting(self) -> None:
        """Called by the pool: nobody wants it."""
        self.withdrawn = True
        self.network.polling.happen(
            self, self.factory.clientConnectionFailed, self, Failure(internet_errors.UserError())
        )

    @property
    def received(self) -> bytes:
        """All that the proxy has sent."""
        return bytes(self.wire.out) if self.wire is not None else b""

    @property
    def closed(self) -> bool:
        """Whether the proxy has closed the connection, or is about to."""
        return self.wire is not None and (self.wire.closing or self.wire.lost)

    def answer(self, data: bytes) -> None:
        """Send `data`; accepts first."""
        self.accept()
        if self.wire is not None:
            self.wire.arrive(data)

    def hang_up(self) -> None:
        """Close the connection."""
        if self.wire is not None:
            self.wire.hang_up()

    def __repr__(self) -> str:
        state = "pending" if self.pending else "closed" if self.closed else "there" if self.wire else "failed"
        return f"<FakeUpstream {self.name} at {self.address}, {state}>"


class MemoryNetwork:
    """Connections asked for are kept in `asked`; `mode` says what becomes of them on the next round.

    ``"accept"``, ``"refuse"``, ``"hang"`` (the test decides), or ``"at once"``: accepted before connectTCP returns.
    `refused` has ports of hosts that refuse whatever `mode` says: ``(host, port)``, or a path. Where `heard` is a list,
    connections that the proxy has written to are appended to it.
    """

    def __init__(self, polling: PollingRound) -> None:
        self.polling = polling
        self.asked: list[FakeUpstream] = []
        self.mode = "accept"
        self.refused: set[Any] = set()
        self.heard: deque[FakeUpstream] | None = None
        self.numbers = 0

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float | None = 30) -> FakeUpstream:
        """As a reactor's."""
        return self._connect((host, port), factory)

    def connectUNIX(self, path: Any, factory: Any, timeout: float | None = 30) -> FakeUpstream:
        """As a reactor's."""
        return self._connect(path, factory)

    def _connect(self, address: Any, factory: Any) -> FakeUpstream:
        self.numbers += 1
        upstream = FakeUpstream(self, address, factory)
        self.asked.append(upstream)
        mode = "refuse" if address in self.refused else self.mode
        if mode == "at once":
            upstream.accept()
        elif mode != "hang":
            self.polling.happen(upstream, upstream.accept if mode == "accept" else upstream.refuse)
        return upstream

    def __repr__(self) -> str:
        return f"<MemoryNetwork {len(self.asked)} connections asked for>"


class Descriptors:
    """Whoever watches descriptors: `ready` says that all that are watched can be read or written."""

    def __init__(self) -> None:
        self.readers: dict[Any, None] = {}
        self.writers: dict[Any, None] = {}

    def addReader(self, reader: Any) -> None:
        """As a reactor's."""
        self.readers[reader] = None

    def addWriter(self, writer: Any) -> None:
        """As a reactor's."""
        self.writers[writer] = None

    def removeReader(self, reader: Any) -> None:
        """As a reactor's."""
        self.readers.pop(reader, None)

    def removeWriter(self, writer: Any) -> None:
        """As a reactor's."""
        self.writers.pop(writer, None)

    def ready(self) -> None:
        """Tell everybody who watches."""
        for call in self.watches():
            call()

    def watches(self, original: int | None = None) -> list[Callable[[], None]]:
        """How to tell each who watches that its descriptor is ready; of `original` alone, the one the module has."""
        wanted = [one for one in self.readers if original is None or one.wait.original == original]
        writers = [one for one in self.writers if original is None or one.wait.original == original]
        return [one.doRead for one in wanted] + [one.doWrite for one in writers]

    def __repr__(self) -> str:
        watched = ", ".join(one.wait.describe() for one in (*self.readers, *self.writers))
        return f"<Descriptors {watched or 'none watched'}>"


class Names:
    """Looks names up: `asked` has the names, `answer` tells the addresses of the eldest that waits.

    With `by_itself` every name has itself for an address.
    """

    def __init__(self, *, by_itself: bool = False) -> None:
        self.asked: list[str] = []
        self._by_itself = by_itself
        self._receivers: list[Any] = []

    def resolveHostName(self, receiver: Any, name: str) -> None:
        """As a reactor's."""
        self.asked.append(name)
        self._receivers.append(receiver)
        if self._by_itself:
            self.answer(name)

    def answer(self, *addresses: str) -> None:
        """Tell the eldest look-up that its name has `addresses`, perhaps none."""
        receiver = self._receivers.pop(0)
        receiver.resolutionBegan(None)
        for address in addresses:
            receiver.addressResolved(IPv4Address("TCP", address, 0))
        receiver.resolutionComplete()

    def __repr__(self) -> str:
        return f"<Names {len(self._receivers)} asked for>"
