from __future__ import annotations

from typing import Any

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

from asyncproxy import Module, Request, Response, sleep
from asyncproxy.polling.metrics import Metrics
from asyncproxy.polling.tally import BOUNDS
from tests.fakes import House

LABELS = ("route", "status", "stage", "wait", "upstream", "server", "state", "outcome", "direction", "le", "limit")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Sleeps(Module):
    async def handle(self, _request: Request) -> Response:
        await sleep(600)
        return Response()


def read(house: House) -> dict[tuple[str, ...], float]:
    """What Prometheus reads: each sample by its name and the values of its labels."""
    families = list(text_string_to_metric_families(house.metrics().decode()))
    samples = [sample for family in families for sample in family.samples]
    found = {
        (sample.name.removeprefix("asyncproxy_"), *(sample.labels[name] for name in LABELS if name in sample.labels)): (
            sample.value
        )
        for sample in samples
    }
    assert len(found) == len(samples), "a sample is told twice"
    assert all(family.documentation for family in families)
    return found


def test_requests_are_told_by_route_and_class_of_status() -> None:
    house = House(modules={"/held/": Sleeps()})
    for _ in range(2):
        house.get("/x")
        house.upstream().answer(OK)
        house.settle()
    house.get("/held/").leave()
    house.settle()
    house.connect().send(b"GET / HTTP/9.9\r\n\r\n")
    house.settle()
    told = read(house)
    assert told["requests_total", "/", "2xx"] == 2
    assert told["requests_total", "/held/", "none"] == 1
    assert told["requests_total", "none", "5xx"] == 1
    assert told["requests_total", "/", "5xx"] == 0
    assert (told["parks_total", "/"], told["parks_total", "/held/"]) == (2, 1)


def test_durations_are_told_as_histograms_of_seconds() -> None:
    house = House()
    for seconds in (0.25, 3):
        house.get("/")
        house.advance(seconds)
        house.upstream().answer(OK)
        house.settle()
    told = read(house)
    for name in ("request_duration_seconds", "upstream_latency_seconds"):
        assert told[f"{name}_sum", "/"] == 3.25
        assert told[f"{name}_count", "/"] == told[f"{name}_bucket", "/", "+Inf"] == 2
        buckets = [told[f"{name}_bucket", "/", str(bound)] for bound in BOUNDS]
        assert buckets == [sum(seconds <= bound for seconds in (0.25, 3)) for bound in BOUNDS]
    for name in ("queue_wait", "parked", "working"):
        assert (f"{name}_seconds_count", "/") not in told


class Works(Module):
    """Two turns, and a park between them."""

    async def handle(self, _request: Request) -> Response:
        self.proxy.wheel.advance(0.25)
        await sleep(60)
        self.proxy.wheel.advance(0.5)
        return Response()


class WorksHere(Works):
    blocking = False


def test_time_on_workers_and_time_parked_are_told_where_there_was_some() -> None:
    house = House(modules={"/works/": Works(), "/here/": WorksHere()})
    house.clock = house.lot.clock = house.wheel
    for path in ("/works/", "/here/"):
        house.get(path)
        house.advance(61)
    told = read(house)
    for path in ("/works/", "/here/"):
        assert (told["parked_seconds_sum", path], told["parked_seconds_count", path]) == (60, 1)
        assert (told["parked_seconds_bucket", path, "30.0"], told["parked_seconds_bucket", path, "60.0"]) == (0, 1)
    assert (told["working_seconds_sum", "/works/"], told["working_seconds_count", "/works/"]) == (0.75, 1)
    assert told["working_seconds_bucket", "/works/", "1.0"] == 1
    assert ("working_seconds_count", "/here/") not in told, "it had no worker"


def test_a_park_that_its_client_left_is_told() -> None:
    class SleepsHere(Module):
        blocking = False

        def handle(self, _request: Request) -> Any:
            return sleep(600)

    house = House(SleepsHere())
    client = house.get()
    house.advance(3)
    client.leave()
    house.settle()
    assert read(house)["parked_seconds_sum", "/"] == 3


