"""Protocols across the threads: the few things each room may ask of another.

Only two calls cross: the polling thread hands a turn to `Workers.do`, and any thread gives a call to
`PollingThread.deliver`. Beside each real thing stands a fake that a test steps by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from asyncproxy.exchange.trailers import Trailers

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from asyncproxy.exchange.tickets import Holder, Once, Receipt, TicketLimits


class DelayedCall(Protocol):
    """A timer that has not fired."""

    def cancel(self) -> Any:
        """Never fire."""


class Clock(Protocol):
    """Time in seconds, and calls later on the polling thread: a Twisted reactor, or its `task.Clock`."""

    def seconds(self) -> float:
        """Now; only differences mean anything."""

    def callLater(self, delay: float, callable: Callable[..., Any], /, *args: Any) -> DelayedCall:  # noqa: A002
        """Call `callable` in `delay` seconds."""


class Turn(Protocol):
    """One uninterrupted run of module code."""

    began: float
    """When its run began, in seconds of the flow's clock; 0.0 before."""

    @property
    def exchange(self) -> Any:
        """Whose code it runs; None for a call of the pool's ThreadPool face."""

    def run(self) -> None:
        """Run it, on a worker; never raises."""

    def ran(self) -> None:
        """Tell whoever asked for it, on the polling thread."""


class TurnOwner(Protocol):
    """Who asked for a turn."""

    main: bool
    exchange: Any

    def turned(self, turn: Any) -> None:
        """The turn has ended."""

    def interrupted(self, error: BaseException) -> None:
        """The turn was withdrawn before it began, because of `error`."""


class Workers(Protocol):
    """The pool that runs turns. All but what `Turn.run` does is called on the polling thread."""

    @property
    def waiting(self) -> int:
        """Turns that no worker has begun."""

    @property
    def backlog(self) -> int:
        """Turns beyond those that a worker is free for; negative: so many workers are free."""

    def do(self, turn: Turn) -> None:
        """Run `turn` as soon as a worker is free; then call its `ran` on the polling thread."""

    def withdraw(self, turn: Turn) -> bool:
        """Take `turn` back if no worker has begun it; False if one has."""

    def statistics(self) -> dict[str, int]:
        """``total``, ``busy`` and ``queued``."""

    @property
    def busy_seconds(self) -> float:
        """Seconds that workers had turns, all workers added up."""


class PollingThread(Protocol):
    """The way back to the polling thread, from any thread."""

    def deliver(self, call: Callable[..., Any], *args: Any) -> None:
        """Call `call` on the polling thread soon; calls keep their order."""


class Source(Protocol):
    """Where a body's bytes come from: it can be asked to wait, and told that nobody wants them."""

    def pause(self) -> None:
        """Send no more for now."""

    def resume(self) -> None:
        """Go on."""

    def drop(self) -> None:
        """What is left is not wanted."""


class Sink(Protocol):
    """Where a body's bytes go."""

    def piece(self, data: bytes) -> None:
        """Take `data`; never empty."""

    def end(self, trailers: Trailers = ()) -> None:
        """The body is complete, and `trailers` have come behind it; who cannot pass them on drops them."""

    def failed(self, error: Exception) -> None:
        """The body is cut: `error` says by whom."""


class Upstreams(Protocol):
    """Whoever has connections to servers."""

    known: dict[str | None, Any]
    """Groups by name and by URL; a group's `acquire(forwarding)` is the short way."""

    def acquire(self, forwarding: Any, upstream: str | None) -> None:
        """Have `forwarding.send_over` called with a connection to the group or URL that `upstream` is."""

    def statistics(self) -> dict[str, dict[str, int]]:
        """Connections to each server: ``open``, ``idle``, ``opening``, and forwards ``waiting`` for one."""


