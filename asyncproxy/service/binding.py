"""Routes with their modules made and configured, and how a request finds its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from traceback import extract_tb
from typing import Any

from asyncproxy.configuration import ConfigurationError
from asyncproxy.configuration.settings import Route
from asyncproxy.discovery import find_module
from asyncproxy.exchange.routing import Router
from asyncproxy.settings import SettingsError


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
        self.tally: Any = None
        self.at_once = not (self.blocking or self.is_async or self.whole_body or self.timeout is not None)

    def __repr__(self) -> str:
        return f"<Route {self.path} to {self.name}>"


def bind_all(routes: Sequence[Route], source: str) -> list[Bound]:
    """`routes` with their modules found and configured. Raises `ConfigurationError` with all problems."""
    bindings, problems = _bound(dict(enumerate(routes)))
    if problems:
        raise ConfigurationError(source, problems)
    return bindings


def with_modules(error: ConfigurationError) -> ConfigurationError:
    """`error` with what is wrong with the modules too, of the routes that could be read: all is mended in one go."""
    return ConfigurationError(error.source, [*error.problems, *_bound(error.routes)[1]])


def bind(route: Route) -> Bound:
    """`route` with its module. Raises `UnknownModule`, or what the module raises about its settings."""
    if route.filters:
        raise ValueError("filters are not applied by this version yet, and leaving one out may open a door; remove it")
    return Bound(route, find_module(route.module)(**route.settings))


def _bound(routes: Mapping[int, Route]) -> tuple[list[Bound], list[str]]:
    """The routes bound, and the problems of those that cannot be, which name the route by its index and path."""
    bindings, problems = [], []
    for index, route in routes.items():
        place, path = f"route[{index}]", f'(path "{route.path}")'
        try:
            bindings.append(bind(route))
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


def finder(bindings: list[Bound]) -> Callable[[str, str, str], Bound]:
    """How a door finds the route of a request, by host, path and method; raises `NoRoute`."""
    return Router(bindings).find
