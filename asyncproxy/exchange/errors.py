"""Who broke the rule, client, module, upstream or we, and the status and words that say so.

Everything that can end an exchange early is one of these classes or is turned into a 500. The client is told the
status and a short reason; addresses, file names and tracebacks are for the log alone.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final


class ProxyError(Exception):
    """An exchange ends early for a reason that has a status and words of its own."""

    status = 500
    fields: list[tuple[bytes, bytes]] | None = None
    """Header fields that go with the answer, such as Allow."""
    detail = ""
    """For the log: the key of the limit or time-out that was reached, as ``limits.body``, or an upstream's `why`."""
    aside = ""
    """For the log alone: what the client has no business to read, as names and addresses of what is behind us."""

    def __init__(self, words: str = "", detail: str = "") -> None:
        super().__init__(words)
        self.words = words
        if detail:
            self.detail = detail

    def __str__(self) -> str:
        return f"{self.words}: {self.aside}" if self.aside else self.words


class ClientError(ProxyError):
    """The client broke a rule: `status` is 4xx, 501 or 505. Its connection closes after the reply."""

    def __init__(
        self, status: int, words: str, fields: list[tuple[bytes, bytes]] | None = None, detail: str = ""
    ) -> None:
        super().__init__(words, detail)
        self.status = status
        self.fields = fields


class ClientGone(ProxyError):
    """The client left while its request waited. Raised once at the await; nobody is left to read an answer."""

    status = 499

    def __init__(self, words: str = "the client closed its connection", detail: str = "") -> None:
        super().__init__(words, detail)


class ClientStalled(ClientGone):
    """The client took too little of its answer, so its connection was cut. Modules hear that it is gone."""


class Draining(ClientGone):
    """The proxy stops, and the request was not through in the time that `server.drain` gave it.

    A `ClientGone`, for what cleans up after one has the same to do. But the client is still there: uncaught, it gets
    503 with Retry-After.
    """

    status = 503

    def __init__(self, words: str = "the proxy is shutting down") -> None:
        super().__init__(words)


class Cancelled(ProxyError):
    """An operator cancelled the request while it was parked.

    Raised at the await; a `Park` hears it in its `gone`. Uncaught, the client gets `status`, which the operator chose
    from 400 to 599. `by` says who it was, as far as that is known; the client is not told.
    """

    def __init__(self, status: int = 503, by: str = "") -> None:
        super().__init__("an operator cancelled the request")
        self.status = status
        self.by = by


class ParkTimeout(ProxyError):
    """Nothing woke a parked request in time. Uncaught, the client gets 504."""

    status = 504

    def __init__(
        self, words: str = "what the request waited for did not come in time", detail: str = "", aside: str = ""
    ) -> None:
        super().__init__(words, detail)
        self.aside = aside


class TunnelIdle(ProxyError):
    """No byte went through a tunnel for too long: it is closed. Nobody is told but the log."""

    status = 504


class Overloaded(ProxyError):
    """A limit of ours is reached. Uncaught, the client gets 503 with Retry-After."""

    status = 503


class ModuleError(ProxyError):
    """A module broke its contract, for instance returned what is no response. The client gets 500."""


class UpstreamError(ProxyError):
    """A forward or fetch failed.

    `why` is one word, or two joined by a colon: ``refused``, ``reset``, ``bad``, ``unresolved``, ``full``, or
    ``timeout:connect``, ``timeout:send``, ``timeout:first-byte``, ``timeout:idle``, ``timeout:total``. Uncaught, the
    client gets 504 for a time-out, 503 for ``full``, else 502, with `words` and `why`. `server` names the server, and
    `aside` says what else is known, for the log alone.
    """

    def __init__(self, why: str, words: str, server: str = "", aside: str = "") -> None:
        super().__init__(words, why)
        self.aside = aside
        self.why = why
        self.server = server
        self.status = 504 if why.startswith("timeout") else 503 if why == "full" else 502

    def __str__(self) -> str:
        return f"{super().__str__()} ({self.why}{', ' + self.server if self.server else ''})"


def status_and_words(error: BaseException) -> tuple[int, str]:
    """The status of `error` and what its client may read; anything not ours is a bare 500."""
    if not isinstance(error, ProxyError):
        return 500, ""
    words = f"{error.words} ({error.why})" if isinstance(error, UpstreamError) else error.words
    return error.status, "" if isinstance(error, ModuleError) else words


_RENAMED: Final = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""By RFC 9110, in the place of what Python calls them before 3.13."""


def reason_phrase(status: int) -> str:
    """The registered reason phrase of `status` (RFC 9110 section 15), or an empty string."""
    if status in _RENAMED:
        return _RENAMED[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def error_text(status: int, words: str, request_id: str) -> bytes:
    """An error as text: the status and its reason phrase, then `words`, and the request's id in a line of its own."""
    line = f"{status} {reason_phrase(status)}"
    said = f"{line}: {words}\n" if words else f"{line}\n"
    return (f"{said}request {request_id}\n" if request_id else said).encode("utf-8", "replace")


def error_object(status: int, detail: str, request_id: str) -> bytes:
    """An error as JSON in one line."""
    title = reason_phrase(status)
    return json.dumps({"error": {"status": status, "title": title, "detail": detail, "request": request_id}}).encode()
