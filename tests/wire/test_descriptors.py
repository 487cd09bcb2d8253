"""No file descriptors left: who comes waits, what runs goes on, and all is well when some are free again."""

from __future__ import annotations

import contextlib
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Call, Client, hello, request, until
from tests.wire.proxies import Proxy

HELD = 20
MANY = 400
LIMIT = 256


@pytest.fixture
def narrow(make_proxy: Callable[..., Proxy], peers: Peers) -> Iterator[Proxy]:
    """A proxy that may open few files."""
    proxy = make_proxy(f'[[route]]\nmodule = "reverse"\nupstream = "{peers.one.url}"\n')
    resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
    yield proxy
    peers.one.reset()


def test_requests_that_fail_for_want_of_one_have_a_line_a_second(narrow: Proxy, peers: Peers) -> None:
    release = threading.Event()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(narrow.client()) for _ in range(60)]
        assert {client.get("/").status for client in clients} == {200}
        peers.one.script = lambda call: (release.wait(30), hello(call))[1]
        used = len(list(Path(f"/proc/{narrow.process.pid}/fd").iterdir()))
        resource.prlimit(narrow.process.pid, resource.RLIMIT_NOFILE, (used + 3, LIMIT))
        for client in clients:
            client.send(request("GET", "/"))
        until(lambda: "no file descriptor is left" in narrow.log, "it says so")
        release.set()
        refused = [client.reply().status for client in clients].count(503)
        resource.prlimit(narrow.process.pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
    lines = [line for line in narrow.log.splitlines() if "descriptor" in line]
    assert refused > 5 * len(lines), narrow.log
    narrow.idle()


def test_accepting_pauses_and_goes_on_when_descriptors_are_free(narrow: Proxy, peers: Peers) -> None:
    release = threading.Event()

    def answer(call: Call) -> None:
        if "held" in call.target:
            release.wait(30)
        hello(call)

    peers.one.script = answer
    with contextlib.ExitStack() as held, contextlib.ExitStack() as crowd:
        clients = [held.enter_context(narrow.client()) for _ in range(HELD)]
        for number, client in enumerate(clients):
            client.send(request("GET", f"/held{number}"))
        narrow.staged(PARKED=HELD)
        everybody = [crowd.enter_context(narrow.client()) for _ in range(MANY)]
        until(lambda: "Accepting pauses" in narrow.log, "it says that it pauses")
        narrow.staged(PARKED=HELD)
        release.set()
        assert [client.reply().text for client in clients] == [f"GET /held{number}" for number in range(HELD)]
        last = everybody.pop()
        last.send(request("GET", "/last"))
        for client in everybody:
            client.close()
        assert last.reply().text == "GET /last", "who waited is served"
    with Client(narrow.port) as client:
        assert client.get("/after").text == "GET /after"
    narrow.idle()
