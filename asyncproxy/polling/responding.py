"""From a response to the client: whole, relayed as an upstream sends it, or pulled piece by piece from a module.

The rule: nothing is produced that the client does not take. A relayed body is held back at its upstream, a pulled one
is not pulled: the next piece is asked for when the last is out and the client's connection has room.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from asyncproxy.exchange.errors import ModuleError
from asyncproxy.exchange.forwarding import Block, without_length
from asyncproxy.exchange.lifecycle import ANSWERED, ENDED
from asyncproxy.exchange.responses import Rendered, Reply, Response
from asyncproxy.exchange.upgrading import SWITCHING, UPGRADE_REQUIRED, required, upgrade_block
from asyncproxy.polling.steps import afterwards
from asyncproxy.polling.strands import Strand
from asyncproxy.polling.tunnel import Tunnel
from asyncproxy.working.turns import CallTurn

if TYPE_CHECKING:
    from asyncproxy.exchange.messages import Request
    from asyncproxy.polling.flow import Exchange, Flow

_NOTHING: Final = object()


def respond(exchange: Exchange, response: Response) -> None:
    """Send `response` to the client of `exchange`, which is RESPONDING."""
    if not 200 <= response.status <= 599 and response.status != SWITCHING:  # a client takes a 1xx for no answer yet
        raise ModuleError(f"{exchange.binding.name}: it answers {response.status}, which is no final status")
    if isinstance(response, Reply) and response.own_body is None:
        _relay(exchange, response)
        return
    if response.status == SWITCHING:
        raise _no_switch(exchange)
    block = _own_block(exchange, response)
    body = response.body
    if isinstance(body, str):
        body = body.encode()
    if isinstance(body, (bytes, bytearray, memoryview)):
        _answer(exchange, response.status, block, bytes(body))
    elif _bodiless(exchange, response) and isinstance(body, (AsyncIterable, Iterable)):
        exchange.started = True
        exchange.client.answer(response.status, block, b"")
    elif isinstance(body, AsyncIterable):
        _pull(exchange, AsyncPieces(exchange, aiter(body)), response.status, block)
    elif isinstance(body, Iterable):
        _pull(exchange, Pieces(exchange, iter(body)), response.status, block)
    else:
        raise ModuleError(f"{exchange.binding.name}: a response's body is {type(body).__name__}, not bytes or pieces")


def refusal(flow: Flow, request: Request | None, status: int, words: str) -> tuple[bytes, bytes]:
    """Header block and body of an error of ours for `request`, as far as there is one."""
    request_id, block = (request.id, request.block) if request is not None else ("", b"")
    return flow.error_pages.reply(status, words, request_id, block)


def _bodiless(exchange: Exchange, response: Response) -> bool:
    """Whether no body may follow (RFC 9110 section 6.4.1): the next response would be read out of it."""
    return exchange.request.method == "HEAD" or response.status in (204, 205, 304)


def _answer(exchange: Exchange, status: int, block: bytes, body: bytes) -> None:
    """A module's whole body; a 304 without one tells no length, for it would be another body's."""
    if body or status not in (204, 304):
        block += b"\r\nContent-Length: %d" % len(body)
    exchange.started = True
    exchange.client.answer(status, block, body)


def relay_whole(exchange: Exchange, reply: Reply) -> None:
    """Pass a reply on that came in one piece; the exchange goes from PARKED to its end in one step."""
    exchange.started = True
    if reply.own_headers is not None:
        block = _block(exchange, reply)
    else:
        block = reply.onward
        if type(block) is not bytes or not block:
            block = exchange.flow.signature.onward(reply)
    if reply.bodiless:
        block = _length_of_none(exchange, reply, block)
    exchange.client.answer(reply.status, block, reply.stream)


def _relay(exchange: Exchange, reply: Reply) -> None:
    stream = reply.stream
    if reply.status == SWITCHING and type(stream) is not Tunnel:
        raise _no_switch(exchange)
    if type(stream) is bytes:
        exchange.started = True
        block = _block(exchange, reply)
        if reply.bodiless:
            block = _length_of_none(exchange, reply, block)
        exchange.client.answer(reply.status, block, stream)
        return
    if stream.taken:
        raise ModuleError(f"{exchange.binding.name}: the reply's body was read in pieces and cannot be sent again")
    if type(stream) is Tunnel:
        _switch(exchange, reply, stream)
        return
    block = _block(exchange, reply)
    exchange.started = True
    if _bodiless(exchange, reply) and not reply.bodiless:  # its module has changed its status
        stream.drop()
        exchange.client.answer(reply.status, block, b"")
        return
    exchange.source = stream
    exchange.client.begin(reply.status, block, stream, told=_bodiless(exchange, reply) or bool(reply.length_value))
    stream.attach(exchange.client)


def _switch(exchange: Exchange, reply: Reply, tunnel: Tunnel) -> None:
    """The upstream has switched protocols: so do we, unless the module answers with another status.

    Raises the tunnel's error if the upstream has left meanwhile.
    """
    if not tunnel.is_of(exchange):
        raise ModuleError(f"{exchange.binding.name}: the reply that has switched is one to another request")
    block = _block(exchange, reply)
    if reply.status != SWITCHING:
        tunnel.drop()
        exchange.started = True
        exchange.client.answer(reply.status, _length_of_none(exchange, reply, block), b"")
        return
    if tunnel.error is not None:
        raise tunnel.error
    exchange.started = True
    exchange.client.switch(block + upgrade_block(tunnel.protocol), tunnel)


def _no_switch(exchange: Exchange) -> ModuleError:
    return ModuleError(f"{exchange.binding.name}: it answers 101, which only an upstream's reply that has switched can")


def _block(exchange: Exchange, reply: Reply) -> bytes:
    """The fields as a module left them; but the body is the upstream's still, and so is its length."""
    if reply.own_headers is None:
        rendered = type(reply) is Rendered
        return _signed(exchange, reply, reply.passed) if rendered else exchange.flow.signature.onward(reply)
    block = _own_block(exchange, reply)
    return block + b"\r\nContent-Length: " + reply.length_value if reply.length_value else block


