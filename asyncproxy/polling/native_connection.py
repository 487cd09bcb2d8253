"""The one object between uvloop and a Twisted protocol.

What a round of the loop brings for it waits a moment for the round's end, see `native_rounds`; then the protocol's own
``dataReceived`` is called, held in ``receive``. Whatever changes what bytes mean, a pause, a close, a pull producer,
swaps the ``receive`` and ``write`` attributes instead of testing flags for every piece: thousands of requests a second
go both ways.

The file is long because the object is one: two contracts, uvloop's below and Twisted's above, of forty calls that all
turn on whether it reads, writes and closes. What does not, stands apart in `native_origin` and `native_rounds`.

Polling thread only.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    ISystemHandle,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from asyncproxy.polling.native_origin import Address, Origin, in_words, internet_address
from asyncproxy.polling.native_rounds import SMALL, round_of

HIGH_WATER: Final = 64 * 1024
ON: Final = "on"
PAUSED: Final = "paused"
ENDING: Final = "ending"
ENDED: Final = "ended"

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

log = Logger()


def _ignored(_data: object) -> None:
    """Take a write that comes after the end, as Twisted's transports do."""


@implementer(ITCPTransport, IConsumer, IPushProducer, ISystemHandle)
class NativeConnection(asyncio.BaseProtocol):
    """An asyncio protocol to uvloop and a transport to the Twisted protocol above it.

    It keeps Twisted's contract for transports. Where Twisted leaves room: ``connectionLost`` never comes
    inside the call that caused it; writes after ``loseConnection`` are dropped unless a producer is
    registered; an exception from the protocol is logged and ends the connection with that exception as the
    reason.

    Small writes go out at the end of the loop's round, see `native_rounds`. ``write`` keeps a large ``bytearray`` or
    ``memoryview`` by reference until it is sent: leave it alone after.
    """

    __slots__ = (
        "_choked",
        "_eof_held",
        "_held",
        "_origin",
        "_producer",
        "_protocol",
        "_pulling",
        "_reading",
        "_reason",
        "_round",
        "_streaming",
        "_transport",
        "_unsent",
        "_writing",
        "connected",
        "disconnected",
        "disconnecting",
        "receive",
        "write",
    )

    write: Callable[[Any], None]
    receive: Callable[[bytes], None]

    def __init__(self, origin: Origin) -> None:
        """Wait for uvloop to say that the connection stands."""
        self._origin = origin
        self._round = round_of(origin.loop)
        self._unsent = b""
        self._transport: Any = None
        self._protocol: Any = None
        self._producer: Any = None
        self._streaming = True
        self._pulling = False
        self._choked = False
        self._reading = ON
        self._writing = ON
        self._held = b""
        self._eof_held = False
        self._reason: Failure | None = None
        self.connected = False
        self.disconnecting = False
        self.disconnected = False
        self.write = _ignored
        self.receive = _ignored

    def __repr__(self) -> str:
        """Kind, both ends, and what goes on: enough to tell a stuck connection from a slow one."""
        if self.disconnected:
            state = "lost"
        elif self._reason is not None:
            state = "aborting"
        elif self.disconnecting:
            state = "closing" if self._producer is None else "closing once its producer is done"
        else:
            state = f"read {self._reading}, write {self._writing}" if self.connected else "connecting"
        if self._choked and self.connected:
            state += f", {self._transport.get_write_buffer_size()} bytes unsent"
        ends = f"{in_words(self._end('sockname'))} to {in_words(self._end('peername'))}"
        return f"<native {ends}, {state}, for {type(self._protocol).__name__}>"

    # What uvloop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bind both ways, then start the protocol. For uvloop."""
        self._transport = transport
        self.write = self._write
        self.connected = True
        self._tell(self._start)
        if self._reading is PAUSED and not self._transport.is_closing():
            # uvloop starts reading as soon as this returns, whatever the protocol asked for.
            self._origin.loop.call_soon(self._pause_again)

    def _start(self) -> None:
        protocol = self._origin.build(self)
        if protocol is None:
            self.loseConnection()
            return
        self.protocol = protocol
        protocol.makeConnection(self)

    def data_received(self, data: bytes) -> None:
        """Keep `data` for this round; a large piece is taken in at once. For uvloop.

        uvloop reads one connection up to 32 times in a round: back-pressure has to be felt after the first.
        """
        if len(data) > SMALL:
            self._round.take_in()
            try:
                self.receive(data)
            except Exception:  # noqa: BLE001 - as in the round
                self.protocol_failed()
            return
        arrivals = self._round.arrivals
        if not arrivals:
            self._round.begin_arrivals()
        arrivals.append((self, data))

    def eof_received(self) -> bool:
        """Keep the peer's end for this round. For uvloop."""
        arrivals = self._round.arrivals
        if not arrivals:
            self._round.begin_arrivals()
        arrivals.append((self, None))
        return True

    def ended(self) -> None:
        """Tell a half-closeable protocol of its peer's end, end the connection of any other. For the round."""
        if not self.connected or self._reason is not None:
            return
        if self._held:
            self._eof_held = True
            return
        self._reading = ENDED
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.readConnectionLost()
        elif not self._transport.is_closing():
            # uvloop would flush what is pending to somebody who hung up; Twisted doesn't.
            self.flush()
            self._transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell producer, protocol and origin, once, and let go of them. For uvloop."""
        reason = self._reason or self._why(exc)
        protocol, producer = self._protocol, self._producer
        self.connected, self.disconnected = False, True
        self.write = _ignored
        self._unsent = b""
        self.receive = _ignored
        self._held = b""
        self._protocol = self._producer = self._reason = None
        if producer is not None:
            self._tell(producer.stopProducing)
        if protocol is not None:
            self._tell(protocol.connectionLost, reason)
        self._tell(self._origin.lost, self, reason)

    def _why(self, exc: BaseException | None) -> Failure:
        # A fresh Failure each time costs 0.9 us; a shared exception would collect the tracebacks of all who
        # raise it again.
        if exc is None:
            return Failure(ConnectionDone())
        if exc.__traceback__ is None:  # never raised: uvloop made it of an errno
            return Failure(ConnectionLost(str(exc)))
        failure = Failure(exc, type(exc), exc.__traceback__)
        if isinstance(exc, OSError):  # uvloop keeps quiet about these; report_failures logs all others
            log.failure("{connection!r}: its protocol failed", failure, connection=self)
        return failure

    def pause_writing(self) -> None:
        """Hold a push producer back. For uvloop."""
        self._choked = True
        if self._producer is not None and self._streaming:
            self._tell(self._producer.pauseProducing)

    def resume_writing(self) -> None:
        """Let the producer go on; or report that the write side is flushed. For uvloop."""
        self._choked = False
        if self._writing is ENDED:
            # uvloop sends the FIN just after this call.
            self._origin.loop.call_soon(self._report_write_end)
        elif self._producer is not None and self._streaming:
            self._tell(self._producer.resumeProducing)
        else:
            self._pull()

    # The protocol above.

    @property
    def protocol(self) -> Any:
        """Who gets the bytes. Assign another one, in the middle of a connection, to switch."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._protocol = protocol
        if self._reading is not PAUSED:
            self.receive = protocol.dataReceived

    def _tell(self, call: Callable[..., object], *args: object) -> None:
        try:
            call(*args)
        except Exception:  # noqa: BLE001 - whatever a protocol raises is logged and ends its connection
            self.protocol_failed()

    def protocol_failed(self) -> None:
        """Log the exception that is being handled; it ends the connection, and is the reason."""
        failure = Failure()
        log.failure("{connection!r}: its protocol failed", failure, connection=self)
        if self.connected:
            self._abort(failure)

    # Writing and closing.

    def _write(self, data: bytes) -> None:
        unsent = self._unsent
        if unsent or len(data) > SMALL:
            if len(unsent) + len(data) <= SMALL:
                self._unsent = unsent + bytes(data)
            else:
                self.flush()
                self._transport.write(data)
        elif data:
            self._unsent = data if type(data) is bytes else bytes(data)
            senders = self._round.senders
            if not senders:
                self._round.begin_senders()
            senders.append(self)

    def flush(self) -> None:
        """Hand uvloop what waits for the end of the round; safe at any time."""
        unsent = self._unsent
        if unsent:
            self._unsent = b""
            self._transport.write(unsent)

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self._unsent) + (0 if self.disconnected else self._transport.get_write_buffer_size())

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Write the pieces as one."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """Close once everything is flushed and no producer is registered; reading ends at once."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self.receive = _ignored
            if self._producer is None:
                self._close()
            else:
                self._transport.pause_reading()

    def _close(self) -> None:
        self.flush()
        self.write = self.receive = _ignored
        self._transport.close()

    def abortConnection(self) -> None:
        """Drop the connection and what is unsent; a TCP peer sees a reset."""
        if self.connected and self._reason is None:
            with contextlib.suppress(OSError):
                self.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._abort(Failure(ConnectionAborted()))

    def _abort(self, reason: Failure) -> None:
        if self._reason is None:
            self._reason = reason
        self.write = self.receive = _ignored
        self._unsent = b""
        self._transport.abort()

    def loseWriteConnection(self) -> None:
        """Send a FIN once everything is flushed and no producer is registered; reading goes on."""
        if self.connected and not self.disconnecting and self._writing is ON:
            self._writing = ENDING
            if self._producer is None:
                self._end_writing()

    def _end_writing(self) -> None:
        self._writing = ENDED
        self.flush()
        self.write = _ignored
        # Limits of zero make uvloop call resume_writing when all is flushed, its only word on it.
        self._transport.set_write_buffer_limits(0)
        self._transport.write_eof()
        if not self._choked:
            self._origin.loop.call_soon(self._report_write_end)

    def _report_write_end(self) -> None:
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self._tell(self._protocol.writeConnectionLost)

    # A consumer: somebody's producer writes here.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause and resume `producer` as the write buffer fills and drains; RuntimeError if there is one."""
        if self._producer is not None:
            raise RuntimeError(f"{self!r} already has a producer: {self._producer!r}; refused: {producer!r}")
        if not self.connected:
            producer.stopProducing()
            return
        self._transport.set_write_buffer_limits(HIGH_WATER if streaming else 0)
        self._producer, self._streaming, self._pulling = producer, streaming, False
        if not streaming:
            self.flush()
            if self.write is not _ignored:
                self.write = self._write_pulled
            producer.resumeProducing()
        elif self._choked:
            producer.pauseProducing()  # uvloop said so before, and won't again

    def unregisterProducer(self) -> None:
        """Forget the producer; a close that waited for it happens now."""
        self._producer = None
        if not self.connected:
            return
        if not self._streaming and self.write is not _ignored:
            self.write = self._write
        if self.disconnecting:
            self._close()
        elif self._writing is ENDING:
            self._end_writing()

    def _write_pulled(self, data: bytes) -> None:
        self._transport.write(data)
        if not self._pulling:
            self._pulling = True
            self._origin.loop.call_soon(self._pull)

    def _pull(self) -> None:
        if self._pulling and not self._choked and self._producer is not None:
            self._pulling = False
            self._tell(self._producer.resumeProducing)

    # A producer: somebody's consumer takes what is read here.

    def pauseProducing(self) -> None:
        """Stop reading; neither a FIN nor a reset is noticed until it goes on, except by writing."""
        if self.connected and self._reading is ON:
            self._reading = PAUSED
            self.receive = self._hold
            self._transport.pause_reading()

    def resumeProducing(self) -> None:
        """Go on reading; nothing to a connection that is closing, or whose peer has ended its side."""
        if self.connected and not self.disconnecting and self._reading is PAUSED:
            self._reading = ON
            if self._held or self._eof_held:
                self._origin.loop.call_soon(self._release)
            else:
                self.receive = self._protocol.dataReceived
                self._transport.resume_reading()

    def stopProducing(self) -> None:
        """Same as loseConnection."""
        self.loseConnection()

    # What came in the same round as the pause, or before uvloop could be paused at all, waits here.

    def _pause_again(self) -> None:
        if self.connected and self._reading is PAUSED:
            self._transport.pause_reading()

    def _hold(self, data: bytes) -> None:
        self._held += data

    def _release(self) -> None:
        if not self.connected or self.disconnecting or self._reading is PAUSED:
            return
        held, self._held = self._held, b""
        self.receive = self._protocol.dataReceived
        if held:
            self._tell(self.receive, held)
        if self._eof_held and self._reading is ON and self.connected:
            self._eof_held = False
            self._tell(self.ended)
        elif self._reading is ON and self.connected:
            self._transport.resume_reading()

    # The socket.

    def _end(self, which: str) -> Address | None:
        known = self._origin.host if which == "sockname" else self._origin.peer
        if known is not None:
            return known
        name = self._transport and self._transport.get_extra_info(which)
        return internet_address(name) if name else None

    def getHost(self) -> Address | None:
        """Our end; also after the connection is lost."""
        return self._end("sockname")

    def getPeer(self) -> Address | None:
        """The other end; also after the connection is lost."""
        return self._end("peername")

    def getHandle(self) -> Any:
        """uvloop's view of the socket: for its descriptor and options, not for reading or writing."""
        return self._transport.get_extra_info("socket")

    def getTcpNoDelay(self) -> bool:
        """Whether small writes leave at once; uvloop turns it on from the start. False on a Unix socket."""
        return self._get_option(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Turn Nagle's algorithm off or on; nothing to a Unix socket or a lost connection."""
        self._set_option(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """Whether the kernel probes an idle peer."""
        return self._get_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Have the kernel probe an idle peer, or not."""
        self._set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    def _get_option(self, level: int, name: int) -> bool:
        with contextlib.suppress(OSError):
            return self.connected and bool(self.getHandle().getsockopt(level, name))
        return False

    def _set_option(self, level: int, name: int, enabled: bool) -> None:
        if self.connected:
            with contextlib.suppress(OSError):
                self.getHandle().setsockopt(level, name, int(enabled))
