"""What the proxy holds right now, as plain data: looked up when asked, at no cost before."""

from __future__ import annotations

import time
from typing import Any

from asyncproxy.polling.flow import Exchange, Flow
from asyncproxy.polling.operating import left_of


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
        **usage(flow),
    }


def usage(flow: Flow) -> dict[str, Any]:
    """What was used since the start: totals, for two looks to be compared.

    ``uptime_s``; ``worker_seconds`` that workers had turns, all of them added up; ``cpu_seconds`` of the process; and
    ``routes``, by label, those that have had requests.
    """
    rows = flow.books.tally.rows.values() if flow.books is not None else ()
    return {
        "uptime_s": flow.seconds() - flow.began,
        "worker_seconds": flow.workers.busy_seconds,
        "cpu_seconds": time.process_time(),
        "routes": {row.label: row.row() for row in rows},
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
        "deadline_s": left_of(exchange),
    }


def _age(exchange: Exchange) -> int:
    return exchange.request.number


def _number(identity: str) -> int:
    """Of an id that was made here: the request may be gone when the next rows are asked for."""
    number = identity.rpartition("-")[2]
    return int(number) if number.isdecimal() and len(number) < 19 else 0
