from __future__ import annotations

from asyncproxy.exchange.ledger import Seconds
from asyncproxy.polling.tally import BOUNDS, FRESH, MODULES_KEPT, Histogram, RouteTally, Tally

NOTHING = Seconds(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_a_duration_is_counted_below_the_least_bound_that_it_does_not_exceed() -> None:
    histogram = Histogram()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.1, BOUNDS[-1], BOUNDS[-1] + 1):
        histogram.add(seconds)
    assert histogram.counts == [2, 1, *[0] * (len(BOUNDS) - 3), 1, 1]
    assert histogram.statistics()["count"] == 5
    assert histogram.sum == sum((0.0, BOUNDS[0], BOUNDS[0] * 1.1, BOUNDS[-1], BOUNDS[-1] + 1))


def test_requests_are_counted_by_class_and_time() -> None:
    row = RouteTally("/")
    row.finished(200, 3.0, Seconds(0.0, 0.25, 0.5, 0.0, 2.0, 0.0), 2)
    row.finished(304, 0.25, NOTHING, 0)
    row.finished(0, 0.0, NOTHING, 1)
    shown = row.statistics()
    assert shown["requests"] == {"none": 1, "2xx": 1, "3xx": 1}
    assert shown["parks"] == 3
    assert (shown["durations"]["count"], shown["durations"]["sum"]) == (3, 3.25)
    assert (shown["queue_waits"]["count"], shown["queue_waits"]["sum"]) == (1, 0.25)
    assert (shown["upstream_waits"]["count"], shown["upstream_waits"]["sum"]) == (1, 2.0)
    assert row.durations.counts[BOUNDS.index(5.0)] == 1
    assert row.upstream_waits.counts[BOUNDS.index(2.5)] == 1


def test_what_is_not_in_buckets_yet_is_bounded_whoever_looks_at_what() -> None:
    row = RouteTally("/")
    for _ in range(20):
        for _ in range(FRESH - 1):
            row.finished(200, 2.0, Seconds(0.0, 0.0, 0.0, 0.0, 2.0, 0.0), 1)
        assert sum(row.durations.counts)
        assert len(row.upstream_waits.fresh) < FRESH
    assert row.upstream_waits.count == 20 * (FRESH - 1)


def test_time_parked_is_counted_where_there_was_some() -> None:
    row = RouteTally("/")
    row.finished(200, 30.0, Seconds(0.0, 0.0, 0.0, 30.0, 0.0, 0.0), 1)
    row.finished(200, 3.0, Seconds(0.0, 0.0, 1.0, 0.0, 2.0, 0.0), 1)
    shown = row.statistics()
    assert (shown["park_waits"]["count"], shown["park_waits"]["sum"]) == (1, 30.0)
    assert shown["worker_times"]["count"] == 0


def test_the_row_of_the_status_has_sums() -> None:
    row = RouteTally("/", "orders")
    row.finished(200, 7.0, Seconds(0.0, 0.25, 0.5, 4.0, 2.0, 0.25), 2)
    row.finished(503, 0.01, Seconds(0.0, 0.01, 0.0, 0.0, 0.0, 0.0), 0)
    row.worker_times.add(0.5)
    assert row.row() == {
        "module": "orders",
        "requests": 2,
        "statuses": {"2xx": 1, "5xx": 1},
        "parks": 2,
        "queued_long": 1,
        "seconds": {"total": 7.01, "queued": 0.26, "working": 0.5, "parked": 4.0, "upstream": 2.0},
    }


def test_a_row_names_all_who_answered_of_late() -> None:
    tally = Tally()
    for module in ("one", "two", "one", ""):
        row = tally.row("/", module=module)
    assert row.row()["module"] == "one, two"
    for number in range(1000):
        tally.row("/", module=str(number))
    assert len(row.modules) == MODULES_KEPT
    assert row.modules[-1] == "999"


def test_every_status_that_there_is_has_a_class() -> None:
    row = RouteTally("/")
    for status in (0, 100, 599):
        row.finished(status, 0.0, NOTHING, 0)
    assert row.by_class == [1, 1, 0, 0, 0, 1]


def test_a_route_has_one_row() -> None:
    tally = Tally()
    assert tally.row("/a") is tally.row("/a")
    assert tally.row("/a", "example.com") is not tally.row("/a")
    tally.row("/a").finished(200, 0.0, NOTHING, 0)
    tally.refused(404)
    shown = tally.statistics()
    assert shown["routes"]["/a"]["requests"] == {"2xx": 1}
    assert shown["routes"]["example.com/a"]["requests"] == {}
    assert shown["refused"] == {"4xx": 1}
    assert repr(tally) == "<Tally 1 requests on 2 routes, 1 refused>"


def test_diagnoses_say_what_there_is() -> None:
    row = RouteTally("/a")
    assert repr(row) == "<RouteTally /a: 0 requests, 0 parks>"
    assert repr(row.durations) == "<Histogram empty>"
    row.finished(200, 0.5, NOTHING, 1)
    assert repr(row.durations) == "<Histogram 1, 0.5000 s on average>"
