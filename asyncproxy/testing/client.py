"""A request of a lab's client, and what has come of it."""

from __future__ import annotations

import json as _json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from asyncproxy.exchange.framing import LAST_CHUNK, UntilClose, chunk
from asyncproxy.exchange.headers import Headers, HeaderSource
from asyncproxy.exchange.responses import Reply
from asyncproxy.exchange.upgrading import SWITCHING
from asyncproxy.polling.flow import Exchange
from asyncproxy.polling.http1 import Framing, parse_reply, reply_framing
from asyncproxy.polling.tunnel import End
from asyncproxy.testing.house import FakeClient

HOST: Final = "lab.test"
"""The Host of requests that name none."""
_UNQUOTED: Final = "%/:?#[]@!$&'()*+,;=~"

Data = bytes | str | Mapping[str, Any] | Iterable[bytes] | None


class ClientRequest:
    """One request of a client, on a connection of its own, and what has come of it so far.

    Looking at it lets the lab settle first. While nothing has been answered `status` is None.
    """

    def __init__(
        self, client: FakeClient, method: str, target: str, look: Callable[[], None], then: Callable[[], None]
    ) -> None:
        """`look` is called before anything is looked at, `then` after the client has done something."""
        self.method = method
        self.target = target
        self.client = client
        """The connection, for what is sent and received byte by byte."""
        self.seed: int | None = None
        """The lab's, for the repr."""
        self.left = False
        """Whether the client has left: `Lab.disconnect`."""
        self.chunked = False
        """Whether `send` sends chunks."""
        self._lets_settle = look
        self._then = then
        self._at = 0
        self._head: Reply | None = None
        self._framing: Framing | None = None
        self._body = bytearray()

    # What came back.

    @property
    def status(self) -> int | None:
        """The response's status; None while there is none."""
        head = self._look()._head
        return None if head is None else head.status

    @property
    def headers(self) -> Headers:
        """The response's fields; none while there is no response."""
        head = self._look()._head
        return Headers() if head is None else head.headers

    @property
    def body(self) -> bytes:
        """The response's body, as far as it has come."""
        return bytes(self._look()._body)

    @property
    def text(self) -> str:
        """`body` as text; what is not UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """`body` as JSON. Raises ValueError if it is none."""
        return _json.loads(self.body)

    @property
    def answered(self) -> bool:
        """Whether the response has begun: its head is there."""
        return self._look()._head is not None

    @property
    def done(self) -> bool:
        """Whether nothing more will come: the response is whole, or cut, or the client has left."""
        self._look()
        return self._whole or not self.client.wire.open

    @property
    def cut(self) -> bool:
        """Whether the proxy closed the connection before the response was whole."""
        self._look()
        return not self._whole and not self.left and self.client.closed

    @property
    def error(self) -> BaseException | None:
        """What the module raised and did not catch, as the proxy's log has it."""
        self._look()
        return self.client.house.failures.get(self.client.wire.peer[1])

    @property
    def exchange(self) -> Exchange | None:
        """The proxy's side of it, while it lasts."""
        protocol = self.client.wire.protocol
        return protocol.tunnel.exchange if isinstance(protocol, End) else protocol.exchange

    @property
    def _whole(self) -> bool:
        framing = self._framing
        if framing is None:
            return False
        wire = self.client.wire
        return framing.done or (isinstance(framing, UntilClose) and self.client.closed and not wire.aborted)

    def _look(self) -> ClientRequest:
        self._lets_settle()
        self._read()
        return self

    def _read(self) -> None:
        out = self.client.wire.out
        if self._framing is None:
            self._read_head(out)
        if self._framing is not None and self._at < len(out):
            data = bytes(out[self._at :])
            self._at = len(out)
            self._body += self._framing.feed(data)

    def _read_head(self, out: bytearray) -> None:
        while (end := out.find(b"\r\n\r\n", self._at) + 4) >= 4:
            head = parse_reply(bytes(out[self._at : end]), self.method)
            self._at = end
            if head.status >= 200 or head.status == SWITCHING:
                self._head = head
                self._framing = UntilClose() if head.status == SWITCHING else reply_framing(head)
                return

    # What else the client does.

    def send(self, data: bytes) -> None:
        """Send a piece of the request's body, for a request that was begun by `Lab.upload`; or into the tunnel."""
        self._send(chunk(data) if self.chunked else data)

    def end(self) -> None:
        """The body that `send` sent is complete; of a tunnel, this side."""
        if self.chunked:
            self._send(LAST_CHUNK)
        elif self._head is not None and self._head.status == SWITCHING:
            wire = self.client.wire
            wire.polling.happen(wire, wire.hang_up)
            self._then()

    def _send(self, data: bytes) -> None:
        wire = self.client.wire
        wire.polling.happen(wire, wire.arrive, data)
        self._then()

    def leave(self) -> None:
        """Close the connection, as `Lab.disconnect`."""
        self.left = True
        wire = self.client.wire
        wire.polling.happen(wire, wire.hang_up)
        self._then()

    def slow(self) -> None:
        """Read no more, until `fast`: whoever makes the response has to wait."""
        self.client.slow()
        self._then()

    def fast(self) -> None:
        """Read everything there is."""
        self.client.fast()
        self._then()

    def __repr__(self) -> str:
        self._read()  # only what has come: printing a request must not change it
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"<{self.method} {self.target}: {self._state()}{seed}>"

    def _state(self) -> str:
        exchange, head = self.exchange, self._head
        if head is not None:
            error = self.client.house.failures.get(self.client.wire.peer[1])
            why = f", {type(error).__name__}: {error}" if error is not None else ""
            end = "" if self._whole else ", cut" if self.client.closed and not self.left else ", still coming"
            return f"{head.status}, {len(self._body)} bytes{end}{why}"
        if self.left:
            return "its client has left" + (f", {_waits(exchange)}" if exchange is not None else "")
        if self.client.closed:
            return "cut without a response"
        return _waits(exchange) if exchange is not None else "not stepped yet"


