"""What can be set, with its default and the function that reads it: this file is the list of all keys.

A field's type says how it is stored; frozen, so that settings can be shared by all threads without a thought. The text
below a field is for whoever writes a configuration: the reference in the documentation is made of it.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from asyncproxy.configuration import values
from asyncproxy.exchange.error_pages import ErrorPages
from asyncproxy.exchange.origin import Origin
from asyncproxy.settings import read_by

Seconds = Annotated[float, read_by(values.lasting)]
SecondsOrNone = Annotated[float | None, read_by(values.lasting_or_none)]
SecondsOrZero = Annotated[float, read_by(values.lasting_or_zero)]
Bytes = Annotated[int, read_by(values.some_bytes)]
BytesOrZero = Annotated[int, read_by(values.bytes_or_zero)]
Rate = Annotated[int, read_by(values.rate)]
Count = Annotated[int, Meta(ge=1)]
CountOrNone = Annotated[int | None, read_by(values.count_or_none)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every table is: frozen, and strict about its keys."""


class Server(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[server]``: where clients come in and how much is taken on at once."""

    listen: Annotated[tuple[str, ...], read_by(values.endpoints)]
    """Where clients come in; ``tcp:`` and ``unix:`` are the fast ones."""
    workers: Count = 5
    """Threads that run modules."""
    max_parked: Count = 20000
    """Requests that may be parked at once. Beyond, a request is answered 503."""
    max_queued: Count = 1000
    """Turns that may wait for a worker. Beyond, a new request is answered 503."""
    drain: SecondsOrZero = 30.0
    """How long a stop lets running requests finish; ``"off"`` ends them at once."""
    stall: SecondsOrNone = 1.0
    """A worker busy for longer is told in the log, as is a polling thread held up; ``"off"`` has nobody watch."""
    request_id_header: Annotated[str | None, read_by(values.field_name_or_none)] = "X-Request-ID"
    """The field that tells a request's id to its upstream and its client; ``"off"`` tells it to nobody."""
    trust_request_id: bool = False
    """Whether a request keeps the id that its client gives in that field."""
    trusted: Annotated[tuple[str, ...], read_by(values.networks)] = ()
    """Peers in front of the proxy that may say who the client is, in ``X-Forwarded-*`` or ``Forwarded``: addresses,
    networks such as ``"10.0.0.0/8"``, and ``"unix"`` for those who come over a UNIX socket. Nobody by default."""
    proxy_protocol: bool = False
    """Whether the peers in ``trusted`` begin each connection with a PROXY header, version 1 or 2, and nobody else may
    connect."""
    forwarded: Annotated[Literal["both", "x-forwarded", "rfc7239", "off"], read_by(values.forwarded)] = "both"
    """What upstreams are told of the client: ``X-Forwarded-For``, ``-Proto`` and ``-Host`` (``"x-forwarded"``),
    ``Forwarded`` (``"rfc7239"``), both, or nothing."""
    error_pages: Annotated[ErrorPages | None, read_by(values.error_pages)] = None
    """A directory with pages for the proxy's own errors: ``502.html``, ``5xx.html`` for those without one, ``.json``
    and ``.txt`` for clients that prefer these. They are read at start and at each reload."""
    server_name: Annotated[str | None, read_by(values.product_or_none)] = "asyncproxy"
    """What ``Server`` says in responses that are not an upstream's; ``"off"`` leaves it out."""
    via: Annotated[str | None, read_by(values.pseudonym_or_none)] = "asyncproxy"
    """By what name ``Via`` tells that a message has passed here; ``"off"`` tells it in no reply, and requests, which
    must tell it, say ``asyncproxy``."""
    access_log: str | None = None
    """The file that gets a line for each request; ``"-"`` is standard output. There is none by default."""
    access_log_format: Annotated[Literal["combined", "json"], read_by(values.access_log_format)] = "combined"
    """How a line of the access log looks: as Apache's and nginx' combined format, or an object of JSON."""


class Admin(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[admin]``: where operators look in."""

    listen: Annotated[str, read_by(values.endpoint)]
    """Where the status is served. Without a ``token`` it must be on a loopback address or a ``unix:`` socket."""
    token: Annotated[str | None, read_by(values.token)] = None
    """What requests must carry, as ``Authorization: Bearer TOKEN``; people type it into the page."""
    hosts: Annotated[tuple[str, ...], read_by(values.authorities)] = ()
    """Names under which it is reached, beside its own address, as a proxy before it or a forwarded port makes them."""

    def __repr__(self) -> str:
        """Without the token: settings are printed when something is wrong."""
        return f"Admin(listen={self.listen!r}, token={'...' if self.token else None}, hosts={self.hosts!r})"


class Limits(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[limits]``: what a client may ask of us."""

    request_line: Bytes = 8 * 1024
    """The longest request line; beyond, 414."""
    head: Bytes = 64 * 1024
    """The longest head, request line and header fields together; beyond, 431."""
    fields: Count = 100
    """The most header fields of a request; beyond, 431."""
    body: BytesOrZero = 1024**3
    """The longest body of any request; beyond, 413. ``"off"`` is no limit."""
    spool: BytesOrZero = 1024**2
    """A body that is collected for a module is kept in memory up to this, and in a temporary file beyond."""
    pipeline_buffer: Bytes = 64 * 1024
    """How much of a client's next requests is read ahead while one is being answered."""
    connections: CountOrNone = 20000
    """Connections of clients at once, those of all listeners but the admin's together. When there are so many, no more
    are accepted until a fourth has gone: new ones wait in the kernel's line. ``"off"`` is no limit."""
    connections_per_client: CountOrNone = None
    """Connections at once of one client's address. Beyond, a new one is answered 503 and closed at once. Clients behind
    one router share an address. Peers in ``server.trusted`` are not counted."""
    requests_per_connection: CountOrNone = 10000
    """After so many requests a connection is closed, and its last answer says so; ``"off"`` is no limit."""
    first_request_timeout: Seconds = 60.0
    """From the accept of a connection to the first byte of its first request; beyond, it is closed without a word."""
    head_timeout: Seconds = 60.0
    """From a head's first byte to its end; beyond, 408."""
    keep_alive: SecondsOrZero = 75.0
    """How long an idle client connection is kept; ``"off"`` keeps none, and each answer says so."""
    body_idle: Seconds = 60.0
    """How long nothing of an announced body may arrive; beyond, 408."""
    body_rate: Rate = 500
    """How much of an announced body has to arrive each second, on average: a client has ``body_rate_grace`` to begin
    with, each ``body_rate`` that arrives gives it a second more, up to ``body_idle`` in store, and when all of it is
    used up it gets 408. Time in which we do not read, because whoever takes the body is slower, does not count."""
    body_rate_grace: Seconds = 20.0
    """How long a client may be slower than ``body_rate`` or ``send_rate`` to begin with."""
    send_timeout: Seconds = 60.0
    """How long a client may take nothing of what waits for it; beyond, its connection is cut."""
    send_rate: Rate = 0
    """How much of what waits for it a client has to take each second, on average, reckoned as ``body_rate``; beyond,
    its connection is cut. Only time in which more waits than a buffer holds counts. It is off by default: clients may
    be slow, and a slow one holds no more than its buffer."""
    linger: SecondsOrZero = 2.0
    """How long what a client still sends is read and dropped after it was refused, so that it gets to see the answer
    (RFC 9112 section 9.6); ``"off"`` closes at once."""
    tunnel_idle: SecondsOrNone = 3600.0
    """How long no byte may pass either way after an upgrade, such as to WebSocket; ``"off"`` is no limit."""


class Tickets(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[tickets]``: named waits that are resumed from outside."""

    remember: SecondsOrZero = 60.0
    """How long a value that comes before anybody awaits its ticket is kept; ``"off"`` refuses it, with 410."""
    settled: Seconds = 600.0
    """How long is known how a ticket ended: a second resume is told so, with 409, or 410 if nobody got the first."""
    max_remembered: Count = 10000
    """Values that are kept at once. Beyond, a resume that comes too early is answered 503."""
    max_settled: Count = 20000
    """Tickets at once of which is known that they were settled, and of which that they lapsed; the eldest give way."""
    value: Bytes = 64 * 1024
    """The longest value, as JSON; beyond, 413."""
    url: Annotated[str | None, read_by(values.base_url)] = None
    """What signed links begin with, as their readers reach this proxy; by default where it listens first."""
    keys: Annotated[tuple[str, ...], read_by(values.keys)] = ()
    """What links are signed with: the first signs, all are believed. Without, links work until the proxy ends."""

    def __repr__(self) -> str:
        """Without the keys: settings are printed when something is wrong."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__ if name != "keys"}
        return (
            f"Tickets({', '.join(f'{name}={value!r}' for name, value in shown.items())}, keys={len(self.keys)} hidden)"
        )


class Upstream(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[upstream.NAME]``: a group of servers that requests are forwarded to."""

    servers: Annotated[tuple[Origin, ...], read_by(values.servers)]
    """The servers of the group, which take turns."""
    connect_timeout: Seconds = 5.0
    """How long a connection may take, and how long a request may wait in line for one."""
    expect_timeout: SecondsOrZero = 1.0
    """How long a client that waits for ``100 Continue`` waits for the server's word; then it is told to go on.

    ``"off"`` tells it at once, and the server hears of no Expect."""
    send_timeout: SecondsOrNone = 60.0
    """How long a server may take nothing of a request's body; beyond, 504."""
    first_byte_timeout: SecondsOrNone = 60.0
    """From the request to the first byte of its reply."""
    idle_timeout: SecondsOrNone = 60.0
    """Silence inside a reply."""
    total_timeout: SecondsOrNone = None
    """From the beginning of a forward to the end of its reply."""
    keep_alive: SecondsOrZero = 60.0
    """How long an idle connection is kept for the next request; ``"off"`` keeps none."""
    max_connections: Count = 10000
    """Connections to each server, busy and idle. As many requests more may wait in line; beyond, 503."""
    max_idle: Annotated[int, Meta(ge=0)] = 128
    """Idle connections to each server that are kept."""


class Route(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[route]]``: which requests go to which module."""

    path: Annotated[str, read_by(values.path)] = "/"
    """The beginning of the paths it takes; the route with the longest one has the request."""
    host: Annotated[str | None, read_by(values.host)] = None
    """The host it takes, or ``*.`` and a name for all names below that; any by default."""
    methods: Annotated[tuple[str, ...] | None, read_by(values.methods)] = None
    """The methods it takes, where ``GET`` brings ``HEAD`` along; any by default."""
    module: Annotated[str, read_by(values.module_name)]
    """Who answers: a stock module, one that a package declares, or ``package.file:Class``."""
    upstream: str | None = None
    """What `request.forward()` uses: the name of an ``[upstream.NAME]``, or a URL for a group of one server."""
    timeout: SecondsOrNone = None
    """From the request's head to the last byte of its response; beyond, 504, or the connection is cut."""
    keep_alive: Annotated[Literal["sse", "json", "102", "off"], read_by(values.keep_alive)] = "off"
    """What a client gets while it waits for its response, so that nobody takes the connection for dead: comments of an
    event stream (``"sse"``), white space before JSON (``"json"``), or heads of 102 Processing (``"102"``)."""
    keep_alive_every: Seconds = 15.0
    """How often it gets that."""
    server_timing: bool = False
    """Whether responses tell their client in ``Server-Timing`` where the request's time went."""
    filters: Annotated[tuple[str, ...], read_by(values.module_names)] = ()
    """Modules that wrap this one. This version has none, and refuses a route with some."""
    settings: dict[str, object] = {}
    """The module's own settings, read by the types that its class annotates."""


class Settings(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it. ``route`` is as written; ``routing.by_precedence`` gives the order of precedence."""

    server: Server
    """Where clients come in, and how much is taken on at once."""
    admin: Admin | None = None
    """Where operators look in; nowhere by default."""
    limits: Limits = Limits()
    """What clients may ask of the proxy."""
    tickets: Tickets = Tickets()
    """How named waits are kept that somebody resumes from outside."""
    upstream: dict[str, Upstream] = {}
    """Groups of servers, by name; a URL that a route names is a group of that name."""
    route: tuple[Route, ...]
    """Which requests go to which module: one or more."""
