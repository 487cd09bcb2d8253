"""Five workers hold many, everybody can see what is held, and full means 503."""

from __future__ import annotations

import contextlib
import inspect
import re
import threading
from collections.abc import Callable

import pytest

from tests.wire import modules_under_test
from tests.wire.conftest import Peers
from tests.wire.peers import Call, Client, Gate, Upstream, hello, request
from tests.wire.proxies import MODULES, Proxy, routes

HELD = 200
STAGES = {"RECEIVING", "QUEUED", "WORKING", "PARKED", "RESPONDING", "TUNNELLING"}
ROW = {"id", "client", "method", "path", "module", "waiting_for", "at", "since_s", "deadline_s"}


def configuration(peers: Peers) -> str:
    return f"""
[upstream.one]
servers = ["{peers.one.url}"]
[[route]]
path = "/reverse"
module = "reverse"
upstream = "one"
{routes("ForwardHolder", "Sleeper", "ParkGone", "Blocker")}
"""


def line_of(function: Callable[..., object], text: str = "def ") -> str:
    """Where `text` stands in `function`, as the status shows it."""
    lines, first = inspect.getsourcelines(function)
    offset = next(number for number, line in enumerate(lines) if text in line)
    return f"modules_under_test.py:{first + offset}"


@pytest.mark.parametrize("path", ["/ForwardHolder", "/reverse"])
def test_five_workers_hold_two_hundred_requests(proxy: Proxy, upstream: Upstream, path: str) -> None:
    release = threading.Event()

    def slow(call: Call) -> None:
        release.wait(30)
        hello(call)

    upstream.script = slow
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(proxy.port)) for _ in range(HELD)]
        for number, client in enumerate(clients):
            client.send(request("GET", f"{path}/{number}"))
        upstream.wait(lambda: len(upstream.calls) == HELD, "all are held at the upstream")
        proxy.staged(PARKED=HELD)
        status = proxy.status()
        assert status["parked_total"] == HELD
        assert status["workers"] == {"total": 5, "busy": 0, "queued": 0}
        assert proxy.proc("Threads") <= 10
        release.set()
        assert [client.reply().text for client in clients] == [f"GET {path}/{number}" for number in range(HELD)]
    proxy.idle()


