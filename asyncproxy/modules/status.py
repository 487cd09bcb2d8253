"""The stock module `status`: what the proxy holds right now, as JSON; served on the admin listener."""

from __future__ import annotations

import hmac

from asyncproxy import Module, Request, Response

DEFAULT_LIMIT = 1000


class Status(Module):
    """``/status.json``, with ``?limit=`` rows of `parked` from ``?after=ID`` on, and ``/healthz``: 503 while draining.

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
        if request.path == "/healthz":
            return Response.text("draining\n", 503) if self.proxy.draining else Response.text("ok\n")
        if request.path == "/status.json":
            return self._status(request)
        return Response.text("404 Not Found: there are /status.json and /healthz\n", 404)

    def _status(self, request: Request) -> Response:
        limit_text = request.args.get("limit", [str(DEFAULT_LIMIT)])[-1]
        if not limit_text.isdecimal() or len(limit_text) > 9:
            return Response.text("400 Bad Request: limit is a number of rows\n", 400)
        after = request.args.get("after", [None])[-1]
        snapshot = self.proxy.snapshot(limit=int(limit_text), after=after)
        return Response.json(snapshot, headers=[("cache-control", "no-store")])

    def _allowed(self, request: Request) -> bool:
        if self.token is None:
            return True
        said = request.headers.get("authorization") or ""
        return hmac.compare_digest(said.encode(), f"Bearer {self.token}".encode())
