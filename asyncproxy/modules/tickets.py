"""The stock module `tickets`: the page behind a link that `request.ticket_url` makes. It shows what is asked, and a
button for each answer; a click settles the ticket.

The rule: who has the link may answer, so it is told to nobody else: no referrer, no cache, no search engine. Opening it
changes nothing, for programs that look at mail open links; only a POST does.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from asyncproxy import Module, Request, Response, TicketRefused
from asyncproxy.exchange.errors import ProxyError
from asyncproxy.exchange.units import duration_text

if TYPE_CHECKING:
    from asyncproxy.links import Link

FORM_LIMIT: Final = 4096
"""Bytes of what a button sends."""

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2330; --dim: #5b6575; --paper: #f5f6f8; --card: #fff; --line: #dfe3e9;
  --accent: #1f6f5c; --on-accent: #fff }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --dim: #97a2b2; --paper: #12161c; --card: #1b2129;
  --line: #2d3540; --accent: #5cc3a8; --on-accent: #10211c } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem; background: var(--paper);
  color: var(--ink); font: 1.05rem/1.5 system-ui, sans-serif }
main { width: min(32rem, 100%); padding: 2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .75rem }
h1 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 .75rem; overflow-wrap: anywhere; white-space: pre-line }
p { margin: 0 0 1.5rem; color: var(--dim); overflow-wrap: anywhere }
form { display: flex; flex-wrap: wrap; gap: .75rem }
button { flex: 1 1 8rem; min-height: 3rem; padding: .5rem 1rem; border: 1px solid var(--line); border-radius: .5rem;
  background: transparent; color: var(--ink); font: inherit; font-weight: 600; cursor: pointer;
  overflow-wrap: anywhere }
button:first-child { background: var(--accent); border-color: var(--accent); color: var(--on-accent) }
button:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
p:last-child { margin-bottom: 0 }
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS: Final = [
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-robots-tag", "noindex, nofollow"),
]
_OVER: Final = {"settled": "This was answered already.", "lapsed": "Nobody waits for this answer any more."}


class Tickets(Module):
    """GET shows what a link asks, with a button for each answer; POST gives the answer to the ticket, once."""

    blocking = False

    async def handle(self, request: Request) -> Response:
        """Answer by method; what is wrong with a link is told on a page."""
        try:
            link = self.proxy.links.read(request.path.removeprefix(request.route.path).strip("/"))
            if request.method == "POST":
                return await self._settle(request, link)
            if request.method in ("GET", "HEAD"):
                return await self._show(link)
        except ProxyError as error:
            return _page(_TITLES.get(error.status, "This did not work."), error.words, status=error.status)
        return Response.text("405 Method Not Allowed: open the link, and click\n", 405, [("allow", "GET, HEAD, POST")])

    async def _show(self, link: Link) -> Response:
        known = await self.proxy.ticket(link.ticket)
        if known["state"] in _OVER:
            return _page(_OVER[known["state"]], link.ask)
        return _page(link.ask or "Your answer is asked for.", "Your answer counts once.", form=_buttons(link))

    async def _settle(self, request: Request, link: Link) -> Response:
        label, value = _chosen(await _form(request), link)
        once = (link.mark, max(0.0, link.expires - self.proxy.links.wall()))
        by = f"a link opened at {request.client[0]}"
        try:
            receipt = await self.proxy.resume(link.ticket, value, bind=link.bind, by=by, once=once)
        except TicketRefused as refused:  # its words are for operators: they name requests
            words = _OVER.get(refused.state, "This link, or another one, was used already.")
            return _page(words, link.ask, status=refused.status)
        if receipt.for_s is not None:  # too early, or so late that nothing is known of who has waited
            kept = f"Your answer is kept for {duration_text(receipt.for_s)}, and counts if it is asked for by then."
            return _page(f"Nobody waits for this right now: {label}", kept, status=202)
        return _page(f"Thank you: {label}", link.ask)


_TITLES: Final = {404: "No such link.", 410: "Too late.", 400: "This was no answer."}


async def _form(request: Request) -> dict[str, list[str]]:
    body = b""
    async for piece in request.body:
        body += piece
        if len(body) > FORM_LIMIT:
            break
    return parse_qs(body[:FORM_LIMIT].decode("latin-1"))


def _chosen(form: dict[str, list[str]], link: Link) -> tuple[str, Any]:
    """The button that was clicked. Raises `ProxyError` for none."""
    text = form.get("choice", [""])[0]
    if not (text.isdecimal() and len(text) < 4 and int(text) < len(link.choices)):
        raise _NoAnswer("Open the link again and click one of its buttons.")
    return link.choices[int(text)]


class _NoAnswer(ProxyError):
    status = 400


def _buttons(link: Link) -> str:
    """A form without an action is sent to the page's own address."""
    labels = (escape(label) for label, _ in link.choices)
    buttons = "".join(f'<button name="choice" value="{index}">{label}</button>' for index, label in enumerate(labels))
    return f'<form method="post">{buttons}</form>'


def _page(title: str, words: str, *, form: str = "", status: int = 200) -> Response:
    said = f"<p>{escape(words)}</p>" if words else ""
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>{said}{form}</main></body></html>\n"
    )
    return Response.html(html, status, HEADERS)