def _signed(exchange: Exchange, response: Response, block: bytes) -> bytes:
    """`block` of `response` as we sign it: an upstream's was passed on by us, any other is ours."""
    block = _without_id(exchange, block)
    signature = exchange.flow.signature
    if isinstance(response, Reply) and type(response) is not Rendered:
        return signature.dated(block) + signature.replies[response.minor]
    return signature.own(block)


def _own_block(exchange: Exchange, response: Response) -> bytes:
    """A module's fields: what they say of the body's length and of the connection is ours to say."""
    fields = Block(response.headers.raw)
    block = _signed(exchange, response, without_length(fields.passed))
    return block + required(fields) if response.status == UPGRADE_REQUIRED else block


def _without_id(exchange: Exchange, block: bytes) -> bytes:
    """`block` without what a module says of the request's id, which is ours to say; of a reply's it is gone already."""
    ids = exchange.flow.ids
    return block if ids is None or not exchange.request.mark else ids.without(block)


def _length_of_none(exchange: Exchange, reply: Reply, block: bytes) -> bytes:
    """`block` of a reply without a body: a length it tells is another's, once its status says that a body follows."""
    return block if _bodiless(exchange, reply) else without_length(block) + b"\r\nContent-Length: 0"


def _pull(exchange: Exchange, pieces: Piecewise, status: int, block: bytes) -> None:
    exchange.source = pieces
    exchange.started = True
    exchange.client.begin(status, block, pieces, told=False)
    pieces.pull()


