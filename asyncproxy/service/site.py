"""A module as a Resource of a stock twisted.web Site: what `Module.render` does.

The rule: the module runs in the rooms of its `proxy`. One that has none gets those of the default proxy of its reactor,
which listens nowhere, starts with the first request and stops when the reactor shuts down. `start` of a module has
ended before its first request is handled, in a Site too.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.logger import Logger
from twisted.web.server import NOT_DONE_YET

from asyncproxy.configuration import Settings
from asyncproxy.configuration.settings import Route, Server
from asyncproxy.module import Module
from asyncproxy.polling.listening import Door
from asyncproxy.polling.web_client import WebClient
from asyncproxy.service.binding import Bound
from asyncproxy.service.hooks import awaited
from asyncproxy.service.proxy import Proxy

_log = Logger()
_defaults: WeakKeyDictionary[Any, Proxy] = WeakKeyDictionary()
_starts: WeakKeyDictionary[Any, WeakKeyDictionary[Module, Deferred[bool]]] = WeakKeyDictionary()
"""By the hooks of a proxy, new at each start of it: a module that is given another proxy is started there."""


def render(module: Module, web: Any) -> int:
    """Have `module` answer `web`, a request of twisted.web; on the reactor's thread."""
    if module.proxy is None:
        module.proxy = default_proxy(_reactor_of(web))
    client = WebClient(web, module.proxy.flow)
    bound = _bound(module, web)
    awaited(_started(bound)).addCallback(_enter, client, bound)
    return NOT_DONE_YET


def default_proxy(reactor: Any) -> Proxy:
    """The proxy whose rooms modules use in Sites of `reactor`, unless they have one of their own; it is started."""
    proxy = _defaults.get(reactor)
    if proxy is None:
        proxy = _defaults[reactor] = Proxy(
            Settings(server=Server(listen=(), request_id_header=None), route=()), reactor
        )
        proxy.start()  # nothing listens and no module is started, so nothing can fail
        reactor.addSystemEventTrigger("before", "shutdown", proxy.stop)  # the one phase that waits for a Deferred
    return proxy


def _reactor_of(web: Any) -> Any:
    """The reactor that the Site was given, or the one there is; a Site may have been given a mere clock."""
    reactor = getattr(getattr(web, "site", None), "reactor", None)
    if IReactorThreads.providedBy(reactor):
        return reactor
    from twisted.internet import reactor as installed

    return installed


def _bound(module: Module, web: Any) -> Bound:
    """The module as bound to a route where it stands in the Site."""
    kind = type(module)
    path = "/" + b"/".join(web.prepath or ()).decode("utf-8", "replace")
    bound = Bound(Route(path=path, module=f"{kind.__module__}:{kind.__qualname__}"), module)
    # Where a tree makes its children as they are asked for, clients choose the path: no label may be made of it.
    bound.tally = module.proxy.books.row(bound.name, module=bound.name)
    return bound


def _started(bound: Bound) -> Deferred[bool]:
    """Whether the module's `start` went well, once it is through; it is called once, by whoever comes first."""
    starts = _starts.setdefault(bound.module.proxy.hooks, WeakKeyDictionary())
    started = starts.get(bound.module)
    if started is None:
        started = starts[bound.module] = Deferred.fromCoroutine(_start(bound))
    return started


async def _start(bound: Bound) -> bool:
    try:
        await bound.module.proxy.hooks.start([bound])
    except Exception as error:  # noqa: BLE001 - what a module raises is told to the log, and to clients by status
        _log.critical("{error}; its requests are answered with 500", error=error)
        return False
    return True


def _enter(ready: bool, client: WebClient, bound: Bound) -> None:
    """Make the request an exchange, or refuse it."""
    proxy = bound.module.proxy
    if client.gone:
        return
    if proxy.draining:
        client.refuse(503, "the proxy has stopped")
    elif not ready:
        client.refuse(500, "")
    else:
        client.begin_exchange(Door(proxy.flow, proxy.settings.limits, lambda *_: bound, only=bound))
