"""Tickets: waits with a name, which whoever knows the name may end once, with a value.

The rule: a name is in one state, and what may happen to it is in `TABLE`; what is not there is refused, with words that
say how the name came to be as it is. `TicketBook` knows no socket, thread or clock: it is given the time.

==========  ==================================================================================
state       what is known of the name
==========  ==================================================================================
unknown     nothing, or nothing any more
remembered  a resume came first: its value waits for whoever awaits the name, for `remember`
parked      a request waits under it
settled     it was resumed; for `settled` seconds a second resume is told so
lapsed      whoever waited has left or took too long; for `settled` seconds a resume is told so
==========  ==================================================================================
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from asyncproxy.exchange.errors import Overloaded, ProxyError
from asyncproxy.exchange.waits import Wait

UNKNOWN: Final = "unknown"
REMEMBERED: Final = "remembered"
PARKED: Final = "parked"
SETTLED: Final = "settled"
LAPSED: Final = "lapsed"
STATES: Final = (UNKNOWN, REMEMBERED, PARKED, SETTLED, LAPSED)

AWAITED: Final = "AWAITED"
"""A request wants to wait under the name."""
RESUMED: Final = "RESUMED"
"""Somebody has a value for it."""
WITHDRAWN: Final = "WITHDRAWN"
"""Whoever waited does so no more: its client left, or it took too long."""
FORGOTTEN: Final = "FORGOTTEN"
"""Its time to be known is over."""
HAPPENINGS: Final = (AWAITED, RESUMED, WITHDRAWN, FORGOTTEN)

TABLE: Final[Mapping[str, Mapping[str, str]]] = {
    UNKNOWN: {AWAITED: PARKED, RESUMED: REMEMBERED},
    REMEMBERED: {
        AWAITED: SETTLED,  # the value is there: nobody waits
        FORGOTTEN: UNKNOWN,
    },
    PARKED: {RESUMED: SETTLED, WITHDRAWN: LAPSED},
    SETTLED: {AWAITED: PARKED, FORGOTTEN: UNKNOWN},
    LAPSED: {AWAITED: PARKED, FORGOTTEN: UNKNOWN},
}
"""Awaited while parked it is `TicketTaken`; resumed while remembered, settled or lapsed it is `TicketRefused`."""

NAME_LIMIT: Final = 256
_NAME: Final = re.compile(rf"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{NAME_LIMIT}}}")


class _Raise:
    """The kind of `RAISE`."""

    def __repr__(self) -> str:
        return "RAISE"


RAISE: Final = _Raise()
"""The `default` of a `ticket` that has none: at the time-out `ParkTimeout` is raised."""


class TicketTaken(ProxyError):
    """Another request waits for the ticket already. Uncaught, the client gets 409."""

    status = 409

    def __init__(self, name: str) -> None:
        super().__init__("another request waits for the same ticket")
        self.aside = f"{name!r}: give each its own name, or await it afterwards"
        self.name = name


class TicketRefused(ProxyError):
    """A resume changed nothing: the ticket was settled already (409), nobody waits for it any more (410), or the
    digest it is bound to was not quoted (409).

    `ticket` is its name, `state` the state it is in, and `how` how that came about.
    """

    def __init__(self, status: int, ticket: str, state: str, words: str, how: str = "") -> None:
        super().__init__(words)
        self.status = status
        self.ticket = ticket
        self.state = state
        self.how = how


class Ticket(Wait[Any]):
    """See `ticket`. Its `name` may be read before it is awaited."""

    __slots__ = ("bind", "default", "name", "timeout")

    def __init__(self, name: str | None, timeout: float | None, default: Any, bind: str | None) -> None:
        if timeout is not None and not (isinstance(timeout, (int, float)) and timeout > 0):
            raise ValueError(f"ticket(timeout={timeout!r}): seconds must be more than 0, and a number")
        if bind is not None and not (isinstance(bind, str) and bind):
            raise ValueError(f"ticket(bind={bind!r}): give the digest as text")
        self.name = secrets.token_urlsafe(18) if name is None else checked_name(name)
        self.timeout = timeout
        self.default = default
        self.bind = bind

    def describe(self) -> str:
        """Its name."""
        return f"ticket {self.name!r}"


def ticket(name: str | None = None, timeout: float | None = None, default: Any = RAISE, bind: str | None = None) -> Any:
    """Park until somebody resumes `name` with a value: by the admin listener, `asyncproxy.resume`, or a signed URL.

    Without a name one is made that nobody can guess; the awaitable's `name` tells it. After `timeout` seconds
    `ParkTimeout` is raised at the await, or `default` is given if there is one. `bind`, a digest of what is asked, has
    to be quoted by whoever resumes: an answer to another question does not count. Raises `TicketTaken` at the await if
    another request waits for that name, ValueError here for what cannot be.
    """
    return Ticket(name, timeout, default, bind)


def checked_name(name: object) -> str:
    """`name` if a ticket may be called that. Raises ValueError."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise ValueError(
        f"{name!r:.80} is no name of a ticket: it is 1 to {NAME_LIMIT} characters, none of them a control character "
        "or half a surrogate pair"
    )


