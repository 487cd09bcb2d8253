from __future__ import annotations

import pytest

from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.responses import Reply
from asyncproxy.exchange.upgrading import NotAgreed, agreed, offered, protocols, upgrade_block


def noted(block: bytes) -> Request:
    return Request("GET", b"/", b"\r\nHost: a" + block)


@pytest.mark.parametrize(
    ("block", "names"),
    [
        (b"\r\nConnection: Upgrade\r\nUpgrade: websocket", [b"websocket"]),
        (b"\r\nUpgrade: websocket\r\nConnection: close , UPGRADE", [b"websocket"]),
        (b"\r\nConnection: upgrade\r\nUpgrade: a/1\r\nUpgrade: b", [b"a/1", b"b"]),
        (b"\r\nConnection: x\r\nConnection: upgrade\r\nUpgrade: a", [b"a"]),
        (b"\r\nConnection: upgrade\r\nUpgrade: h2c, a, HTTP/3.0, tls/1.2, h2", [b"a"]),
        (b"\r\nConnection: upgrade\r\nUpgrade: a b, /, a/, /b, a/b/c, \xff", []),
        (b"\r\nConnection: upgrades\r\nUpgrade: a", []),
        (b"\r\nConnection: upgrade\r\nUpgrade:", []),
        (b"\r\nUpgrade: a", []),
        (b"", []),
    ],
)
def test_what_may_go_on_of_an_upgrade(block: bytes, names: list[bytes]) -> None:
    request = noted(block)
    assert protocols(request.noted) == names
    assert offered(request.noted, 1) == b", ".join(names)
    assert offered(request.noted, 0) == b""


def reply(block: bytes) -> Reply:
    return Reply(101, block)


@pytest.mark.parametrize(
    ("block", "offer", "protocol"),
    [
        (b"\r\nConnection: Upgrade\r\nUpgrade: websocket", b"websocket", b"websocket"),
        (b"\r\nConnection: upgrade\r\nUpgrade: WebSocket", b"x, websocket", b"WebSocket"),
        (b"\r\nConnection: upgrade\r\nUpgrade: a/1, b", b"b, a/1", b"a/1, b"),
    ],
)
def test_what_is_agreed_on_was_offered(block: bytes, offer: bytes, protocol: bytes) -> None:
    assert agreed(reply(block), 1, offer) == protocol


@pytest.mark.parametrize(
    ("block", "minor", "offer"),
    [
        (b"\r\nConnection: Upgrade\r\nUpgrade: websocket", 1, b""),
        (b"\r\nConnection: Upgrade\r\nUpgrade: websocket", 0, b"websocket"),
        (b"\r\nConnection: Upgrade\r\nUpgrade: websocket", 1, b"other"),
        (b"\r\nConnection: Upgrade\r\nUpgrade: websocket/2", 1, b"websocket"),
        (b"\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c", 1, b"websocket"),
        (b"\r\nConnection: Upgrade", 1, b"websocket"),
        (b"\r\nUpgrade: websocket", 1, b"websocket"),
        (b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0", 1, b"websocket"),
        (b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked", 1, b"websocket"),
    ],
)
def test_a_switch_that_was_not_agreed_on_is_refused(block: bytes, minor: int, offer: bytes) -> None:
    with pytest.raises(NotAgreed):
        agreed(reply(block), minor, offer)


def test_the_fields_of_an_upgrade_are_made_anew() -> None:
    assert upgrade_block(b"a, b") == b"\r\nConnection: Upgrade\r\nUpgrade: a, b"
    assert upgrade_block(b"") == b""
