"""``/metrics``: the proxy's own counters in Prometheus' text format, put together when somebody asks.

The rule: nothing is counted for Prometheus' sake, and nothing is global: a proxy has a registry of its own, so two of
them in a process don't mix. Labels are bounded: routes and upstreams are those of the configuration, the rest are
words of this program. What clients send, or URLs that modules name, is never a label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from asyncproxy.polling.books import Log
from asyncproxy.polling.flow import Flow
from asyncproxy.polling.listening import Door
from asyncproxy.polling.pool import Upstreams
from asyncproxy.polling.tally import BOUNDS, CLASSES, Histogram, Tally

NO_ROUTE: Final = "none"
"""The route of requests that were refused before one was found; routes have a slash."""
_BUCKETS: Final = (*map(str, BOUNDS), "+Inf")


class Metrics(Collector):
    """The figures of one proxy: of `flow` and what it has, `upstreams` and `doors`, and what a watchdog has `watched`.

    Polling thread only; made for one scrape.
    """

    def __init__(
        self, flow: Flow, upstreams: Upstreams, doors: Sequence[Door], watched: Mapping[str, int] | None = None
    ) -> None:
        self._flow = flow
        self._upstreams = upstreams
        self._doors = doors
        self._watched = watched or {}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """All of them, in text format 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The families; called by prometheus_client."""
        flow = self._flow
        if flow.books is not None:
            yield from _requests(flow.books.tally)
        yield _gauge("exchanges", "Requests that are on their way, by stage.", "stage", flow.stages().items())
        yield _parked(flow)
        yield from _workers(flow)
        yield from _tunnels(flow)
        if self._watched:
            words = "Turns that kept their worker for too long."
            yield CounterMetricFamily("asyncproxy_worker_stalls", words, self._watched["stalled"])
            words = "How often something held the polling thread."
            yield CounterMetricFamily("asyncproxy_polling_holds", words, self._watched["held"])
        yield from _pools(self._upstreams)
        connections = sum(len(door.connections) for door in self._doors if door.flow is flow)  # not the admin's
        yield GaugeMetricFamily("asyncproxy_client_connections", "Open connections of clients.", connections)
        yield from _entrance(next((door for door in self._doors if door.crowd is not None), None))
        if flow.books is not None and flow.books.log is not None:
            yield from _access_log(flow.books.log)

    def __repr__(self) -> str:
        return f"<Metrics of {self._flow!r}>"


def _requests(tally: Tally) -> Iterator[Metric]:
    """What requests came to, by route."""
    rows = list(tally.rows.values())
    requests = CounterMetricFamily(
        "asyncproxy_requests", "Requests that ended; none: without a status.", labels=["route", "status"]
    )
    for route, counts in [*((row.label, row.by_class) for row in rows), (NO_ROUTE, tally.refused_by_class)]:
        for status, count in zip(CLASSES, counts, strict=True):
            requests.add_metric([route, status], count)
    yield requests
    parks = CounterMetricFamily("asyncproxy_parks", "How often requests were parked.", labels=["route"])
    for row in rows:
        parks.add_metric([row.label], row.parks)
    yield parks
    words = "Time from a request's head to its end."
    yield _histogram("request_duration", words, ((row.label, row.durations) for row in rows))
    words = "Time that requests waited for a worker, of those that did."
    yield _histogram("queue_wait", words, ((row.label, row.queue_waits) for row in rows))
    words = "Time that requests waited for upstreams, of those that did."
    yield _histogram("upstream_latency", words, ((row.label, row.upstream_waits) for row in rows))
    words = "Time that requests were parked on anything but upstreams, of those that were."
    yield _histogram("parked", words, ((row.label, row.park_waits) for row in rows))
    words = "Time that workers spent on requests, of those that had one."
    yield _histogram("working", words, ((row.label, row.worker_times) for row in rows))


def _histogram(name: str, words: str, rows: Iterable[tuple[str, Histogram]]) -> Metric:
    family = HistogramMetricFamily(f"asyncproxy_{name}_seconds", words, labels=["route"])
    for route, histogram in rows:  # many routes never have a worker, or an upstream
        if not histogram.count:
            continue
        buckets = list(zip(_BUCKETS, accumulate(histogram.counts), strict=True))
        family.add_metric([route], buckets, histogram.sum)
    return family


def _gauge(name: str, words: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(f"asyncproxy_{name}", words, labels=[label])
    for of, value in values:
        family.add_metric([of], value)
    return family


def _parked(flow: Flow) -> Metric:
    kinds = Counter(type(parked.wait).__name__.lower() for parked in flow.lot.parked)
    return _gauge("parked", "Waits that requests are parked on, by kind.", "wait", sorted(kinds.items()))


def _workers(flow: Flow) -> Iterator[Metric]:
    workers, counts = flow.workers, flow.workers.statistics()
    yield GaugeMetricFamily("asyncproxy_workers", "Worker threads.", counts["total"])
    yield GaugeMetricFamily("asyncproxy_workers_busy", "Worker threads that run a turn.", counts["busy"])
    yield GaugeMetricFamily("asyncproxy_turns_queued", "Turns that wait for a worker.", counts["queued"])
    words = "Time that worker threads had turns, all of them added up."
    yield CounterMetricFamily("asyncproxy_workers_busy_seconds", words, workers.busy_seconds)


def _tunnels(flow: Flow) -> Iterator[Metric]:
    """How many there are is a stage's."""
    counts = flow.tunnels.statistics()
    yield CounterMetricFamily("asyncproxy_tunnels", "Requests that became tunnels.", counts["total"])
    words = "Bytes that went through tunnels, from clients and to them."
    passed = CounterMetricFamily("asyncproxy_tunnel_bytes", words, labels=["direction"])
    for direction in ("received", "sent"):
        passed.add_metric([direction], counts[direction])
    yield passed


