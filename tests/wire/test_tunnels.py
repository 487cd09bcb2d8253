"""Tunnels of any protocol over real sockets: whatever comes early, ends half, is reset, is slow, or is cut."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Call, Client, Upstream, request, until
from tests.wire.proxies import WORRIES, Proxy, routes

GROWTH = 8 * 1024
"""KiB that a proxy may grow by while a slow peer has 64 MiB sent to it."""
ASYNCPROXY = Path(sys.executable).with_name("asyncproxy")
SWITCH = request("GET", "/chat", "Connection: Upgrade", "Upgrade: echo/1")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n"


def configuration(peers: Peers) -> str:
    return f"""
[upstream.one]
servers = ["{peers.one.url}"]
[[route]]
module = "reverse"
upstream = "one"
{routes("ForwardHolder", "Forwarder")}
"""


def switch(call: Call) -> None:
    """Switch, and leave the rest to the test."""
    call.send(SWITCHED)
    call.watch()


def echo(call: Call) -> None:
    """Switch, and send everything back until the other side ends; then end."""
    wire = call.connection
    call.send(SWITCHED, wire.buffer)
    wire.buffer = b""
    with contextlib.suppress(ConnectionError):
        while wire.more():
            call.send(wire.buffer)
            wire.buffer = b""
    call.close()


class Held:
    """An upstream's end of a tunnel, in the hands of the test until it is `done` with it."""

    def __init__(self, upstream: Upstream, behind: bytes = b"") -> None:
        self._switched = threading.Event()
        self._over = threading.Event()
        self._behind = behind
        self._calls: list[Call] = []
        upstream.script = self

    def __call__(self, call: Call) -> None:
        self._calls.append(call)
        call.send(SWITCHED, self._behind)
        self._switched.set()
        self._over.wait(30)
        call.close()

    @property
    def call(self) -> Call:
        assert self._switched.wait(10)
        return self._calls[0]

    @property
    def sock(self) -> socket.socket:
        return self.call.connection.sock

    def done(self) -> None:
        self._over.set()


@pytest.fixture
def held(upstream: Upstream) -> Iterator[Held]:
    held = Held(upstream)
    yield held
    held.done()


@contextlib.contextmanager
def switched(proxy: Proxy, path: str = "/chat", receive_buffer: int | None = None) -> Iterator[Client]:
    with proxy.client(receive_buffer) as client:
        client.send(SWITCH.replace(b"/chat", path.encode()))
        head = client.head()
        assert (head.status, head.all("connection"), head.all("upgrade")) == (101, ["Upgrade"], ["echo/1"])
        yield client


