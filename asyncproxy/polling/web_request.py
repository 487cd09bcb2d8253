"""A request as twisted.web's Resources know it: a real `server.Request` on a channel that is an exchange of ours.

The rule: Twisted's request has its own ideas of arguments, sessions, ranges and unchanged pages, and nothing of that is
done again here. What it has of a connection is a `WebChannel`, which takes head and body from it. How they are framed
is the client's side's business; a body that is longer or shorter than its head told is cut, like an upstream's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request as TwistedRequest

from asyncproxy.exchange.errors import ClientError, ModuleError
from asyncproxy.exchange.forwarding import make_block, origin_form, without_length
from asyncproxy.exchange.headers import encode_field
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.responses import Rendered
from asyncproxy.polling.bodies import BodyStream
from asyncproxy.polling.failures import is_a_modules
from asyncproxy.polling.parking import Parked

_log = Logger()
_UNTOLD: Final = -1


class WebRequest(TwistedRequest):
    """What a Resource is given. `asked` is the request as asyncproxy's modules know it, with its `id`."""

    def __init__(self, channel: WebChannel, asked: Request) -> None:
        super().__init__(channel)  # type: ignore[no-untyped-call]
        self.asked = asked

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer 500 or cut what has begun, and log why in a line; a client reads nothing of it."""
        channel: Any = self.channel
        if channel is None:
            _log.failure("A resource failed whose client has left", failure=reason)
        else:
            channel.broke(_placed(reason))
        return reason


class Rendering(Parked):
    """On a `Render`: until the resource's head is out, or its answer is whole."""

    def begin(self) -> None:
        """Have the resource rendered."""
        self._channel = WebChannel(self)
        self.owner.forwards.append(self._channel)  # until its body is through, somebody must see to it
        self._channel.render()

    def undo(self) -> None:
        """The client has left, or its time is up."""
        self._channel.cancel()


