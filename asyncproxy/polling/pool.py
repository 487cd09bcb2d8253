"""Kept-alive connections: a bounded pool a server, groups of servers, and how a new connection comes about.

The rule: of one server at most `max_connections` are open at once, whatever they do; who comes when all are taken
waits in line, in order, for as long as a connection may take. The latest idle connection is taken first, so the
others grow old and are closed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Final, Protocol

from asyncproxy.exchange.errors import UpstreamError
from asyncproxy.exchange.origin import Origin
from asyncproxy.polling.deadlines import NEVER, TICK, Deadlines
from asyncproxy.polling.opening import Opening
from asyncproxy.polling.resolving import Resolver
from asyncproxy.polling.upstream import Forwarding
from asyncproxy.polling.upstream_connection import UpstreamConnection

URL_GROUPS: Final = 1024
"""Groups made from URLs that modules name; beyond it the eldest that is idle is dropped."""


class UpstreamSettings(Protocol):
    """Limits of one group; seconds and counts."""

    servers: tuple[Origin, ...]
    connect_timeout: float
    expect_timeout: float
    send_timeout: float | None
    first_byte_timeout: float | None
    idle_timeout: float | None
    total_timeout: float | None
    keep_alive: float
    max_connections: int
    max_idle: int


class Means:
    """What every pool needs to connect."""

    def __init__(self, network: Any, deadlines: Deadlines, resolver: Resolver) -> None:
        self.network = network
        self.deadlines = deadlines
        self.resolver = resolver


class ServerPool:
    """Connections to one server, in use and idle."""

    def __init__(self, origin: Any, settings: Any, means: Means) -> None:
        self.origin: Origin = origin
        self.name = str(origin)
        self.settings: UpstreamSettings = settings
        self.patience = NEVER if self.settings.send_timeout is None else self.settings.send_timeout
        self.first_byte = NEVER if self.settings.first_byte_timeout is None else self.settings.first_byte_timeout
        self.silence = NEVER if self.settings.idle_timeout is None else self.settings.idle_timeout
        self.deadlines = means.deadlines
        self.seconds = means.deadlines.seconds
        self.keep_alive = self.settings.keep_alive
        self.max_idle = self.settings.max_idle
        self.network = means.network
        self.resolver = means.resolver
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._opening = 0
        self._line: deque[Forwarding] = deque()

    def acquire(self, forwarding: Forwarding, others: Sequence[ServerPool] = ()) -> None:
        """Give `forwarding` an idle connection, a new one, or a place in the line; `others` stand in for this one."""
        forwarding.pool = forwarding.owner.server = self
        if others:
            forwarding.others = others
        if forwarding.timeout is None:
            forwarding.timeout = self.settings.total_timeout
        if self._idle:
            connection = self._idle.pop()
            if forwarding.timeout is not None:
                forwarding.limit_connecting(NEVER, forwarding.timeout)
            forwarding.send_over(connection)
        elif len(self._open) + self._opening < self.settings.max_connections:
            self.connect_anew(forwarding)
        else:
            self._wait_in_line(forwarding)

    def connect_anew(self, forwarding: Forwarding) -> None:
        """Give `forwarding` a connection of its own making."""
        self._limit(forwarding)
        self._opening += 1
        Opening(self, forwarding).begin()

    def _limit(self, forwarding: Forwarding) -> None:
        total = NEVER if forwarding.timeout is None else forwarding.timeout
        forwarding.limit_connecting(self.settings.connect_timeout, total)

    def _wait_in_line(self, forwarding: Forwarding) -> None:
        if len(self._line) >= self.settings.max_connections:
            forwarding.lost(UpstreamError("full", "the upstream has no free connection and a full line", str(self)))
            return
        self._limit(forwarding)
        self._line.append(forwarding)
        forwarding.withdraw = lambda: self._line.remove(forwarding)

    def connected(self, connection: UpstreamConnection) -> None:
        """A new connection is there; it was made for its forwarding."""
        self._opening -= 1
        self._open.add(connection)
        forwarding, connection.forwarding = connection.forwarding, None
        assert forwarding is not None
        forwarding.connected()
        forwarding.send_over(connection)

    def failed(self, forwarding: Forwarding, error: UpstreamError) -> None:
        """A new connection did not come about."""
        self._opening -= 1
        forwarding.withdraw = None
        self._serve_line()
        forwarding.unconnected(error)

    def withdrawn(self) -> None:
        """Nobody wants a connection that was being made."""
        self._opening -= 1
        self._serve_line()

    def put(self, connection: UpstreamConnection) -> None:
        """`connection` has served a request and may serve another."""
        if self._line:
            forwarding = self._line.popleft()
            forwarding.connected()
            forwarding.send_over(connection)
        elif len(self._idle) < self.max_idle:
            self._idle.append(connection)
            connection.due = due = self.seconds() + self.keep_alive  # as `Deadlines.set`, without the call
            if due < connection._slot - TICK:
                self.deadlines.place(connection)
        else:
            connection.close()

    def forget(self, connection: UpstreamConnection) -> None:
        """`connection` is closing: it serves no more, but counts until it is gone."""
        if connection in self._idle:
            self._idle.remove(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """`connection` is gone."""
        self.forget(connection)
        self._open.discard(connection)
        self.deadlines.remove(connection)
        self._serve_line()

    def _serve_line(self) -> None:
        if self._line and len(self._open) + self._opening < self.settings.max_connections:
            self.connect_anew(self._line.popleft())

    def close(self) -> None:
        """Close every connection now."""
        for connection in list(self._open):
            connection.abort()

    def retire(self) -> None:
        """Keep no connection any more: what idles is closed now, what is in use after it has served."""
        self.max_idle = 0
        for connection in list(self._idle):
            connection.close()

    def forget_heads(self) -> None:
        """What is known of replies' heads may be told otherwise from now on."""
        for connection in self._open:
            connection.forget_head()

    @property
    def empty(self) -> bool:
        """Whether it has no connection, and nobody waits for one."""
        return not (self._open or self._opening or self._line)

    @property
    def busy(self) -> bool:
        """Whether any connection is in use or wanted."""
        return len(self._open) > len(self._idle) or bool(self._opening or self._line)

    def statistics(self) -> dict[str, int]:
        """Connections ``open``, of which ``idle``, being made (``opening``), and forwards ``waiting`` for one."""
        return {
            "open": len(self._open),
            "idle": len(self._idle),
            "opening": self._opening,
            "waiting": len(self._line),
        }

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.statistics().items())
        return f"<ServerPool {self}: {counts}>"


