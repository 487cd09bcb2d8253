"""What module code may await: descriptions of a wait, and nothing that happens.

The rule: making a wait starts nothing. Awaiting it yields it, out of the module's coroutine and off its thread; only
then does the polling thread register it, so that nothing can resume code that has not stopped yet.
"""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from asyncproxy.exchange.messages import Request
    from asyncproxy.exchange.responses import Fetched, Rendered, Reply  # noqa: F401 - in a base's text

T = TypeVar("T")
READINESS_TIMEOUT = 60.0
"""Seconds that `readable` and `writable` wait when nothing else limits them: silence never parks for ever."""


class Wait(Generic[T]):
    """Something to wait for; awaiting it parks the exchange and gives its value."""

    __slots__ = ("__weakref__",)
    column = "PARKED"
    """The stage whose ledger column the time waited is booked under."""

    def __await__(self) -> Generator[Any, Any, T]:
        return (yield self)  # type: ignore[no-any-return]

    def describe(self) -> str:
        """What is waited for, in a few words, as the status page and logs show it."""
        return type(self).__name__.lower()

    def abandon(self) -> None:
        """Give back what was taken when the wait was made, for a wait that nobody will register."""

    def __repr__(self) -> str:
        return f"<Wait for {self.describe()}>"


class Sleep(Wait[None]):
    """See `sleep`."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        if not seconds >= 0:
            raise ValueError(f"sleep({seconds!r}): seconds must be 0 or more")
        self.seconds = seconds

    def describe(self) -> str:
        """The time it takes."""
        return f"sleep {self.seconds:g} s"


class Readiness(Wait[None]):
    """See `readable` and `writable`. Owns a duplicate of the descriptor and closes it when the wait is over."""

    __slots__ = ("fd", "original", "timeout", "writing")

    def __init__(self, fd: int | Any, *, writing: bool, timeout: float | None) -> None:
        self.fd = -1  # so that a dup that fails leaves nothing to close
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout={timeout!r}: seconds must be more than 0")
        self.original = fd if isinstance(fd, int) else fd.fileno()
        self.writing = writing
        self.timeout = timeout
        self.fd = os.dup(self.original)

    def describe(self) -> str:
        """Which descriptor, and for what."""
        return f"{'writable' if self.writing else 'readable'} fd {self.original}"

    def abandon(self) -> None:
        """Close the duplicate; safe to call again."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.abandon()


class FutureDone(Wait[T]):
    """A `concurrent.futures.Future`, from a process pool for instance; cancelled when nobody waits any more."""

    __slots__ = ("future",)

    def __init__(self, future: concurrent.futures.Future[T]) -> None:
        self.future = future

    def describe(self) -> str:
        """That it is a future."""
        return "future"


