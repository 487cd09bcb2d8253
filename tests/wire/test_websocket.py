"""WebSocket through the tunnel: with the real packages at both ends, and frame by frame, as without the proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import pytest
import websocket  # the package websocket-client
from websockets.sync.client import connect

from tests.wire.conftest import Peers
from tests.wire.proxies import Proxy
from tests.wire.websocket_cases import Outcome, cases, play
from tests.wire.websocket_peers import LARGEST, EchoServer, echo_server


@pytest.fixture(scope="module")
def echo() -> Iterator[EchoServer]:
    with echo_server() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(make_proxy: Callable[..., Proxy], peers: Peers, echo: EchoServer) -> Proxy:
    return make_proxy(f'[[route]]\npath = "/"\nmodule = "reverse"\nupstream = "http://127.0.0.1:{echo.port}"\n')


def test_websockets_talks_through_the_tunnel(proxy: Proxy, echo: EchoServer) -> None:
    messages = ["hello", b"\x00\xff", "", b"", "ü" * 1000, "x" * 200_000]
    with connect(f"ws://127.0.0.1:{proxy.port}/{proxy.reactor}", proxy=None, max_size=LARGEST) as client:
        assert proxy.stages()["TUNNELLING"] == 1
        for message in messages:
            client.send(message)
            assert client.recv(timeout=10) == message
        client.ping().wait(10)
        client.close(4321, "enough")
    assert echo.conversation(f"/{proxy.reactor}")[-1] == ((4321, "enough"), 4321)
    proxy.idle()


@pytest.mark.parametrize("compression", ["deflate", None])
def test_subprotocols_and_extensions_are_agreed_on_end_to_end(proxy: Proxy, compression: str | None) -> None:
    url = f"ws://127.0.0.1:{proxy.port}/agreed"
    with connect(url, proxy=None, subprotocols=["chat.v1", "other"], compression=compression) as client:
        assert client.subprotocol == "chat.v1"
        assert [type(one).__name__ for one in client.protocol.extensions] == (
            ["PerMessageDeflate"] if compression else []
        )
        client.send("a" * 100_000)
        assert client.recv(timeout=10) == "a" * 100_000


def test_websocket_client_talks_through_the_tunnel(proxy: Proxy) -> None:
    client = websocket.create_connection(f"ws://127.0.0.1:{proxy.port}/websocket-client", timeout=10)
    client.send("hello")
    assert client.recv() == "hello"
    client.send_binary(b"\x00" * 70_000)
    assert client.recv() == b"\x00" * 70_000
    client.ping("here")
    assert client.recv_frame().data == b"here"
    client.close(status=1001, reason=b"bye")
    proxy.idle()


CASES = {case.name: case for case in cases()}


@pytest.fixture(scope="module")
def without_proxy(echo: EchoServer) -> Callable[[str], tuple[Outcome, list[Any]]]:
    """What comes of a case, for its client and its server, without the proxy."""
    return lru_cache(None)(lambda name: outcome(echo.port, echo, "direct", name))


def outcome(port: int, echo: EchoServer, how: str, name: str) -> tuple[Outcome, list[Any]]:
    path = f"/{how}/{name}"
    return play(port, path, CASES[name]), echo.conversation(path)


@pytest.mark.parametrize("group", range(8))
def test_each_case_comes_to_the_same_as_without_the_proxy(
    proxy: Proxy, echo: EchoServer, without_proxy: Callable[[str], tuple[Outcome, list[Any]]], group: int
) -> None:
    for name in list(CASES)[group::8]:
        through = outcome(proxy.port, echo, proxy.reactor, name)
        assert through[0].status == 101, name
        assert through == without_proxy(name), name
    proxy.idle()


def test_the_cases_end_in_every_way(without_proxy: Callable[[str], tuple[Outcome, list[Any]]]) -> None:
    codes = {without_proxy(name)[1][-1][1] for name in CASES}
    assert {1000, 1002, 1003, 1007, 1009, 1011, 3000, 4999, None} <= codes
    assert len(CASES) > 200
