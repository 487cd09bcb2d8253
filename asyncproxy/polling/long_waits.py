"""A client that waits for long hears from us now and then, so that nothing between it and us takes us for dead.

The rule: a `LongWait` stands between an exchange and its client until the first byte of the answer's body, or steps
aside as soon as an answer begins that needs nothing of it. Before there is an answer its client gets, every so often, a
102, or an early head and what means nothing in such a body. After an early head every ending is told in the body,
until the answer's own body has begun: that can only be cut.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from asyncproxy.boundaries import Client, Producer
from asyncproxy.exchange.early_head import EARLY_HEADS, WRONG_KIND, asking_plainly, late_fields, media_type
from asyncproxy.exchange.forwarding import split_block
from asyncproxy.exchange.lifecycle import ENDED
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.trailers import Trailers
from asyncproxy.exchange.upgrading import offered
from asyncproxy.polling.bodies import BodyStream
from asyncproxy.polling.deadlines import NEVER, Due

if TYPE_CHECKING:
    from asyncproxy.polling.flow import Exchange
    from asyncproxy.polling.tunnel import Tunnel

_log = Logger()
PROCESSING: Final = 102
"""RFC 2518 section 10.1."""
QUOTED: Final = 2048
"""Bytes of an answer that cannot follow an early head which are told as the error's detail."""
_BOM: Final = b"\xef\xbb\xbf"
_QUOTABLE: Final = ("text/plain", "application/json", "application/problem+json")


def keep_alive(exchange: Exchange) -> None:
    """Have the client of `exchange`, which is about to begin, hear from us while it waits, as its route says.

    A HEAD has no body that anything could be put into, HTTP/1.0 no informational responses, and nothing may come before
    the 101 of a request that offers to switch protocols.
    """
    binding, request = exchange.binding, exchange.request
    if (
        request.method == "HEAD"
        or offered(request.noted, request.minor)
        or (binding.keep_alive == "102" and request.minor == 0)
    ):
        return
    if binding.keep_alive in EARLY_HEADS:
        exchange.request = _asking_plainly(request)
    exchange.client = wait = LongWait(exchange, binding.keep_alive, binding.keep_alive_every)
    exchange.forwards.append(wait)
    wait.begin_waiting()


