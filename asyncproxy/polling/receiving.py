"""The request's body in, from the client of a connection: its framing, its length, its pace.

The rule: whoever takes the body says when there is room, and only while there is does the client's time run. A body
that breaks a rule is told so to whoever takes it, and nothing after it is read as a request.
"""

from __future__ import annotations

from typing import Final

from asyncproxy.exchange.errors import ClientError
from asyncproxy.exchange.framing import FramingError, UntilClose
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.peers import Peer
from asyncproxy.exchange.trailers import passed_trailers
from asyncproxy.polling.answering import Answering
from asyncproxy.polling.bodies import BodyStream
from asyncproxy.polling.deadlines import NEVER, TICK
from asyncproxy.polling.http1 import Framing, request_framing
from asyncproxy.polling.pace import Pace

DROPPED: Final = UntilClose()
"""The framing of a body that broke a rule: whatever comes is dropped until the connection ends."""


class Receiving(Answering):
    """The source of its request's body. A part of `accepting.ClientConnection`, which sets its attributes."""

    __slots__ = ("_body", "_body_size", "_pace", "peer")

    peer: Peer

    _body: BodyStream | None
    _body_size: int
    _pace: Pace | None
    """How fast the body comes, once a part of it has been waited for."""

    def _expect_body(self, request: Request) -> None:
        """A body follows. Raises `ClientError` if it is told to be too long."""
        limit = self.door.limits.body
        if limit and request.length is not None and request.length > limit:
            raise self._too_long(limit)
        self._framing = request_framing(request)
        self._body_size = 0
        self._pace = None
        self._body = request.stream = BodyStream(self)
        self._continues = request.expects_continue
        if request.expects_continue:
            self._body.pause()
        else:
            self.door.deadlines.set(self, self.door.limits.body_idle)

    @staticmethod
    def _too_long(limit: int) -> ClientError:
        return ClientError(413, f"the request's body is longer than {limit} bytes", detail="limits.body")

    def _take_body(self, data: bytes) -> None:
        """Bytes of the request's body."""
        framing, body = self._framing, self._body
        assert framing is not None
        if framing is DROPPED:
            return
        if self._continues and body is not None:  # the client does not wait for 100 Continue
            self._continues = False
            body.resume()
        try:
            piece = framing.feed(data)
            self._body_size += len(piece)
            if 0 < self.door.limits.body < self._body_size:
                raise self._too_long(self.door.limits.body)
        except FramingError as why:
            self._body_broke(ClientError(400, f"malformed body: {why}"))
        except ClientError as error:
            self._body_broke(error)
        else:
            self._pass_body(framing, body, piece, len(data))

    def _pass_body(self, framing: Framing, body: BodyStream | None, piece: bytes, came: int) -> None:
        """Hand `piece` to whoever takes the body; after the last one the connection is free for what comes next."""
        if framing.done:
            self._framing = self._body = None
            self._buffer = framing.surplus
            if framing.trailers and self.exchange is not None:
                asked = self.exchange.request
                asked.take_trailers(passed_trailers(framing.trailers, asked.noted.connection, self.door.ids))
            if body is not None:
                body.let_go()
            self.due = NEVER
        else:
            self._await_body(came)
        if body is not None:
            if piece:
                body.feed(piece)
            if framing.done:
                body.end()

    def _await_body(self, came: int) -> None:
        """More of the body has to come, `came` bytes after what was there before; see `pace`."""
        door = self.door
        limits = door.limits
        patience, rate = limits.body_idle, limits.body_rate
        if rate:
            now, pace, grace = door.seconds(), self._pace, limits.body_rate_grace
            if pace is None:
                self._pace = pace = Pace(now, grace)
            patience = min(patience, pace.moved(now, came, rate, max(patience, grace)))
        door.deadlines.set(self, patience)

    def _body_late(self) -> ClientError:
        """Nothing, or too little, of the body has come in time."""
        door = self.door
        limits, pace = door.limits, self._pace
        if limits.body_rate and pace is not None and pace.left(door.seconds()) < TICK:
            words = f"the request's body came with less than {limits.body_rate} bytes a second"
            return ClientError(408, words, detail="limits.body_rate")
        words = f"the request's body stopped coming for {limits.body_idle:g} s"
        return ClientError(408, words, detail="limits.body_idle")

    def _body_broke(self, error: ClientError) -> None:
        """The request's body breaks a rule: whoever takes it hears so; nothing after it is read as a request."""
        self.door.reached.note(self.peer.address, error)
        self.request.keep_alive = False
        self._framing = DROPPED
        self._buffer = b""
        self.due = NEVER
        body, self._body = self._body, None
        if body is not None:
            body.fail(error)

    # As the source of the request's body.

    def pause(self) -> None:
        """Whoever takes the body is slow."""
        if not self._continues and self._is_busy():
            self.due = NEVER
            if self._pace is not None:
                self._pace.stand(self.door.seconds())
            self.transport.pauseProducing()

    def resume(self) -> None:
        """The body is wanted, or wanted again."""
        if not self._is_busy():
            return
        if self._framing is not None:
            if self._pace is not None:
                self._pace.go_on(self.door.seconds())
            self._await_body(0)
        if self._continues:
            self.inform(100)
        self.transport.resumeProducing()

    def drop(self) -> None:
        """Nobody wants the rest of the body: it is read to its end and dropped."""
        self._body = None

    def _is_busy(self) -> bool:
        """Whether a request is being answered."""
        raise AssertionError("a subclass knows what it does")
