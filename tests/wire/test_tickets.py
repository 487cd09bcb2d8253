"""Requests that wait for tickets in a real proxy, resumed over its admin listener: who is answered with what."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from tests.wire.conftest import Peers
from tests.wire.peers import Client, Reply, request, until
from tests.wire.proxies import MODULES, ROOT, Proxy
from tests.wire.test_draining import ended

HELD = 100


def configuration(peers: Peers) -> str:
    return "".join(
        f'[[route]]\npath = "/{name.lower()}"\nmodule = "{MODULES}:{name}"\n' for name in ("AsksForTicket", "Notes")
    )


def resume(proxy: Proxy, name: str, value: object, admin: Client | None = None) -> Reply:
    body = json.dumps(value).encode()
    host = f"Host: 127.0.0.1:{proxy.admin}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with contextlib.ExitStack() as stack:
        client = admin or stack.enter_context(Client(proxy.admin))
        return client.ask(f"POST /tickets/{name} HTTP/1.1\r\n{host}\r\n\r\n".encode() + body)


def known(proxy: Proxy, name: str) -> str:
    with Client(proxy.admin) as admin:
        asked = f"GET /tickets/{name} HTTP/1.1\r\nHost: 127.0.0.1:{proxy.admin}\r\n\r\n"
        return str(admin.ask(asked.encode()).json()["state"])


def asks(proxy: Proxy, name: str) -> Client:
    client = proxy.client()
    client.send(request("GET", f"/asksforticket?name={name}"))
    return client


def test_five_workers_hold_a_hundred_that_are_answered_with_their_own_value_each(proxy: Proxy) -> None:
    with contextlib.ExitStack() as stack:
        clients = {f"t{number}": stack.enter_context(asks(proxy, f"t{number}")) for number in range(HELD)}
        proxy.staged(PARKED=HELD)
        assert proxy.status()["workers"] == {"total": 5, "busy": 0, "queued": 0}
        assert proxy.proc("Threads") < 20
        admin = stack.enter_context(Client(proxy.admin))
        names = list(clients)
        random.Random(1).shuffle(names)
        for name in names:
            told = resume(proxy, name, {"for": name}, admin)
            assert (told.status, told.json()["state"]) == (200, "settled")
        for name, client in clients.items():
            assert client.reply().json() == {"for": name}


def test_another_process_resumes_at_a_steady_rate(proxy: Proxy) -> None:
    with contextlib.ExitStack() as stack:
        clients = {f"p{number}": stack.enter_context(asks(proxy, f"p{number}")) for number in range(HELD)}
        proxy.staged(PARKED=HELD)
        argv = [sys.executable, "-m", "bench.resumer", "--port", str(proxy.admin), "--rate", "500"]
        values = json.dumps({name: [name] for name in clients})
        done = subprocess.run(argv, cwd=ROOT, input=values, capture_output=True, text=True, timeout=40, check=True)
        told = json.loads(done.stdout)
        assert told["statuses"] == {"200": HELD}
        assert set(told["due"]) == set(clients)
        assert [client.reply().json() for client in clients.values()] == [[name] for name in clients]


def test_of_many_that_resume_at_once_one_is_told_that_it_did(proxy: Proxy) -> None:
    replies: list[tuple[int, Reply]] = []
    with asks(proxy, "once") as client:
        proxy.staged(PARKED=1)
        threads = [
            threading.Thread(target=lambda number=number: replies.append((number, resume(proxy, "once", number))))
            for number in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        given = client.reply().json()
    assert Counter(reply.status for _, reply in replies) == {200: 1, 409: 11}
    assert [number for number, reply in replies if reply.status == 200] == [given]


def test_a_value_that_comes_first_waits_for_its_request(proxy: Proxy) -> None:
    assert resume(proxy, "early", "value").status == 202
    with asks(proxy, "early") as client:
        assert client.reply().json() == "value"
    assert resume(proxy, "early", "again").status == 409


def test_a_client_that_leaves_in_either_way_frees_the_name(proxy: Proxy) -> None:
    for name, leave in (("fin", Client.close), ("rst", Client.reset)):
        client = asks(proxy, name)
        proxy.staged(PARKED=1)
        leave(client)
        until(lambda name=name: known(proxy, name) == "lapsed", "the name is free")
        late = resume(proxy, name, 1)
        assert (late.status, late.json()["state"]) == (410, "lapsed")
        assert "the client closed its connection" in late.json()["error"]
        with asks(proxy, name) as again:
            proxy.staged(PARKED=1)
            assert resume(proxy, name, 2).json()["generation"] == 2
            assert again.reply().json() == 2


def test_the_second_that_asks_for_a_name_is_told_that_it_is_taken(proxy: Proxy) -> None:
    with asks(proxy, "taken") as first:
        proxy.staged(PARKED=1)
        with asks(proxy, "taken") as second:
            assert second.reply().status == 409
        assert resume(proxy, "taken", "value").status == 200
        assert first.reply().json() == "value"


def test_a_proxy_that_drains_still_lets_requests_be_resumed_and_cuts_the_others(
    peers: Peers, tmp_path: Path, reactor_name: str
) -> None:
    proxy = Proxy(tmp_path, reactor_name, configuration(peers), drain="2s")
    with asks(proxy, "in-time") as first, asks(proxy, "never") as second:
        proxy.staged(PARKED=2)
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: "Draining" in proxy.log, "it drains")
        assert resume(proxy, "in-time", "value").status == 200
        assert first.reply().json() == "value"
        assert second.reply().status == 503
    assert "waits for ticket 'never'" in ended(proxy, 1)
