"""The stock module `resource`: any Resource of twisted.web in a route, or a WSGI application on threads of its own.

The rule: names are found and arguments counted when the module is made, so that ``--check`` tells; the resource itself
is made at start, with the proxy's reactor. Below the route's path it is the root of a twisted.web Site, which also has
its sessions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from threading import Event, Thread
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request as TwistedRequest
from twisted.web.server import Site
from twisted.web.wsgi import WSGIResource
from zope.interface import implementer

from asyncproxy import Module, Request, Response
from asyncproxy.exchange.forwarding import origin_form
from asyncproxy.exchange.ranges import is_excessive
from asyncproxy.exchange.routing import normal_path
from asyncproxy.exchange.waits import Render
from asyncproxy.settings import SettingsError


class Mounted(Module):
    """Mounts a Resource below the route's path.

    * `resource` names, as ``package.file:Name``, a Resource class or a function that returns a Resource; it is called
      with `args` and `kwargs`, and with the proxy's reactor if it has a parameter `reactor` that they leave out. Or it
      names a Resource that is there already.
    * `wsgi` names a WSGI application instead, which runs on at most `threads` threads of its own.
    """

    blocking = False
    whole_body = True
    resource: str | None = None
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    wsgi: str | None = None
    threads: int = 10
    _site: Site | None = None
    _pool: ThreadPool | None = None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if (self.resource is None) == (self.wsgi is None):
            words = 'write either resource = "twisted.web.static:File" or wsgi = "package.file:application"'
            raise SettingsError(type(self).__name__, [("resource", words)])
        if self.threads < 1:
            raise SettingsError(type(self).__name__, [("threads", f"expected 1 or more, not {self.threads}")])
        self._found = _found("wsgi", self.wsgi) if self.wsgi is not None else _found("resource", str(self.resource))
        self._check_call()

    def _check_call(self) -> None:
        """Raises `SettingsError` for what cannot be called so, as far as that can be told without a call."""
        if self.wsgi is not None:
            if not callable(self._found):
                raise SettingsError("Mounted", [("wsgi", f"{self.wsgi} is no WSGI application: it cannot be called")])
            return
        if IResource.providedBy(self._found):
            if self.args or self.kwargs:
                words = f"{self.resource} is a resource already: leave args and kwargs out"
                raise SettingsError("Mounted", [("resource", words)])
            return
        if not callable(self._found):
            words = f"{self.resource} is {self._found!r}: name a Resource, its class, or a function that returns one"
            raise SettingsError("Mounted", [("resource", words)])
        try:
            self._arguments(None)
        except TypeError as why:
            raise SettingsError("Mounted", [("args", f"{self.resource} cannot be called with these: {why}")]) from None

    def _arguments(self, reactor: Any) -> inspect.BoundArguments:
        """What the resource's maker is called with. Raises TypeError if it does not take that."""
        try:
            signature = inspect.signature(self._found)
        except ValueError:  # a class written in C does not say
            signature = inspect.Signature.from_callable(lambda *args, **kwargs: None)
        given = signature.bind_partial(*self.args, **self.kwargs).arguments
        wanted = "reactor" in signature.parameters and "reactor" not in given
        return signature.bind(*self.args, **self.kwargs, **({"reactor": reactor} if wanted else {}))

    def start(self) -> None:
        """Make the resource. Raises TypeError if what was made is none, and what its maker raises."""
        reactor = self.proxy.reactor
        self._site = MountedSite(self._make(reactor), reactor=reactor)  # type: ignore[no-untyped-call]

    def _make(self, reactor: Any) -> Any:
        if self.wsgi is not None:
            self._pool = ThreadPool(0, self.threads, "asyncproxy-wsgi")
            # One that blocks for ever cannot keep the process.
            self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
            self._pool.start()
            return Application(reactor, self._pool, self._found)
        if IResource.providedBy(self._found):
            return self._found
        arguments = self._arguments(reactor)
        made = self._found(*arguments.args, **arguments.kwargs)
        if not IResource.providedBy(made):
            raise TypeError(f"{self.resource} made {made!r}, which is no twisted.web Resource")
        return made

    def handle(self, request: Request) -> Render | Response:
        """Wait for the resource's answer; its body then streams as an upstream's does."""
        assert self._site is not None, "the module was not started"
        segments = below(request.route.path, request.target)
        if segments is None:
            return Response.text("404 Not Found: no route takes this host and path\n", 404)
        return Render(request, self._site, *segments)

    def stop(self) -> Deferred[None] | None:
        """End its sessions and its threads; fires when the threads have ended."""
        site, self._site = self._site, None
        if site is not None:
            for session in list(site.sessions.values()):
                session.expire()
        pool, self._pool = self._pool, None
        return None if pool is None else _joined(pool, self.proxy.reactor)


