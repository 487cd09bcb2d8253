"""Clients of WebSocket that people use, through the proxy to an echo server of the package `websockets`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websocket  # the package websocket-client
from websockets.asyncio.client import connect as connect_asyncio
from websockets.sync.client import connect

from tests.wire.browser import chromium
from tests.wire.conftest import Peers
from tests.wire.origin import LARGE, content
from tests.wire.peers import PATIENCE
from tests.wire.proxies import Proxy
from tests.wire.websocket_peers import LARGEST, EchoServer, echo_server

Messages = list[str | bytes]
MESSAGES: Messages = ["words", "", b"", b"\x00\xff", "ü" * 1000, content(1000), "x" * LARGE, content(LARGE)]
CODE, REASON = 4321, "enough"


@pytest.fixture(scope="module")
def echo() -> Iterator[EchoServer]:
    with echo_server() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(make_proxy: Callable[..., Proxy], peers: Peers, echo: EchoServer) -> Proxy:
    routes = f'[[route]]\nmodule = "reverse"\nupstream = "http://127.0.0.1:{echo.port}"\n'
    return make_proxy(f'{routes}[[route]]\npath = "/page"\nmodule = "reverse"\nupstream = "{peers.one.url}"\n')


# Each sends the messages, gives what came back, and closes with CODE and REASON.


def with_websockets(url: str, messages: Messages) -> Messages:
    def exchanged(client: Any, message: str | bytes) -> Any:
        client.send(message)
        return client.recv(timeout=PATIENCE)

    with connect(url, proxy=None, max_size=LARGEST) as client:
        came = [exchanged(client, message) for message in messages]
        client.ping().wait(PATIENCE)
        client.close(CODE, REASON)
    return came


def with_websocket_client(url: str, messages: Messages) -> Messages:
    client = websocket.create_connection(url, timeout=PATIENCE)
    came = []
    for message in messages:
        client.send(message) if isinstance(message, str) else client.send_binary(message)
        came.append(client.recv())
    client.close(CODE, REASON.encode())
    return came


def on_a_loop(talk: Callable[[str, Messages], Any]) -> Callable[[str, Messages], Messages]:
    """`talk` is run on a loop of its own, on a thread of its own."""

    def on_this_thread(url: str, messages: Messages) -> Messages:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            return list(runner.run(talk(url, messages)))

    def run(url: str, messages: Messages) -> Messages:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(on_this_thread, url, messages).result(3 * PATIENCE)

    return run


@on_a_loop
async def with_websockets_asyncio(url: str, messages: Messages) -> Messages:
    async with connect_asyncio(url, proxy=None, max_size=LARGEST) as client:
        for message in messages:  # all of them are on their way before the first is read
            await client.send(message)
        came = [await client.recv() for _ in messages]
        await client.close(CODE, REASON)
    return came


@on_a_loop
async def with_aiohttp(url: str, messages: Messages) -> Messages:
    came = []
    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=LARGEST, compress=15) as client:
        for message in messages:
            await (client.send_str(message) if isinstance(message, str) else client.send_bytes(message))
            came.append((await client.receive()).data)
        await client.close(code=CODE, message=REASON.encode())
    return came


CLIENTS = {
    "websockets": with_websockets,
    "websockets on asyncio": with_websockets_asyncio,
    "websocket-client": with_websocket_client,
    "aiohttp": with_aiohttp,
}


@pytest.mark.parametrize("name", CLIENTS)
def test_what_a_client_sends_comes_back_and_its_close_arrives(proxy: Proxy, echo: EchoServer, name: str) -> None:
    path = f"/{proxy.reactor}/{name.replace(' ', '-')}"
    came = CLIENTS[name](f"ws://127.0.0.1:{proxy.port}{path}", MESSAGES)
    assert [type(one) for one in came] == [type(one) for one in MESSAGES]
    assert came == MESSAGES
    assert echo.conversation(path)[-1] == ((CODE, REASON), CODE)
    proxy.idle()


@pytest.mark.parametrize("name", CLIENTS)
def test_twenty_talk_at_once(proxy: Proxy, name: str) -> None:
    sent: list[Messages] = [[f"{number} of {client}" for number in range(50)] for client in range(20)]
    came: list[Messages | None] = [None] * len(sent)

    def talk(client: int) -> None:
        came[client] = CLIENTS[name](f"ws://127.0.0.1:{proxy.port}/many", sent[client])

    threads = [threading.Thread(target=talk, args=(client,)) for client in range(len(sent))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * PATIENCE)
    assert came == sent
    proxy.idle()


def test_chromium_talks(proxy: Proxy, peers: Peers, echo: EchoServer, tmp_path: Path) -> None:
    script = """
        const [url, count, done] = arguments;
        const sent = ["words", "", "ü".repeat(1000), "x".repeat(count), new Uint8Array(count).fill(7)];
        const came = [], socket = new WebSocket(url, ["other", "chat.v1"]);
        const sevens = (data) => data instanceof ArrayBuffer && new Uint8Array(data).every((it) => it === 7);
        const same = (one, data) => typeof one === "string" ? one === data : sevens(data) && data.byteLength === count;
        socket.binaryType = "arraybuffer";
        socket.onopen = () => sent.forEach((message) => socket.send(message));
        socket.onmessage = ({data}) => {
          came.push(same(sent[came.length], data));
          if (came.length === sent.length) socket.close(4321, "enough");
        };
        socket.onclose = ({code, reason, wasClean}) => done([socket.protocol, came, code, reason, wasClean]);"""
    peers.one.script = lambda call: call.answer(b"<!doctype html>", "200 OK", "Content-Type: text/html")
    path = f"/{proxy.reactor}/chromium"
    with chromium(tmp_path) as browser:
        browser.get(f"http://127.0.0.1:{proxy.port}/page")
        url = f"ws://127.0.0.1:{proxy.port}{path}"
        came = browser.execute_async_script(script, url, LARGE)  # type: ignore[no-untyped-call]
        assert came == ["chat.v1", [True] * 5, CODE, REASON, True]
    assert echo.conversation(path)[-1] == ((CODE, REASON), CODE)
    peers.one.reset()
    proxy.idle()
