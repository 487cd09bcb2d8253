"""Stands for the bank: it takes a job at once, and calls back when it is done."""

from __future__ import annotations

from threading import Timer
from urllib.request import Request as Call
from urllib.request import urlopen

import msgspec

from asyncproxy import Duration, Module, Request, Response
from examples.webhook.payments import signature


class Bank(Module):
    """Takes `takes` for a payment, and refuses those above `limit`."""

    secret: str
    takes: Duration = 2.0
    limit: float = 1000.0

    def handle(self, request: Request) -> Response:
        """Promise to call back."""
        order = msgspec.json.decode(request.data)
        event = {"job": order["job"], "paid": order["amount"] <= self.limit}
        Timer(self.takes, self.call_back, (order["callback"], msgspec.json.encode(event))).start()
        return Response.json({"job": order["job"]}, 202)

    def call_back(self, url: str, body: bytes) -> None:
        """Tell how it went; on a thread of its own."""
        headers = {"content-type": "application/json", "x-signature": signature(self.secret, body)}
        with urlopen(Call(url, body, headers), timeout=10):
            pass
