"""What the access log is told of requests, made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from asyncproxy.exchange.ledger import Seconds
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.peers import Peer
from asyncproxy.exchange.record import Told

NOTHING_SPENT = Seconds(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def told(
    target: bytes = b"/",
    *,
    client: str = "127.0.0.1",
    block: bytes = b"",
    minor: int = 1,
    id: str = "a-1",  # noqa: A002
    upstream: str | None = None,
    attempts: int = 0,
    flag: str = "",
    detail: str = "",
    **given: Any,
) -> Told:
    """What is told of a GET of `target`; `given` is for what is no field of its exchange."""
    request = Request("GET", target, block)
    request.minor = minor
    request.peer = Peer(client)
    request.take_id(id)
    whole: Any = SimpleNamespace(
        request=request,
        binding=SimpleNamespace(path="/", name="reverse"),
        server=None if upstream is None else SimpleNamespace(name=upstream),
        attempts=attempts,
        flag=flag,
        detail=detail,
    )
    own = {"status": 200, "size": 0, "time": 0.0, "duration": 0.0, "seconds": NOTHING_SPENT, "parks": 0}
    return (whole, *{**own, **given}.values())  # type: ignore[return-value]