def test_what_is_on_its_way_is_told() -> None:
    house = House(Sleeps(), modules={"/to/": "reverse"}, groups={"other": {"servers": ["http://h:1", "http://h:2"]}})
    for path in ("/", "/", "/to/"):
        house.get(path)
    told = read(house)
    assert told["exchanges", "PARKED"] == 3
    assert told["exchanges", "QUEUED"] == 0
    assert (told["parked", "sleep"], told["parked", "forward"]) == (2, 1)
    assert told["client_connections",] == 3
    assert told["upstream_connections", "http://127.0.0.1:9000", "http://127.0.0.1:9000", "busy"] == 1
    assert told["upstream_connections", "other", "http://h:2", "busy"] == 0
    assert told["upstream_waiting", "other", "http://h:1"] == 0


def test_the_state_of_a_pool_is_told() -> None:
    house = House()
    house.get("/")
    (name,) = {key[1] for key in read(house) if key[0] == "upstream_waiting"}

    def states() -> list[float]:
        told = read(house)
        return [told["upstream_connections", name, name, state] for state in ("busy", "idle", "opening")]

    assert states() == [1, 0, 0]
    house.upstream().answer(OK)
    house.settle()
    assert states() == [0, 1, 0]


def test_workers_are_told() -> None:
    class Blocks(Module):
        def handle(self, _request: Request) -> Response:
            return Response()

    house = House(Blocks(), server={"workers": 1})
    for _ in range(2):
        house.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    house.poll()
    told = read(house)
    assert (told["workers",], told["workers_busy",], told["turns_queued",]) == (1, 0, 2)
    assert told["workers_busy_seconds_total",] == 0
    assert (told["worker_stalls_total",], told["polling_holds_total",]) == (0, 0)


def test_the_access_log_is_told_of_if_there_is_one() -> None:
    house = House("status")
    house.get("/healthz")
    told = read(house)
    assert (told["access_log_lines_total", "written"], told["access_log_lines_total", "dropped"]) == (1, 0)
    assert (told["access_log_waiting_lines",], told["access_log_failing",]) == (0, 0)
    house.books.log = None
    assert not [key for key in read(house) if key[0].startswith("access_log")]


def test_the_process_is_told_of() -> None:
    assert read(House())["process_open_fds",] > 3


def test_a_url_that_a_module_names_is_no_label() -> None:
    class Anywhere(Module):
        blocking = False

        def handle(self, request: Request) -> Any:
            return request.forward(f"http://127.0.0.1:{request.args['port'][0]}")

    house = House(Anywhere())
    before = set(read(house))
    for port in range(5000, 5010):
        house.get(f"/?port={port}")
        house.upstream().answer(OK)
        house.settle()
    new = set(read(house)) - before
    assert not [key for key in new if any(":50" in part for part in key)]


def test_a_route_may_be_written_in_any_way() -> None:
    path = '/a"b\\c/'
    house = House(modules={path: "status"})
    house.get("/a%22b%5cc/healthz")
    assert read(house)["requests_total", path, "4xx"] == 1


def test_nothing_global_is_touched() -> None:
    before = list(prometheus_client.REGISTRY._collector_to_names)
    house = House()
    first, second = (Metrics(house.flow, house.upstreams, [house.door]) for _ in range(2))
    assert first.text() != b""
    assert second.text() != b""
    assert list(prometheus_client.REGISTRY._collector_to_names) == before
    assert repr(first) == "<Metrics of <Flow idle, 0 served>>"


def test_a_server_that_is_named_twice_is_one_series() -> None:
    server = "http://127.0.0.1:9001"
    groups = {"twice": {"servers": [server, server]}, "again": {"servers": [server]}}
    house = House(route={"upstream": "twice"}, groups=groups)
    for _ in range(2):
        house.get("/")
    assert read(house)["upstream_connections", "twice", server, "busy"] == 2
    assert read(house)["upstream_connections", "again", server, "busy"] == 0
    assert house.overview()["upstreams"][server]["open"] == 2


def test_limits_that_clients_reach_are_told_by_their_keys_and_whether_more_clients_are_accepted() -> None:
    house = House(limits={"connections": 2, "head": "100B"})
    client = house.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 200)
    house.connect()
    told = read(house)
    assert told["limits_reached_total", "limits.head"] == 1
    assert (told["accepting_paused",], told["accepting_pauses_total",]) == (1, 1)