def test_the_status_has_the_shape_that_programs_rely_on(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = lambda call: call.watch()
    served = proxy.status()["served"]
    with proxy.client() as client:
        client.send(request("DELETE", "/ForwardHolder/a%20b?query"))
        proxy.staged(PARKED=1)
        status = proxy.status()
        address = f"127.0.0.1:{client.sock.getsockname()[1]}"
    assert set(status) >= {"workers", "stages", "served", "parked", "parked_total"}  # it may have more
    assert set(status["workers"]) == {"total", "busy", "queued"}
    assert set(status["stages"]) == STAGES
    assert status["served"] >= served
    (row,) = status["parked"]
    assert set(row) == ROW
    assert (row["client"], row["method"], row["path"]) == (address, "DELETE", "/ForwardHolder/a b")
    assert row["module"] == f"{MODULES}:ForwardHolder"
    assert row["waiting_for"] == "forward to one"
    assert row["at"] == line_of(modules_under_test.ForwardHolder.handle, "await request.forward()")
    assert re.fullmatch(r"[0-9a-f]{8}-\d+", row["id"])
    assert 0 <= row["since_s"] < 10
    assert row["deadline_s"] is None


def test_the_status_says_where_each_kind_of_park_goes_on(proxy: Proxy) -> None:
    with proxy.client() as sleeper, proxy.client() as parker:
        sleeper.send(request("GET", "/Sleeper?for=30"))
        proxy.staged(PARKED=1)
        parker.send(request("GET", "/ParkGone?timeout=20"))
        proxy.staged(PARKED=2)
        first, second = proxy.status()["parked"]
    assert (first["at"], first["waiting_for"]) == (line_of(modules_under_test.Sleeper.handle, "await"), "sleep 30 s")
    assert second["at"] == line_of(modules_under_test.ParkGone.answered)
    assert 15 < second["deadline_s"] <= 20


def test_the_parked_may_be_paged_through(proxy: Proxy) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(7):
            client = stack.enter_context(proxy.client())
            client.send(request("GET", f"/Sleeper/{number}?for=30"))
            proxy.staged(PARKED=number + 1)
        paths = []
        after = ""
        while rows := proxy.status(f"?limit=3{after}")["parked"]:
            assert len(rows) <= 3
            paths += [row["path"] for row in rows]
            after = f"&after={rows[-1]['id']}"
        assert paths == [f"/Sleeper/{number}" for number in range(7)]
        status = proxy.status("?limit=2")
        assert (len(status["parked"]), status["parked_total"]) == (2, 7)
        assert proxy.status("?limit=0")["parked"] == []


def test_a_limit_that_is_no_number_is_a_400(proxy: Proxy) -> None:
    with Client(proxy.admin) as client:
        assert client.get("/status.json?limit=x").status == 400
        assert client.get("/status.json?limit=-1").status == 400
        assert client.get("/healthz").text == "ok\n"
        assert client.get("/nothing").status == 404
        assert client.post("/status.json", b"").status == 405


def test_plain_proxying_goes_on_while_every_worker_is_busy(proxy: Proxy, upstream: Upstream, gate: Gate) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.client()) for _ in range(7)]
        for client in clients:
            client.send(request("GET", f"/Blocker?gate={gate.port}"))
        for _ in range(5):
            gate.arrived()
        proxy.staged(WORKING=5, QUEUED=2)
        assert proxy.status()["workers"] == {"total": 5, "busy": 5, "queued": 2}
        with proxy.client() as other:
            assert other.get("/reverse").status == 200
        gate.open()
        gate.arrived()
        gate.arrived()
        gate.open()
        assert [client.reply().text for client in clients] == ["went through"] * 7


# Admission.


@pytest.fixture(scope="module")
def small(make_proxy: Callable[..., Proxy], peers: Peers) -> Proxy:
    """A proxy that parks two and queues one."""
    return make_proxy(configuration(peers), "workers = 1\nmax_parked = 2\nmax_queued = 1")


@pytest.mark.parametrize("path", ["/Sleeper?for=30", "/reverse"])
def test_more_than_max_parked_are_a_503_and_the_others_go_on(
    small: Proxy, proxy: Proxy, upstream: Upstream, path: str
) -> None:
    release = threading.Event()

    def slow(call: Call) -> None:
        release.wait(20)
        hello(call)

    upstream.script = slow
    with small.client() as one, small.client() as two, small.client() as three:
        one.send(request("GET", "/reverse/one"))
        small.staged(PARKED=1)
        two.send(request("GET", path))
        small.staged(PARKED=2)
        reply = three.get(path)
        assert (reply.status, reply.get("retry-after")) == (503, "1")
        assert three.get("/notes").status == 200, "what does not park is not concerned"
        two.close()
        small.staged(PARKED=1)
        three.send(request("GET", "/reverse/three"))
        small.staged(PARKED=2)
        release.set()
        assert one.reply().text == "GET /reverse/one"
        assert three.reply().text == "GET /reverse/three", "its connection goes on"
    small.idle()


def test_more_than_max_queued_are_a_503_and_the_others_go_on(
    small: Proxy, proxy: Proxy, upstream: Upstream, gate: Gate
) -> None:
    with small.client() as one, small.client() as two, small.client() as three:
        one.send(request("GET", f"/Blocker?gate={gate.port}"))
        gate.arrived()
        two.send(request("GET", f"/Blocker?gate={gate.port}"))
        small.staged(WORKING=1, QUEUED=1)
        reply = three.get(f"/Blocker?gate={gate.port}")
        assert (reply.status, reply.get("retry-after")) == (503, "1")
        assert three.get("/reverse").status == 200, "what needs no worker is not concerned"
        gate.open()
        gate.arrived()
        gate.open()
        assert (one.reply().text, two.reply().text) == ("went through", "went through")
    small.idle()
