"""What requests came to, counted as they end: by route, status class and how long they took. Polling thread only.

The rule: everything is bounded. Rows are made for routes, which the configuration bounds, and never for what a client
sends; durations are counted in fixed buckets. Sums and text are made of it when somebody asks (`metrics`).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Final

from asyncproxy.exchange.ledger import Seconds

BOUNDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    1800.0,
)
"""Upper bounds of the buckets in seconds: a small forward takes one millisecond, a long poll half an hour."""
CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
"""Classes of status; ``none`` is for clients that left before their answer."""
MODULES_KEPT: Final = 10
"""Names of modules that a row keeps, the latest: reloads may bring any number of them."""
QUEUED_LONG: Final = 0.01
"""Seconds that a request may wait for workers before it counts as one that waited long; one of `BOUNDS`."""
_LONG: Final = BOUNDS.index(QUEUED_LONG) + 1


FRESH: Final = 256
"""Durations that are kept as they came: sorting so many at once costs a fourth of finding a bucket for each."""


class Histogram:
    """How many durations there were up to each bound, and their sum."""

    __slots__ = ("_counts", "_sum", "fresh")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0
        self.fresh: list[float] = []
        """Durations that are not in a bucket yet; whoever appends some calls `settle` now and then."""

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self.fresh.append(seconds)
        if len(self.fresh) >= FRESH:
            self.settle()

    def settle(self) -> None:
        """Put what is fresh into buckets."""
        fresh, counts, begin = self.fresh, self._counts, 0
        fresh.sort()
        for place, bound in enumerate(BOUNDS):
            end = bisect_right(fresh, bound, begin)
            counts[place] += end - begin
            begin = end
        counts[-1] += len(fresh) - begin
        self._sum += sum(fresh)
        fresh.clear()

    @property
    def counts(self) -> list[int]:
        """How many in each bucket, those beyond the last bound at its end."""
        self.settle()
        return self._counts

    @property
    def sum(self) -> float:
        """Seconds, of all."""
        self.settle()
        return self._sum

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def statistics(self) -> dict[str, Any]:
        """``count``, ``sum`` in seconds, and ``buckets``: how many in each, those beyond the last bound at its end."""
        return {"count": self.count, "sum": self.sum, "buckets": list(self.counts)}

    def __repr__(self) -> str:
        count = self.count
        return f"<Histogram {count}, {self.sum / count:.4f} s on average>" if count else "<Histogram empty>"


class RouteTally:
    """What the requests of one route came to."""

    __slots__ = (
        "by_class",
        "durations",
        "label",
        "modules",
        "park_waits",
        "parks",
        "queue_waits",
        "upstream_waits",
        "worker_times",
    )

    def __init__(self, label: str, module: str = "") -> None:
        self.label = label
        self.modules = [module]
        """Who answers: routes that differ in methods alone share a row, and a reload may give it to another module."""
        self.by_class = [0] * len(CLASSES)
        """How many, in the order of `CLASSES`."""
        self.durations = Histogram()
        self.queue_waits = Histogram()
        """Of those requests that waited for a worker."""
        self.upstream_waits = Histogram()
        """Of those that waited for an upstream."""
        self.park_waits = Histogram()
        """Of those that were parked on anything else."""
        self.worker_times = Histogram()
        """Of those that had a worker."""
        self.parks = 0

    def finished(self, status: int, duration: float, seconds: Seconds, parks: int) -> None:
        """Count a request that ended with `status`, 0 for none, after `duration` seconds; `seconds` are its ledger."""
        self.by_class[status // 100] += 1
        self.parks += parks
        fresh = self.durations.fresh  # here and below as `Histogram.add`, without the calls
        fresh.append(duration)
        if len(fresh) >= FRESH:
            self.durations.settle()
        if seconds.upstream:
            fresh = self.upstream_waits.fresh
            fresh.append(seconds.upstream)
            if len(fresh) >= FRESH:
                self.upstream_waits.settle()
        if seconds.queued:
            self.queue_waits.add(seconds.queued)
        if seconds.parked:
            self.park_waits.add(seconds.parked)

    def bound(self) -> None:
        """Keep bounded what is in no bucket yet; for who appends durations and upstream waits by itself."""
        for histogram in (self.durations, self.upstream_waits):
            if len(histogram.fresh) >= FRESH:
                histogram.settle()

    def statistics(self) -> dict[str, Any]:
        """All of it; ``requests`` by class, those that there were."""
        return {
            "requests": {name: count for name, count in zip(CLASSES, self.by_class, strict=True) if count},
            "parks": self.parks,
            "durations": self.durations.statistics(),
            "queue_waits": self.queue_waits.statistics(),
            "upstream_waits": self.upstream_waits.statistics(),
            "park_waits": self.park_waits.statistics(),
            "worker_times": self.worker_times.statistics(),
        }

    def row(self) -> dict[str, Any]:
        """For ``/status.json``, of requests that are over; work on the polling thread is in the total only."""
        return {
            "module": ", ".join(self.modules),
            "requests": sum(self.by_class),
            "statuses": {name: count for name, count in zip(CLASSES, self.by_class, strict=True) if count},
            "parks": self.parks,
            "queued_long": sum(self.queue_waits.counts[_LONG:]),
            "seconds": {
                "total": self.durations.sum,
                "queued": self.queue_waits.sum,
                "working": self.worker_times.sum,
                "parked": self.park_waits.sum,
                "upstream": self.upstream_waits.sum,
            },
        }

    def __repr__(self) -> str:
        return f"<RouteTally {self.label}: {sum(self.by_class)} requests, {self.parks} parks>"


class Tally:
    """A row for each route, and what was refused before a route was found."""

    def __init__(self) -> None:
        self.rows: dict[str, RouteTally] = {}
        self.refused_by_class = [0] * len(CLASSES)

    def row(self, path: str, host: str | None = None, module: str = "") -> RouteTally:
        """The row of the route with this path and host; routes that differ in methods alone share one.

        What a module in a Site answers is counted by its name in place of a path, for a Site has no routes.
        """
        label = f"{host or ''}{path}"
        row = self.rows.get(label)
        if row is None:
            self.rows[label] = row = RouteTally(label, module)
        elif module and module not in row.modules:
            row.modules = [*row.modules, module][-MODULES_KEPT:]
        return row

    def refused(self, status: int) -> None:
        """Count a request that no route was asked about, or that no route takes."""
        self.refused_by_class[status // 100] += 1

    def statistics(self) -> dict[str, Any]:
        """``routes`` with the statistics of each, and ``refused`` by class."""
        refused = {name: count for name, count in zip(CLASSES, self.refused_by_class, strict=True) if count}
        return {"routes": {label: row.statistics() for label, row in self.rows.items()}, "refused": refused}

    def __repr__(self) -> str:
        requests = sum(sum(row.by_class) for row in self.rows.values())
        return f"<Tally {requests} requests on {len(self.rows)} routes, {sum(self.refused_by_class)} refused>"