def _waits(exchange: Exchange) -> str:
    parked = exchange.parked
    if parked is None:
        return exchange.shown_stage.lower()
    place = exchange.place()
    since = exchange.flow.seconds() - parked.since
    return f"parked {since:g} s, waits for {parked.wait.describe()}{f' at {place}' if place else ''}"


def request_bytes(
    method: str, path: str | bytes, headers: HeaderSource | None, data: Data, json: Any, length: int | bool | None
) -> tuple[bytes, bytes, bool]:
    """Head and body of a request, and whether the body is chunked.

    `length` is False for a request whose `data` is all of its body; otherwise the body follows, of that length, or
    chunked if that is None.
    """
    fields = Headers(headers or ())
    target = path if isinstance(path, bytes) else quote(path, safe=_UNQUOTED).encode()
    if "host" not in fields:
        fields.raw.insert(0, (b"Host", urlsplit(target).netloc if target[:1] != b"/" else HOST.encode()))
    body, chunked = _encoded(fields, data, json)
    if length is None:
        chunked = True
    told = "content-length" in fields or "transfer-encoding" in fields
    if chunked and not told:
        fields.add("Transfer-Encoding", "chunked")
    elif not told and (body or length is not False or method in ("POST", "PUT", "PATCH")):
        fields.add("Content-Length", str(len(body) if length is False else length))
    block = b"".join(b"%b: %b\r\n" % field for field in fields.raw)
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method.encode(), target, block), body, chunked


def _encoded(fields: Headers, data: Data, json: Any) -> tuple[bytes, bool]:
    """The body's bytes and whether they are chunked; its type is added to `fields`."""
    if json is not None:
        return _typed(fields, "application/json", _json.dumps(json).encode()), False
    if data is None:
        return b"", False
    if isinstance(data, Mapping):
        return _typed(fields, "application/x-www-form-urlencoded", urlencode(data, doseq=True).encode()), False
    if isinstance(data, str):
        return data.encode(), False
    if isinstance(data, (bytes, bytearray)):
        return bytes(data), False
    return b"".join(map(chunk, data)) + LAST_CHUNK, True


def _typed(fields: Headers, kind: str, body: bytes) -> bytes:
    if "content-type" not in fields:
        fields.add("Content-Type", kind)
    return body
