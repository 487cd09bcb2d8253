"""What the proxy holds right now, as plain data: looked up when asked, at no cost before."""

from __future__ import annotations

from typing import Any

from asyncproxy.polling.flow import Exchange, Flow


def snapshot(flow: Flow, limit: int = 1000, after: str | None = None) -> dict[str, Any]:
    """Workers, stages, and at most `limit` parked exchanges that came after the one with the id `after`."""
    now = flow.seconds()
    waiting = sorted((exchange for exchange in flow.exchanges if exchange.parked is not None), key=_age)
    total = len(waiting)
    if after is not None:
        # Trusted clients may give one id to several: the last of them, or asking for what comes after would never end.
        start = max((_age(exchange) for exchange in waiting if exchange.request.id == after), default=_number(after))
        waiting = [exchange for exchange in waiting if _age(exchange) > start]
    return {
        "workers": flow.workers.statistics(),
        "stages": flow.stages(),
        "served": flow.served,
        "parked": [_row(exchange, now) for exchange in waiting[:limit]],
        "parked_total": total,
    }


def _row(exchange: Exchange, now: float) -> dict[str, Any]:
    parked = exchange.parked
    assert parked is not None
    request = exchange.request
    return {
        "id": request.id,
        "client": f"{request.peer.address}:{request.peer.port}",
        "method": request.method,
        "path": request.path,
        "module": exchange.binding.name,
        "waiting_for": parked.wait.describe(),
        "at": exchange.place(),
        "since_s": round(now - parked.since, 3),
        "deadline_s": None if parked.deadline is None else round(parked.deadline - now, 3),
    }


def _age(exchange: Exchange) -> int:
    return exchange.request.number


def _number(identity: str) -> int:
    """Of an id that was made here: the request may be gone when the next rows are asked for."""
    number = identity.rpartition("-")[2]
    return int(number) if number.isdecimal() and len(number) < 19 else 0
