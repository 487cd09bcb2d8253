"""What the proxy asks servers for, forwards and fetches alike, and how a test answers."""

from __future__ import annotations

import json as _json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import SplitResult, urlencode, urlsplit

from twisted.internet.defer import Deferred

from asyncproxy.exchange.errors import UpstreamError, reason_phrase
from asyncproxy.exchange.framing import LAST_CHUNK, chunk
from asyncproxy.exchange.headers import Headers, HeaderSource
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.responses import Fetched
from asyncproxy.exchange.waits import Fetch
from asyncproxy.testing.clock import Clock
from asyncproxy.testing.network import FakeUpstream
from asyncproxy.testing.stepping import PollingRound

FAILURES: Final = {
    "refused": "the upstream refused the connection",
    "reset": "the upstream closed the connection before its reply was whole",
    "bad": "the upstream's reply is malformed",
    "unresolved": "the upstream's name has no address",
    "full": "the upstream has no free connection and a full line",
    "timeout:connect": "no connection to the upstream in time",
    "timeout:first-byte": "the upstream did not begin its reply in time",
    "timeout:idle": "the upstream fell silent in its reply",
    "timeout:total": "the upstream took too long",
}
"""What a `fail` may be told, and the words of the `UpstreamError` that the module sees."""
_PORTS: Final = {"http": 80, "https": 443}
Body = bytes | str | Iterable[bytes]


class UpstreamRequest:
    """A request that a server was asked, by a forward or a fetch. `target` is bytes, `url` the whole of it as text."""

    def __init__(self, polling: PollingRound, method: str, target: bytes, url: str) -> None:
        self.polling = polling
        self.method = method
        self.target = target
        self.url = url
        self.server = url
        """Who an `UpstreamError` says it was."""
        self.body = b""
        """The request's body, as far as it has come."""
        self.whole = True
        """Whether all of the body has come."""
        self.state = "waiting"
        """``waiting``, ``begun``, ``answered`` or ``failed``, by the test's own doing."""
        self.then: Callable[[], None] = _nothing

    @property
    def headers(self) -> Headers:
        """The request's fields, read-only for a forward."""
        raise AssertionError("a subclass has them")

    @property
    def path(self) -> str:
        """The target without its query, as text."""
        return self.target.partition(b"?")[0].decode("latin-1")

    def json(self) -> Any:
        """The request's body as JSON. Raises ValueError if it is none."""
        return _json.loads(self.body)

    @property
    def cancelled(self) -> bool:
        """Whether the proxy gave it up before it was answered: the client left, or time ran out."""
        raise AssertionError("a subclass knows")

    @property
    def waiting(self) -> bool:
        """Whether somebody still waits for an answer."""
        return self.state == "waiting" and not self.cancelled

    # The server's side.

    def answer(self, status: int = 200, headers: HeaderSource = (), body: Body = b"", *, json: Any = None) -> None:
        """Answer with a whole response. A `body` of several pieces arrives in pieces."""
        self._expect("waiting")
        fields = Headers(headers)
        if json is not None:
            body = _json.dumps(json)
            if "content-type" not in fields:
                fields.add("Content-Type", "application/json")
        data = body.encode() if isinstance(body, str) else body
        if isinstance(data, (bytes, bytearray)):
            self._answer(status, fields, bytes(data))
            self.then()
        else:
            self.begin(status, fields)
            for piece in data:
                self.send(piece)
            self.end()

    def begin(self, status: int = 200, headers: HeaderSource = (), *, length: int | None = None) -> None:
        """Send a response's head; its body follows by `send`, then `end`. Without a `length` it is chunked."""
        self._expect("waiting")
        self.state = "begun"
        self._begin(status, Headers(headers), length)
        self.then()

    def send(self, data: bytes) -> None:
        """Send a piece of the body."""
        self._expect("begun")
        self._send(data)
        self.then()

    def end(self) -> None:
        """The body is complete."""
        self._expect("begun")
        self.state = "answered"
        self._end()
        self.then()

    def fail(self, why: str | BaseException | type[BaseException]) -> None:
        """Let it fail: with the `UpstreamError` of that `why` (a key of `FAILURES`), or with an exception of yours.

        After `begin` the body is cut.
        """
        error = failure(why, self.server)
        if self.state != "begun":
            self._expect("waiting")
        self.state = "failed"
        self._fail(error)
        self.then()

    def switch(self, headers: HeaderSource = (), data: bytes = b"") -> None:
        """Answer 101, with the protocol that is offered first, and `data` behind it: for a forward with an Upgrade.

        Then `send` goes through the tunnel, `end` ends the server's side, and `body` is what has come through it.
        """
        self._expect("waiting")
        self._switch(Headers(headers), data)
        self.state = "begun"
        self.then()

    def _expect(self, state: str) -> None:
        """Raise AssertionError if it is not in `state`, or nobody waits for what comes next."""
        assert not self.cancelled, f"{self!r}: nobody waits for it any more"
        mend = "begin() comes before send() and end()" if state == "begun" else "it is answered once"
        assert self.state == state, f"{self!r}: {mend}"

    def matches(self, name: str) -> bool:
        """Whether it went to the upstream `name`, or to that URL or below it."""
        return ":" in name and _is_below(self.url, name)

    def _answer(self, status: int, fields: Headers, body: bytes) -> None:
        raise AssertionError("a subclass answers")

    def _begin(self, status: int, fields: Headers, length: int | None) -> None:
        raise AssertionError("a subclass begins")

    def _switch(self, fields: Headers, data: bytes) -> None:
        raise AssertionError(f"{self!r}: only a forward can switch protocols")

    def _send(self, data: bytes) -> None:
        raise AssertionError("a subclass sends")

    def _end(self) -> None:
        raise AssertionError("a subclass ends")

    def _fail(self, error: BaseException) -> None:
        raise AssertionError("a subclass fails")

    def __repr__(self) -> str:
        state = "given up" if self.state == "waiting" and self.cancelled else self.state
        return f"<{self.method} {self.url}: {state}{'' if self.whole else ', its body still coming'}>"


