"""Faults of a whole process: clients that hang up at random moments, and a module that never comes back."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from pathlib import Path

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Call, Gate, Upstream, request, until
from tests.wire.proxies import MODULES, Proxy, routes

CLIENTS, EACH = 5, 200
PATHS = (
    "/reverse",
    "/Sleeper?for=0.01",
    "/Sleeper?for=30",
    "/ForwardHolder?key=faults",
    "/FutureHolder?key=faults",
    "/Gatherer",
    "/ReadAll",
    "/Whole",
    "/Generator",
    "/AsyncGenerator",
    "/RaisesLater",
    "/ParkGone?key=faults&timeout=30",
    "/Fetcher",
)


def configuration(peers: Peers) -> str:
    names = dict.fromkeys(path[1:].partition("?")[0] for path in PATHS if path != "/reverse")
    return f"""
[upstream.one]
servers = ["{peers.one.url}"]
keep_alive = "0s"
[[route]]
path = "/reverse"
module = "reverse"
upstream = "one"
{routes(*names)}
"""


def descriptors(proxy: Proxy) -> int:
    return len(os.listdir(f"/proc/{proxy.process.pid}/fd"))


def threads(proxy: Proxy) -> int:
    return len(os.listdir(f"/proc/{proxy.process.pid}/task"))


def settled_descriptors(proxy: Proxy) -> int:
    """How many there are once connections that were closed are gone: twice the same number."""
    seen = [0, 0]

    def same() -> bool:
        seen[:] = [seen[1], descriptors(proxy)]
        return seen[0] == seen[1]

    until(same, "the number of descriptors stays")
    return seen[1]


def hang_up_at_random(proxy: Proxy, seed: int, count: int) -> None:
    """Requests that are sent in part or whole, read in part or not, and left by FIN or RST."""
    chance = random.Random(seed)
    for _ in range(count):
        method = chance.choice(("GET", "POST"))
        fields = () if method == "GET" else ("Content-Length: 100000",)
        data = request(method, chance.choice(PATHS), *fields) + b"x" * (0 if method == "GET" else 5000)
        client = proxy.client()
        with contextlib.suppress(OSError):
            client.send(data[: chance.randrange(1, len(data))] if chance.random() < 0.3 else data)
            if chance.random() < 0.5:
                client.sock.settimeout(chance.random() / 50)
                client.sock.recv(100)
        client.reset() if chance.random() < 0.5 else client.close()


def test_a_thousand_clients_that_hang_up_at_random_leave_nothing(proxy: Proxy, upstream: Upstream) -> None:
    def half(call: Call) -> None:
        if call.number % 2:
            call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            call.watch()
        else:
            call.answer(b"reply")

    upstream.script = half
    hang_up_at_random(proxy, 0, 50)  # files that are made at first use are made
    proxy.idle()
    before = settled_descriptors(proxy), threads(proxy)
    storms = [threading.Thread(target=hang_up_at_random, args=(proxy, seed, EACH)) for seed in range(1, CLIENTS + 1)]
    for storm in storms:
        storm.start()
    for storm in storms:
        storm.join(50)
    until(lambda: sum(proxy.stages().values()) == 0, lambda: f"nothing is left, not {proxy.stages()}", 30)
    proxy.idle()
    upstream.wait(lambda: not any(one.serving for one in upstream.connections), "every upstream is let go")
    until(lambda: descriptors(proxy) <= before[0], lambda: f"{before[0]} descriptors, not {descriptors(proxy)}")
    assert threads(proxy) <= before[1]


@pytest.mark.parametrize("reactor", ["uvloop", "epoll"])
def test_a_module_that_never_comes_back_does_not_keep_the_process(tmp_path: Path, gate: Gate, reactor: str) -> None:
    modules = f'[[route]]\nmodule = "{MODULES}:Blocker"\n[[route]]\npath = "/notes"\nmodule = "{MODULES}:Notes"\n'
    proxy = Proxy(tmp_path, reactor, modules)
    try:
        with proxy.client() as client:
            client.send(request("GET", f"/?gate={gate.port}"))
            gate.arrived()
            proxy.process.send_signal(signal.SIGTERM)
            assert proxy.process.wait(25) == 1  # it was cut
        assert "Gave up a module that blocks" in proxy.log
        assert "Traceback" not in proxy.log
    finally:
        proxy.process.kill()
        proxy.process.wait()
