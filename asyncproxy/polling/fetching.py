"""A module's own requests out, `request.fetch`, on treq; not the data plane."""

from __future__ import annotations

from typing import Any, Final, cast

from treq.client import HTTPClient
from twisted.internet import error as connect_errors
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.web.client import Agent, HTTPConnectionPool, ResponseFailed, _HTTP11ClientFactory
from twisted.web.http_headers import Headers as TwistedHeaders
from twisted.web.iweb import IAgent
from zope.interface import directlyProvides, providedBy

from asyncproxy.exchange.errors import UpstreamError
from asyncproxy.exchange.headers import Headers
from asyncproxy.exchange.responses import Fetched
from asyncproxy.exchange.waits import Fetch
from asyncproxy.polling.descriptors import EXHAUSTED, NoDescriptor

KEPT_A_HOST: Final = 16


class Fetcher:
    """Sends fetches over a pool of its own; `lookup` is the IHostnameResolver that names go through."""

    def __init__(self, reactor: Any, lookup: Any) -> None:
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = KEPT_A_HOST
        self._pool._factory = _Quiet
        self._client = HTTPClient(cast(IAgent, Agent(_WithNames(reactor, lookup), pool=self._pool)))

    def __call__(self, fetch: Fetch) -> Deferred[Fetched]:
        """Send `fetch`; fires with a `Fetched` or fails with `UpstreamError`. Cancelling it ends the connection."""
        return Deferred.fromCoroutine(self._fetch(fetch))

    async def _fetch(self, fetch: Fetch) -> Fetched:
        arguments: dict[str, Any] = {"timeout": fetch.timeout}
        if fetch.headers is not None:
            arguments["headers"] = _for_twisted(fetch.headers)
        if fetch.data is not None:
            arguments["data"] = fetch.data
        if fetch.json is not None:
            arguments["json"] = fetch.json
        try:
            response = await self._client.request(fetch.method, fetch.url, **arguments)
            content = await response.content()
        except Exception as error:
            raise _in_our_words(error, fetch) from error
        raw = [(name, value) for name, values in response.headers.getAllRawHeaders() for value in values]
        return Fetched(response.code, Headers.received(raw), content)

    def stop(self) -> Deferred[None]:
        """Close what is kept alive."""
        return cast("Deferred[None]", self._pool.closeCachedConnections())


class _Quiet(_HTTP11ClientFactory):
    """Connections that are not worth two lines of log each."""

    noisy = False


class _WithNames:
    """A reactor whose names are looked up elsewhere than in its thread pool."""

    def __init__(self, reactor: Any, lookup: Any) -> None:
        self._reactor = reactor
        self.nameResolver = lookup
        directlyProvides(self, providedBy(reactor), IReactorPluggableNameResolver)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


def _for_twisted(headers: Headers) -> TwistedHeaders:
    twisted = TwistedHeaders()
    for name, value in headers.raw:
        twisted.addRawHeader(name, value)
    return twisted


def _in_our_words(error: Exception, fetch: Fetch) -> UpstreamError:
    if isinstance(error, ResponseFailed) and error.reasons:
        error = error.reasons[0].value
    if isinstance(error, (CancelledError, connect_errors.TimeoutError)):
        words = "the fetched server took too long" if fetch.timeout is None else f"no answer within {fetch.timeout:g} s"
        return UpstreamError("timeout:total", words, fetch.url)
    if isinstance(error, connect_errors.DNSLookupError):
        return UpstreamError("unresolved", "the fetched server's name has no address", fetch.url)
    if getattr(error, "osError", None) in EXHAUSTED:
        return NoDescriptor(fetch.url)
    if isinstance(error, connect_errors.ConnectError):
        return UpstreamError("refused", "the fetched server refused the connection", fetch.url)
    if isinstance(error, (connect_errors.ConnectionDone, connect_errors.ConnectionLost)):
        return UpstreamError("reset", "the fetched server closed the connection", fetch.url)
    return UpstreamError("bad", "the fetch failed", fetch.url, str(error))