class Forwarded(UpstreamRequest):
    """A forward, as it came over a connection."""

    def __init__(self, connection: FakeUpstream, request: Request, groups: Mapping[Any, Any]) -> None:
        wire = connection.wire
        assert wire is not None
        self.connection = connection
        self.wire = wire
        self._groups = groups
        self._pool = wire.protocol.pool
        self._chunked = False
        self.switched = False
        """Whether the connection is a tunnel's."""
        self._missing: int | None = None
        """Bytes of a body, whose length was told, that are still to be sent."""
        url = f"{self._pool.origin}{request.target.decode('latin-1')}"
        self._request = request
        super().__init__(wire.polling, request.method, request.target, url)
        self.server = str(self._pool)

    @property
    def headers(self) -> Headers:
        """The request's fields, read-only."""
        return self._request.headers

    @property
    def cancelled(self) -> bool:
        """Whether the proxy has closed the connection it came over."""
        return not self.wire.open and self.state in ("waiting", "begun") and self._missing != 0

    def matches(self, name: str) -> bool:
        """Whether it went to a server of the group `name`, or to that URL or below it."""
        group = self._groups.get(name)
        return (group is not None and self._pool in group.pools) or super().matches(name)

    def _answer(self, status: int, fields: Headers, body: bytes) -> None:
        self.state = "answered"
        told = "content-length" in fields or "transfer-encoding" in fields
        if not told and status >= 200 and status not in (204, 304):
            fields.add("Content-Length", str(len(body)))
        self._arrive(_head(status, fields) + (b"" if self.method == "HEAD" or status in (204, 304) else body))

    def _begin(self, status: int, fields: Headers, length: int | None) -> None:
        self._missing = length
        self._chunked = length is None
        if self._chunked:
            fields.add("Transfer-Encoding", "chunked")
        else:
            fields.add("Content-Length", str(length))
        self._arrive(_head(status, fields))

    def _switch(self, fields: Headers, data: bytes) -> None:
        offer = self.headers.get("upgrade")
        assert offer is not None, f"{self!r}: it offers no other protocol"
        self.switched = True
        fields.add("Connection", "Upgrade")
        fields.add("Upgrade", offer.partition(",")[0])
        self._arrive(_head(101, fields) + data)

    def _send(self, data: bytes) -> None:
        if self._missing is not None:
            self._missing -= len(data)
        self._arrive(chunk(data) if self._chunked else data)

    def _end(self) -> None:
        if self._chunked:
            self._arrive(LAST_CHUNK)
        elif self.switched:
            self.polling.happen(self.wire, self.wire.hang_up)

    def _arrive(self, data: bytes) -> None:
        self.polling.happen(self.wire, self.wire.arrive, data)

    def _fail(self, error: BaseException) -> None:
        self.polling.happen(self.wire, self._break, error)

    def _break(self, error: Exception) -> None:
        """End the forward where its connection would: whoever waits for the head, or takes the body, hears of it."""
        connection = self.wire.protocol
        forwarding, stream = connection.forwarding, connection.stream
        connection.abort()
        if forwarding is None:
            return
        if stream is None:
            forwarding.lost(error)
        else:
            forwarding.finished()
            stream.fail(error)