def _pools(upstreams: Upstreams) -> Iterator[Metric]:
    """The state of each server's pool."""
    labels = ["upstream", "server"]
    connections = GaugeMetricFamily(
        "asyncproxy_upstream_connections", "Connections to a server, by state.", labels=[*labels, "state"]
    )
    line = GaugeMetricFamily(
        "asyncproxy_upstream_waiting", "Forwards that wait for a connection to a server.", labels=labels
    )
    servers: dict[tuple[str, str], Counter[str]] = {}
    for group, pool in upstreams.named_pools():  # a server that its group names twice is one series all the same
        servers.setdefault((group, pool.name), Counter()).update(pool.statistics())
    for (group, server), counts in servers.items():
        states = {"busy": counts["open"] - counts["idle"], "idle": counts["idle"], "opening": counts["opening"]}
        for state, count in states.items():
            connections.add_metric([group, server, state], count)
        line.add_metric([group, server], counts["waiting"])
    yield connections
    yield line


def _entrance(door: Door | None) -> Iterator[Metric]:
    """What the doors share."""
    if door is None or door.crowd is None:
        return
    counts = door.crowd.statistics()
    yield GaugeMetricFamily("asyncproxy_accepting_paused", "1 while no connections are accepted.", counts["paused"])
    words = "How often accepting has paused, for connections or descriptors."
    yield CounterMetricFamily("asyncproxy_accepting_pauses", words, counts["pauses"])
    words = "How often clients reached a limit, by its key."
    reached = CounterMetricFamily("asyncproxy_limits_reached", words, labels=["limit"])
    for key, count in door.reached.statistics().items():
        reached.add_metric([key], count)
    yield reached


def _access_log(log: Log) -> Iterator[Metric]:
    counts = log.statistics()
    lines = CounterMetricFamily("asyncproxy_access_log_lines", "Lines, by what became of them.", labels=["outcome"])
    for outcome in ("written", "dropped"):
        lines.add_metric([outcome], counts[outcome])
    yield lines
    yield GaugeMetricFamily("asyncproxy_access_log_waiting_lines", "Lines to be written.", counts["waiting"])
    yield GaugeMetricFamily("asyncproxy_access_log_failing", "1 while the log cannot be written.", counts["failing"])