class WebChannel:
    """What a `WebRequest` has instead of a connection, and the source of its body."""

    def __init__(self, rendering: Rendering) -> None:
        wait = rendering.wait
        self.site = wait.site
        self.prepath: list[bytes] = wait.prepath
        self.postpath: list[bytes] = wait.postpath
        self.transport = self
        """Resources look for addresses there, and close the connection there."""
        self._rendering = rendering
        self._asked: Request = wait.request
        self._deliver = rendering.owner.flow.around.polling.deliver
        self._reached = rendering.owner.client.reached
        self._stream = BodyStream(self)
        self._request = WebRequest(self, self._asked)
        self._reply: Rendered | None = None
        """The answer's head, until somebody has been told of it."""
        self._told = False
        self._left = _UNTOLD
        """Bytes of the body that the head has told and that have not come."""
        self._producer: Any = None
        self._pushes = False
        self._paused = False
        self._pulling = False
        self._over = False

    def render(self) -> None:
        """Hand the request to the site's resource, as Twisted's own channel does when a request is whole."""
        request, asked = self._request, self._asked
        content = asked.content
        size = content.seek(0, 2)
        request.content = content
        for name, value in asked.headers.raw:
            request.requestHeaders.addRawHeader(name, value)
        if asked.length is None:  # it came in chunks and is whole now: WSGI knows no other way to tell its size
            request.requestHeaders.removeHeader(b"transfer-encoding")
            request.requestHeaders.setRawHeaders(b"content-length", [b"%d" % size])
        request.parseCookies()  # type: ignore[no-untyped-call]
        version = b"HTTP/" + asked.http_version.encode()
        request.requestReceived(asked.method.encode(), origin_form(asked.target), version)  # type: ignore[no-untyped-call]

    # What Twisted's request asks of a channel, besides its producer.

    def getPeer(self) -> Any:
        """The client's address; one of a UNIX socket has the host "unix" and port 0, as `request.client` has."""
        address, port = self._asked.client
        return (IPv6Address if ":" in address else IPv4Address)("TCP", address, port)

    def getHost(self) -> Any:
        """The address of ours that the client has connected to; for a UNIX socket one with the scheme's own port."""
        address = self._reached()
        if hasattr(address, "port"):
            return address
        return IPv4Address("TCP", "unix", 443 if self.isSecure() else 80)

    def isSecure(self) -> bool:
        """Whether the client speaks https."""
        return self._asked.scheme == "https"

    def writeHeaders(self, _version: bytes, code: bytes, _reason: bytes, headers: Any) -> None:
        """The answer's head; it goes out in the next round, or with the body if that is whole by then."""
        self._request.chunked = 0  # framing is ours to say
        fields = [(name, value) for name, values in headers.getAllRawHeaders() for value in values]
        self._reply = reply = _reply(int(code), fields)
        reply.bodiless = self._request.method == b"HEAD" or reply.status in (204, 304)
        if not reply.bodiless and reply.length_value:
            self._left = _length(reply.length_value)
        self._deliver(self._tell)

    def write(self, data: bytes) -> None:
        """A piece of the body."""
        if self._left != _UNTOLD:
            self._left -= len(data)
            if self._left < 0:
                self.broke(ModuleError("the resource wrote more than its Content-Length says"))
        if not self._over:
            self._stream.feed(data)

    def writeSequence(self, pieces: Any) -> None:
        """Pieces of the body."""
        self.write(b"".join(pieces))

    def requestDone(self, _request: Any) -> None:
        """The answer is whole."""
        if self._left > 0:
            self.broke(ModuleError(f"the resource wrote {self._left} bytes less than its Content-Length says"))
        if self._over:
            return
        self._over = True
        self._producer = None
        self._stream.end()
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.stream = body = self._stream.gathered()
            if not reply.bodiless and not reply.length_value:
                reply.sift(reply.block + b"\r\nContent-Length: %d" % len(body))
            self._rendering.ready(reply)

    def loseConnection(self) -> None:
        """The resource gives up; for Twisted it would close the connection."""
        self.broke(ModuleError("the resource closed the connection before its answer was whole"))

    abortConnection = loseConnection

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802 - Twisted's name
        """A form that Twisted cannot read."""
        self.broke(ClientError(400, "the form in the request's body is malformed"))

    # The resource's producer, kept to the client's pace.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """`producer` writes from now on: when it is told that there is room, or until it is told that there is none."""
        self._producer = producer
        self._pushes = streaming
        if not streaming:
            self._pull_soon()
        elif self._paused:
            self._safely(producer.pauseProducing)

    def unregisterProducer(self) -> None:
        """The producer has written all it has."""
        self._producer = None

    def pause(self) -> None:
        """The client is slow."""
        self._paused = True
        if self._producer is not None and self._pushes:
            self._safely(self._producer.pauseProducing)

    def resume(self) -> None:
        """The client keeps up again."""
        self._paused = False
        if self._producer is not None and self._pushes:
            self._safely(self._producer.resumeProducing)
        else:
            self._pull_soon()

    def _pull_soon(self) -> None:
        """A piece a round of the loop: one fast client is no reason for others to wait."""
        if self._producer is not None and not self._paused and not self._pulling:
            self._pulling = True
            self._deliver(self._pull)

    def _pull(self) -> None:
        self._pulling = False
        if self._producer is not None and not self._pushes and not self._paused:
            self._safely(self._producer.resumeProducing)
            self._pull_soon()

    def _safely(self, call: Callable[[], Any]) -> None:
        """What a producer raises is its resource's failure."""
        try:
            call()
        except Exception as error:  # noqa: BLE001 - told as any failure of the resource
            self.broke(error)

    # Ends.

    def _tell(self) -> None:
        """The head is out; the body follows."""
        reply, self._reply = self._reply, None
        if reply is not None:
            self._told = True
            reply.stream = self._stream
            self._rendering.ready(reply)

    def broke(self, error: BaseException) -> None:
        """The resource has failed: the client is refused, or cut if it has heard of an answer."""
        if self._over:
            return
        self._reply = None
        if self._told:
            self._stream.fail(cast(Exception, error))
        else:
            self._rendering.fail(error)
        self.cancel()

    def drop(self) -> None:
        """Nobody wants the rest of the body."""
        self.cancel()

    def cancel(self) -> None:
        """Nobody wants an answer any more: the resource hears that its client has left. Safe to call at any time."""
        if self._over:
            return
        self._over = True
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                producer.stopProducing()
            except Exception:  # noqa: BLE001 - the request still has to be told
                _log.failure("{producer} could not be stopped", producer=producer)
        why = Failure(ConnectionDone("the client has left"))
        self._request.connectionLost(why)  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        state = "over" if self._over else "paused" if self._paused else "writing"
        return f"<WebChannel of {self._asked.id}, {state}>"


def _reply(status: int, fields: list[tuple[bytes, bytes]]) -> Rendered:
    """The head of an answer. Raises ValueError for one that cannot be sent."""
    if not 200 <= status <= 599:
        raise ValueError(f"setResponseCode({status}) is no final status: use 200 to 599")
    for name, value in fields:
        encode_field(name.decode("latin-1"), value.decode("latin-1"))
    block = make_block(fields)
    return Rendered(status, without_length(block) if status in (204, 304) else block)


def _length(told: bytes) -> int:
    if not told.isdigit():
        raise ValueError(f"the resource's Content-Length is no number, or is given twice: {told!r}")
    return int(told)


def _placed(reason: Failure) -> BaseException:
    """What to log of `reason`: its exception, and where it was raised though a Deferred has forgotten its traceback."""
    error = reason.value
    assert error is not None
    if error.__traceback__ is not None or not reason.frames:
        return error
    theirs = [frame for frame in reason.frames if is_a_modules(frame[1])]
    function, file, line, *_ = (theirs or reason.frames)[-1]
    return ModuleError(f"{type(error).__name__}: {error} at {file}:{line} in {function}")
