"""Requests, responses and their bodies as module code sees them.

The rule: what came from the wire is kept as received; text, paths and arguments are derived when asked for. A body
that is still on its way is a `Body`: taking a piece of it parks.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote

from asyncproxy.exchange.cookies import cookies_of
from asyncproxy.exchange.forwarding import FIELD_SLOTS, Fields
from asyncproxy.exchange.headers import NO_FIELDS, Headers, HeaderSource, RawHeaders
from asyncproxy.exchange.peers import Peer
from asyncproxy.exchange.waits import BodyPiece, Fetch, Forward

if TYPE_CHECKING:
    from asyncproxy.exchange.responses import Reply
    from asyncproxy.exchange.tickets import Ticket


class Body:
    """A body that arrives piece by piece: ``async for piece in body``, or ``await body.read()`` for all of it.

    Each takes what has come and parks when nothing has. A body can be read once.
    """

    __slots__ = ("message",)

    def __init__(self, message: Request | Reply) -> None:
        self.message = message

    def read(self) -> BodyPiece:
        """An awaitable of all that is left, as bytes."""
        return BodyPiece(self.message, whole=True)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await BodyPiece(self.message, whole=False)
        if not piece:
            raise StopAsyncIteration
        return piece


def in_print(text: str) -> str:
    r"""`text` with what does not print, or turns the order of what follows, written out: ``\n``, ``\u202e``."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


TARGET_SHOWN: Final = 500
"""Bytes of a target that a line of the program's log has; the access log has all of it."""
_NOBODY: Final = Peer()
_TARGET: Final = re.compile(rb"/[!\"$-~]*|\*")


