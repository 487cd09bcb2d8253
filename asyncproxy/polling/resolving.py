"""Names of servers to addresses, on threads of their own: neither the reactor's pool nor a worker waits for a name.

Answers are kept for `KEPT_SECONDS`, since getaddrinfo tells no time to live; who asks for a name that is being looked
up waits for the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet._resolver import GAIResolver
from twisted.internet.interfaces import IResolutionReceiver
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from asyncproxy.boundaries import Clock

KEPT_SECONDS: Final = 10.0
THREADS: Final = 2
KEPT_NAMES: Final = 1024

Answer = Callable[[list[str]], None]


class Resolver:
    """Looks names up with getaddrinfo. `lookup` provides IHostnameResolver; polling thread only."""

    def __init__(self, lookup: Any, clock: Clock) -> None:
        self._lookup = lookup
        self._clock = clock
        self._known: dict[str, tuple[float, list[str]]] = {}
        self._asking: dict[str, list[Answer]] = {}

    def resolve(self, host: str, answer: Answer) -> None:
        """Call `answer` once with the addresses of `host`, perhaps none, perhaps before this returns."""
        known = self._known.get(host)
        if known is not None and known[0] > self._clock.seconds():
            answer(known[1])
            return
        asking = self._asking.setdefault(host, [])
        asking.append(answer)
        if len(asking) == 1:
            self._lookup.resolveHostName(_Receiver(self, host), host)

    def resolved(self, host: str, addresses: list[str]) -> None:
        """The look-up of `host` is through."""
        if len(self._known) >= KEPT_NAMES:
            self._known.clear()
        if addresses:
            self._known[host] = (self._clock.seconds() + KEPT_SECONDS, addresses)
        for answer in self._asking.pop(host, []):
            answer(addresses)

    def __repr__(self) -> str:
        return f"<Resolver {len(self._known)} known, {len(self._asking)} asked for>"


@implementer(IResolutionReceiver)
class _Receiver:
    """Gathers the addresses of one look-up."""

    def __init__(self, resolver: Resolver, host: str) -> None:
        self._resolver = resolver
        self._host = host
        self._addresses: list[str] = []

    def resolutionBegan(self, resolutionInProgress: Any) -> None: ...

    def addressResolved(self, address: Any) -> None:
        if address.host not in self._addresses:
            self._addresses.append(address.host)

    def resolutionComplete(self) -> None:
        self._resolver.resolved(self._host, self._addresses)


class NameThreads:
    """The threads that look-ups run on, started at the first one; `lookup` is what `Resolver` asks."""

    def __init__(self, reactor: Any) -> None:
        self._pool = ThreadPool(0, THREADS, "asyncproxy-names")
        self._started = False
        self.lookup = GAIResolver(reactor, self._get_pool)

    def _get_pool(self) -> ThreadPool:
        if not self._started:
            self._started = True
            self._pool.start()
        return self._pool

    def stop(self) -> None:
        """Join the threads."""
        if self._started:
            self._started = False
            self._pool.stop()
