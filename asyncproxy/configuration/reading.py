"""A whole source becomes settings, or one error with all its problems.

Tables are read field by field rather than in one conversion, which would stop at the first problem. Places in a list
count from 0: ``route[2]`` is the third ``[[route]]``.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from asyncproxy.configuration import values
from asyncproxy.configuration.settings import Admin, Limits, Route, Server, Settings, Table, Tickets, Upstream
from asyncproxy.exchange.origin import Origin
from asyncproxy.settings import expected, reader, shown


class ConfigurationError(ValueError):
    """What is wrong with a configuration, one problem a line; ``problems`` has them without the file's name.

    ``routes`` are those that could be read, by index: their modules may have more to say.
    """

    def __init__(self, source: str, problems: Iterable[str], routes: Mapping[int, Route] | None = None) -> None:
        self.source = source
        self.problems = tuple(problems)
        self.routes = routes or {}
        super().__init__("\n".join(f"{source}: {problem}" for problem in self.problems))


def load(source: str | os.PathLike[str] | Mapping[str, object]) -> Settings:
    """The settings of a TOML file, or of a mapping of the same shape. Raises ConfigurationError, with all problems."""
    if isinstance(source, Mapping):
        return _Reading("settings").settings(source)
    return _Reading(os.fspath(source)).settings(_toml(source))


def from_options(
    listen: str | Sequence[str],
    upstream: str,
    workers: int | str | None = None,
    admin: str | None = None,
) -> Settings:
    """The settings of the command line without a file: one route ``/`` with module ``reverse``.

    None is "not given". Raises ConfigurationError, whose places are the options.
    """
    try:
        url = str(Origin.parse(upstream))
    except ValueError as error:
        raise ConfigurationError("command line", [f"--upstream: {error}"]) from None
    server: dict[str, object] = {"listen": listen}
    if workers is not None:
        server["workers"] = int(workers) if str(workers).isdecimal() else workers
    source: dict[str, object] = {"server": server, "route": [{"module": "reverse", "upstream": url}]}
    if admin is not None:
        source["admin"] = {"listen": admin}
    options = {"server.listen": "--listen", "server.workers": "--workers", "admin.listen": "--admin"}
    return _Reading("command line", options).settings(source)


def _toml(source: str | os.PathLike[str]) -> dict[str, object]:
    try:
        return tomllib.loads(Path(source).read_text("utf-8"))
    except FileNotFoundError:
        problem = f"no such file; looked in {Path(source).absolute().parent}"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 at byte {error.start}; TOML always is"
    except tomllib.TOMLDecodeError as error:
        problem = _where_not_toml(str(error))
    raise ConfigurationError(os.fspath(source), [problem])


def _where_not_toml(error: str) -> str:
    found = re.fullmatch(r"(.*) \(at (.*)\)", error, re.DOTALL)
    return f"{found[2]}: not TOML: {found[1]}" if found else f"not TOML: {error}"


T = TypeVar("T", bound=Table)


class _Reading:
    """One reading of one source, which gathers problems as it goes."""

    def __init__(self, source: str, places: Mapping[str, str] | None = None) -> None:
        self.source = source
        self.problems: list[str] = []
        self._places = places or {}

    def settings(self, source: Mapping[str, object]) -> Settings:
        self.unknown_keys(source, Settings.__struct_fields__, "")
        server = self.table(Server, source.get("server", {}), "server")
        admin = self.table(Admin, source["admin"], "admin") if "admin" in source else None
        limits = self.table(Limits, source.get("limits", {}), "limits")
        tickets = self.table(Tickets, source.get("tickets", {}), "tickets")
        upstream = self.upstreams(source.get("upstream", {}))
        routes = self.routes(source.get("route", []))
        self.guarded(admin)
        self.fronted(server)
        routes, groups = self.resolved(routes, upstream)
        self.twice(routes)
        if self.problems or server is None or limits is None or tickets is None:
            raise ConfigurationError(self.source, self.problems, routes)
        known = {name: group for name, group in groups.items() if group is not None}
        tables: dict[str, Any] = {"server": server, "admin": admin, "limits": limits, "tickets": tickets}
        return Settings(**tables, upstream=known, route=tuple(routes.values()))

    def problem(self, place: str, text: str) -> None:
        self.problems.append(f"{self._places.get(place, place)}: {text}" if place else text)

    def unknown_keys(self, table: Mapping[str, object], known: Sequence[str], place: str, more: str = "") -> None:
        for key in table:
            if key not in known:
                near = get_close_matches(str(key), known, n=1)
                mend = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                self.problem(f"{place}.{key}".lstrip("."), f"unknown key; {mend}{more}")

    def table(self, kind: type[T], table: object, place: str, more: str = "") -> T | None:
        """The table as a ``kind``, or None when it had problems, which are noted."""
        if not isinstance(table, Mapping):
            self.problem(place, f"must be a table, not {shown(table)}; write [{place}]")
            return None
        before = len(self.problems)
        self.unknown_keys(table, kind.__struct_fields__, place, more)
        given = {}
        for field in msgspec.structs.fields(kind):
            if field.name in table:
                given[field.name] = self.value(field, table[field.name], f"{place}.{field.name}")
            elif field.required:
                self.problem(f"{place}.{field.name}", f"is missing; write {field.name} = {_EXAMPLES[field.name]}")
        return kind(**given) if len(self.problems) == before else None

    def value(self, field: msgspec.structs.FieldInfo, value: object, place: str) -> Any:
        """What the field stores for ``value``; nothing of use when that was noted as a problem."""
        read = reader(field.type)
        try:
            return read(value) if read and value is not None else msgspec.convert(value, field.type)
        except msgspec.ValidationError as error:
            self.problem(place, f"{expected(str(error).partition(' - ')[0])}, not {shown(value)}{_example(field)}")
        except ValueError as error:
            self.problem(place, str(error))

    def upstreams(self, table: object) -> dict[str, Upstream | None]:
        if isinstance(table, Mapping) and all(isinstance(group, Mapping) for group in table.values()):
            return {str(name): self.table(Upstream, group, f"upstream.{name}") for name, group in table.items()}
        self.problem("upstream", "must be tables with a name each; write [upstream.NAME]")
        return {}

    def routes(self, tables: object) -> dict[int, Route]:
        if not isinstance(tables, (list, tuple)):
            self.problem("route", "must be a list of tables; write [[route]]")
            return {}
        if not tables:
            self.problem("route", 'there are no routes; write [[route]] with path = "/" and module = "reverse"')
        more = "; a module's own keys go in settings"
        read = {index: self.table(Route, table, f"route[{index}]", more) for index, table in enumerate(tables)}
        return {index: route for index, route in read.items() if route is not None}

    def guarded(self, admin: Admin | None) -> None:
        if admin is not None and admin.token is None and not _only_this_machine(admin.listen):
            self.problem(
                "admin.listen",
                f'"{admin.listen}" can be reached from other machines and there is no admin.token; write '
                'token = "..." in [admin], or listen on tcp:8081:interface=127.0.0.1',
            )

    def fronted(self, server: Server | None) -> None:
        if server is not None and server.proxy_protocol and not server.trusted:
            self.problem(
                "server.proxy_protocol",
                "nobody may connect: only peers in server.trusted are believed a PROXY header, and there are none; "
                'write trusted = ["10.0.0.0/8"], with the addresses of those in front',
            )

    def resolved(
        self, routes: dict[int, Route], upstream: dict[str, Upstream | None]
    ) -> tuple[dict[int, Route], dict[str, Upstream | None]]:
        """The routes with each upstream a group's name, and the groups with those that were URLs."""
        groups = dict(upstream)
        done = dict(routes)
        for index, route in routes.items():
            if route.upstream is None or route.upstream in upstream:
                continue
            try:
                origin = self.origin(route.upstream, upstream)
            except ValueError as error:
                self.problem(f"route[{index}].upstream", str(error))
            else:
                groups.setdefault(str(origin), Upstream(servers=(origin,)))
                done[index] = msgspec.structs.replace(route, upstream=str(origin))
        return done, groups

    def origin(self, text: str, known: Mapping[str, object]) -> Origin:
        if ":" in text:
            return Origin.parse(text)
        near = get_close_matches(text, known, n=1)
        mend = f"known are {', '.join(known)}" if known else f"write [upstream.{text}], or a URL"
        raise ValueError(f'there is no upstream "{text}"; ' + (f"did you mean {near[0]}? " if near else "") + mend)

    def twice(self, routes: dict[int, Route]) -> None:
        """Two routes at one place fight over methods that both name, or when both take all."""
        seen: dict[tuple[object, ...], int] = {}
        for index, route in routes.items():
            for method in route.methods or ("all methods",):
                first = seen.setdefault((route.path, route.host, method), index)
                if first != index:
                    place = f'"{route.path}"' + (f" of {route.host}" if route.host else "")
                    self.problem(f"route[{index}]", f"{method} at {place} already goes to route[{first}]; remove one")


_EXAMPLES: Final = {"listen": f'"{values.ENDPOINT}"', "servers": '["http://127.0.0.1:9000"]', "module": '"reverse"'}


def _example(field: msgspec.structs.FieldInfo) -> str:
    shown = f'"{field.default}"' if isinstance(field.default, str) else field.default
    return "" if field.required or field.default in (None, msgspec.NODEFAULT) else f"; the default is {shown}"


def _only_this_machine(endpoint: str) -> bool:
    """Whether nobody else can reach it; a kind that we do not know counts as reachable."""
    kind, fields, named = values.endpoint_parts(endpoint)
    if kind != "tcp":
        return kind == "unix"
    interface = named.get("interface", "".join(fields[1:2]))
    try:
        return interface == "localhost" or ip_address(interface).is_loopback
    except ValueError:
        return False
