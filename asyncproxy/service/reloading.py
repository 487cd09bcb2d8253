"""Another configuration in the place of a running proxy's, while requests come and go.

The rule: all of it is ready before anything changes, its modules started too, and then it changes between two events;
what cannot be had changes nothing. A request goes on with the route, the module and the upstreams it began with. What
nobody uses any more is given back: connections at once, a module when its last request is over.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from asyncproxy.boundaries import Clock, DelayedCall
from asyncproxy.configuration import ConfigurationError, Settings, load
from asyncproxy.configuration.settings import Server
from asyncproxy.discovery import UnknownModule, find_module
from asyncproxy.polling.flow import Flow
from asyncproxy.service.binding import Bound, bind_all, with_modules
from asyncproxy.service.hooks import Hooks

if TYPE_CHECKING:
    from asyncproxy.service.proxy import Proxy

T = TypeVar("T")
Source = Settings | Mapping[str, Any] | str | os.PathLike[str]
CHANGEABLE: Final = frozenset(
    ("max_parked", "max_queued", "drain", "trusted", "forwarded", "server_name", "via", "error_pages")
)
"""Keys of [server] that a running proxy can change; [limits], upstreams and routes change as a whole."""
LOOK: Final = 0.25
"""Seconds between two looks at whether a module that goes still has requests."""


class NotReloaded(RuntimeError):
    """The proxy does not run, or ended meanwhile."""


@dataclass(frozen=True)
class Change:
    """What a reload came to."""

    routes: int
    kept: int
    """Routes whose module is the one that they had."""
    fixed: tuple[str, ...]
    """Keys that are different now, but cannot change while the proxy runs: they are as they were."""

    def __str__(self) -> str:
        return f"{self.routes} route{'s' if self.routes > 1 else ''}, {self.kept} of them with the module they had"


def fixed_keys(old: Settings, new: Settings) -> tuple[str, ...]:
    """The keys in which `new` differs from `old`, though they cannot change while a proxy runs."""
    server = [name for name in _fixed_of_server() if getattr(old.server, name) != getattr(new.server, name)]
    return (*(f"server.{name}" for name in server), *(("admin",) if old.admin != new.admin else ()))


def merged(old: Settings, new: Settings) -> Settings:
    """`new`, with what cannot change as it is in `old`."""
    server = msgspec.structs.replace(new.server, **{name: getattr(old.server, name) for name in _fixed_of_server()})
    return msgspec.structs.replace(new, server=server, admin=old.admin)


def _fixed_of_server() -> list[str]:
    return [name for name in Server.__struct_fields__ if name not in CHANGEABLE]


async def reload(proxy: Proxy, source: Source) -> Change:
    """Have `proxy` go on with the settings of `source`. Raises what keeps it from that, and nothing has changed."""
    former = proxy.bindings
    deliver = proxy.deliveries.deliver
    try:
        new = await in_a_thread(deliver, _read, source, former)
        settings = merged(proxy.settings, new)
        bindings = bind_all(settings.route, name_of(source), former)
    except ConfigurationError as why:
        raise with_modules(why, former) from None
    upstreams = proxy.upstreams.following(settings.upstream)
    for bound in bindings:
        bound.module.proxy = proxy
        bound.upstreams = upstreams
    if not proxy.draining:
        await proxy.hooks.start(bindings)
    if proxy.draining:
        raise NotReloaded("the proxy was told to stop meanwhile")
    fixed = fixed_keys(proxy.settings, new)
    proxy.take(settings, bindings, upstreams)
    modules = {id(bound.module) for bound in former}
    return Change(len(bindings), sum(id(bound.module) in modules for bound in bindings), fixed)


def name_of(source: Source) -> str:
    """What errors call `source`."""
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else "settings"


def _read(source: Source, former: Sequence[Bound]) -> Settings:
    """Read `source` and import the files of modules that are new: both may take a while, so not on the polling thread.

    Modules are made there all the same, as at start; what is wrong with a name is found out then.
    """
    settings = source if isinstance(source, Settings) else load(source)
    for name in {route.module for route in settings.route} - {bound.name for bound in former}:
        with suppress(UnknownModule):
            find_module(name)
    return settings


def in_a_thread(deliver: Callable[..., Any], call: Callable[..., T], *args: Any) -> Deferred[T]:
    """`call(*args)` on a thread of its own, for workers may all be held by modules; `deliver` leads back."""
    done: Deferred[T] = Deferred()

    def run() -> None:
        try:
            deliver(done.callback, call(*args))
        except BaseException:  # noqa: BLE001 - whoever waits is told
            deliver(done.errback, Failure())

    threading.Thread(target=run, name="asyncproxy-reload", daemon=True).start()
    return done


class Retiring:
    """Modules that no route leads to any more, until their last request is over and they are stopped."""

    def __init__(self, clock: Clock, flow: Flow, hooks: Hooks) -> None:
        self._clock = clock
        self._flow = flow
        self._hooks = hooks
        self._bindings: list[Bound] = []
        self._timer: DelayedCall | None = None

    def retire(self, former: Sequence[Bound], bindings: Sequence[Bound]) -> None:
        """Stop the modules of `former` that `bindings` have not, each as soon as it has no request."""
        stay = {id(bound.module) for bound in bindings}
        self._bindings += [bound for bound in former if id(bound.module) not in stay]
        if self._timer is None:
            self._look()

    def _look(self) -> None:
        self._timer = None
        if not self._bindings:
            return
        busy = {id(exchange.binding.module) for exchange in self._flow.exchanges}
        busy |= {id(turn.exchange.binding.module) for turn in self._flow.clean_ups}
        over = [bound for bound in self._bindings if id(bound.module) not in busy]
        self._bindings = [bound for bound in self._bindings if id(bound.module) in busy]
        if self._bindings:
            self._timer = self._clock.callLater(LOOK, self._look)
        if over:
            Deferred.fromCoroutine(self._hooks.stop(over))

    def stop(self) -> None:
        """Wait for none of them: all modules are to be stopped."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def statistics(self) -> dict[str, int]:
        """How many modules still have requests."""
        return {"retiring": len(self._bindings)}

    def __repr__(self) -> str:
        return f"<Retiring {', '.join(map(repr, self._bindings)) or 'none'}>"
