"""Limits and time-outs on real sockets: who reaches one is refused or dropped, and nobody else notices."""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Call, Client, request, until
from tests.wire.proxies import Proxy

LIMITS = """
[limits]
fields = 20
connections_per_client = 30
requests_per_connection = 5
first_request_timeout = "900ms"
head_timeout = "400ms"
body_idle = "5s"
body_rate = "100KB"
body_rate_grace = "500ms"
send_timeout = "600ms"
linger = "300ms"
"""


def configuration(peers: Peers) -> str:
    return f"""
{LIMITS}
[upstream.one]
servers = ["{peers.one.url}"]
send_timeout = "500ms"
[[route]]
module = "reverse"
upstream = "one"
"""


@pytest.fixture(scope="module")
def module_proxy(make_proxy: Callable[..., Proxy], peers: Peers, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    """With an access log."""
    log = tmp_path_factory.mktemp("log") / "access.log"
    return make_proxy(configuration(peers), f'access_log = "{log}"\naccess_log_format = "json"')


def logged(proxy: Proxy, key: str) -> dict[str, Any]:
    """The first line of the access log that names limit `key`."""
    config = (proxy.directory / "proxy.toml").read_text()
    log = Path(next(line for line in config.splitlines() if line.startswith("access_log =")).split('"')[1])

    def found() -> Any:
        lines = map(json.loads, log.read_text().splitlines())
        return next((line for line in lines if line["detail"] == key), None)

    return dict(until(found, f"{key} is in the access log"))


def reached(proxy: Proxy) -> dict[str, int]:
    return dict(proxy.status("?limit=0")["clients"]["limits_reached"])


@contextlib.contextmanager
def others_notice_nothing(proxy: Proxy) -> Iterator[None]:
    """Somebody else's connection, before, during and after."""
    with proxy.client() as other:
        assert other.get("/other").status == 200
        yield
        assert other.get("/other").status == 200


def test_who_trickles_is_dropped_and_others_notice_nothing(proxy: Proxy) -> None:
    with others_notice_nothing(proxy), contextlib.ExitStack() as stack:
        silent, head, body = (stack.enter_context(proxy.client()) for _ in range(3))
        body.send(request("POST", "/", "Content-Length: 100000"))
        head.send(b"GET / HT")
        for byte in b"TP/1.1\r\nHost: proxy.test\r\n":
            with contextlib.suppress(OSError):
                body.send(b"x")
                head.send(bytes([byte]))
            if head.sock in _readable(head.sock, patience=0.05):
                break
        assert head.reply().status == 408
        assert silent.ended()
        late = body.reply()
        assert (late.status, late.get("connection")) == (408, "close")
        assert "less than 100000 bytes a second" in late.text
    assert logged(proxy, "limits.head_timeout")["flag"] == "CT"
    assert logged(proxy, "limits.body_rate")["status"] == 408
    until(lambda: reached(proxy).get("limits.first_request_timeout") == 1, "the silent one is counted")
    assert "sent no request within 0.9 s (limits.first_request_timeout)" in proxy.log


def _readable(*sockets: socket.socket, patience: float) -> list[socket.socket]:
    return select.select(sockets, [], [], patience)[0]


def test_a_client_that_takes_nothing_of_its_answer_is_cut(proxy: Proxy, peers: Peers) -> None:
    def endless(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                call.send(bytes(65536))
        call.connection.closing = True

    with proxy.client(receive_buffer=4096) as slow:
        peers.one.script = lambda call: call.answer(b"") if call.target == "/other" else endless(call)
        with others_notice_nothing(proxy):
            slow.send(request("GET", "/endless"))
            calls = peers.one.calls
            (call,) = peers.one.wait(lambda: [call for call in calls if call.target == "/endless"], "it is forwarded")
            assert call.gone(5), [call.target for call in calls]
    assert logged(proxy, "limits.send_timeout")["flag"] == "CS"


def test_a_server_that_takes_nothing_of_a_body_is_a_504(proxy: Proxy, peers: Peers) -> None:
    over = threading.Event()

    def takes_nothing(call: Call) -> None:
        over.wait(5)
        call.connection.closing = True

    peers.one.script = takes_nothing
    with proxy.client() as client:
        client.send(request("POST", "/", "Content-Length: 100000000"))
        client.sock.settimeout(3)
        with contextlib.suppress(OSError):
            while b"HTTP" not in _received(client):
                client.sock.send(bytes(65536))
        reply = client.reply()
        assert (reply.status, "timeout:send" in reply.text) == (504, True)
    over.set()


def _received(client: Client) -> bytes:
    """What has come so far."""
    if _readable(client.sock, patience=0):
        client.more()
    return client.buffer


def test_a_request_with_many_fields_is_refused_and_a_connection_has_so_many_requests(proxy: Proxy) -> None:
    with proxy.client() as client:
        reply = client.get("/", *[f"X-{number}: y" for number in range(20)])
        assert (reply.status, reply.get("connection")) == (431, "close")
    with proxy.client() as client:
        closes = [client.get("/").get("connection") for _ in range(5)]
        assert closes == [None] * 4 + ["close"]
        assert client.ended()
    assert logged(proxy, "limits.fields")["status"] == 431


def test_one_address_has_so_many_connections(proxy: Proxy) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.client()) for _ in range(31)]
        assert sorted(client.get("/").status for client in clients) == [200] * 30 + [503]
    until(lambda: proxy.status("?limit=0")["clients"]["connections"] == 0, "they are gone")
    with proxy.client() as client:
        assert client.get("/").status == 200
    refused = logged(proxy, "limits.connections_per_client")
    assert (refused["status"], refused["flag"]) == (503, "OM")


def test_a_full_proxy_lets_new_clients_wait_until_a_fourth_has_gone(
    make_proxy: Callable[..., Proxy], peers: Peers
) -> None:
    proxy = make_proxy(f'[limits]\nconnections = 8\n[[route]]\nmodule = "reverse"\nupstream = "{peers.one.url}"\n')
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.client()) for _ in range(8)]
        assert [client.get("/").status for client in clients] == [200] * 8
        waits = stack.enter_context(proxy.client())
        waits.send(request("GET", "/waits"))
        until(lambda: proxy.status("?limit=0")["clients"]["paused"], "accepting pauses")
        assert [client.get("/").status for client in clients] == [200] * 8
        clients[0].close()
        until(lambda: proxy.status("?limit=0")["clients"]["connections"] == 7, "one is gone")
        assert not _readable(waits.sock, patience=0.1)
        clients[1].close()
        assert waits.reply().text == "GET /waits"
    assert "8 connections of clients are open (limits.connections = 8)" in proxy.log
    proxy.idle()


def test_a_reload_changes_limits_for_connections_that_are_open(make_proxy: Callable[..., Proxy], peers: Peers) -> None:
    proxy = make_proxy(configuration(peers))
    with proxy.client() as client:
        assert client.get("/").status == 200
        config = proxy.directory / "proxy.toml"
        config.write_text(config.read_text().replace("fields = 20", "fields = 2").replace("400ms", "100ms"))
        proxy.process.send_signal(signal.SIGHUP)
        until(lambda: "Reloaded:" in proxy.log, "it is reloaded")
        client.send(b"GET / HT")
        reply = client.reply()
        assert (reply.status, "within 0.1 s" in reply.text) == (408, True)
    with proxy.client() as client:
        assert client.get("/", "A: b", "C: d").status == 431
