"""The stock module `status`: what the proxy holds right now, for people and for programs; on the admin listener."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from asyncproxy import Module, Request, Response
from asyncproxy.modules import admin_calls
from asyncproxy.modules.admin_guard import NotAllowed, check_origin, check_type
from asyncproxy.modules.admin_login import Sessions, login_page
from asyncproxy.modules.live import events
from asyncproxy.modules.live.files import FILES
from asyncproxy.modules.live.page import HEADERS, ROWS, page

DEFAULT_LIMIT = 1000
_NOT_STORED: Final = ("cache-control", "no-store")
_PEOPLE: Final = ("/", "/status", "/login")
"""Where somebody without a token is asked for it in a form."""


class Status(Module):
    """``/status``, a page that lives by ``/status/events``; ``/status.json``, with ``?limit=`` rows of `parked` from
    ``?after=ID`` on; ``/metrics`` in Prometheus' text format; and ``/healthz``, 503 while the proxy drains.

    With `token` set, requests must carry ``Authorization: Bearer TOKEN``, or the cookie that ``/login`` gives for it.
    With `operate`, as on the admin listener, there are also the calls of `admin_calls`, for requests whose Host is the
    admin listener's own or one of `hosts`; over a ``unix:`` socket any will do.
    """

    blocking = False
    whole_body = False
    stays = False
    """Whether a drain does not wait for it: it is the admin listener's."""
    token: str | None = None
    hosts: list[str] = []
    operate: bool = False

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._sessions = Sessions(self.token) if self.token is not None else None

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """Answer by path."""
        call = admin_calls.find(request) if self.operate else None
        if self._sessions is not None:
            if request.path == "/login" and request.method == "POST":
                return self._login(request, self._sessions)
            if not self._sessions.allowed(request):
                return self._unknown(request, call)
        if call is not None:
            return admin_calls.answer(self, request, call)
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
        return Response.html(page(self.proxy.overview(ROWS), operate=self.operate), headers=HEADERS)

    def events(self, request: Request) -> Response:
        """What has changed, as it changes: for the page."""
        try:
            check_origin(request)  # pages of other sites cannot read it, but could take all places
        except NotAllowed as why:
            return admin_calls.failed(why.status, why.words)
        if self.proxy.onlookers.full:
            return Response.text("503 Service Unavailable: too many look already; close a page\n", 503)
        return Response(200, events.HEADERS, events.events(self.proxy.onlookers, self._over))

    def _over(self) -> bool:
        """Whether onlookers have to go: a drain waits for them, but not for those of the admin listener."""
        return self.proxy.draining and not self.stays

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

    async def _login(self, request: Request, sessions: Sessions) -> Response:
        """A form with the token, from our own page."""
        try:
            check_origin(request)
            check_type(request, "application/x-www-form-urlencoded")
            form = await admin_calls.body_of(request)
        except NotAllowed as why:
            return admin_calls.failed(why.status, why.words)
        return sessions.enter(request, form)

    def _unknown(self, request: Request, call: tuple[admin_calls.Call, str] | None) -> Response:
        """Whoever has not shown the token."""
        if request.method in ("GET", "HEAD") and request.path in _PEOPLE:
            return login_page()
        words = "send Authorization: Bearer TOKEN"
        if call is not None:
            admin_calls.audit(admin_calls.who(request), call[0].what, call[1], "refused, 401")
            return admin_calls.failed(401, words, [("www-authenticate", "Bearer")])
        return Response.text(f"401 Unauthorized: {words}\n", 401, [("www-authenticate", "Bearer")])


PATHS: Final[dict[str, Callable[[Status, Request], Response]]] = {
    "/": Status.root,
    "/status": Status.page,
    "/status/events": Status.events,
    "/status.json": Status.status,
    "/metrics": Status.metrics,
    "/healthz": Status.health,
}
"""What is served where."""