def json_of(value: Any) -> bytes:
    """`value` as JSON. Raises TypeError for what JSON cannot hold; a number that is none would become null."""
    json = msgspec.json.encode(value)
    rest = [msgspec.to_builtins(value)] if b"null" in json else []
    while rest:
        part = rest.pop()
        if isinstance(part, float) and not math.isfinite(part):
            raise TypeError(f"{part!r} is no value for a ticket: JSON has no such number")
        rest += part.values() if isinstance(part, dict) else part if isinstance(part, (list, tuple)) else ()
    return json


class Holder(Protocol):
    """Who waits for a ticket: a park. One of the two is called, once, unless it was withdrawn."""

    def resumed(self, value: bytes) -> None:
        """Somebody gave `value`, JSON."""

    def fail(self, error: BaseException) -> None:
        """It cannot wait for it: `TicketTaken` says why."""

    @property
    def whose(self) -> str:
        """The id of the request that waits."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a resume came to: the ticket is *settled*, or its value is *remembered* for `for_s` seconds."""

    ticket: str
    state: str
    generation: int
    """How many requests have waited for the name, as far as it is known; 0 before the first."""
    request: str | None = None
    """The id of the request that goes on."""
    for_s: float | None = None


Once = tuple[str, float]
"""The mark of what resumes a single time, a link, and for how many seconds it must be known."""


@dataclass(frozen=True, slots=True)
class TicketLimits:
    """What a `TicketBook` keeps: for how many seconds, how many of them, and values of how many bytes."""

    remember: float = 60.0
    settled: float = 600.0
    max_remembered: int = 10_000
    max_settled: int = 20_000
    value: int = 64 * 1024


class _Entry:
    """A name that is known. `how` says how it came to its state; `since` when, in seconds."""

    __slots__ = ("bind", "generation", "holder", "how", "since", "state", "value")

    def __init__(self, state: str, since: float, generation: int) -> None:
        self.state = state
        self.since = since
        self.generation = generation
        self.how = ""
        self.bind: str | None = None
        self.value = b""
        self.holder: Holder | None = None


