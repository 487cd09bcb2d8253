"""SIGHUP under load: what is held goes on, what comes finds the new routes, and nobody notices anything else."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Call, Client, hello, request, until
from tests.wire.proxies import Proxy

HELD = 20
RELOADS = 20
HERE = "tests.wire.modules_under_test"


def configuration(peers: Peers, region: str) -> str:
    return f"""
[upstream.same]
servers = ["{peers.one.url}"]
[upstream.other]
servers = ["{peers.one.url}"]
max_idle = {len(region)}
[[route]]
module = "reverse"
upstream = "same"
[[route]]
path = "/other"
module = "{HERE}:ForwardHolder"
upstream = "other"
[[route]]
path = "/settings"
module = "{HERE}:Settings"
settings = {{ region = "{region}", limit = 1 }}
"""


@pytest.fixture
def reloaded(make_proxy: Callable[..., Proxy], peers: Peers) -> Iterator[Proxy]:
    yield make_proxy(configuration(peers, "eu"))
    peers.one.reset()


def rewrite(proxy: Proxy, old: str, new: str) -> None:
    file = Path(proxy.directory, "proxy.toml")
    file.write_text(file.read_text().replace(old, new))


def said(proxy: Proxy, words: str, times: int = 1) -> None:
    until(lambda: proxy.log.count(words) >= times, lambda: f"{words!r} is logged {times} times: {proxy.log}")


def region(client: Client) -> str:
    return str(client.get("/settings").json()[0])


def test_a_file_that_changed_is_read_again_and_a_bad_one_changes_nothing(reloaded: Proxy) -> None:
    with reloaded.client() as client:
        assert region(client) == "eu"
        rewrite(reloaded, 'region = "eu"', 'region = "us"')
        reloaded.process.send_signal(signal.SIGHUP)
        until(lambda: region(client) == "us", "the new settings are there, on a connection that was open")
        rewrite(reloaded, 'region = "us"', 'reigon = "cn"')
        reloaded.process.send_signal(signal.SIGHUP)
        said(reloaded, "Not reloaded, nothing has changed")
        said(reloaded, "reigon")
        assert region(client) == "us"
        rewrite(reloaded, 'reigon = "cn"', 'region = "cn"')
        rewrite(reloaded, "[server]", "[server]\nworkers = 7")
        reloaded.process.send_signal(signal.SIGHUP)
        until(lambda: region(client) == "cn", "a mended file is read")
        said(reloaded, "server.workers cannot change while the proxy runs")
        assert reloaded.status()["workers"]["total"] == 5


def test_names_change_on_connections_that_are_open_at_both_sides(reloaded: Proxy, peers: Peers) -> None:
    with reloaded.client() as client:
        for _ in range(4):  # by now the heads of both sides are known
            assert client.get("/").get("via") == "1.1 asyncproxy"
        rewrite(reloaded, "[server]", '[server]\nvia = "edge"\nserver_name = "shop"')
        reloaded.process.send_signal(signal.SIGHUP)
        until(lambda: client.get("/").get("via") == "1.1 edge", "the new name is told")
        client.get("/")  # the one before may have been on its way to the upstream when the name changed
        assert client.get("/settings").get("server") == "shop"
        rewrite(reloaded, 'via = "edge"\nserver_name = "shop"', 'via = "off"\nserver_name = "off"')
        reloaded.process.send_signal(signal.SIGHUP)
        until(lambda: client.get("/").get("via") is None, "no name is told")
        assert client.get("/settings").get("server") is None
        assert client.get("/").get("via") is None
        vias = [call.get("via") for call in peers.one.calls]
    assert (vias[0], vias[-1]) == ("1.1 asyncproxy", "1.1 asyncproxy")
    assert "1.1 edge" in vias
    assert len({call.connection.number for call in peers.one.calls}) == 1


class Askers:
    """Clients that ask again and again, and remember what went wrong."""

    def __init__(self, proxy: Proxy, count: int) -> None:
        self.proxy = proxy
        self.failures: list[BaseException] = []
        self.answered = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        try:
            with self.proxy.client() as client:
                while not self._over.is_set():
                    for path in ("/a", "/other/b"):
                        assert client.get(path).text == f"GET {path}"
                        self.answered += 1
        except BaseException as error:
            self.failures.append(error)

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(20)


def test_reloads_under_load_fail_nobody(reloaded: Proxy, peers: Peers) -> None:
    release = threading.Event()

    def answer(call: Call) -> None:
        if call.target.startswith("/other/held"):
            release.wait(30)
        hello(call)

    peers.one.script = answer
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(reloaded.client()) for _ in range(HELD)]
        for number, client in enumerate(clients):
            client.send(request("GET", f"/other/held{number}"))
        reloaded.staged(PARKED=HELD)
        askers = Askers(reloaded, 4)
        stack.callback(askers.end)
        before = reloaded.log.count("Reloaded:")
        for number in range(RELOADS):
            old, new = ("max_idle = 2", "max_idle = 3")[:: 1 if number % 2 == 0 else -1]
            rewrite(reloaded, old, new)
            reloaded.process.send_signal(signal.SIGHUP)
            said(reloaded, "Reloaded:", before + number + 1)
        askers.end()
        release.set()
        assert [client.reply().text for client in clients] == [f"GET /other/held{number}" for number in range(HELD)]
    assert askers.failures == []
    assert askers.answered
    reloaded.idle()