class Piecewise:
    """A body that a module makes piece by piece, in turns."""

    __slots__ = ("_paused", "_pulling", "exchange")
    main = True

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._paused = False
        self._pulling = False

    def pull(self) -> None:
        """Ask for the next piece."""
        self._pulling = True
        self._ask()

    def _ask(self) -> None:
        raise AssertionError("a subclass asks for a piece")

    def close(self) -> None:
        """Let the module's generator clean up, on a worker."""
        raise AssertionError("a subclass closes its iterator")

    def came(self, piece: Any) -> None:
        """The module made `piece`, or `_NOTHING` at the end."""
        exchange = self.exchange
        self._pulling = False
        if exchange.gone:
            self._abandon()
            return
        exchange.enter(ANSWERED, exchange.flow.seconds())
        if piece is _NOTHING:
            exchange.source = None
            exchange.client.end()
            return
        try:
            data = _as_bytes(piece)
        except (TypeError, ValueError) as error:
            self.broke(error)
            return
        if data:
            exchange.client.piece(data)
        if not self._paused and exchange.stage != ENDED:
            self.pull()

    def broke(self, error: BaseException) -> None:
        """The module raised instead of making a piece, or was told before it began to."""
        self._pulling = False
        self.exchange.source = None
        self.close()
        self.exchange.failed(error)

    def pause(self) -> None:
        """The client is slow."""
        self._paused = True

    def resume(self) -> None:
        """The client keeps up again."""
        self._paused = False
        if not self._pulling and self.exchange.stage != ENDED:
            self.pull()

    def drop(self) -> None:
        """Nobody wants the rest."""
        if not self._pulling:
            self._paused = True
            self.close()

    def _abandon(self) -> None:
        self.close()
        self.exchange.source = None
        self.exchange.finish()

    def interrupted(self, error: BaseException) -> None:
        """The turn that was to make the next piece was withdrawn."""
        self._pulling = False
        self.exchange.source = None
        self.close()
        self.exchange.failed(error)


class Pieces(Piecewise):
    """The pieces of an iterable, one a turn."""

    __slots__ = ("_iterator",)

    def __init__(self, exchange: Exchange, iterator: Iterator[bytes | str]) -> None:
        super().__init__(exchange)
        self._iterator = iterator

    def _ask(self) -> None:
        self.exchange.run(self, next, self._iterator, _NOTHING)

    def turned(self, turn: CallTurn) -> None:
        """A piece was made."""
        if turn.error is not None:
            self.broke(turn.error)
        else:
            self.came(turn.value)

    def close(self) -> None:
        """Close a generator, so that its ``finally:`` runs."""
        close = getattr(self._iterator, "close", None)
        if close is not None:
            afterwards(self.exchange, close)


class AsyncPieces(Piecewise):
    """The pieces of an async iterable, which may park in between."""

    __slots__ = ("_iterator",)

    def __init__(self, exchange: Exchange, iterator: AsyncIterator[bytes | str]) -> None:
        super().__init__(exchange)
        self._iterator = iterator

    def _ask(self) -> None:
        Strand(self.exchange, _next(self._iterator), self._stepped, main=True, inside=self._iterator).start()

    def _stepped(self, value: Any, error: BaseException | None) -> None:
        self.exchange.parked = None
        if error is not None:
            self.broke(error)
        else:
            self.came(value)

    def turned(self, turn: CallTurn) -> None:
        """Its strand reads its turns."""

    def close(self) -> None:
        """Close an async generator, so that its ``finally:`` runs; what it awaits there is not waited for."""
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            afterwards(self.exchange, _run_to_end, close)


def _as_bytes(piece: Any) -> bytes:
    """A piece of a body. Raises TypeError for what is none, and ValueError for text that UTF-8 has no bytes for."""
    if isinstance(piece, str):
        return piece.encode()
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    raise TypeError(f"a piece of a response's body is {type(piece).__name__}, not bytes or str")


async def _next(iterator: AsyncIterator[Any]) -> Any:
    return await anext(iterator, _NOTHING)


def _run_to_end(close: Any) -> None:
    """On a worker: run an ``aclose()`` as far as it goes without a wait."""
    closing = close()
    try:
        closing.send(None)
    except StopIteration:
        return
    closing.close()