class Tickets(Protocol):
    """Who waits under which name, and the way to resume them. Polling thread only, but for `holds`.

    Names may belong to more than this process: whoever claims one or resumes it is answered by a call, later perhaps.
    The holder's process has the last word: a resume has settled a ticket only if its holder was not withdrawn before
    `resumed` is called here, and fails with a `TicketRefused` of 410 if it was. `Proxy` takes another implementation
    as `tickets`; who makes it opens and closes what it needs.
    """

    def claim(self, name: str, bind: str | None, holder: Holder) -> None:
        """Have `holder` wait for `name`: `holder.resumed(value)` follows, or `holder.fail` with a `TicketTaken`."""

    def withdraw(self, name: str, holder: Holder, why: str) -> None:
        """`holder` waits no more; whoever resumes it later reads `why`. Nothing if it was resumed."""

    def resume(
        self, name: str, value: bytes, bind: str | None = None, by: str = "", once: Once | None = None
    ) -> Deferred[Receipt]:
        """Give `value`, JSON, to whoever waits for `name`, or keep it for whoever will.

        `bind` is the digest that is quoted, `by` who resumes; with `once`, a mark and for how many seconds it is good,
        a mark resumes a single time. Fails with `TicketRefused` or `Overloaded`.
        """

    def look(self, name: str) -> Deferred[dict[str, Any]]:
        """What is known of `name`: ``ticket``, ``state``, and unless that is unknown ``how`` and ``since_s``."""

    def holds(self, name: str) -> bool:
        """Whether a request of this process waits for `name`. Any thread."""

    def limit(self, limits: TicketLimits) -> None:
        """Keep to `limits` from now on."""

    def statistics(self) -> dict[str, int]:
        """How many names are ``remembered``, ``parked``, ``settled`` and ``lapsed``."""


class Producer(Protocol):
    """What fills a response's body: it waits when the client is slow."""

    def pause(self) -> None:
        """The client has no room."""

    def resume(self) -> None:
        """The client has room again."""


class Binding(Protocol):
    """A route, and the module that answers its requests; made by `service`."""

    path: str
    host: str | None
    methods: tuple[str, ...] | None
    module: Any
    name: str
    blocking: bool
    is_async: bool
    whole_body: bool
    upstream: str | None
    upstreams: Upstreams | None
    """Where its forwards find their servers; None: where its flow does."""
    timeout: float | None
    keep_alive: str
    """What its clients get while they wait: ``sse``, ``json``, ``102`` or ``off``; see `polling.long_waits`."""
    keep_alive_every: float
    at_once: bool
    """Whether nothing has to be done before `handle` may be called here: the hot path."""
    server_timing: bool
    """Whether its responses tell where the time went; see `polling.timing`. Such a route is not `at_once`."""
    tally: Any
    """Its row of the books, once it has one."""


class Client(Sink, Protocol):
    """The client's side of one exchange: what `flow` may ask of a connection, or of a fake of one.

    As a sink it takes the body of a response that was begun. Whole or cut, it says `Exchange.sent` when the last byte
    is out, and `Exchange.left` when the client has gone.
    """

    @property
    def status(self) -> int:
        """Of the latest response that was begun."""

    @property
    def sent(self) -> int:
        """Bytes of its body so far."""

    def answer(self, status: int, block: bytes, body: bytes) -> None:
        """Send a whole response; `block` has its fields, the body's length among them if it is to be told."""

    def begin(self, status: int, block: bytes, producer: Producer, *, told: bool) -> None:
        """Send a response's head; `told` says whether `block` tells the body's length, or only its end will."""

    def refuse(self, status: int, words: str) -> None:
        """Send an error of ours."""

    def inform(self, status: int, block: bytes = b"") -> None:
        """Send an informational head, a 1xx with `block` as its fields; the response is still to come.

        Nothing goes to a client that cannot take it: one of HTTP/1.0, or a 100 that is not waited for.
        """

    def switch(self, block: bytes, tunnel: Any) -> None:
        """Send a 101 with the fields of `block`, and leave the connection to `tunnel`, a `polling.tunnel.Tunnel`.

        Only a request that was offered to an upstream with its Upgrade comes to this.
        """

    @property
    def behind(self) -> bool:
        """Whether the client has not taken all that it was sent."""

    def reached(self) -> Any:
        """The Twisted address of ours that the client has connected to."""

    def cut(self) -> None:
        """Close the connection so that the client cannot take the body for a whole one."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What parks need of the polling thread, besides its clock; see `polling.waiting`."""

    polling: PollingThread
    upstreams: Upstreams
    tickets: Tickets
    descriptors: Any = None
    """An IReactorFDSet: whoever watches descriptors for `readable` and `writable`."""
    fetch: Callable[[Any], Any] | None = None
    """Sends a `Fetch`; gives a Deferred of a `Fetched`."""
