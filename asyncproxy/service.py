"""Where everything is put together: the command line, the service, and the proxy as a library.

The only file that may import the reactor, and that inside `Proxy.start`: all else is given its reactor or its clock.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python import usage

import twisted
from asyncproxy import __version__
from asyncproxy.boundaries import Surroundings
from asyncproxy.configuration import ConfigurationError, Settings, Upstream, describe, from_options, load
from asyncproxy.configuration.settings import Route
from asyncproxy.discovery import UnknownModule, find_module
from asyncproxy.exchange.routing import Router
from asyncproxy.modules.status import Status
from asyncproxy.polling.clock import clock_of, wake_of
from asyncproxy.polling.deadlines import Deadlines
from asyncproxy.polling.delivering import Deliveries
from asyncproxy.polling.fetching import Fetcher
from asyncproxy.polling.flow import Flow
from asyncproxy.polling.listening import Door
from asyncproxy.polling.parking import ParkingLot
from asyncproxy.polling.pool import Means, Upstreams
from asyncproxy.polling.reporting import snapshot
from asyncproxy.polling.resolving import NameThreads, Resolver
from asyncproxy.polling.transports import network
from asyncproxy.polling.waiting import KINDS
from asyncproxy.working.workers import JOIN_PATIENCE, Workers

_log = Logger()
BACKLOG: Final = 4096
SWITCH_INTERVAL: Final = 0.0005
"""Seconds after which a thread that computes must let the polling thread run; Python's own is ten times that."""
COLLECTOR_THRESHOLDS: Final = (50_000, 20, 100)


class Bound:
    """A route with its module made and configured; see `polling.flow.Binding`."""

    def __init__(self, route: Route, module: Any) -> None:
        self.path = route.path
        self.host = route.host
        self.methods = route.methods
        self.module = module
        self.name = route.module
        self.blocking = module.blocking
        self.is_async = module.is_async()
        self.whole_body = module.wants_whole_body()
        self.upstream = route.upstream
        self.timeout = route.timeout
        self.settings = route.settings
        self.at_once = not (self.blocking or self.is_async or self.whole_body or self.timeout is not None)

    def __repr__(self) -> str:
        return f"<Route {self.path} to {self.name}>"


