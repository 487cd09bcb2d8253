"""What two looks at ``/status.json`` say of the time between them, and one look of the time since the start. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

SECONDS: Final = ("total", "queued", "working", "parked", "upstream")


class NotComparable(ValueError):
    """What was read cannot be used; str() says why, and what to do."""


@dataclass(slots=True)
class Requests:
    """What requests came to: of a module, or of all."""

    ended: int = 0
    parks: int = 0
    queued_long: int = 0
    """Those that waited for workers for more than 10 ms."""
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SECONDS, 0.0))

    def add(self, row: Mapping[str, Any], sign: int = 1) -> None:
        """Count a route's row too, or with `sign` -1 no more."""
        self.ended += sign * row["requests"]
        self.parks += sign * row["parks"]
        self.queued_long += sign * row["queued_long"]
        for name in SECONDS:
            self.seconds[name] += sign * row["seconds"][name]

    @property
    def turn(self) -> float:
        """Seconds that a turn had its worker, about: each park ends one."""
        return self.seconds["working"] / (self.ended + self.parks) if self.ended else 0.0


@dataclass(frozen=True, slots=True)
class Span:
    """What happened in some seconds."""

    seconds: float
    since_start: bool
    workers: int
    worker_seconds: float
    cpu_seconds: float
    all: Requests
    by_module: Mapping[str, Requests]
    stalled: Sequence[Mapping[str, Any]]
    """The turns that keep a worker for long, at the end of it."""

    @property
    def load(self) -> float:
        """Worker seconds a second: erlangs."""
        return self.worker_seconds / self.seconds

    @property
    def cores(self) -> float:
        """Cores that the process computed on."""
        return self.cpu_seconds / self.seconds

    @property
    def hog(self) -> tuple[str, Requests]:
        """The module that had the workers for longest, and its requests."""
        return max(self.by_module.items(), key=lambda one: one[1].seconds["working"], default=("", Requests()))

    @property
    def one_hogs(self) -> bool:
        """Whether one module had half of the workers' time, or more."""
        return self.share(self.hog[1]) >= 0.5

    def share(self, requests: Requests) -> float:
        """What `requests` had of the workers' time; turns that have not ended, or are of no request, have some too."""
        everything = max(self.worker_seconds, self.all.seconds["working"])
        return requests.seconds["working"] / everything if everything else 0.0

    @property
    def busy(self) -> float:
        """The share of their time that workers were busy."""
        return self.load / self.workers


def span(now: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> Span:
    """What happened from the look `before` to the look `now`; without one, since the proxy's start.

    Each is what ``/status.json`` holds. Raises `NotComparable`.
    """
    try:
        return _span(now, before)
    except (KeyError, TypeError, AttributeError, ValueError) as why:
        if isinstance(why, NotComparable):
            raise
        words = f"this is no status of a proxy that can be advised ({why} is not as expected)"
        raise NotComparable(f"{words}: is it /status.json, of this version?") from None


def _span(now: Mapping[str, Any], before: Mapping[str, Any] | None) -> Span:
    def grown(key: str) -> float:
        return _figure(now, key) - (_figure(before, key) if before is not None else 0.0)

    seconds, workers = grown("uptime_s"), now["workers"]["total"]
    if type(workers) is not int or workers < 1 or (before is None and seconds <= 0):
        raise ValueError(f"{workers!r} workers since {seconds:g} s")
    everything, by_module = Requests(), dict[str, Requests]()
    former = before["routes"] if before is not None else {}
    for label, row in now["routes"].items():
        for requests in (everything, by_module.setdefault(row["module"], Requests())):
            requests.add(row)
            if label in former:
                requests.add(former[label], -1)
    if seconds <= 0 or grown("cpu_seconds") < 0 or everything.ended < 0:  # what only grows has not
        raise NotComparable("the proxy was started anew between the two looks: ask again")
    return Span(
        seconds,
        before is None,
        workers,
        max(0.0, grown("worker_seconds")),
        grown("cpu_seconds"),
        everything,
        by_module,
        [{"module": turn["module"], "for_s": _figure(turn, "for_s"), "at": turn["at"]} for turn in now["stalled"]],
    )


def _figure(found: Mapping[str, Any], key: str) -> float:
    """A figure that is one. Raises KeyError, TypeError, ValueError."""
    figure = float(found[key])
    if not (0 <= figure < math.inf):
        raise ValueError(f"{key} {found[key]}")
    return figure
