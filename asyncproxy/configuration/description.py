"""What ``--check`` prints: settings said back as the proxy will take them, defaults left out."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from asyncproxy.configuration import values
from asyncproxy.configuration.settings import Settings, Table, Upstream
from asyncproxy.exchange.routing import by_precedence
from asyncproxy.exchange.units import duration_text, size_text
from asyncproxy.settings import reader


def describe(settings: Settings, tickets: Sequence[Sequence[str]] = ()) -> str:
    """What ``--check`` prints: listeners, routes in order of precedence, and what differs from the defaults.

    `tickets` are rows about those that modules wait for, below a row of headings.
    """
    parts = [_columns(_listeners(settings)), _columns([_ROUTE_HEAD, *_route_rows(settings)])]
    long_waits = _long_waits(settings)
    if long_waits:
        parts.append("while a client waits\n" + _columns(long_waits, "  "))
    if tickets:
        parts.append("tickets seen in the modules\n" + _columns(tickets, "  "))
    changed = _changed(settings)
    if changed:
        parts.append("not the default\n" + _columns(changed, "  "))
    return "\n\n".join(parts)


def _listeners(settings: Settings) -> list[Sequence[str]]:
    server, admin = settings.server, settings.admin
    rows: list[Sequence[str]] = [("listen", endpoint) for endpoint in server.listen]
    if admin is not None:
        rows.append(("admin", f"{admin.listen} ({'with a token' if admin.token else 'this machine only'})"))
    rows.append(
        ("workers", f"{server.workers} threads, {server.max_parked} parked and {server.max_queued} queued at most")
    )
    rows.append(("access log", f"{server.access_log} ({server.access_log_format})" if server.access_log else "off"))
    return rows


_ROUTE_HEAD: Final = ("PATH", "HOST", "METHODS", "MODULE", "FILTERS", "UPSTREAM", "TIMEOUT")


def _route_rows(settings: Settings) -> list[Sequence[str]]:
    return [
        (
            route.path,
            route.host or "any",
            " ".join(route.methods) if route.methods else "any",
            route.module,
            " > ".join(route.filters) or "-",
            _group(route.upstream, settings.upstream),
            "off" if route.timeout is None else duration_text(route.timeout),
        )
        for route in by_precedence(settings.route)
    ]


def _long_waits(settings: Settings) -> list[Sequence[str]]:
    return [
        (route.path, route.host or "any", f"{_KEPT_BY[route.keep_alive]} every {duration_text(route.keep_alive_every)}")
        for route in by_precedence(settings.route)
        if route.keep_alive != "off"
    ]


_KEPT_BY: Final = {
    "sse": "sse: a comment of an event stream",
    "json": "json: white space before JSON",
    "102": "102 Processing",
}


def _group(name: str | None, groups: Mapping[str, Upstream]) -> str:
    if name is None:
        return "-"
    servers = " ".join(str(server) for server in groups[name].servers)
    return servers if servers == name else f"{name} -> {servers}"


def _changed(settings: Settings) -> list[Sequence[str]]:
    tables: dict[str, Table] = {"server": settings.server, "limits": settings.limits, "tickets": settings.tickets}
    tables.update({f"upstream.{name}": group for name, group in settings.upstream.items()})
    rows = [row for place, table in tables.items() for row in _differences(place, table)]
    return [row for row in rows if row[0] not in _SAID_ABOVE]


_SAID_ABOVE: Final = frozenset(
    f"server.{name}" for name in ("workers", "max_parked", "max_queued", "access_log", "access_log_format")
)
"""Keys of which `_listeners` tells."""


def _differences(place: str, table: Table) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for field in msgspec.structs.fields(type(table)):
        value = getattr(table, field.name)
        if not field.required and value != field.default:
            default = said(field.type, field.default)
            rows.append((f"{place}.{field.name}", said(field.type, value), f"(default {default})"))
    return rows


def said(kind: Any, value: Any) -> str:
    """`value`, stored for a key of type `kind`, as one would write it."""
    read = reader(kind)
    if read in (values.lasting, values.lasting_or_none, values.lasting_or_zero):
        return duration_text(value) if value else "off"
    if read in (values.some_bytes, values.bytes_or_zero):
        return size_text(value) if value else "no limit" if read is values.bytes_or_zero else "0B"
    if read is values.rate:
        return size_text(value) if value else "off"
    if read is values.keys:
        return f"{len(value)}, not shown" if value else "none"
    if read is values.error_pages and value is not None:
        return ", ".join(value.names) or "an empty directory"
    if value is None:
        return "none" if read is values.base_url else "off"
    if isinstance(value, bool):
        return "true" if value else "false"
    return (" ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


def _columns(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join((indent + line).rstrip() for line in lines)