class TicketBook:
    """The names of one process and what is known of them; `seconds` gives the time.

    Names that are parked are as many as there are parked requests; the others are bounded by `limits`. The eldest of
    those that are settled or lapsed give way to new ones; beyond so many remembered values another is refused, for a
    value that was accepted is not thrown away.
    """

    def __init__(self, seconds: Callable[[], float], limits: TicketLimits | None = None) -> None:
        self.limits = limits or TicketLimits()
        self._seconds = seconds
        self._entries: dict[str, dict[str, _Entry]] = {REMEMBERED: {}, PARKED: {}, SETTLED: {}, LAPSED: {}}
        """By state; within a state in the order of coming into it, so that the eldest are the first."""
        self._used: dict[str, float] = {}
        """Marks of what resumes once, and until when they must be known."""

    def claim(self, name: str, bind: str | None, holder: Holder) -> bytes | None:
        """`holder` waits for `name` from now on; or the remembered value that there is for it.

        Raises `TicketTaken`. A remembered value that does not quote `bind` was for another question: it is dropped.
        """
        self.forget()
        former = self._find(name)
        state = former.state if former is not None else UNKNOWN
        if AWAITED not in TABLE[state]:
            raise TicketTaken(name)
        generation = (former.generation if former is not None else 0) + 1
        if former is not None and state == REMEMBERED and bind in (None, former.bind):
            self._put(name, SETTLED, generation).how = f"{former.how} before it was awaited, by {holder.whose}"
            return former.value
        entry = self._put(name, PARKED, generation)
        entry.bind, entry.holder, entry.how = bind, holder, f"{holder.whose} waits for it"
        return None

    def resume(
        self, name: str, value: bytes, bind: str | None = None, by: str = "", once: Once | None = None
    ) -> tuple[Receipt, Holder | None]:
        """`value`, JSON, for `name`: the receipt, and who is to be given the value if anybody waits.

        `bind` is the digest that whoever resumes quotes, `by` who that is, `once` the mark of what it is resumed by.
        Raises `TicketRefused`, and `Overloaded` when no more can be remembered.
        """
        self.forget()
        self._check(name, value)
        if once is None:
            return self._resume(name, value, bind, by)
        if once[0] in self._used:
            raise TicketRefused(409, name, self.look(name)["state"], f"what would resume ticket {name!r} was used once")
        if len(self._used) >= self.limits.max_settled:
            self._forget_marks()
        resumed = self._resume(name, value, bind, by)
        self._used[once[0]] = self._seconds() + once[1]
        return resumed

    def _forget_marks(self) -> None:
        now = self._seconds()
        self._used = {mark: until for mark, until in self._used.items() if until > now}
        if len(self._used) >= self.limits.max_settled:
            raise Overloaded(f"{len(self._used)} links were used and have not expired: try again later")

    def _resume(self, name: str, value: bytes, bind: str | None, by: str) -> tuple[Receipt, Holder | None]:
        entry = self._find(name)
        if entry is None:
            return self._remember(name, value, bind, by), None
        if RESUMED not in TABLE[entry.state]:
            raise self._refusal(name, entry)
        if entry.bind is not None and entry.bind != bind:
            how = "no digest was quoted" if bind is None else "another digest was quoted"
            words = f"ticket {name!r} is bound to a digest, and {how}: quote the one of what is asked now"
            raise TicketRefused(409, name, entry.state, words, entry.how)
        holder = entry.holder
        assert holder is not None
        self._put(name, SETTLED, entry.generation).how = f"resumed{_by(by)}, for {holder.whose}"
        return Receipt(name, SETTLED, entry.generation, holder.whose), holder

    def withdraw(self, name: str, holder: Holder, why: str) -> None:
        """`holder` waits no more, because of `why`. Nothing if it does not wait."""
        entry = self._entries[PARKED].get(name)
        if entry is not None and entry.holder is holder:
            self._put(name, LAPSED, entry.generation).how = f"{holder.whose} waited for it, but {why}"

    def look(self, name: str) -> dict[str, Any]:
        """What is known of `name`: its ``state``, ``how`` it came to it, and ``since_s`` how long it is in it."""
        self.forget()
        entry = self._find(name)
        if entry is None:
            return {"ticket": name, "state": UNKNOWN}
        known = {"ticket": name, "state": entry.state, "how": entry.how, "generation": entry.generation}
        return {**known, "bound": entry.bind is not None, "since_s": round(self._seconds() - entry.since, 3)}

    def holds(self, name: str) -> bool:
        """Whether a request waits for `name` here. Any thread."""
        return name in self._entries[PARKED]

    def forget(self) -> None:
        """Let go what has been known for long enough, and of what is over the eldest that are too many."""
        now, limits = self._seconds(), self.limits
        for state, kept in ((REMEMBERED, limits.remember), (SETTLED, limits.settled), (LAPSED, limits.settled)):
            entries = self._entries[state]
            most = math.inf if state == REMEMBERED else limits.max_settled
            while entries and (len(entries) > most or next(iter(entries.values())).since <= now - kept):
                del entries[next(iter(entries))]

    def statistics(self) -> dict[str, int]:
        """How many names are in each state."""
        self.forget()
        return {state: len(entries) for state, entries in self._entries.items()}

    def _find(self, name: str) -> _Entry | None:
        for entries in self._entries.values():
            if name in entries:
                return entries[name]
        return None

    def _put(self, name: str, state: str, generation: int) -> _Entry:
        """A new entry for `name`, in place of the one it has."""
        for entries in self._entries.values():
            entries.pop(name, None)
        entries = self._entries[state]
        if state in (SETTLED, LAPSED) and len(entries) >= self.limits.max_settled:
            del entries[next(iter(entries))]
        entry = entries[name] = _Entry(state, self._seconds(), generation)
        return entry

    def _check(self, name: str, value: bytes) -> None:
        limit = self.limits.value
        if len(value) > limit:
            words = f"the value for ticket {name!r} is {len(value)} bytes, and tickets.value allows {limit}: send less"
            raise TicketRefused(413, name, self.look(name)["state"], words)

    def _remember(self, name: str, value: bytes, bind: str | None, by: str) -> Receipt:
        limits = self.limits
        if not limits.remember:
            words = f"nobody waits for ticket {name!r}, and tickets.remember is off: resume it once it is awaited"
            raise TicketRefused(410, name, UNKNOWN, words)
        if len(self._entries[REMEMBERED]) >= limits.max_remembered:
            raise Overloaded(f"{limits.max_remembered} values wait for requests that have not come: try again later")
        entry = self._put(name, REMEMBERED, 0)
        entry.value, entry.bind, entry.how = value, bind, f"resumed{_by(by)}"
        return Receipt(name, REMEMBERED, 0, for_s=limits.remember)

    def _refusal(self, name: str, entry: _Entry) -> TicketRefused:
        ago = f"{self._seconds() - entry.since:.1f} s ago"
        if entry.state == LAPSED:
            words = f"ticket {name!r} came too late: {entry.how}, {ago}"
            return TicketRefused(410, name, LAPSED, words, entry.how)
        words = f"ticket {name!r} was settled already: {entry.how}, {ago}"
        if entry.state == REMEMBERED:
            words = f"ticket {name!r} has a value already, which waits for a request: {entry.how}, {ago}"
        return TicketRefused(409, name, entry.state, words, entry.how)

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(entries)} {state}" for state, entries in self._entries.items() if entries)
        return f"<TicketBook {counts or 'empty'}>"


def _by(who: str) -> str:
    return f" by {who}" if who else ""
