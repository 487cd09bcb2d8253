"""WebSocket through the tunnel: with the real packages at both ends, and frame by frame, as without the proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import websocket  # the package websocket-client
from websockets.sync.client import connect

from tests.wire.conftest import Peers
from tests.wire.proxies import Proxy
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