class Group:
    """Servers that stand for one another; forwards go round them."""

    def __init__(self, name: str, pools: list[ServerPool], settings: Any = None) -> None:
        self.name = name
        self.pools = pools
        self.settings = settings
        self._next = 0
        if len(pools) == 1:
            self.acquire = pools[0].acquire  # type: ignore[method-assign]

    def acquire(self, forwarding: Forwarding) -> None:
        """Give `forwarding` a connection to the next server."""
        pools = self.pools
        start = self._next
        self._next = (start + 1) % len(pools)
        pools[start].acquire(forwarding, pools[start + 1 :] + pools[:start])

    def __repr__(self) -> str:
        return f"<Group {self.name}: {self.pools!r}>"


class Upstreams:
    """Every group, by name; a URL makes a group of its own with `default` settings.

    When the configuration changes another generation takes its place, and what runs goes on with its own. Groups that
    are the same, and those of URLs, belong to both.
    """

    def __init__(self, groups: dict[str, Any], default: Any, means: Means) -> None:
        self._means = means
        self._default = default
        self._groups = {name: self._make(name, settings) for name, settings in groups.items()}
        self._by_url: dict[str, Group] = {}
        self.known: dict[str | None, Group] = {name: group for name, group in self._groups.items()}  # noqa: C416 - wider keys
        """Both of them, for one look."""
        self._retired: list[ServerPool] = []
        """Of groups that former generations had, those that may still have connections."""

    def following(self, groups: dict[str, Any]) -> Upstreams:
        """The generation after this one, which is left as it is: call the other's `succeed` when it takes over."""
        after = Upstreams({}, self._default, self._means)
        for name, settings in groups.items():
            group = self._groups.get(name)
            after._groups[name] = group if group and group.settings == settings else self._make(name, settings)
        after._by_url = self._by_url
        after.known.update(self._by_url)
        after.known.update(after._groups)
        return after

    def succeed(self, former: Upstreams) -> None:
        """Take over from `former`: servers of groups that it alone has keep no connections any more."""
        groups = {id(group) for group in self._groups.values()}
        gone = [pool for group in former._groups.values() if id(group) not in groups for pool in group.pools]
        for pool in gone:
            pool.retire()
        self._retired = [pool for pool in (*former._retired, *gone) if not pool.empty]

    def _make(self, name: str, settings: Any) -> Group:
        return Group(name, [ServerPool(origin, settings, self._means) for origin in settings.servers], settings)

    def acquire(self, forwarding: Forwarding, upstream: str | None) -> None:
        """Send `forwarding` to the group that `upstream` names, or to the URL it is."""
        group = self.known.get(upstream)
        if group is not None:
            group.acquire(forwarding)
        elif upstream is None:
            mend = "set upstream = in the route, or name one in forward()"
            forwarding.lost(UpstreamError("unresolved", "the route has no upstream", aside=mend))
        else:
            try:
                group = self._from_url(upstream)
            except ValueError as why:
                aside = f"none is named {upstream!r}: {why}"
                forwarding.lost(UpstreamError("unresolved", "there is no such upstream", aside=aside))
            else:
                group.acquire(forwarding)

    def _from_url(self, url: str) -> Group:
        if ":" not in url:
            raise ValueError(f"known are {', '.join(sorted(self._groups)) or 'none'}; or give a URL")
        origin = Origin.parse(url)
        if len(self._by_url) >= URL_GROUPS:
            self._drop_idle()
        key = str(origin)
        group = self._by_url.get(key) or self._make(key, self._default(origin))
        self._by_url[key] = self._by_url[url] = self.known[url] = group
        return group

    def _drop_idle(self) -> None:
        for name, group in list(self._by_url.items()):
            if not any(pool.busy for pool in group.pools):
                for pool in group.pools:
                    pool.retire()
                del self._by_url[name]
                self.known.pop(name, None)

    def pools(self) -> list[ServerPool]:
        """The pool of every server, those that are given up first."""
        self._retired = [pool for pool in self._retired if not pool.empty]
        groups = {id(group): group for group in (*self._groups.values(), *self._by_url.values())}
        return self._retired + [pool for group in groups.values() for pool in group.pools]

    def named_pools(self) -> list[tuple[str, ServerPool]]:
        """The pool of every server of the configuration, with the name of its group; so they are bounded."""
        return [(name, pool) for name, group in self._groups.items() for pool in group.pools]

    def forget_heads(self) -> None:
        """See `ServerPool.forget_heads`."""
        for pool in self.pools():
            pool.forget_heads()

    def close(self) -> None:
        """Close every connection now."""
        for pool in self.pools():
            pool.close()

    def statistics(self) -> dict[str, dict[str, int]]:
        """Each server's `ServerPool.statistics`, by its URL: of several pools to it, their sum."""
        servers: dict[str, Counter[str]] = {}
        for pool in self.pools():
            servers.setdefault(pool.name, Counter()).update(pool.statistics())
        return {name: dict(counts) for name, counts in servers.items()}

    def __repr__(self) -> str:
        return f"<Upstreams {', '.join(map(repr, self._groups.values()))}>"
