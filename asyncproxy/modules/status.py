"""The stock module `status`: what the proxy holds right now, for people and for programs; on the admin listener."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final

from asyncproxy import Module, Request, Response
from asyncproxy.modules.live import events
from asyncproxy.modules.live.files import FILES
from asyncproxy.modules.live.page import HEADERS, ROWS, page

DEFAULT_LIMIT = 1000
_NOT_STORED: Final = ("cache-control", "no-store")


class Status(Module):
    """``/status``, a page that lives by ``/status/events``; ``/status.json``, with ``?limit=`` rows of `parked` from
    ``?after=ID`` on; ``/metrics`` in Prometheus' text format; and ``/healthz``, 503 while the proxy drains.

    With `token` set, requests must carry ``Authorization: Bearer TOKEN``.
    """

    blocking = False
    token: str | None = None

    def handle(self, request: Request) -> Response:
        """Answer by path."""
        if not self._allowed(request):
            return Response.text(
                "401 Unauthorized: send Authorization: Bearer TOKEN\n", 401, [("www-authenticate", "Bearer")]
            )
        if request.method not in ("GET", "HEAD"):
            return Response.text("405 Method Not Allowed: the status is only read\n", 405, [("allow", "GET, HEAD")])
        if request.path in FILES:
            return FILES[request.path].answer(request)
        answer = PATHS.get(request.path)
        if answer is None:
            return Response.text(f"404 Not Found: there are {', '.join(PATHS)}\n", 404)
        return answer(self, request)

    def root(self, _request: Request) -> Response:
        """The page is what people look for."""
        return Response.redirect("/status")

    def page(self, _request: Request) -> Response:
        """For people."""
        return Response.html(page(self.proxy.overview(ROWS)), headers=HEADERS)

    def events(self, _request: Request) -> Response:
        """What has changed, as it changes: for the page."""
        if self.proxy.onlookers.full:
            return Response.text("503 Service Unavailable: too many look already; close a page\n", 503)
        return Response(200, events.HEADERS, events.events(self.proxy.onlookers))

    def status(self, request: Request) -> Response:
        """For programs."""
        limit_text = request.args.get("limit", [str(DEFAULT_LIMIT)])[-1]
        if not limit_text.isdecimal() or len(limit_text) > 9:
            return Response.text("400 Bad Request: limit is a number of rows\n", 400)
        after = request.args.get("after", [None])[-1]
        snapshot = self.proxy.snapshot(limit=int(limit_text), after=after)
        return Response.json(snapshot, headers=[_NOT_STORED])

    def metrics(self, _request: Request) -> Response:
        """For Prometheus."""
        fields = [("content-type", "text/plain; version=0.0.4; charset=utf-8"), _NOT_STORED]
        return Response(200, fields, self.proxy.metrics())

    def health(self, _request: Request) -> Response:
        """For whoever asks whether requests may be sent here."""
        if self.proxy.draining:
            return Response.text("draining\n", 503, headers=[_NOT_STORED])
        return Response.text("ok\n", headers=[_NOT_STORED])

    def _allowed(self, request: Request) -> bool:
        if self.token is None:
            return True
        said = request.headers.get("authorization") or ""
        return hmac.compare_digest(said.encode(), f"Bearer {self.token}".encode())


PATHS: Final[dict[str, Callable[[Status, Request], Response]]] = {
    "/": Status.root,
    "/status": Status.page,
    "/status/events": Status.events,
    "/status.json": Status.status,
    "/metrics": Status.metrics,
    "/healthz": Status.health,
}
"""What is served where."""
