"""Tunnels in a lab."""

from __future__ import annotations

from typing import Any

import pytest

from asyncproxy import Module, Request, Response
from asyncproxy.testing import Lab

OFFER = {"Connection": "Upgrade", "Upgrade": "echo/1, other"}
CONFIGURATION = {
    "upstream": {"far": {"servers": "http://far:9000"}},
    "route": [{"module": "reverse", "upstream": "far"}],
}


class Guards(Module):
    async def handle(self, request: Request) -> Any:
        reply = await request.forward()
        return reply if request.headers.get("x-key") == "1" else Response.text("no\n", 403)


def test_a_tunnel_is_played_from_both_sides() -> None:
    lab = Lab(CONFIGURATION)
    client = lab.get("/chat", headers=OFFER)
    server = lab.upstream("far").switch({"X-Theirs": "1"}, b"hello ")
    assert (client.status, client.headers["upgrade"], client.headers["x-theirs"]) == (101, "echo/1", "1")
    client.send(b"ping ")
    server.send(b"client")
    client.send(b"pong")
    assert client.body == b"hello client"
    assert server.body == b"ping pong"
    assert client.exchange is not None
    assert lab.snapshot()["stages"]["TUNNELLING"] == 1
    client.end()
    server.send(b", bye")
    assert client.body == b"hello client, bye"
    assert not client.done
    server.end()
    assert client.done
    assert not client.cut
    assert lab.snapshot()["stages"]["TUNNELLING"] == 0


def test_a_module_that_decides_about_an_upgrade() -> None:
    lab = Lab(Guards, upstream="http://far:9000")
    refused, let_in = lab.get("/", headers=OFFER), lab.get("/", headers={**OFFER, "X-Key": "1"})
    first, _ = lab.upstream("http://far:9000").switch(), lab.upstream("http://far:9000").switch()
    assert (refused.status, let_in.status) == (403, 101)
    assert first.cancelled
    lab.disconnect(let_in)


def test_only_what_offers_an_upgrade_can_switch() -> None:
    lab = Lab(CONFIGURATION)
    lab.get("/")
    with pytest.raises(AssertionError, match="offers no other protocol"):
        lab.upstream("far").switch()
    with pytest.raises(AssertionError, match="nothing waits"):
        lab.upstream("far").switch()
