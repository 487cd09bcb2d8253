"""The ledger in the open, of a real proxy: what clients are told, and what `asyncproxy advise` makes of the status."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asyncproxy.console.advice import RIGHT, TOO_FEW, advice
from tests.wire.conftest import Peers
from tests.wire.peers import Call, Client, Gate, Reply, Upstream, request, until
from tests.wire.proxies import MODULES, Proxy
from tests.wire.test_operators import asyncproxy

SERVER = 'workers = 2\nstall = "30s"'
"""No turn of these tests is long enough to be told of as one that does not end."""
TELL = ("Blocker", "Sleeper", "Generator", "Raises", "Forwarder", "OnThePollingThread")


def configuration(peers: Peers) -> str:
    rows = [("/", "reverse", True), *((f"/{name}", f"{MODULES}:{name}", True) for name in TELL)]
    rows += [("/untold", "reverse", False), ("/notes", f"{MODULES}:Notes", False)]
    rows += [("/BlocksForASecond", f"{MODULES}:BlocksForASecond", False)]
    tables = [
        f'[[route]]\npath = "{path}"\nmodule = "{module}"\nupstream = "one"\nserver_timing = {str(tells).lower()}\n'
        for path, module, tells in rows
    ]
    return f'[upstream.one]\nservers = ["{peers.one.url}"]\n{"".join(tables)}'


def told(reply: Reply) -> dict[str, float]:
    """Milliseconds by column, of the one field there is."""
    (value,) = reply.all("server-timing")
    found = [re.fullmatch(r"(queued|working|parked|upstream);dur=(\d+\.\d)", metric) for metric in value.split(", ")]
    assert all(found), value
    return {metric[1]: float(metric[2]) for metric in found if metric}


def late(call: Call) -> None:
    """A server that takes its time, and says so."""
    time.sleep(0.1)
    call.answer(b"late", "200 OK", "Server-Timing: db;dur=100")


def late_stream(call: Call) -> None:
    time.sleep(0.1)
    call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlate\r\n")
    time.sleep(0.1)
    call.send(b"0\r\n\r\n")


def test_a_forward_tells_how_long_its_server_took(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = late
    for path in ("/", "/Forwarder"):
        with proxy.client() as client:
            reply = client.get(path)
        theirs, ours = reply.all("server-timing")
        assert theirs == "db;dur=100"
        assert re.search(r"upstream;dur=\d{3,}\.\d$", ours), ours


def test_a_stream_tells_it_in_its_head(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = late_stream
    with proxy.client() as client:
        reply = client.get("/")
    assert reply.body == b"late"
    assert told(reply)["upstream"] >= 100
    with proxy.client() as client:
        made = client.get("/Generator?count=3")
    assert made.body == b"0,1,2,"
    assert "working" in told(made)


def test_time_parked_is_told_beside_time_worked(proxy: Proxy) -> None:
    with proxy.client() as client:
        spent = told(client.get("/Sleeper?for=0.2"))
    assert spent["parked"] >= 200
    assert spent["working"] < spent["parked"]


def test_work_is_told_on_workers_and_on_the_polling_thread_and_with_errors(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert list(told(client.get("/OnThePollingThread"))) == ["working"]
        failed = client.get("/Raises")
        assert failed.status == 500
        assert "working" in told(failed)


def test_a_wait_for_a_worker_is_told(proxy: Proxy, gate: Gate) -> None:
    with Client(proxy.port) as one, Client(proxy.port) as two, Client(proxy.port) as three:
        for client in (one, two):
            client.send(request("GET", f"/Blocker?gate={gate.port}"))
        for _ in (one, two):
            gate.arrived()
        until(lambda: proxy.status()["workers"]["busy"] == 2, "both workers are kept")
        three.send(request("GET", "/Sleeper?for=0"))
        until(lambda: proxy.status()["workers"]["queued"] == 1, "the third waits")
        time.sleep(0.1)
        gate.open()
        assert [one.reply().status, two.reply().status] == [200, 200]
        assert told(three.reply())["queued"] >= 100


def test_who_does_not_ask_is_not_told(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        reply = client.get("/untold")
    assert (reply.status, reply.all("server-timing")) == (200, [])


def test_advice_on_plain_forwarding_is_to_leave_it(proxy: Proxy, upstream: Upstream) -> None:
    before = status(proxy)
    with proxy.client() as client:
        for _ in range(150):
            assert client.get("/").status == 200
    until(lambda: ended(status(proxy), "/") - ended(before, "/") == 150, "they are counted")
    found = advice(status(proxy), before)
    assert (found.verdict, found.workers) == (RIGHT, 2)
    assert found["Seen"].startswith("150 requests ended in ")
    assert found["Workers"] == "nothing needed one; plain forwarding never does."


def test_advice_on_a_pool_that_is_full_names_who_fills_it(proxy: Proxy) -> None:
    path, before = "/BlocksForASecond", status(proxy)
    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(one_get, proxy, path) for _ in range(8)]
        until(lambda: ended(status(proxy), path) - ended(before, path) >= 4, "half are through")
        found = advice(status(proxy), before)
        assert [client.result() for client in clients] == [200] * 8
    assert found.verdict == TOO_FEW
    assert found["Who"].endswith(" of the workers' time, 1.0 s a request.")
    assert re.match(r"\d\d+ % of the requests waited more than 10 ms for workers", found["Waits"])
    assert found["Next"] == f"write workers = {found.workers} in [server], restart, and ask again."


def test_the_program_gives_advice(proxy: Proxy) -> None:
    with proxy.client() as client:
        for _ in range(120):
            client.get("/Sleeper?for=0")
    letter = asyncproxy("advise", admin=proxy.admin)
    assert re.match(r"Seen\s+\d+ requests ended since the start [0-9.]+ (ms|s|min) ago;\s+the\s+pool\s+has\s+2", letter)
    assert "\nTime " in letter
    assert re.search(r"\nNext +[a-z]", letter)
    found = json.loads(asyncproxy("advise", "--watch", "500ms", "--json", admin=proxy.admin))
    assert (found["verdict"], found["workers"]) == ("not enough data", 2)


def one_get(proxy: Proxy, path: str) -> int:
    with proxy.client() as client:
        return client.get(path).status


def status(proxy: Proxy) -> Any:
    return proxy.status("?limit=0")


def ended(shown: Any, path: str) -> int:
    return int(shown["routes"].get(path, {"requests": 0})["requests"])
