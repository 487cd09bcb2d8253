"""Who looks at the proxy, live: each is told what there is, and then, about once a second, what has changed.

The rule: an onlooker costs little, and many cost little more. What is told is made once a second for all of them, and
not at all while nobody looks; each takes it when he has room for it, so one who does not read makes nothing pile up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from weakref import WeakSet

from asyncproxy import __version__
from asyncproxy.boundaries import DelayedCall
from asyncproxy.exchange.errors import Overloaded
from asyncproxy.exchange.ledger import COLUMNS as LEDGER
from asyncproxy.polling import board, samples
from asyncproxy.polling.board import Board, Row, Sources, first_rows
from asyncproxy.polling.differences import Differences
from asyncproxy.polling.flow import Flow
from asyncproxy.polling.samples import Samples

MOST: Final = 16
"""Onlookers at a time."""
EVERY: Final = 1.0
"""Seconds between two looks."""
PAUSE: Final = 0.02
"""Seconds between two parts of one look, and between two parts of what an onlooker is told."""
TOLD: Final = 200
"""Rows that an onlooker is told at once."""
SERVERS: Final = 200
"""Upstream servers that are told of."""

Event = tuple[str, str]
"""A word for what it is, and JSON."""


class Onlookers:
    """All of them, and what they look at: `flow`, what its `workers` run, what `watched` says. Polling thread only."""

    def __init__(
        self,
        flow: Flow,
        workers: Callable[[], list[dict[str, Any] | None]],
        watched: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.samples = Samples(flow)
        self._sources = Sources()
        self.board = Board(flow, self._sources)
        self.looks = 0
        """How many there have been."""
        self.told = ""
        """What the latest look found, as JSON."""
        self._flow = flow
        self._workers = workers
        self._watched = watched
        self._present: WeakSet[Onlooker] = WeakSet()
        self._timer: DelayedCall | None = None
        self._next_look = 0.0
        self._looking = False
        """Whether a look is on its way: there is more to be told in a moment."""

    def start(self) -> None:
        """Take samples from now on."""
        self.samples.start()

    def stop(self) -> None:
        """Look no more."""
        self.samples.stop()
        self._rest()

    @property
    def full(self) -> bool:
        """Whether there are as many as there may be."""
        return len(self._present) >= MOST

    def come(self) -> Onlooker:
        """Another one, who has to `leave`. Raises `Overloaded` when there are `MOST`."""
        if self.full:
            raise Overloaded(f"{MOST} look already")
        onlooker = Onlooker(self)
        self._present.add(onlooker)
        if self._timer is None:
            self._look()
        return onlooker

    def leave(self, onlooker: Onlooker) -> None:
        """`onlooker` looks no more."""
        self._present.discard(onlooker)
        if not self._present:
            self._rest()

    def _rest(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self.board = Board(self._flow, self._sources)
        self.told = ""

    def _look(self) -> None:
        """Look at the figures, and begin to look at what is parked."""
        if not self._present:  # one was dropped who had not left
            self._timer = None
            self._rest()
            return
        self.looks += 1
        self.told = json.dumps(self.figures(), separators=(",", ":"))
        clock = self._flow.lot.clock
        self._next_look = clock.seconds() + EVERY
        self._looking = True
        self._timer = clock.callLater(PAUSE, self._look_on)

    def _look_on(self) -> None:
        self._looking = self.board.look()
        clock = self._flow.lot.clock
        if self._looking:
            self._timer = clock.callLater(PAUSE, self._look_on)
        else:
            self._timer = clock.callLater(max(PAUSE, self._next_look - clock.seconds()), self._look)

    @property
    def pause(self) -> float:
        """Seconds until there is more to be told."""
        return PAUSE if self._looking else max(PAUSE, self._next_look - self._flow.lot.seconds() + 1.5 * PAUSE)

    def figures(self) -> dict[str, Any]:
        """What there is now, but for the rows."""
        flow = self._flow
        now = flow.seconds()
        servers = flow.around.upstreams.statistics()
        return {
            "now": round(now, 3),
            "uptime_s": round(now - flow.began, 1),
            "served": flow.served,
            "workers": flow.workers.statistics(),
            "running": self._workers(),
            "stages": flow.stages(),
            "tunnelled": flow.tunnels.statistics(),
            "upstreams": dict(list(servers.items())[:SERVERS]),
            "upstreams_total": len(servers),
            "sample": self.samples.ring[-1] if self.samples.ring else None,
            "samples": self.samples.taken,
            **self._watched(),
        }

    def beginning(self) -> dict[str, Any]:
        """What an onlooker is told once."""
        return {
            "version": __version__,
            "now": round(self._flow.seconds(), 3),
            "columns": board.COLUMNS,
            "ledger": LEDGER,
            "sampled": samples.COLUMNS,
            "sampled_every_s": samples.EVERY,
            "samples_kept": samples.KEPT,
            "samples": list(self.samples.ring),
        }

    def view(self, most: int) -> dict[str, Any]:
        """What there is now, and the eldest `most` rows as ``parked``, of ``parked_total``; for those who look once."""
        figures = self.figures()
        rows = first_rows(self._flow, most, self._sources)
        return {**figures, "version": __version__, "parked": rows, "parked_total": figures["stages"]["PARKED"]}

    def __repr__(self) -> str:
        return f"<Onlookers {len(self._present)} of {MOST}, {self.board!r}>"


class Onlooker:
    """One of them. `look` at what is to be told, wait for `pause` seconds, and so on; then `leave`."""

    def __init__(self, onlookers: Onlookers) -> None:
        self.pause = PAUSE
        """Seconds until there is more to be told."""
        self._onlookers = onlookers
        self._differences: Differences[Row] = Differences()
        self._looks = 0

    def look(self) -> list[Event]:
        """What is to be told now: ``begin`` once, ``figures`` after each look, and ``rows`` if any went or came."""
        onlookers, events = self._onlookers, []
        if not self._looks:
            events.append(("begin", json.dumps(onlookers.beginning(), separators=(",", ":"))))
        if self._looks != onlookers.looks:
            self._looks = onlookers.looks
            events.append(("figures", onlookers.told))
        board = onlookers.board
        gone, rows, left = self._differences.step(board.rows, board.version, TOLD)
        if gone or rows:
            words = ",".join(row.text for row in rows)
            events.append(("rows", f'{{"gone":{gone},"rows":[{words}],"left":{left + board.unwritten}}}'))
        self.pause = PAUSE if left else onlookers.pause
        return events

    def leave(self) -> None:
        """Look no more; safe to call again."""
        self._onlookers.leave(self)

    def __repr__(self) -> str:
        return f"<Onlooker {self._differences!r}>"