class Proxy:
    """A proxy, from its settings: a path, a mapping of the configuration's shape, or `Settings`.

    `start` and `stop` return Deferreds and are called on the reactor's thread. Raises `ConfigurationError` when made.
    """

    def __init__(self, settings: Settings | Mapping[str, Any] | str | os.PathLike[str], reactor: Any = None) -> None:
        self.settings = settings if isinstance(settings, Settings) else load(settings)
        source = os.fspath(settings) if isinstance(settings, (str, os.PathLike)) else "settings"
        self.bindings = bind_all(self.settings.route, source)
        self.reactor = reactor
        self._ports: list[Any] = []
        self.doors: list[Door] = []

    def start(self) -> Deferred[None]:
        """Start the workers and listen. Fails with what kept it from listening, and leaves nothing behind."""
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor
        self._build(self.reactor)
        self.workers.start()
        return Deferred.fromCoroutine(self._listen())

    def _build(self, reactor: Any) -> None:
        """Furnish the rooms."""
        server = self.settings.server
        clock = clock_of(reactor)
        self.network = network(reactor)
        self.deliveries = Deliveries(wake_of(reactor))
        self.deadlines = Deadlines(clock)
        self.workers = Workers(server.workers, self.deliveries, clock, _log_unheard)
        self.names = NameThreads(reactor)
        self.fetcher = Fetcher(reactor, self.names.lookup)
        means = Means(self.network, self.deadlines, Resolver(self.names.lookup, clock))
        self.upstreams = Upstreams(self.settings.upstream, lambda origin: Upstream(servers=(origin,)), means)
        self.lot = ParkingLot(clock, KINDS, server.max_parked)
        around = Surroundings(self.deliveries, self.upstreams, reactor, self.fetcher)
        limits: dict[str, int] = {"max_queued": server.max_queued, "spool_in_memory": self.settings.limits.spool}
        self.flow = Flow(self.workers, self.lot, self.deadlines, around, **limits)
        self.admin_flow = Flow(self.workers, self.lot, self.deadlines, around, **limits)
        """Requests of the admin listener are not among those that it shows."""

    async def _listen(self) -> None:
        for bound in self.bindings:
            bound.module.proxy = self
        try:
            for endpoint in self.settings.server.listen:
                await self._open(endpoint, self.flow, self.bindings)
            if self.settings.admin is not None:
                await self._open(self.settings.admin.listen, self.admin_flow, [self._admin_binding()])
        except BaseException:
            await self.stop()
            raise

    async def _open(self, endpoint: str, flow: Flow, bindings: list[Bound]) -> None:
        first = bindings[0]
        takes_all = len(bindings) == 1 and first.path == "/" and first.host is None and first.methods is None
        by_host = any(bound.host for bound in bindings)
        door = Door(flow, self.settings.limits, finder(bindings), only=first if takes_all else None, by_host=by_host)
        self.doors.append(door)
        if endpoint.startswith(("tcp:", "unix:")) and ":backlog=" not in endpoint:
            endpoint += f":backlog={BACKLOG}"
        self._ports.append(await serverFromString(self.network, endpoint).listen(door))

    def _admin_binding(self) -> Bound:
        admin = self.settings.admin
        assert admin is not None
        module = Status(token=admin.token) if admin.token else Status()
        module.proxy = self
        return Bound(Route(path="/", module="status"), module)

    @property
    def addresses(self) -> list[Any]:
        """Where it listens: the Twisted addresses of `server.listen`, then the admin's."""
        return [port.getHost() for port in self._ports]

    def summary(self) -> str:
        """Where it listens, and with what, for the log."""
        where = [address_text(address) for address in self.addresses]
        status = f", status on {where.pop()}" if self.settings.admin is not None else ""
        routes = len(self.bindings)
        counts = f"{self.workers.total} workers, {routes} route{'s' if routes > 1 else ''}"
        return f"{', '.join(where)}{status}: {counts}"

    def snapshot(self, limit: int = 1000, after: str | None = None) -> dict[str, Any]:
        """What it holds right now, as ``/status.json`` shows it."""
        return snapshot(self.flow, limit, after)

    def stop(self) -> Deferred[None]:
        """Stop listening, end every exchange as if its client had left, and join the workers."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        ports, self._ports = self._ports, []
        await gatherResults([port.stopListening() or succeed(None) for port in ports])
        for door in self.doors:
            door.open = False
            door.close_connections()
        for exchange in [*self.flow.exchanges, *self.admin_flow.exchanges]:
            exchange.left()
        await self._let_finish()
        for turn in self.workers.stop():
            _log.error("Gave up a module that blocks: {turn!r}", turn=turn)
        self.upstreams.close()
        await self.fetcher.stop()
        self.deadlines.stop()
        self.names.stop()

    async def _let_finish(self) -> None:
        """Let modules clean up after clients that have left: their turns may still wait for a worker."""
        until = time.monotonic() + JOIN_PATIENCE
        while (self.flow.exchanges or self.workers.waiting) and time.monotonic() < until:
            await deferLater(self.reactor, 0.01)

    def __repr__(self) -> str:
        where = ", ".join(map(address_text, self.addresses)) or "stopped"
        return f"<Proxy {where}>"


class ProxyService(Service):
    """A proxy as a Twisted service: what ``twistd asyncproxy`` runs, alone in its process."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self._restore: list[Any] = []
        self._failure: Any = None

    def startService(self) -> None:
        """Tune the process and start the proxy. Raises what keeps it from listening, so that twistd ends at once."""
        super().startService()  # type: ignore[no-untyped-call]
        self._tune()
        self.proxy.start().addCallbacks(self._started, self._could_not_start)
        if self._failure is not None:
            sys.tracebacklimit = 0  # a port that is taken is no defect: its words are enough
            raise self._failure.value from None

    def stopService(self) -> Deferred[None]:
        """Stop the proxy, and put the process' tuning back."""
        super().stopService()  # type: ignore[no-untyped-call]
        while self._restore:
            call, *args = self._restore.pop()
            call(*args)
        return self.proxy.stop()

    def _tune(self) -> None:
        """For thousands of requests: threads give way sooner, and the collector looks less often at what lives long."""
        self._restore = [(sys.setswitchinterval, sys.getswitchinterval()), (gc.set_threshold, *gc.get_threshold())]
        sys.setswitchinterval(SWITCH_INTERVAL)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTOR_THRESHOLDS)

    def _started(self, _result: None) -> None:
        proxy = self.proxy
        proxy.reactor.callWhenRunning(_end_well_on_sigterm, proxy.reactor)
        _log.info("asyncproxy {version} listens on {what}", version=__version__, what=proxy.summary())
        if proxy.settings.server.access_log is not None:
            _log.warn("server.access_log is set, and this version writes no access log yet")

    def _could_not_start(self, failure: Any) -> None:
        """Most failures come before the reactor runs; then `startService` raises."""
        _log.critical("asyncproxy cannot start: {why}", why=failure.getErrorMessage())
        reactor = self.proxy.reactor
        if reactor.running:
            atexit.register(_exit_with, 1)  # whatever stops its reactor, twistd exits with 0
            reactor.stop()
        else:
            self._failure = failure


def _end_well_on_sigterm(reactor: Any) -> None:
    """Let SIGTERM end the process with exit status 0: twistd would kill itself by the signal once it has stopped."""
    if callable(signal.getsignal(signal.SIGTERM)):  # else twistd was told to leave signals alone
        signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(_stop_on_sigterm, reactor))