class Request(Fields):
    """A client's request. Read it on any thread; its headers are read-only."""

    __slots__ = (
        *FIELD_SLOTS,
        "_derived",
        "_headers",
        "_trailers",
        "file",
        "keep_alive",
        "length",
        "mark",
        "method",
        "minor",
        "number",
        "onward",
        "peer",
        "route",
        "stream",
        "target",
    )

    def __init__(self, method: str, target: bytes, block: bytes | None = None) -> None:
        self.method = method
        """Such as ``"GET"``."""
        self.target = target
        """What the request line asks for: bytes, as received."""
        self.peer = _NOBODY
        self.minor = 1
        """Of the HTTP version, 1.`minor`."""
        self.keep_alive = True
        self.length: int | None = 0
        """Of the body: 0 for none, None for one that only its end tells."""
        self.stream: Any = b""
        """The polling thread's: the body as it arrives."""
        self.file: IO[bytes] | None = None
        """The polling thread's: the body once it is whole."""
        self.route: Any = None
        """The route that it took: ``route.path``, ``route.host``, ``route.upstream`` as configured."""
        self.number = 0
        self.mark = b""
        """The field that tells `id` to the upstream and to the client; empty if it is not told."""
        self._headers: Headers | None = None
        self._derived: dict[str, Any] | None = None
        self.onward: bytes | None = None
        """What follows the target in the head for an upstream, once it has been made."""
        if block is not None:
            self.sift(block)

    def again(self, target: bytes) -> Request:
        """Another request without a body whose head is this one's but for the target."""
        request = Request(self.method, target)
        request.block = self.block
        request.passed = self.passed
        request.host_value = self.host_value
        request.length_value = self.length_value
        request.noted = self.noted
        request.onward = self.onward
        return request

    def _once(self, name: str, derive: Callable[[], Any]) -> Any:
        """What `derive` gives, asked for once."""
        if self._derived is None:
            self._derived = {}
        if name not in self._derived:
            self._derived[name] = derive()
        return self._derived[name]

    @property
    def client(self) -> tuple[str, int]:
        """The client's address and port: those of its connection, or what a trusted peer in front of us says."""
        return self.peer.address, self.peer.port

    @property
    def scheme(self) -> str:
        """``"http"`` or ``"https"``, as the client spoke to us, or to a trusted peer in front of us."""
        return self.peer.scheme

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for 100 Continue before it sends its body (RFC 9110 section 10.1.1)."""
        return self.minor == 1 and b"100-continue" in self.noted.expect

    @property
    def id(self) -> str:
        """The request's name in logs, on the status page, to its upstream and to its client."""
        derived = self._derived
        return f"{self.peer.prefix}-{self.number}" if derived is None or "id" not in derived else derived["id"]

    def take_id(self, given: str) -> None:
        """Be called `given`, an id that a trusted client has chosen."""
        self._once("id", lambda: given)

    @property
    def headers(self) -> Headers:
        """The request's fields, read-only."""
        if self._headers is None:
            self._headers = Headers.received(self.raw_fields, frozen=True)
        return self._headers

    @property
    def trailers(self) -> Headers:
        """The fields that came behind a body in chunks, read-only; none before the body is through.

        Those that would change what the message means are not among them (RFC 9110 section 6.5.1).
        """
        return getattr(self, "_trailers", NO_FIELDS)

    def take_trailers(self, trailers: RawHeaders) -> None:
        """`trailers` have come."""
        self._trailers = Headers.received(trailers, frozen=True)

    @property
    def http_version(self) -> str:
        """``"1.1"`` or ``"1.0"``."""
        return f"1.{self.minor}"

    @property
    def path(self) -> str:
        """The target's path, percent-decoded, without the query."""
        return self._once("path", self._path)  # type: ignore[no-any-return]

    def _path(self) -> str:
        raw = self.target.partition(b"?")[0].decode("latin-1")
        if raw[:1] != "/" and "://" in raw[:8]:
            raw = "/" + raw.split("://", 1)[1].partition("/")[2]
        return unquote(raw) if "%" in raw else raw

    @property
    def query(self) -> str:
        """What follows the first ``?`` of the target, as it came."""
        return self.target.partition(b"?")[2].decode("latin-1")

    @property
    def args(self) -> dict[str, list[str]]:
        """The query's arguments, each a list of its values in order."""
        return self._once("args", lambda: parse_qs(self.query, keep_blank_values=True))  # type: ignore[no-any-return]

    @property
    def host(self) -> str:
        """The authority that the request is for: the target's or the Host field, an empty string if there is none."""
        return self.host_value.decode("latin-1").rstrip(" \t")

    @property
    def cookies(self) -> dict[str, str]:
        """The request's cookies; those that are malformed are left out."""
        return self._once("cookies", lambda: cookies_of(self.headers.getall("cookie")))  # type: ignore[no-any-return]

    @property
    def body(self) -> Body:
        """The body as it arrives, for an async module. Left alone, `forward` streams it."""
        return Body(self)

    def read(self) -> BodyPiece:
        """An awaitable of the whole body, or of what is left of it."""
        return BodyPiece(self, whole=True)

    @property
    def content(self) -> IO[bytes]:
        """The whole body as a file at its beginning, for a module whose `handle` is not async.

        Raises RuntimeError while the body is still arriving.
        """
        if self.file is None:
            if self.length != 0:
                raise RuntimeError("the body is still arriving: use await request.read() or async for in request.body")
            self.file = BytesIO()
        self.file.seek(0)
        return self.file

    @property
    def data(self) -> bytes:
        """The whole body as bytes, for a module whose `handle` is not async. Raises RuntimeError as `content`."""
        return self.content.read()

    def forward(
        self,
        upstream: str | None = None,
        *,
        target: str | bytes | None = None,
        headers: HeaderSource | None = None,
        timeout: float | None = None,
    ) -> Forward:
        """An awaitable of the upstream's `Reply`: its head has arrived, its body is still streaming.

        `upstream` is a name of the configuration or an ``http://`` URL, by default the route's; `target` replaces the
        request's own, `headers` all of its headers (hop-by-hop ones are left out either way, ours are added);
        `timeout` is seconds for the whole forward. Raises ValueError for a target that would break the request line and
        for a second Host, `UpstreamError` at the await.
        """
        raw_target = target.encode() if isinstance(target, str) else target
        if raw_target is not None and not _TARGET.fullmatch(raw_target):
            raise ValueError(f"forward(target={target!r}): write a path that begins with /, percent-encoded")
        fields = None if headers is None else Headers(headers)
        if fields is not None and len(fields.getall("host")) > 1:
            raise ValueError("forward(headers=...): servers choose among two Hosts as they like: write one, or none")
        return Forward(self, upstream, raw_target, None if fields is None else fields.raw, timeout)

    def fetch(
        self,
        url: str,
        method: str = "GET",
        *,
        headers: HeaderSource | None = None,
        data: Any = None,
        json: Any = None,
        timeout: float | None = None,
    ) -> Fetch:
        """An awaitable of a request of the module's own to any ``http`` or ``https`` URL, whole, as a `Fetched`.

        `data` is bytes, or a mapping that is sent as a form; `json` is sent as JSON; `timeout` is seconds for all of
        it. Raises `UpstreamError` at the await.
        """
        return Fetch(url, method, None if headers is None else Headers(headers), data, json, timeout)

    def ticket_url(
        self,
        ticket: str | Ticket,
        expires: float | str = 86400.0,
        *,
        ask: str = "",
        choices: Mapping[str, Any] | None = None,
        bind: str | None = None,
    ) -> str:
        """A signed URL that settles `ticket`, a name or a `ticket()`, once; whoever has it may.

        Opened, it shows `ask` and a button for each of `choices`, words and the value that they give: by default
        Approve, True, and Decline, False. It works for `expires` seconds, or such as ``"1h"``. `bind` is the digest
        that the ticket is bound to. Needs a route with the stock module ``tickets``: RuntimeError without; ValueError
        for what cannot be in a URL.
        """
        url: str = self.route.module.proxy.ticket_url(ticket, expires, ask=ask, choices=choices, bind=bind)
        return url

    @property
    def line(self) -> str:
        """What is asked for, and the id, in a line of a log: a target that would fill the log is cut short."""
        target = self.target[:TARGET_SHOWN].decode("latin-1")
        more = f"... of {len(self.target)} bytes" if len(self.target) > TARGET_SHOWN else ""
        return f"{self.method} {target}{more} ({self.id})"

    def __repr__(self) -> str:
        return f"<Request {self.line} from {self.client[0]}>"
