"""What can be set, with its default and the function that reads it: this file is the list of all keys.

A field's type says how it is stored; frozen, so that settings can be shared by all threads without a thought.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from asyncproxy.configuration import values
from asyncproxy.exchange.origin import Origin
from asyncproxy.settings import read_by

Seconds = Annotated[float, read_by(values.lasting)]
SecondsOrNone = Annotated[float | None, read_by(values.lasting_or_none)]
SecondsOrZero = Annotated[float, read_by(values.lasting_or_zero)]
Bytes = Annotated[int, read_by(values.some_bytes)]
BytesOrZero = Annotated[int, read_by(values.bytes_or_zero)]
Count = Annotated[int, Meta(ge=1)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every table is: frozen, and strict about its keys."""


class Server(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[server]``: where clients come in and how much is taken on at once."""

    listen: Annotated[tuple[str, ...], read_by(values.endpoints)]
    """Twisted endpoint strings."""
    workers: Count = 5
    max_parked: Count = 20000
    max_queued: Count = 1000
    drain: SecondsOrZero = 30.0
    """Seconds that a stop lets exchanges finish; 0.0 cuts them at once."""
    request_id_header: Annotated[str | None, read_by(values.field_name_or_none)] = "X-Request-ID"
    """The field that tells a request's id to its upstream and its client; None: it is not told."""
    trust_request_id: bool = False
    """Whether a request keeps the id that its client gives in that field."""
    access_log: str | None = None
    access_log_format: Annotated[Literal["combined", "json"], read_by(values.access_log_format)] = "combined"


class Admin(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[admin]``: where operators look in."""

    listen: Annotated[str, read_by(values.endpoint)]
    token: Annotated[str | None, read_by(values.token)] = None

    def __repr__(self) -> str:
        """Without the token: settings are printed when something is wrong."""
        return f"Admin(listen={self.listen!r}, token={'...' if self.token else None})"


class Limits(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[limits]``: what a client may ask of us; sizes in bytes, times in seconds."""

    request_line: Bytes = 8 * 1024
    head: Bytes = 64 * 1024
    body: BytesOrZero = 1024**3
    """Of any request; 0 is no limit."""
    spool: BytesOrZero = 1024**2
    """A whole body is kept in memory up to this, and in a temporary file beyond."""
    pipeline_buffer: Bytes = 64 * 1024
    head_timeout: Seconds = 60.0
    """From a head's first byte to its end."""
    keep_alive: SecondsOrZero = 75.0
    """An idle client connection; 0.0 keeps none."""
    body_idle: Seconds = 60.0
    """Nothing of an announced body arrives."""


class Upstream(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[upstream.NAME]``: a group of servers; times in seconds, where None is no limit."""

    servers: Annotated[tuple[Origin, ...], read_by(values.servers)]
    connect_timeout: Seconds = 5.0
    first_byte_timeout: SecondsOrNone = 60.0
    idle_timeout: SecondsOrNone = 60.0
    """Silence inside a reply."""
    total_timeout: SecondsOrNone = None
    keep_alive: SecondsOrZero = 60.0
    """An idle pooled connection; 0.0 pools none."""
    max_connections: Count = 10000
    """For each server, as is ``max_idle``."""
    max_idle: Annotated[int, Meta(ge=0)] = 128


class Route(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[route]]``: which requests go to which module; ``settings`` are the module's own."""

    path: Annotated[str, read_by(values.path)] = "/"
    host: Annotated[str | None, read_by(values.host)] = None
    """In the spelling of ``routing.bare_host``."""
    methods: Annotated[tuple[str, ...] | None, read_by(values.methods)] = None
    module: Annotated[str, read_by(values.module_name)]
    upstream: str | None = None
    """A key of ``Settings.upstream``."""
    timeout: SecondsOrNone = None
    """Seconds, of the whole exchange."""
    filters: Annotated[tuple[str, ...], read_by(values.module_names)] = ()
    settings: dict[str, object] = {}


class Settings(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it. ``route`` is as written; ``routing.by_precedence`` gives the order of precedence."""

    server: Server
    admin: Admin | None = None
    limits: Limits = Limits()
    upstream: dict[str, Upstream] = {}
    """By name; a URL that a route names is a group of that name."""
    route: tuple[Route, ...]
