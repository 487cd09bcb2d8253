"""How a new connection to a server comes about: its name looked up, each of its addresses tried in turn.

The rule: it is made for one forward, and taken back if that is not wanted any more. The pool that asked hears of its
end either way, for what is being made counts among its connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet import error as connect_errors
from twisted.internet.abstract import isIPAddress, isIPv6Address

from asyncproxy.exchange.errors import UpstreamError
from asyncproxy.polling.descriptors import EXHAUSTED, NoDescriptor
from asyncproxy.polling.upstream import Forwarding
from asyncproxy.polling.upstream_connection import UpstreamConnection

if TYPE_CHECKING:
    from asyncproxy.polling.pool import ServerPool


class Opening:
    """One new connection for one forwarding: a Twisted ClientFactory that tries each address in turn."""

    noisy = False

    def __init__(self, pool: ServerPool, forwarding: Forwarding) -> None:
        self._pool = pool
        self._forwarding: Forwarding | None = forwarding
        self._addresses: list[str] = []
        self._connector: Any = None

    def begin(self) -> None:
        """Look the name up, or connect at once."""
        forwarding = self._forwarding
        assert forwarding is not None
        forwarding.withdraw = self._withdraw
        origin = self._pool.origin
        if origin.path:
            self._connector = self._pool.network.connectUNIX(
                origin.path, self, timeout=self._pool.settings.connect_timeout
            )
        elif isIPAddress(origin.host) or isIPv6Address(origin.host):
            self._resolved([origin.host])
        else:
            self._pool.resolver.resolve(origin.host, self._resolved)

    def _resolved(self, addresses: list[str]) -> None:
        if self._forwarding is None:
            return
        if not addresses:
            self._give_up(UpstreamError("unresolved", "the upstream's name has no address", str(self._pool)))
            return
        self._addresses = addresses[1:]
        timeout = self._pool.settings.connect_timeout
        self._connector = self._pool.network.connectTCP(addresses[0], self._pool.origin.port, self, timeout=timeout)

    def buildProtocol(self, _address: Any) -> UpstreamConnection | None:
        """The connection is there: its protocol, or None if nobody wants it any more."""
        forwarding, self._forwarding, self._connector = self._forwarding, None, None
        if forwarding is None:
            return None
        connection = UpstreamConnection(self._pool)
        connection.forwarding = forwarding
        return connection

    def clientConnectionFailed(self, _connector: Any, reason: Any) -> None:
        """An address does not answer: on to the next, or to the pool with what is wrong."""
        self._connector = None
        if self._forwarding is None:
            return
        if self._addresses:
            self._resolved(self._addresses)
            return
        if reason.check(connect_errors.TimeoutError):
            seconds = self._pool.settings.connect_timeout
            words = f"no connection to the upstream within {seconds:g} s"
            self._give_up(UpstreamError("timeout:connect", words, str(self._pool)))
        elif getattr(reason.value, "osError", None) in EXHAUSTED:
            self._give_up(NoDescriptor(str(self._pool)))
        else:
            self._give_up(UpstreamError("refused", "the upstream refused the connection", str(self._pool)))

    def _give_up(self, error: UpstreamError) -> None:
        forwarding, self._forwarding = self._forwarding, None
        if forwarding is not None:
            self._pool.failed(forwarding, error)

    def _withdraw(self) -> None:
        self._forwarding = None
        self._pool.withdrawn()
        connector, self._connector = self._connector, None
        if connector is not None:
            connector.stopConnecting()

    def __repr__(self) -> str:
        return f"<Opening to {self._pool} for {self._forwarding!r}, {len(self._addresses)} addresses left>"

    # What Twisted tells a factory besides.

    def startedConnecting(self, _connector: Any) -> None: ...

    def clientConnectionLost(self, _connector: Any, _reason: Any) -> None: ...

    def doStart(self) -> None: ...

    def doStop(self) -> None: ...
