"""What tests of tunnels begin with: a client that offers to switch protocols, and its server."""

from __future__ import annotations

from typing import Any

from asyncproxy import Module, sleep
from asyncproxy.exchange.messages import Request
from tests.fakes import FakeClient, House

UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nX-Own: 1\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-Theirs: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def asked(house: House, request: bytes = UPGRADE) -> FakeClient:
    client = house.connect()
    client.send(request)
    house.settle()
    return client


def tunnel(house: House, behind: bytes = b"") -> FakeClient:
    """A client whose request has become a tunnel."""
    client = asked(house)
    house.upstream().answer(SWITCHED + behind)
    house.settle()
    assert client.status == 101
    assert house.stages() == {"TUNNELLING": 1}
    return client


def sent_by(house: House) -> bytes:
    """What the server has got behind the request's head."""
    return house.upstream().received.partition(b"\r\n\r\n")[2]


class Async(Module):
    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        reply.headers["X-Module"] = "seen"
        return reply


class Late(Module):
    """Answers only a while after the upstream has switched."""

    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        await sleep(100)
        return reply
