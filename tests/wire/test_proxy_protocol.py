"""Connections that a real HAProxy introduces, by version 1 and 2 of its protocol, and those that nobody does."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wire.conftest import Peers
from tests.wire.peers import Client, free_port, request, tool, until
from tests.wire.proxies import Proxy

HERE = "tests.wire.modules_under_test"
SERVER = 'trusted = ["127.0.0.1"]\nproxy_protocol = true\naccess_log = "-"\naccess_log_format = "json"'
LIMITS = '[limits]\nfirst_request_timeout = "2s"\n'
CLIENT = "127.0.0.5"
"""Where clients of HAProxy come from: it connects to us from 127.0.0.1."""
KEY = "server.proxy_protocol"


def configuration(peers: Peers) -> str:
    return f"""{LIMITS}
[[route]]
module = "reverse"
upstream = "{peers.one.url}"
[[route]]
path = "/who"
module = "{HERE}:Who"
"""


@pytest.fixture(scope="module")
def haproxy(module_proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ports of a HAProxy in front, by the version that it speaks to us."""
    program = tool("haproxy", "apt-get install haproxy")
    ports = {"send-proxy": free_port(), "send-proxy-v2": free_port()}
    lines = ["global", "  maxconn 200", "defaults", "  mode tcp", "  timeout connect 5s", "  timeout client 20s",
             "  timeout server 20s"]  # fmt: skip
    for how, port in ports.items():
        target = f"127.0.0.1:{module_proxy.port} {how} check check-send-proxy inter 100ms"
        lines += [f"listen {how}", f"  bind 127.0.0.1:{port}", f"  server us {target}"]
    directory = tmp_path_factory.mktemp("haproxy")
    file = directory / "haproxy.cfg"
    file.write_text("\n".join(lines) + "\n")
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, "-db", "-f", str(file)], stdout=log, stderr=log)
    try:
        for port in ports.values():
            until(lambda port=port: listens(port), lambda: Path(directory / "log").read_text())
        yield ports
    finally:
        process.terminate()
        process.wait(10)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def reached(proxy: Proxy) -> int:
    return int(proxy.status()["clients"]["limits_reached"].get(KEY, 0))


@pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2"])
def test_haproxy_s_clients_are_ours(proxy: Proxy, peers: Peers, haproxy: dict[str, int], how: str) -> None:
    before = reached(proxy)
    with Client(haproxy[how], source=CLIENT) as client:
        port = client.sock.getsockname()[1]
        for _ in range(3):
            assert client.get("/who").json() == [CLIENT, port, "http", "proxy.test"]
        assert client.get("/who", "X-Forwarded-For: 6.6.6.6").json()[0] == CLIENT
        reply = client.ask(request("POST", "/", "Content-Length: 70000") + b"x" * 70000)
        assert reply.status == 200
    (call,) = peers.one.calls
    assert (call.get("x-forwarded-for"), len(call.body)) == (CLIENT, 70000)
    until(lambda: proxy.log.count(f'"client":"{CLIENT}"') >= 5, "the access log names the client")
    assert reached(proxy) == before, "HAProxy's own checks are good connections"


def test_many_connections_through_haproxy_have_each_their_client(proxy: Proxy, haproxy: dict[str, int]) -> None:
    clients = [Client(haproxy["send-proxy-v2"], source=f"127.0.1.{number}") for number in range(1, 21)]
    for number, client in enumerate(clients, 1):
        assert client.get("/who").json()[0] == f"127.0.1.{number}"
        client.close()


def test_a_header_in_pieces_is_whole_at_last(proxy: Proxy) -> None:
    with proxy.client() as client:
        for byte in b"PROXY TCP6 2001:db8::9 ::1 4660 80\r\n":
            client.sock.sendall(bytes((byte,)))
        assert client.get("/who").json()[:2] == ["2001:db8::9", 4660]


@pytest.mark.parametrize(
    "data", [request("GET", "/who"), b"PROXY TCP4 a b c d\r\n" + request("GET", "/who"), b"\r\n" * 9]
)
def test_a_trusted_peer_without_a_header_is_told_nothing(proxy: Proxy, peers: Peers, data: bytes) -> None:
    before = reached(proxy)
    with proxy.client() as client:
        client.sock.sendall(data)
        assert client.rest() == b""
    until(lambda: reached(proxy) == before + 1, "it is counted")
    assert not peers.one.calls


def test_who_is_not_trusted_is_closed_at_once(proxy: Proxy, peers: Peers) -> None:
    before = reached(proxy)
    with Client(proxy.port, source="127.0.0.9") as client:
        assert client.rest() == b""
    for _ in range(20):
        with Client(proxy.port, source="127.0.0.9") as client:
            refused = b"PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\n" + request("GET", "/who")
            try:
                client.sock.sendall(refused)
            except ConnectionError:
                continue
            assert client.rest() == b""
    until(lambda: reached(proxy) == before + 21, "each is counted")
    assert proxy.log.count("127.0.0.9: is not in server.trusted, and nobody else may connect") <= 2, "not each is told"


def test_a_peer_that_says_nothing_is_closed_in_time(proxy: Proxy) -> None:
    with proxy.client() as silent, proxy.client() as slow:
        slow.sock.sendall(b"PROXY TCP4 192.0.2.9 ")
        assert silent.rest() == slow.rest() == b""


def test_the_admin_listener_expects_no_header(proxy: Proxy) -> None:
    status: Any = proxy.status()
    assert "workers" in status
