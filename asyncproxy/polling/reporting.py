"""What the proxy holds right now, as plain data: looked up when asked, at no cost before."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from asyncproxy.polling.flow import Exchange, Flow
from asyncproxy.polling.operating import left_of
from asyncproxy.polling.tunnel import Tunnel


def snapshot(flow: Flow, limit: int = 1000, after: str | None = None) -> dict[str, Any]:
    """Workers, stages, and of parked exchanges and of tunnels at most `limit` that came after the id `after`."""
    now = flow.seconds()
    waiting = sorted((exchange for exchange in flow.exchanges if exchange.parked is not None), key=_age)
    tunnels = {tunnel.exchange: tunnel for tunnel in flow.tunnels.open if tunnel.exchange is not None}
    return {
        "workers": flow.workers.statistics(),
        "stages": flow.stages(),
        "served": flow.served,
        "parked": [_row(exchange, now) for exchange in _page(waiting, limit, after)],
        "parked_total": len(waiting),
        "tunnels": [_tunnel_row(one, tunnels[one], now) for one in _page(sorted(tunnels, key=_age), limit, after)],
        "tunnelled": flow.tunnels.statistics(),
        **usage(flow),
    }


def _page(exchanges: Sequence[Exchange], limit: int, after: str | None) -> Sequence[Exchange]:
    """At most `limit` of `exchanges`, which are in order, from the one on that comes after the id `after`."""
    if after is not None:
        # Trusted clients may give one id to several: the last of them, or asking for what comes after would never end.
        start = max((_age(exchange) for exchange in exchanges if exchange.request.id == after), default=_number(after))
        exchanges = [exchange for exchange in exchanges if _age(exchange) > start]
    return exchanges[:limit]


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
    return {
        **_whose(exchange),
        "waiting_for": parked.wait.describe(),
        "at": exchange.place(),
        "since_s": round(now - parked.since, 3),
        "deadline_s": left_of(exchange),
    }


def _tunnel_row(exchange: Exchange, tunnel: Tunnel, now: float) -> dict[str, Any]:
    """With the keys of a row of what is parked, so that one table can have both."""
    left = tunnel.heard + tunnel.patience - now
    return {
        **_whose(exchange),
        "waiting_for": f"tunnel of {tunnel.protocol.decode('ascii')}",
        "at": "",
        "since_s": round(now - exchange.trail[-1], 3),
        "deadline_s": round(left, 3) if math.isfinite(left) else None,
        "upstream": exchange.server.name,
        **tunnel.statistics(),
        "idle_s": round(now - tunnel.heard, 3),
    }


def _whose(exchange: Exchange) -> dict[str, Any]:
    request = exchange.request
    return {
        "id": request.id,
        "client": f"{request.peer.address}:{request.peer.port}",
        "method": request.method,
        "path": request.path,
        "module": exchange.binding.name,
    }


def _age(exchange: Exchange) -> int:
    return exchange.request.number


def _number(identity: str) -> int:
    """Of an id that was made here: the request may be gone when the next rows are asked for."""
    number = identity.rpartition("-")[2]
    return int(number) if number.isdecimal() and len(number) < 19 else 0
