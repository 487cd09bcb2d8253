"""Responses as module code sees and makes them: its own, an upstream's reply, and what a fetch brought.

The rule is that of `messages`: what came from the wire is kept as received, and read when asked for.
"""

from __future__ import annotations

import json as _json
from collections.abc import AsyncIterable, Iterable
from typing import Any

from asyncproxy.exchange.forwarding import FIELD_SLOTS, Fields
from asyncproxy.exchange.headers import NO_FIELDS, Headers, HeaderSource, RawHeaders, encode_field
from asyncproxy.exchange.messages import Body
from asyncproxy.exchange.waits import BodyPiece

ResponseBody = bytes | str | Iterable[bytes | str] | AsyncIterable[bytes | str]


class Response:
    """An answer: status, headers and a body.

    The body is bytes, str (sent as UTF-8), an iterable (pulled on a worker, one piece at a time as the client takes
    them) or an async iterable (which may park between pieces). Of the first two the length is told to the client.
    `headers` are `Headers`, a mapping, or pairs. Made on any thread. Raises ValueError for a status that is none of
    200 to 599, and for headers that cannot be sent.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int = 200, headers: HeaderSource = (), body: ResponseBody = b"") -> None:
        if not 200 <= status <= 599:
            raise ValueError(f"status {status!r} is no final status: use 200 to 599")
        self.status = status
        """200 to 599; a client of a response with another is told 500."""
        self.headers = Headers(headers)
        """Change them as you like."""
        self.body = body
        """Replace it as you like."""

    @classmethod
    def text(cls, text: str, status: int = 200, headers: HeaderSource = ()) -> Response:
        """Plain text."""
        return cls._typed("text/plain; charset=utf-8", text.encode(), status, headers)

    @classmethod
    def html(cls, html: str, status: int = 200, headers: HeaderSource = ()) -> Response:
        """An HTML page."""
        return cls._typed("text/html; charset=utf-8", html.encode(), status, headers)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: HeaderSource = ()) -> Response:
        """`value` as JSON. Raises TypeError for what JSON cannot hold."""
        return cls._typed("application/json", _json.dumps(value).encode(), status, headers)

    @classmethod
    def redirect(cls, url: str, status: int = 302, headers: HeaderSource = ()) -> Response:
        """Sends the client to `url`."""
        response = cls(status, headers)
        response.headers["location"] = url
        return response

    @classmethod
    def _typed(cls, kind: str, body: bytes, status: int, headers: HeaderSource) -> Response:
        response = cls(status, headers, body)
        if "content-type" not in response.headers:
            response.headers.raw.append(encode_field("content-type", kind))
        return response

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status}>"


class Reply(Response, Fields):
    """An upstream's answer to a forward, its body still on its way.

    Return it, changed or not, and the body is relayed as it arrives with no worker held; or read it with
    ``await reply.read()`` or ``async for piece in reply.body``. Assigning `body` replaces it and lets the upstream go.
    """

    __slots__ = (
        *FIELD_SLOTS,
        "bodiless",
        "keep_alive",
        "length",
        "minor",
        "onward",
        "own_body",
        "own_headers",
        "stream",
        "_trailers",
    )

    def __init__(self, status: int, block: bytes | None = None) -> None:
        self.status = status
        self.minor = 1
        self.keep_alive = True
        self.length: int | None = None
        """Of the body as the upstream tells it; None when only the framing tells where it ends."""
        self.bodiless = False
        """Whether no body follows, whatever length is told (RFC 9110 section 6.4.1)."""
        self.stream: Any = b""
        """The polling thread's: the body as it arrives, or bytes if it came with the head."""
        self.own_headers: Headers | None = None
        """The fields, once a module has looked at them and so may have changed them."""
        self.onward = b""
        """The block that goes on, Via with it, once it has been made; see `polling.signature`."""
        self.own_body: ResponseBody | None = None
        """What a module put in the place of the upstream's body."""
        if block is not None:
            self.sift(block)

    @property
    def trailers(self) -> Headers:
        """The fields that came behind a body in chunks, read-only; none before the body is through."""
        return getattr(self, "_trailers", NO_FIELDS)

    def take_trailers(self, trailers: RawHeaders) -> None:
        """`trailers` have come."""
        self._trailers = Headers.received(trailers, frozen=True)

    def again(self) -> Reply:
        """Another reply with the same head, its body's length told."""
        reply = Reply(self.status)
        reply.length = self.length
        reply.block = self.block
        reply.passed = self.passed
        reply.host_value = self.host_value
        reply.length_value = self.length_value
        reply.noted = self.noted
        reply.onward = self.onward
        return reply

    def passing(self, block: bytes) -> Reply:
        """This reply, on its way, with `block` as what is passed on of its fields; its server's may come again."""
        reply = self.again()
        reply.minor, reply.keep_alive, reply.bodiless = self.minor, self.keep_alive, self.bodiless
        reply.stream, reply._trailers = self.stream, self.trailers
        reply.passed, reply.onward = block, b""
        return reply

    @property
    def headers(self) -> Headers:  # type: ignore[override]
        """The reply's fields; change them as you like."""
        if self.own_headers is None:
            self.own_headers = Headers.received(self.raw_fields)
        return self.own_headers

    @property
    def body(self) -> ResponseBody:
        """The body as it arrives, or what it was replaced by."""
        return Body(self) if self.own_body is None else self.own_body

    @body.setter
    def body(self, body: ResponseBody) -> None:
        self.own_body = body

    @property
    def ends_by_close(self) -> bool:
        """Whether the body lasts until the upstream's connection ends."""
        return self.length is None and not self.noted.transfer and not self.bodiless

    def read(self) -> BodyPiece:
        """An awaitable of the whole body, or of what is left of it."""
        return BodyPiece(self, whole=True)


class Rendered(Reply):
    """What a twisted.web Resource answers, its body on its way as an upstream's would be.

    It was made here and passed through nobody, so it is told without a Via.
    """

    __slots__ = ()


class Fetched:
    """The answer to `Request.fetch`, whole."""

    __slots__ = ("content", "headers", "status")

    def __init__(self, status: int, headers: Headers, content: bytes) -> None:
        self.status = status
        """Any: 404 and 500 are answers too, and raise nothing."""
        self.headers = headers
        """The answer's fields."""
        self.content = content
        """The body, as bytes."""

    def text(self, encoding: str = "utf-8") -> str:
        """The body as text; what cannot be decoded is replaced."""
        return self.content.decode(encoding, "replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError if it is none."""
        return _json.loads(self.content)

    def __repr__(self) -> str:
        return f"<Fetched {self.status}, {len(self.content)} bytes>"