def _stop_on_sigterm(reactor: Any) -> None:
    _log.info("Received SIGTERM, shutting down.")
    if reactor.running:
        reactor.stop()


def _exit_with(status: int) -> None:
    """As the last thing at exit: the status that twistd does not give."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class Options(usage.Options):
    """The command line of ``twistd asyncproxy``."""

    synopsis = "[--config FILE | --listen ENDPOINT --upstream URL] [--workers N] [--admin ENDPOINT] [--check]"
    optParameters = [
        ["config", "c", None, "The configuration, a TOML file."],
        ["upstream", "u", None, "Without a file: the server to forward to, such as http://127.0.0.1:9000."],
        ["workers", "w", None, "Without a file: how many worker threads (5)."],
        ["admin", "a", None, "Without a file: where status is served, such as tcp:8081:interface=127.0.0.1."],
    ]
    optFlags = [["check", None, "Read the configuration, say what each route does, and exit."]]
    proxy: Proxy

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["listen"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Without a file: where to listen, such as tcp:8080:interface=127.0.0.1; repeatable."""
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def opt_version(self) -> None:
        """Display the versions of asyncproxy and Twisted and exit."""
        print(f"asyncproxy {__version__}, Twisted {twisted.__version__}")  # noqa: T201 - it is what was asked for
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Make the proxy; with ``--check`` report and exit. uvloop's reactor comes first if none was asked for.

        For a module's file may import the reactor, and whoever is first decides which.
        """
        _see_modules_beside(self["config"])
        if not self["check"]:
            install_uvloop_reactor()
        try:
            self.proxy = self._make()
        except ConfigurationError as why:
            self._give_up(str(why))
        if self["check"]:
            print(describe(self.proxy.settings))  # noqa: T201 - it is what was asked for
            raise SystemExit(0)

    def _make(self) -> Proxy:
        if self["config"] is not None:
            if self["listen"] or self["upstream"] or self["workers"] or self["admin"]:
                raise usage.UsageError("--config says everything: leave --listen, --upstream, --workers, --admin out")
            return Proxy(self["config"])
        if not self["listen"] or self["upstream"] is None:
            raise usage.UsageError("give --config FILE, or --listen ENDPOINT and --upstream URL")
        return Proxy(from_options(self["listen"], self["upstream"], self["workers"], self["admin"]))

    def _give_up(self, why: str) -> None:
        if self["check"]:
            print(why, file=sys.stderr)  # noqa: T201 - the answer to --check
            raise SystemExit(1)
        raise usage.UsageError(why)


def makeService(options: Options) -> ProxyService:
    """What ``twistd`` runs."""
    return ProxyService(options.proxy)


def install_uvloop_reactor() -> None:
    """Install Twisted's asyncio reactor on uvloop, unless a reactor is there or the platform has no uvloop."""
    if "twisted.internet.reactor" in sys.modules:
        return
    try:
        import uvloop
    except ImportError:
        return
    from twisted.internet import asyncioreactor

    asyncioreactor.install(uvloop.new_event_loop())


def bind_all(routes: Sequence[Route], source: str) -> list[Bound]:
    """`routes` with their modules found and configured. Raises `ConfigurationError` with all problems."""
    bindings, problems = [], []
    for index, route in enumerate(routes):
        try:
            bindings.append(bind(route))
        except (UnknownModule, ValueError, TypeError) as why:
            problems.append(f"route[{index}]: {why}")
    if problems:
        raise ConfigurationError(source, problems)
    return bindings


def bind(route: Route) -> Bound:
    """`route` with its module. Raises `UnknownModule`, or what the module raises about its settings."""
    if route.filters:
        raise ValueError("filters are not applied by this version yet, and leaving one out may open a door; remove it")
    return Bound(route, find_module(route.module)(**route.settings))


def address_text(address: Any) -> str:
    """A Twisted address as people write it."""
    host = getattr(address, "host", None)
    if host is None:
        name = getattr(address, "name", address)
        return f"unix:{os.fsdecode(name)}" if isinstance(name, (str, bytes)) else str(name)
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def finder(bindings: list[Bound]) -> Callable[[str, str, str], Bound]:
    """How a door finds the route of a request, by host, path and method; raises `NoRoute`."""
    return Router(bindings).find


def _see_modules_beside(config: str | None) -> None:
    """Modules named by dotted path are looked for in the working directory and beside the configuration."""
    places = [os.getcwd()]
    if config is not None:
        places.append(os.path.dirname(os.path.abspath(config)))
    for place in places:
        if place not in sys.path:
            sys.path.insert(0, place)


def _log_unheard(error: BaseException) -> None:
    _log.error("A call on a worker failed: {error!r}", error=error)