class OnReactor(Wait[Any]):
    """See `on_reactor`."""

    __slots__ = ("args", "call", "kwargs")

    def __init__(self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.call = call
        self.args = args
        self.kwargs = kwargs

    def describe(self) -> str:
        """The name of what runs on the polling thread."""
        return f"on_reactor {getattr(self.call, '__qualname__', repr(self.call))}"


class Native(Wait[Any]):
    """A bare Deferred or asyncio Future, awaited by a module that runs on the polling thread."""

    __slots__ = ("awaited",)

    def __init__(self, awaited: Any) -> None:
        self.awaited = awaited

    def describe(self) -> str:
        """The awaited thing's type."""
        return type(self.awaited).__name__


class Gather(Wait[list[Any]]):
    """See `gather`."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = tuple(as_wait(part) for part in parts)

    def describe(self) -> str:
        """Its parts."""
        return f"gather of {len(self.parts)}: {', '.join(described(part) for part in self.parts[:4])}"

    def abandon(self) -> None:
        """Abandon every part."""
        for part in self.parts:
            part.close() if isinstance(part, Coroutine) else part.abandon()


class Forward(Wait["Reply"]):
    """See `Request.forward`."""

    __slots__ = ("headers", "request", "target", "timeout", "upstream")
    column = "UPSTREAM"

    def __init__(
        self,
        request: Request,
        upstream: str | None,
        target: bytes | None,
        headers: list[tuple[bytes, bytes]] | None,
        timeout: float | None,
    ) -> None:
        self.request = request
        self.upstream = upstream
        self.target = target
        self.headers = headers
        self.timeout = timeout

    def describe(self) -> str:
        """Which upstream."""
        return f"forward to {self.upstream or getattr(self.request.route, 'upstream', None)}"


class MappedForward(Forward):
    """A forward to an upstream that knows the place by another name than its client does.

    Without `preserve_host` its Host is that of the server that is asked. With `rewrite` what the reply says of the
    place is mapped back, see `exchange.rewriting`, below `prefix` if that was taken off the target.
    """

    __slots__ = ("prefix", "preserve_host", "rewrite")

    def __init__(self, plain: Forward, *, preserve_host: bool, prefix: bytes, rewrite: bool) -> None:
        super().__init__(plain.request, plain.upstream, plain.target, plain.headers, plain.timeout)
        self.preserve_host = preserve_host
        self.prefix = prefix
        self.rewrite = rewrite


class Fetch(Wait["Fetched"]):
    """See `Request.fetch`."""

    __slots__ = ("data", "headers", "json", "method", "timeout", "url")
    column = "UPSTREAM"

    def __init__(self, url: str, method: str, headers: Any, data: Any, json: Any, timeout: float | None) -> None:
        self.url = url
        self.method = method
        self.headers = headers
        self.data = data
        self.json = json
        self.timeout = timeout

    def describe(self) -> str:
        """Method and URL."""
        return f"fetch {self.method} {self.url}"


class BodyPiece(Wait[bytes]):
    """The next piece of a streaming body, or all that is left of it; b"" at its end."""

    __slots__ = ("message", "whole")

    def __init__(self, message: Request | Reply, *, whole: bool) -> None:
        self.message = message
        self.whole = whole

    def describe(self) -> str:
        """Whether all of the body or a piece."""
        return "the whole body" if self.whole else "a piece of a body"


class Render(Wait["Rendered"]):
    """What a twisted.web Resource answers to `request`; `site` is the twisted.web Site that has the resource.

    `prepath` and `postpath` are the path's segments above the site and below it, percent-decoded.
    """

    __slots__ = ("postpath", "prepath", "request", "site")

    def __init__(self, request: Request, site: Any, prepath: list[bytes], postpath: list[bytes]) -> None:
        self.request = request
        self.site = site
        self.prepath = prepath
        self.postpath = postpath

    def describe(self) -> str:
        """Which resource."""
        return f"resource {type(self.site.resource).__name__}"


def described(awaited: object) -> str:
    """`awaited` in a few words, whatever kind of awaitable it is."""
    return awaited.describe() if isinstance(awaited, Wait) else type(awaited).__name__


def as_wait(awaitable: Any) -> Any:
    """`awaitable` as a `Wait`, or itself if it is a coroutine; TypeError names what may be awaited.

    Any other awaitable is wrapped in a coroutine.
    """
    if isinstance(awaitable, (Wait, Coroutine)):
        return awaitable
    if isinstance(awaitable, concurrent.futures.Future):
        return FutureDone(awaitable)
    if isinstance(awaitable, Awaitable):
        return _await(awaitable)
    raise TypeError(
        f"{awaitable!r} cannot be awaited in a module: await sleep(), readable(), writable(), gather(), on_reactor(), "
        "request.forward(), request.fetch(), a concurrent.futures.Future or a coroutine"
    )


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


def sleep(seconds: float) -> Sleep:
    """Park for `seconds`. Raises ValueError for a negative number."""
    return Sleep(seconds)


def readable(fd: int | Any, timeout: float | None = None) -> Readiness:
    """Park until `fd`, a descriptor or an object with fileno(), can be read without blocking.

    The descriptor is duplicated and the duplicate owned, so the original may be closed meanwhile. Raises `ParkTimeout`
    at the await after `timeout` seconds (without one after 60, unless the `Park` around it has its own), OSError here
    if `fd` is no open descriptor.
    """
    return Readiness(fd, writing=False, timeout=timeout)


def writable(fd: int | Any, timeout: float | None = None) -> Readiness:
    """Park until `fd` can be written without blocking; otherwise as `readable`."""
    return Readiness(fd, writing=True, timeout=timeout)


def gather(*awaitables: Any) -> Gather:
    """Wait for all of `awaitables` at once; the value is the list of theirs, in order.

    The first to fail ends the wait with its exception; the others are cancelled: a wait is withdrawn, a coroutine is
    closed on a worker. Coroutines among them take turns, one at a time. TypeError for what cannot be awaited.
    """
    return Gather(awaitables)


def on_reactor(call: Callable[..., Any], *args: Any, **kwargs: Any) -> OnReactor:
    """Run `call` on the polling thread, where it must not block, and wait for its value or its Deferred's.

    Raises at the await what `call` raises, or what its Deferred fails with.
    """
    return OnReactor(call, args, kwargs)


def make_futures_awaitable() -> None:
    """Let module code write ``await pool.submit(...)``: the standard library's futures have no ``__await__``."""
    if not hasattr(concurrent.futures.Future, "__await__"):
        concurrent.futures.Future.__await__ = lambda self: FutureDone(self).__await__()  # type: ignore[attr-defined]