class Application(Resource):
    """A WSGI application, whose threads make no more than their clients read."""

    isLeaf = True

    def __init__(self, reactor: Any, pool: ThreadPool, application: Callable[..., Iterable[bytes]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self._pool = pool
        self._application = application

    def render(self, request: TwistedRequest) -> int:
        """Have a thread answer."""
        paced = Paced(self._application)
        request.channel.registerProducer(paced, True)
        return WSGIResource(self._reactor, self._pool, paced).render(request)  # type: ignore[no-any-return]


@implementer(IPushProducer)
class Paced:
    """One call of a WSGI application: the next piece is asked for when the client has room."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._room = Event()
        self._room.set()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        """On a thread of the pool: the application's answer."""
        pieces = self._application(environ, start_response)
        try:
            for piece in pieces:
                yield piece
                self._room.wait()
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def pauseProducing(self) -> None:
        """The client is slow."""
        self._room.clear()

    def resumeProducing(self) -> None:
        """The client keeps up again."""
        self._room.set()

    stopProducing = resumeProducing
    """The client has left, which Twisted tells the thread before it takes the next piece."""


class MountedSite(Site):
    """The site of one route: its root is the route's resource, and stands where the route does."""

    def getResourceFor(self, request: TwistedRequest) -> Any:
        """The resource below the route's path that `request` is for; it hears of no Range that asks for too much."""
        asked = request.getHeader(b"range")
        if asked is not None and is_excessive(asked):
            request.requestHeaders.removeHeader(b"range")
        channel: Any = request.channel
        request.prepath, request.postpath = channel.prepath, channel.postpath
        return super().getResourceFor(request)  # type: ignore[no-untyped-call]


def below(route: str, target: bytes) -> tuple[list[bytes], list[bytes]] | None:
    """The segments of `target` up to the path of a route and below it, percent-decoded; None if it only looks alike.

    Segments are the client's own, a ``%2F`` in one is part of it; but where dots or doubled slashes had to be resolved
    to find the route, they are those of the path that was found.
    """
    raw = origin_form(target).partition(b"?")[0]
    normal = normal_path(target)
    above = [segment for segment in route.encode().split(b"/") if segment]
    if unquote_to_bytes(raw).decode("utf-8", "replace") == normal:
        segments = [unquote_to_bytes(segment) for segment in raw[1:].split(b"/")]
        if segments[: len(above)] == above:
            return above, segments[len(above) :]
    segments = normal.encode()[1:].split(b"/")
    return (above, segments[len(above) :]) if segments[: len(above)] == above else None


def _found(setting: str, name: str) -> Any:
    """What `name` means. Raises `SettingsError`."""
    where, _, called = name.partition(":")
    if not all(part.isidentifier() for part in [*where.split("."), *called.split(".")]):
        raise SettingsError("Mounted", [(setting, f'"{name}" is no dotted name; write "package.file:Name"')])
    try:
        found: Any = import_module(where)
    except (Exception, SystemExit) as why:
        words = f"{where} does not import: {type(why).__name__}: {why}; mend it, or install what it needs"
        raise SettingsError("Mounted", [(setting, words)]) from why
    for part in called.split("."):
        if not hasattr(found, part):
            raise SettingsError("Mounted", [(setting, f"{where} has no {called}; name what stands in that file")])
        found = getattr(found, part)
    return found


def _joined(pool: ThreadPool, reactor: Any) -> Deferred[None]:
    """Fires when the threads of `pool` have ended: they may need the reactor to end, so it must not wait for them."""
    done: Deferred[None] = Deferred()

    def join() -> None:
        pool.stop()
        reactor.callFromThread(done.callback, None)

    Thread(target=join, name="asyncproxy-wsgi-stop", daemon=True).start()
    return done
