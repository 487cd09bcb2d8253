"""What is parked, as rows for onlookers: one board for all of them, kept while somebody looks.

The rule: the polling thread is never held for long. A look compares the set of what is parked with what is on the
board, which costs a fraction of a microsecond each; what is new is written on it a few rows at a time, the eldest
first, with a wait in between. A row holds text and no request, so that an onlooker who stands still keeps none of them
alive. What is parked for less than a moment is never written.
"""

from __future__ import annotations

import json
import linecache
import math
from collections import deque
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, Final

from asyncproxy.exchange.ledger import spent
from asyncproxy.exchange.messages import in_print
from asyncproxy.exchange.tickets import Ticket
from asyncproxy.exchange.waits import Wait
from asyncproxy.polling.deadlines import NEVER, Due
from asyncproxy.polling.flow import Exchange, Flow
from asyncproxy.polling.parking import Parked, Spot, place

COLUMNS: Final = (
    "key",
    "id",
    "client",
    "method",
    "path",
    "route",
    "module",
    "at",
    "source",
    "waiting_for",
    "ticket",
    "bind",
    "began",
    "since",
    "until",
    "stepped",
    "column",
    "spent",
)
"""What a row has. Times are seconds of the flow's clock; `spent` is the ledger up to `stepped`, the request's last
step, and what passes after that is `column`'s."""
WRITTEN: Final = 100
"""Rows that are written in one go."""
CHECKED: Final = 500
"""Rows that are looked at in one go, whether their deadline has moved."""
RIPE: Final = 0.5
"""Seconds that a request must be old to be shown."""
SOURCES: Final = 4096
"""Lines of code that are remembered."""
LONGEST: Final = 200
"""Characters of a line of code, or of a path, that are shown."""
_encoded: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_since: Final = attrgetter("since")


class Row:
    """A parked request as text: `text` is a JSON array in the order of `COLUMNS`. It never changes."""

    __slots__ = ("key", "text", "until")

    def __init__(self, facts: list[Any]) -> None:
        self.key: int = facts[0]
        self.until: float | None = facts[14]
        self.text = _encoded(facts)

    def __repr__(self) -> str:
        return f"<Row {self.key}>"


class Board:
    """The rows of what is parked in `flow`. Polling thread only."""

    def __init__(self, flow: Flow, sources: Sources) -> None:
        self.rows: set[Row] = set()
        self.version = 0
        """Another one whenever `rows` are others."""
        self._flow = flow
        self._sources = sources
        self._known: dict[Parked, Row] = {}
        self._current: dict[int, Row] = {}
        """By their key."""
        self._unwritten: deque[Parked] = deque()
        self._to_check: Iterator[Parked] = iter(())

    @property
    def unwritten(self) -> int:
        """How many of those that were found are not written yet."""
        return len(self._unwritten)

    def look(self) -> bool:
        """Find out what has changed and write some of it; whether there is more to write, by the next look."""
        if not self._unwritten:
            self._compare()
            self._check()
            if len(self._unwritten) > WRITTEN:
                return True
        self._write()
        return bool(self._unwritten)

    def _compare(self) -> None:
        known, now = self._known, self._flow.seconds()
        parked = self._flow.lot.parked
        gone = known.keys() - parked
        new = [one for one in parked.difference(known) if is_shown(one, self._flow) and now - one.owner.began >= RIPE]
        new.sort(key=_since)
        again = {one.owner.request.number for one in new} if gone else ()
        for one in gone:
            row = known.pop(one)
            if row.key not in again:  # else it stays until its successor is written
                self._drop(row)
        self._unwritten.extend(new)

    def _check(self) -> None:
        """Rows whose deadline has moved are written anew; all of them are looked at in turn."""
        checked = 0
        for checked, one in enumerate(self._to_check, 1):
            row = self._known.get(one)
            if row is not None and until_of(one) != row.until:
                self._unwritten.append(one)
            if checked == CHECKED:
                break
        if checked < CHECKED:
            self._to_check = iter(list(self._known))

    def _write(self) -> None:
        unwritten = self._unwritten
        for _ in range(min(WRITTEN, len(unwritten))):
            one = unwritten.popleft()
            former = self._current.get(one.owner.request.number)
            if former is not None:
                self._drop(former)
            if is_shown(one, self._flow):
                row = Row(facts_of(one, self._sources))
                self._known[one] = self._current[row.key] = row
                self.rows.add(row)
                self.version += 1

    def _drop(self, row: Row) -> None:
        self.rows.discard(row)
        if self._current.get(row.key) is row:
            del self._current[row.key]
        self.version += 1

    def __repr__(self) -> str:
        return f"<Board {len(self.rows)} rows, {len(self._unwritten)} to be written>"


class Sources:
    """Lines of source code by their place, each read once."""

    def __init__(self) -> None:
        self._lines: dict[Spot, str] = {}

    def line(self, spot: Spot | None) -> str:
        """The line of code at `spot`; an empty string if it cannot be found."""
        if spot is None:
            return ""
        line = self._lines.get(spot)
        if line is None:
            if len(self._lines) >= SOURCES:
                self._lines.clear()
            line = linecache.getline(spot[0].co_filename, spot[1]).strip()[:LONGEST]
            self._lines[spot] = line
        return line


def is_shown(parked: Parked, flow: Flow) -> bool:
    """Whether it is what a request of `flow` waits for: not a coroutine beside its own line of code, nor a hook."""
    owner = parked.owner
    return owner.parked is parked and owner in flow.exchanges


def first_rows(flow: Flow, most: int, sources: Sources) -> list[dict[str, Any]]:
    """The eldest `most` of what is parked, by `COLUMNS`."""
    waiting = [exchange.parked for exchange in flow.exchanges if exchange.parked is not None]
    waiting.sort(key=_since)
    return [dict(zip(COLUMNS, facts_of(one, sources), strict=True)) for one in waiting[:most]]


def facts_of(parked: Parked, sources: Sources) -> list[Any]:
    """All that is told of it, in the order of `COLUMNS`."""
    exchange: Exchange = parked.owner
    request, binding, wait, spot = exchange.request, exchange.binding, parked.wait, parked.spot()
    peer, trail, since = request.peer, exchange.trail, parked.since
    name, bind = _ticket_of(wait)
    return [
        request.number,
        request.id,
        f"{peer.address}:{peer.port}",
        request.method,
        in_print(request.path[:LONGEST])[:LONGEST],
        f"{binding.host or ''}{binding.path}",
        binding.name,
        place(spot),
        sources.line(spot),
        wait.describe()[:LONGEST],
        name,
        bind,
        round(exchange.began, 3),
        round(since, 3),
        until_of(parked),
        round(trail[-1], 3),
        4 if wait.column == "UPSTREAM" else 3,
        [round(seconds, 3) for seconds in spent(trail)],
    ]


def until_of(parked: Parked) -> float | None:
    """When the first of its deadlines is, its own or its route's; None if it has none."""
    first = NEVER if parked.deadline is None else parked.deadline
    route = parked.owner.deadline
    if route is not None and route.due < first:
        first = route.due
    if isinstance(parked, Due) and parked.due < first:
        first = parked.due
    return None if math.isinf(first) else round(first, 2)


def _ticket_of(wait: Wait[Any]) -> tuple[str | None, str | None]:
    """Of a ticket, its name and the digest that it is bound to."""
    return (wait.name, wait.bind) if isinstance(wait, Ticket) else (None, None)
