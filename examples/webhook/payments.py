"""Payments: a bank is asked, and its answer comes by a webhook, minutes later; the client waits for one response."""

from __future__ import annotations

import hashlib
import hmac
import secrets

import msgspec

from asyncproxy import Duration, Module, Request, Response, TicketRefused, resume, ticket


class Payments(Module):
    """Asks `bank` for a payment and waits up to `patience` for what it says to `callback`."""

    bank: str
    callback: str
    patience: Duration = 600.0

    async def handle(self, request: Request) -> Response:
        """Start the job, wait for its end, answer with that."""
        try:
            amount = float(msgspec.json.decode(await request.read())["amount"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            return Response.text('say how much, as {"amount": 12.5}\n', 400)
        job = secrets.token_urlsafe(12)
        order = {"job": job, "amount": amount, "callback": self.callback}
        started = await request.fetch(self.bank, "POST", json=order)
        if started.status != 202:
            return Response.text(f"the bank says {started.status}\n", 502)
        event = await ticket(f"payment-{job}", timeout=self.patience)  # if it was faster than we are: it is remembered
        return Response.json({"job": job, "paid": event["paid"]})


class Webhook(Module):
    """What the bank calls, signed with `secret`; whoever waits for the job gets what it says."""

    secret: str

    async def handle(self, request: Request) -> Response:
        """Check who says it, then say it on."""
        body = await request.read()
        given = request.headers.get("x-signature") or ""
        if not hmac.compare_digest(signature(self.secret, body).encode(), given.encode("latin-1")):
            return Response.text("the signature is wrong\n", 403)
        event = msgspec.json.decode(body)
        try:
            await resume(f"payment-{event['job']}", event)
        except TicketRefused as refused:  # told twice, or nobody waits any more: to say it again would be no use
            return Response.text(f"{refused.state}: it changes nothing\n", 200)
        return Response(204)


def signature(secret: str, body: bytes) -> str:
    """What proves that `body` comes from whoever knows `secret`."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