@pytest.mark.parametrize("path", ["/chat", "/ForwardHolder", "/Forwarder"])
def test_any_protocol_is_tunnelled(proxy: Proxy, upstream: Upstream, path: str) -> None:
    upstream.script = echo
    with switched(proxy, path) as client:
        for data in (b"x", b"\x00" * 100_000, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"):
            client.send(data)
            assert client.exactly(len(data)) == data
        assert proxy.stages()["TUNNELLING"] == 1
    proxy.idle()
    assert upstream.targets() == [f"GET {path}"]


def test_what_the_client_sends_early_is_no_request(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = echo
    early = request("GET", "/smuggled") * 3
    with proxy.client() as client:
        client.send(SWITCH + early)
        assert client.head().status == 101
        assert client.exactly(len(early)) == early
    assert upstream.targets() == ["GET /chat"]


def test_what_comes_with_the_101_goes_to_the_client(proxy: Proxy, upstream: Upstream) -> None:
    held = Held(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    with switched(proxy) as client:
        assert client.exactly(40) == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    held.done()


def test_an_upgrade_that_the_upstream_does_not_want_is_a_request(proxy: Proxy, upstream: Upstream) -> None:
    with proxy.client() as client:
        client.send(SWITCH + request("GET", "/next") + b"garbage\r\n\r\n")
        assert [client.reply().status for _ in range(3)] == [200, 200, 400]
        assert client.ended()
    assert upstream.targets() == ["GET /chat", "GET /next"]


@pytest.mark.parametrize("asked", [request("GET", "/"), SWITCH.replace(b"echo/1", b"other")])
def test_a_101_that_nobody_asked_for_is_502(proxy: Proxy, upstream: Upstream, asked: bytes) -> None:
    upstream.script = switch
    with proxy.client() as client:
        assert client.ask(asked).status == 502
    assert upstream.call().gone()


def test_curl_that_offers_h2c_is_answered_in_http_1(proxy: Proxy, upstream: Upstream, curl: str) -> None:
    url = f"http://127.0.0.1:{proxy.port}/h2c"
    done = subprocess.run([curl, "-sSi", "--http2", url], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.startswith("HTTP/1.1 200 ")
    assert upstream.call().all("upgrade") == upstream.call().all("http2-settings") == []


def test_the_clients_end_goes_on_and_the_rest_comes_back(proxy: Proxy, held: Held) -> None:
    with switched(proxy) as client:
        client.send(b"all")
        client.half_close()
        assert held.call.connection.rest() == b"all"
        assert proxy.stages()["TUNNELLING"] == 1
        held.sock.sendall(b"x" * 1_000_000)
        held.done()
        assert len(client.rest()) == 1_000_000
    proxy.idle()


def test_the_servers_end_goes_on_and_the_rest_goes_there(proxy: Proxy, held: Held) -> None:
    with switched(proxy) as client:
        held.sock.sendall(b"all")
        held.sock.shutdown(socket.SHUT_WR)
        assert client.rest() == b"all"
        client.send(b"x" * 1_000_000)
        client.half_close()
        assert len(held.call.connection.exactly(1_000_000)) == 1_000_000
        assert held.call.connection.ended()
    proxy.idle()


def test_a_reset_of_one_side_is_one_to_the_other(proxy: Proxy, held: Held) -> None:
    with switched(proxy) as client:
        client.send(b"last")
        assert held.call.connection.exactly(4) == b"last"
        client.reset()
        with pytest.raises(ConnectionResetError):
            held.sock.recv(1)
    proxy.idle()


def test_a_reset_of_the_server_is_one_to_the_client(proxy: Proxy, held: Held) -> None:
    with switched(proxy) as client:
        held.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or it may be held, and the reset overtakes it
        held.sock.sendall(b"last")
        held.call.connection.reset()
        assert client.exactly(4) == b"last"
        with pytest.raises(ConnectionResetError):
            client.more()
    proxy.idle()


def fill(sock: socket.socket) -> int:
    """Send until the peer and all between have no room for a while."""
    sock.settimeout(0.3)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while True:
            sent += sock.send(b"z" * 65536)
            assert sent < 64 * 1024 * 1024, "nobody holds it back"
    return sent


@pytest.mark.parametrize("slow", ["client", "server"])
def test_a_slow_side_holds_the_other_back_and_gets_all_of_it(proxy: Proxy, held: Held, slow: str) -> None:
    with switched(proxy, receive_buffer=65536) as client:
        before = proxy.proc("VmRSS")
        fast, slow_one = (held.sock, client) if slow == "client" else (client.sock, held.call.connection)
        sent = fill(fast)
        assert proxy.proc("VmRSS") - before < GROWTH
        fast.shutdown(socket.SHUT_WR)
        assert len(slow_one.exactly(sent)) == sent
        assert slow_one.ended()
        held.done()
    proxy.idle()


def test_operators_see_tunnels_and_may_cut_them(proxy: Proxy, held: Held) -> None:
    command = [str(ASYNCPROXY), "--admin", f"http://127.0.0.1:{proxy.admin}"]
    with switched(proxy) as client:
        client.send(b"12345")
        until(lambda: proxy.status()["tunnels"][0]["received"] == 5, "the bytes are counted")
        (row,) = json.loads(subprocess.check_output([*command, "ps", "--json"], timeout=20))
        assert (row["path"], row["waiting_for"], row["sent"]) == ("/chat", "tunnel of echo/1", 0)
        said = subprocess.check_output([*command, "cancel", row["id"]], text=True, timeout=20)
        assert said == f"{row['id']}: cut, for its response had begun\n"
        with pytest.raises(ConnectionResetError):
            client.more()
        assert held.call.connection.exactly(5) == b"12345"
        with pytest.raises(ConnectionResetError):
            held.call.connection.more()
    proxy.idle()


# What needs a proxy of its own.


@pytest.fixture
def start(peers: Peers, tmp_path: Path, reactor_name: str) -> Iterator[Callable[..., Proxy]]:
    running: list[Proxy] = []

    def start(limits: str = "", drain: str = "0s") -> Proxy:
        rest = f"{configuration(peers)}\n[limits]\n{limits}\n"
        server = f'access_log = "{tmp_path}/access.log"\naccess_log_format = "json"'
        running.append(Proxy(tmp_path, reactor_name, rest, server, drain=drain))
        return running[0]

    yield start
    for proxy in running:
        if proxy.process.poll() is None:
            proxy.stop()
    peers.one.reset()


def logged(proxy: Proxy) -> dict[str, object]:
    """The one line of its access log."""
    log = proxy.directory / "access.log"
    line = until(lambda: log.exists() and log.read_text(), "the access log has a line")
    return dict(json.loads(line))


def test_a_tunnel_that_idles_is_closed_and_other_limits_hold_at_once(start: Callable[..., Proxy], peers: Peers) -> None:
    proxy = start('tunnel_idle = "off"')
    peers.one.script = echo
    with switched(proxy) as client:
        client.send(b"abc")
        assert client.exactly(3) == b"abc"
        file = proxy.directory / "proxy.toml"
        file.write_text(file.read_text().replace('tunnel_idle = "off"', 'tunnel_idle = "200ms"'))
        proxy.process.send_signal(signal.SIGHUP)
        with pytest.raises(ConnectionResetError):
            client.more()
    line = logged(proxy)
    assert (line["status"], line["bytes"], line["flag"]) == (101, 3, "SI")
    assert "127.0.0.1: no byte went through its tunnel for 0.2 s (limits.tunnel_idle)" in proxy.log


def test_a_stop_lets_tunnels_go_on_for_a_while_and_then_cuts_them(start: Callable[..., Proxy], peers: Peers) -> None:
    proxy = start(drain="2s")
    peers.one.script = echo
    with switched(proxy) as client:
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: "Draining" in proxy.log, "it drains")
        client.send(b"abc")
        assert client.exactly(3) == b"abc"
        with pytest.raises(ConnectionResetError):
            client.more()
        assert proxy.process.wait(20) == 1
    assert re.search(r"1 cut, not through within 2 s:\s+127\.0\.0\.1:\d+ GET /chat .*TUNNELLING", proxy.log)
    assert not any(worry in proxy.log for worry in WORRIES), proxy.log
    assert logged(proxy)["flag"] == "DR"


def test_a_stop_is_over_when_its_tunnels_are(start: Callable[..., Proxy], peers: Peers) -> None:
    proxy = start(drain="60s")
    peers.one.script = echo
    with switched(proxy) as client:
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: "Draining" in proxy.log, "it drains")
        client.send(b"bye")
        client.half_close()
        assert client.rest() == b"bye"
        assert proxy.process.wait(20) == 0
    line = logged(proxy)
    assert (line["status"], line["bytes"], line["flag"]) == (101, 3, "")