class FetchSent(UpstreamRequest):
    """A fetch of a module's own."""

    def __init__(self, polling: PollingRound, clock: Clock, fetch: Fetch) -> None:
        parts = urlsplit(fetch.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        super().__init__(polling, fetch.method, target.encode(), fetch.url)
        self.name = f"fetch {fetch.url}"
        self._headers = Headers(fetch.headers or ())
        self.body = _fetch_body(fetch, self._headers)
        self.deferred: Deferred[Fetched] = Deferred(self._called_off)
        self._cancelled = False
        self._timer = None if fetch.timeout is None else clock.callLater(fetch.timeout, self._late, fetch.timeout)
        self._fetched = Fetched(200, Headers(), b"")

    def matches(self, name: str) -> bool:
        """Whether it went to that host, or to that URL or below it."""
        return name == urlsplit(self.url).hostname or super().matches(name)

    @property
    def headers(self) -> Headers:
        """The request's fields, but for those that treq adds by itself."""
        return self._headers

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._cancelled

    def _called_off(self, _deferred: Any) -> None:
        self._cancelled = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _late(self, seconds: float) -> None:
        self._cancelled = True
        self.deferred.errback(UpstreamError("timeout:total", f"no answer within {seconds:g} s", self.url))

    def _answer(self, status: int, fields: Headers, body: bytes) -> None:
        self._begin(status, fields, None)
        self._send(body)
        self.state = "answered"
        self._end()

    def _begin(self, status: int, fields: Headers, length: int | None) -> None:
        self._fetched = Fetched(status, fields, b"")

    def _send(self, data: bytes) -> None:
        self._fetched.content += data

    def _end(self) -> None:
        self.polling.happen(self, self._tell, self._fetched)

    def _fail(self, error: BaseException) -> None:
        self.polling.happen(self, self._tell, error)

    def _tell(self, result: Any) -> None:
        if self._cancelled:
            return
        if self._timer is not None:
            self._timer.cancel()
        self.deferred.errback(result) if isinstance(result, BaseException) else self.deferred.callback(result)


def failure(why: str | BaseException | type[BaseException], server: str) -> BaseException:
    """The exception that `why` means. Raises ValueError for a word that is none of `FAILURES`."""
    if isinstance(why, BaseException):
        return why
    if isinstance(why, type):
        return why()
    if why not in FAILURES:
        raise ValueError(f"fail({why!r}): write one of {', '.join(FAILURES)}, or give an exception")
    return UpstreamError(why, FAILURES[why], server)


def _head(status: int, fields: Headers) -> bytes:
    block = b"".join(b"%b: %b\r\n" % field for field in fields.raw)
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason_phrase(status).encode(), block)


def _fetch_body(fetch: Fetch, headers: Headers) -> bytes:
    """The bytes of a fetch's body, as treq would send them."""
    data = fetch.data
    if fetch.json is not None:
        kind, body = "application/json; charset=UTF-8", _json.dumps(fetch.json, separators=(",", ":")).encode()
    elif isinstance(data, (Mapping, list, tuple)):
        kind, body = "application/x-www-form-urlencoded", urlencode(data, doseq=True).encode()
    elif data is None or isinstance(data, (bytes, bytearray)):
        return bytes(data or b"")
    else:
        return data.encode() if isinstance(data, str) else bytes(data.read())
    if "content-type" not in headers:
        headers.add("Content-Type", kind)
    return body


def _is_below(url: str, base: str) -> bool:
    """Whether `url` is `base` or below it: the same server, and a path that goes on where that of `base` ends."""
    ours, theirs = urlsplit(url), urlsplit(base)
    if _server(ours) != _server(theirs) or (theirs.query and theirs.query != ours.query):
        return False
    prefix = theirs.path.rstrip("/")
    return ours.path == theirs.path or not prefix or ours.path == prefix or ours.path.startswith(prefix + "/")


def _server(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme.lower(), (parts.hostname or ""), parts.port or _PORTS.get(parts.scheme.lower())


def _nothing() -> None:
    """Nobody steps what comes of it."""
