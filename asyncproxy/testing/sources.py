"""What a lab is made of: a module, or a configuration in any of its forms."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from asyncproxy.configuration import ConfigurationError, Settings, load
from asyncproxy.module import Module
from asyncproxy.service.binding import Bound, bind, bind_all

LISTEN: Final = "tcp:0"
NAMELESS: Final = "upstream"
"""The upstream of a module that is tested without a configuration."""


class Source:
    """`settings`, the routes with their modules, and the upstream that needs no name, if there is one."""

    def __init__(self, settings: Settings, bindings: list[Bound], nameless: str | None = None) -> None:
        self.settings = settings
        self.bindings = bindings
        self.nameless = nameless


def read_source(what: Any, route: Mapping[str, Any]) -> Source:
    """`what` in any of the forms that `Lab` takes; `route` has further keys of a lone module's route.

    Raises `ConfigurationError` for a configuration that the proxy would refuse, and TypeError for what is none.
    """
    if isinstance(what, Module) or (isinstance(what, type) and issubclass(what, Module)):
        return _from_module(what, route)
    if route:
        raise TypeError(f"{', '.join(route)}: keys of the route go with a module; write them into the configuration")
    if isinstance(what, Mapping):
        return _from_mapping(what)
    if isinstance(what, str) and "\n" in what:
        return _from_mapping(_toml(what))
    if isinstance(what, (str, os.PathLike)):
        return _from_file(what)
    raise TypeError(f"Lab({what!r}): give a Module, its class, a configuration as dict or TOML text, or a file's path")


def _from_module(module: Module | type[Module], route: Mapping[str, Any]) -> Source:
    row = {"path": "/", "upstream": NAMELESS, **route, "module": module}
    groups: dict[str, Any] = {}
    upstream = row["upstream"]
    if isinstance(upstream, str) and ":" not in upstream:
        groups[upstream] = {"servers": [f"http://{upstream}"]}
    source = _from_mapping({"upstream": groups, "route": [row]})
    source.nameless = upstream if upstream in groups else ""
    return source


def _from_mapping(config: Mapping[str, Any]) -> Source:
    rows = config.get("route", [])
    server = config.get("server", {})
    if isinstance(server, Mapping):
        server = {"listen": LISTEN, **server}  # a lab does not listen, so nobody has to say where
    written = [_named(row) for row in rows] if isinstance(rows, (list, tuple)) else rows
    settings = load({**config, "server": server, "route": written})
    if all(isinstance(row["module"], str) for row in rows):
        return Source(settings, bind_all(settings.route, "settings"))
    return Source(settings, [_bound(row, route) for row, route in zip(rows, settings.route, strict=True)])


def _named(row: Any) -> Any:
    """A route whose module may be a class or an instance, as a configuration would have it."""
    module = row.get("module") if isinstance(row, Mapping) else None
    if not isinstance(module, (Module, type)):
        return row
    kind = module if isinstance(module, type) else type(module)
    return {**row, "module": f"{kind.__module__}:{kind.__qualname__}"}


def _bound(row: Any, route: Any) -> Bound:
    module = row["module"]
    if isinstance(module, Module):
        if route.settings:
            raise TypeError(f"{type(module).__name__} is made already: give its settings to it, or give the class")
        return Bound(route, module)
    return Bound(route, module(**route.settings)) if isinstance(module, type) else bind(route)


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as why:
        raise ConfigurationError("the lab's text", [f"not TOML: {why}"]) from None


def _from_file(path: str | os.PathLike[str]) -> Source:
    settings = load(path)
    with _importable(os.getcwd(), os.path.dirname(os.path.abspath(path))):
        return Source(settings, bind_all(settings.route, str(Path(path))))


@contextmanager
def _importable(*places: str) -> Iterator[None]:
    """Modules are looked for beside the configuration too, as the command does."""
    added = [place for place in places if place not in sys.path]
    sys.path[:0] = added
    try:
        yield
    finally:
        for place in added:
            sys.path.remove(place)
