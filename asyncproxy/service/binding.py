"""Routes with their modules made and configured, and how a request finds its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from traceback import extract_tb
from typing import Any, NamedTuple

from asyncproxy.configuration import ConfigurationError, Settings
from asyncproxy.configuration.settings import Route
from asyncproxy.discovery import find_module
from asyncproxy.exchange.routing import Router
from asyncproxy.module import Module
from asyncproxy.settings import SettingsError


class Bound:
    """A route with its module made and configured; see `boundaries.Binding`."""

    upstreams: Any = None

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
        self.tally: Any = None
        self.keep_alive: str = route.keep_alive
        self.keep_alive_every = route.keep_alive_every
        self.server_timing = route.server_timing
        watched = self.timeout is not None or self.keep_alive != "off" or self.server_timing
        self.at_once = not (self.blocking or self.is_async or self.whole_body or watched)

    def serves(self, route: Route) -> bool:
        """Whether `route` asks for what this one's module was made for: it may keep it, and its state."""
        mine = (self.path, self.host, self.methods, self.name, self.settings)
        return mine == (route.path, route.host, route.methods, route.module, route.settings)

    def __repr__(self) -> str:
        return f"<Route {self.path} to {self.name}>"


def bind_all(routes: Sequence[Route], source: str, former: Sequence[Bound] = ()) -> list[Bound]:
    """`routes` with their modules found and configured, or taken over from `former` ones that serve the same.

    Raises `ConfigurationError` with all problems.
    """
    bindings, problems = _bound(dict(enumerate(routes)), former)
    if problems:
        raise ConfigurationError(source, problems)
    return bindings


def with_modules(error: ConfigurationError, former: Sequence[Bound] = ()) -> ConfigurationError:
    """`error` with what is wrong with the modules too, of the routes that could be read: all is mended in one go."""
    return ConfigurationError(error.source, [*error.problems, *_bound(error.routes, former)[1]])


def bind(route: Route, former: Sequence[Bound] = ()) -> Bound:
    """`route` with its module. Raises `UnknownModule`, or what the module raises about its settings."""
    if route.filters:
        raise ValueError("filters are not applied by this version yet, and leaving one out may open a door; remove it")
    for bound in former:
        if bound.serves(route):
            return Bound(route, bound.module)
    module = find_module(route.module)(**route.settings)
    kind = type(module)
    if kind.handle is Module.handle:
        raise ValueError(f'module "{route.module}": {kind.__name__} has no handle(self, request); write one')
    return Bound(route, module)


def _bound(routes: Mapping[int, Route], former: Sequence[Bound]) -> tuple[list[Bound], list[str]]:
    """The routes bound, and the problems of those that cannot be, which name the route by its index and path."""
    bindings, problems = [], []
    for index, route in routes.items():
        place, path = f"route[{index}]", f'(path "{route.path}")'
        try:
            bindings.append(bind(route, former))
        except SettingsError as why:
            problems += [f"{place}.settings.{setting} {path}: {words}" for setting, words in why.problems]
        except ValueError as why:
            problems.append(f"{place} {path}: {why}")
        except Exception as why:  # noqa: BLE001 - a module's own code, which may raise anything
            problems.append(f"{place} {path}: {_not_made(route.module, why)}")
    return bindings, problems


def _not_made(name: str, why: Exception) -> str:
    last = extract_tb(why.__traceback__)[-1]
    return f'module "{name}" could not be made: {type(why).__name__}: {why} ({last.filename}, line {last.lineno})'


def finder(bindings: Sequence[Bound]) -> Callable[[str, str, str], Bound]:
    """How a door finds the route of a request, by host, path and method; raises `NoRoute`."""
    return Router(bindings).find


def route_of_links(bindings: Sequence[Bound]) -> Bound | None:
    """The route with the stock module `tickets`: the first, but one for any host before those that have their own."""
    return min((one for one in bindings if one.name == "tickets"), key=lambda one: one.host is not None, default=None)


def place_of_links(bindings: Sequence[Bound]) -> str | None:
    """The path below which signed links are opened."""
    opens = route_of_links(bindings)
    return opens.path if opens is not None else None


def origin_of_links(settings: Settings, addresses: Sequence[Any], bindings: Sequence[Bound]) -> str:
    """What signed links begin with. What a request says of its host is not asked: a stranger would get the links.

    Raises RuntimeError when it is not told, and the proxy listens on no TCP port or opens links for no host by name.
    """
    if settings.tickets.url is not None:
        return settings.tickets.url
    opens = route_of_links(bindings)
    host = opens.host if opens is not None else None
    for address in addresses[: len(settings.server.listen)]:
        if getattr(address, "port", None) is not None and "*" not in (host or ""):
            where = host or ("localhost" if address.host in ("0.0.0.0", "::") else address.host)
            return f"http://[{where}]:{address.port}" if ":" in where else f"http://{where}:{address.port}"
    raise RuntimeError('nobody knows what links begin with: set url in [tickets], such as "https://proxy.example"')


class Ways(NamedTuple):
    """How a door finds routes; see `polling.listening.Door`."""

    find: Callable[[str, str, str], Bound]
    only: Bound | None
    by_host: bool


def ways(bindings: Sequence[Bound]) -> Ways:
    """How a door finds `bindings`."""
    first = bindings[0]
    takes_all = len(bindings) == 1 and first.path == "/" and first.host is None and first.methods is None
    return Ways(finder(bindings), first if takes_all else None, any(bound.host for bound in bindings))
