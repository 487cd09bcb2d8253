"""Purchases above a limit wait until somebody has clicked "Approve"; what is approved of is what is bought."""

from __future__ import annotations

import hashlib

import msgspec
from twisted.logger import Logger

from asyncproxy import Duration, Module, Request, Response, ticket

_log = Logger()


class Order(msgspec.Struct):
    """What a client wants to buy."""

    item: str
    price: float


class Purchases(Module):
    """Forwards orders; one above `limit` waits up to `patience` until its link was clicked.

    The link is posted to `chat`, a URL that takes ``{"text": ...}`` as most chats do, or else written to the log.
    """

    whole_body = True
    limit: float = 100.0
    patience: Duration = 600.0
    chat: str | None = None

    async def handle(self, request: Request) -> Response:
        """Ask somebody if it is expensive, then forward it."""
        try:
            order = msgspec.json.decode(request.data, type=Order)
        except msgspec.DecodeError as why:
            return Response.text(f"this is no order: {why}\n", 400)
        if order.price > self.limit and not await self.approved(request, order):
            return Response.text(f"{order.item} was not approved\n", 403)
        return await request.forward()

    async def approved(self, request: Request, order: Order) -> bool:
        """Whether somebody says yes in time; silence is a no."""
        digest = hashlib.sha256(request.data).hexdigest()  # a yes to another order does not count
        answer = ticket(f"purchase-{request.id}", timeout=self.patience, default=False, bind=digest)
        ask = f"May we buy {order.item} for {order.price:.2f}?"
        url = request.ticket_url(answer, self.patience, ask=ask, bind=digest)
        if self.chat is not None:
            await request.fetch(self.chat, "POST", json={"text": f"{ask} {url}"})
        else:
            _log.info("{ask} {url}", ask=ask, url=url)
        return await answer is True
