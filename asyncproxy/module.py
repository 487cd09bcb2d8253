"""What a module author subclasses: a Resource whose requests may wait without holding a thread.

A module's `handle` answers a request, or awaits, or parks. By default it runs on a worker and may block. `handle` is
the only thing a module must have; settings are class annotations, filled from the configuration at start.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping
from importlib import import_module
from typing import Any, ClassVar

from twisted.web.resource import Resource

from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.outcomes import Park
from asyncproxy.exchange.responses import Response
from asyncproxy.exchange.waits import make_futures_awaitable
from asyncproxy.settings import read_settings

make_futures_awaitable()

Outcome = Response | Park | Awaitable[Any]


class Module(Resource):
    """Answers requests. One instance serves all requests of its route, on any worker: guard what they share.

    What a subclass annotates are its settings; they are given by name, as in a file: ``Orders(patience="30s")``.
    Raises `SettingsError`, a ValueError, with all that is wrong with them. Made on the main thread, before anything
    listens.
    """

    isLeaf = True
    blocking: ClassVar[bool] = True
    """Whether turns run on a worker. If False they run on the polling thread: they must be short and never block."""
    whole_body: ClassVar[bool | None] = None
    """Whether the body is collected before `handle` is called; None is yes for a plain `handle`, no for an async one.
    """
    start_timeout: ClassVar[float] = 60.0
    """Seconds that `start` may take, what it awaits included."""
    stop_timeout: ClassVar[float] = 10.0
    """Seconds that `stop` may take."""
    proxy: Any = None
    """The running proxy, set before the first request: `proxy.snapshot()` says what it holds."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.configure(settings)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Fill the annotated attributes from `settings`. Raises `SettingsError`, with each setting and its mend.

        Durations and sizes are given as in a file: ``Orders(patience="30s")``.
        """
        for name, value in read_settings(self, Module, settings).items():
            setattr(self, name, value)

    def handle(self, request: Request) -> Outcome:
        """Answer `request`: with a `Response`, or with a `Park` or an awaitable that leads to one.

        Called on a worker, or on the polling thread if not `blocking`; an ``async def`` may await what `asyncproxy`
        offers. What it raises and is no error of `asyncproxy` is answered 500 and logged with file and line.
        """
        raise TypeError(f"{type(self).__name__} has no handle(self, request)")

    def render(self, request: Any) -> int:
        """In a twisted.web Site: answer `request` there as in a route of a proxy; see `asyncproxy.service.site`."""
        # By name: a module's file needs none of what the service needs.
        answer: int = import_module("asyncproxy.service.site").render(self, request)
        return answer

    def start(self) -> Awaitable[Any] | None:
        """Get ready: called once, before the first request. What it raises keeps the proxy from starting."""
        return None

    def stop(self) -> Awaitable[Any] | None:
        """Give back what `start` took: called once, after the last request, if `start` went well."""
        return None

    @classmethod
    def is_async(cls) -> bool:
        """Whether `handle` is a coroutine function."""
        return inspect.iscoroutinefunction(cls.handle)

    @classmethod
    def wants_whole_body(cls) -> bool:
        """Whether a request's body is collected before `handle` is called."""
        return not cls.is_async() if cls.whole_body is None else cls.whole_body
