"""`start` and `stop` of modules: who has been started, and so who is to be stopped.

The rule: modules start one after the other, in the order of their routes, each within its `start_timeout`; the first
that cannot keeps all from serving, and those before it are stopped again. They stop all at once, each within its
`stop_timeout`; one that fails is logged, and changes nothing for the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from asyncproxy.exchange.errors import ClientGone
from asyncproxy.module import Module
from asyncproxy.polling.errands import Errand
from asyncproxy.polling.failures import origin
from asyncproxy.polling.flow import Flow
from asyncproxy.service.binding import Bound

_log = Logger()


class NotStarted(RuntimeError):
    """A module's `start` raised, or took too long: the text names route, module and line."""


class Hooks:
    """The modules that are started. Polling thread only."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._started: dict[int, Bound] = {}
        """By the module's id: one that several routes share is started once."""
        self._starting: set[Errand] = set()
        self._starts: list[Deferred[None]] = []
        """Of calls of `start`, to be fired when they are through."""
        self._stopping: set[Errand] = set()
        self._closed = False
        self._patience = math.inf
        """Seconds that any `stop` may take, whatever its `stop_timeout`."""
        self._ends: list[Deferred[str]] = []
        """Of those that are being stopped."""

    async def start(self, bindings: Iterable[Bound]) -> None:
        """Start the modules of `bindings` that are not started. Raises `NotStarted`, with none of them started."""
        through: Deferred[None] = Deferred()
        self._starts.append(through)
        began: list[Bound] = []
        try:
            for bound in bindings:
                if id(bound.module) not in self._started:
                    await self._start(bound)
                    began.append(bound)
        except NotStarted:
            await self.stop(began)
            raise
        finally:
            self._starts.remove(through)
            through.callback(None)

    async def _start(self, bound: Bound) -> None:
        error = await self._run(bound, "start", bound.module.start_timeout)
        if error is not None:
            raise NotStarted(_words(bound, "start", error)) from error
        self._started[id(bound.module)] = bound

    async def stop(self, bindings: Iterable[Bound] | None = None, patience: float = math.inf) -> list[str]:
        """Stop the modules of `bindings`, or all, within `patience` seconds; gives what went wrong, which is logged.

        When all are stopped, those that are being started are told so and have their `stop_timeout` to end, and none
        starts any more.
        """
        self.hurry(patience)
        if bindings is None:
            self._closed = True
            for errand in list(self._starting):
                seconds = min(errand.binding.module.stop_timeout, self._patience)
                errand.hurry(ClientGone("the proxy stops"), seconds)
            await gatherResults(map(awaited, self._starts))
            bindings = list(self._started.values())
        started = [bound for bound in bindings if self._started.pop(id(bound.module), None) is not None]
        ends = [Deferred.fromCoroutine(self._stop(bound)) for bound in started]
        if self._closed:
            ends += map(awaited, self._ends)
        self._ends = [end for end in (*self._ends, *ends) if not end.called]
        return [words for words in await gatherResults(map(awaited, ends)) if words]

    def hurry(self, patience: float) -> None:
        """No module that stops, now or later, has more than `patience` seconds from now on."""
        self._patience = min(self._patience, patience)
        for errand in [*self._stopping, *(self._starting if self._closed else ())]:
            errand.within(self._patience)

    async def _stop(self, bound: Bound) -> str:
        error = await self._run(bound, "stop", min(bound.module.stop_timeout, self._patience))
        if error is None:
            return ""
        words = _words(bound, "stop", error)
        _log.error("{words}", words=words)
        return words

    async def _run(self, bound: Bound, name: str, seconds: float) -> BaseException | None:
        """Run one hook, if the module has its own; what it raised."""
        call = getattr(bound.module, name)
        if getattr(call, "__func__", None) is getattr(Module, name):
            return None
        if name == "start" and self._closed:
            return ClientGone("the proxy stops")
        ended: Deferred[BaseException | None] = Deferred()
        errand = Errand(self._flow, bound, call, ended.callback)
        running = self._starting if name == "start" else self._stopping
        running.add(errand)
        errand.begin(seconds)
        error = await ended
        running.discard(errand)
        return error

    def statistics(self) -> dict[str, int]:
        """How many modules are started."""
        return {"started": len(self._started)}

    def __repr__(self) -> str:
        starting = "".join(f", {errand!r}" for errand in self._starting)
        return f"<Hooks of {len(self._started)} started modules{starting}>"


def _words(bound: Bound, hook: str, error: BaseException) -> str:
    where = f'route "{bound.host or ""}{bound.path}", module "{bound.name}"'
    return f"{where}: {hook}() failed: {type(error).__name__}: {error}{origin(error)}"


def awaited(deferred: Deferred[Any]) -> Deferred[Any]:
    """Another Deferred with the result of `deferred`, for each who waits for the same thing."""
    another: Deferred[Any] = Deferred()

    def tell(result: Any) -> Any:
        another.callback(result)
        return result

    deferred.addBoth(tell)
    return another
