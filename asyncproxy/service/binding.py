"""Routes with their modules made and configured, and how a request finds its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from asyncproxy.configuration import ConfigurationError
from asyncproxy.configuration.settings import Route
from asyncproxy.discovery import UnknownModule, find_module
from asyncproxy.exchange.routing import Router


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


def finder(bindings: list[Bound]) -> Callable[[str, str, str], Bound]:
    """How a door finds the route of a request, by host, path and method; raises `NoRoute`."""
    return Router(bindings).find