class LongWait(Due):
    """The client of an exchange that may wait for long; see the file's head."""

    __slots__ = (
        "_client",
        "_early",
        "_every",
        "_exchange",
        "_head",
        "_misfit",
        "_producer",
        "_slot",
        "due",
    )

    def __init__(self, exchange: Exchange, kind: str, every: float) -> None:
        self.due = self._slot = NEVER
        self._exchange = exchange
        self._client: Client = exchange.client
        self._every = every
        self._head = EARLY_HEADS.get(kind)
        """None: 102 is sent instead."""
        self._early = False
        """Whether a head is out to which the answer's body has to fit."""
        self._producer: Producer | None = None
        self._misfit: _Misfit | None = None
        """The answer, if its body cannot follow."""

    def begin_waiting(self) -> None:
        """From now on the client hears from us."""
        self._exchange.flow.deadlines.set(self, self._every)

    def expired(self) -> None:
        """Time to be heard, unless the client still speaks, or has not taken what it was sent before."""
        exchange, client, head = self._exchange, self._client, self._head
        if exchange.gone:
            return
        self.begin_waiting()
        if client.behind or _arrives(exchange.request):
            return
        if head is None:
            client.inform(PROCESSING)
            return
        if not self._early:
            self._early = True
            client.begin(200, exchange.flow.signature.own(head.block), self, told=False)
        client.piece(head.tick)

    def _step_aside(self) -> Client:
        """The answer begins, and nothing of ours is out: it goes on without us."""
        self.cancel()
        self._exchange.client = self._client
        return self._client

    def cancel(self) -> None:
        """Nothing is waited for any more. What is out by now is what the books shall tell of."""
        self._exchange.flow.deadlines.remove(self)
        if self._early:
            self._exchange.started = True

    # As the client of its exchange.

    @property
    def status(self) -> int:
        """Of the head that is out."""
        return self._client.status

    @property
    def sent(self) -> int:
        """Bytes of the body so far, with those that mean nothing."""
        return self._client.sent

    @property
    def behind(self) -> bool:
        """Whether the client has not taken all it was sent."""
        return self._client.behind

    def answer(self, status: int, block: bytes, body: bytes) -> None:
        """Send a whole response, or its body if a head is out."""
        if not self._early:
            self._step_aside().answer(status, block, body)
            return
        self._follow(status, block)
        if body:
            self.piece(body)
        if self._exchange.stage != ENDED:
            self.end()

    def begin(self, status: int, block: bytes, producer: Producer, *, told: bool) -> None:
        """Send a response's head, or see whether its body may follow the one that is out.

        A head that is not out yet may be an early one itself: its body's first byte may be long in coming.
        """
        if not self._early:
            if told or self._head is None or self._head.misfit(status, block):
                self._step_aside().begin(status, block, producer, told=told)
                return
            self._early = True
            self._client.begin(status, block, self, told=False)
        else:
            self._follow(status, block)
        self._producer = producer
        self._exchange.started = False  # of its body nothing is out: a failure can still be told

    def _follow(self, status: int, block: bytes) -> None:
        """An answer with this head has come, and a head is out."""
        head, exchange = self._head, self._exchange
        assert head is not None
        exchange.started = False
        why = head.misfit(status, block)
        if why:
            self._misfit = _Misfit(status, block, why)
            if status == 200:
                _log.warn(
                    "{who}: {why}; keep_alive was at work: it is an error to its client", who=exchange.title(), why=why
                )
            return
        late = late_fields(block)
        if late:
            _log.debug(
                "{who}: too late for the head, and dropped: {fields}", who=exchange.title(), fields=", ".join(late)
            )

    def piece(self, data: bytes) -> None:
        """Send a piece of the body."""
        exchange = self._exchange
        if exchange.stage == ENDED:
            return  # it was more than is quoted: what is left of it is nobody's, least of all the next response's
        if exchange.started:
            self._client.piece(data)
        elif self._misfit is not None:
            if not self._misfit.takes(data):
                self._tell(*self._misfit.told())
        else:
            self.due = NEVER
            exchange.started = True
            data = data.removeprefix(_BOM)  # it may stand at a body's beginning only (RFC 8259 section 8.1)
            if data:
                self._client.piece(data)

    def end(self, trailers: Trailers = ()) -> None:
        """The body is complete."""
        if self._misfit is not None:
            self._tell(*self._misfit.told())
        else:
            self._client.end(trailers)

    def failed(self, error: Exception) -> None:
        """The body that was being relayed is cut by its upstream."""
        self._exchange.failed(error)

    def refuse(self, status: int, words: str) -> None:
        """Send an error of ours."""
        if self._early:
            self._tell(status, words)
        else:
            self._step_aside().refuse(status, words)

    def _tell(self, status: int, detail: str) -> None:
        """End the body with an error."""
        head = self._head
        assert head is not None
        self._client.piece(head.error(status, detail, self._exchange.request.id))
        self._client.end()

    def switch(self, block: bytes, tunnel: Tunnel) -> None:
        """Send a 101; nothing of ours is out."""
        self._step_aside().switch(block, tunnel)

    def inform(self, status: int, block: bytes = b"") -> None:
        """Send an informational head, unless an early one that is final is out."""
        if not self._early:
            self._client.inform(status, block)

    def cut(self) -> None:
        """Close the connection at once."""
        self._client.cut()

    def reached(self) -> Any:
        """The Twisted address of ours that the client has connected to."""
        return self._client.reached()

    # As the producer of what the client gets.

    def pause(self) -> None:
        """The client has no room."""
        if self._producer is not None:
            self._producer.pause()

    def resume(self) -> None:
        """The client has room again."""
        if self._producer is not None:
            self._producer.resume()

    def __repr__(self) -> str:
        kind = str(PROCESSING) if self._head is None else self._head.kind
        return f"<LongWait {kind} every {self._every:g} s, {'begun' if self._early else 'nothing sent'}>"


class _Misfit:
    """An answer whose body cannot follow the head that is out, read as far as it is worth telling."""

    def __init__(self, status: int, block: bytes, why: str) -> None:
        self._status = status if status != 200 else WRONG_KIND
        self._why = why
        fields = {name.lower(): value.decode("latin-1") for name, value in split_block(block)}
        kind = media_type(fields.get(b"content-type", ""))
        self._quotable = status != 200 and kind in _QUOTABLE and b"content-encoding" not in fields
        self._body = b""

    def takes(self, data: bytes) -> bool:
        """Take in a piece of its body; False if no more of it is wanted."""
        self._body += data
        self._quotable = self._quotable and len(self._body) <= QUOTED
        return self._quotable

    def told(self) -> tuple[int, str]:
        """The error's status and detail: what a short answer says itself, or why it is none."""
        said = self._body.decode("utf-8", "replace").strip() if self._quotable else ""
        return self._status, said or self._why


def _arrives(request: Request) -> bool:
    """Whether the request's body is still arriving: its client sends, and waits for nothing."""
    stream = request.stream
    return type(stream) is BodyStream and not stream.ended and stream.error is None


def _asking_plainly(request: Request) -> Request:
    """`request`, asking for nothing that an early head cannot tell of.

    Another one if it did, for a connection looks at its own again.
    """
    block = asking_plainly(request.method, request.block)
    if block == request.block:
        return request
    plain = copy(request)
    plain.block, plain.passed = block, asking_plainly(request.method, request.passed)
    plain.onward = None
    return plain
