"""Protocols across the threads: the few things each room may ask of another.

Only two calls cross: the polling thread hands a turn to `Workers.do`, and any thread gives a call to
`PollingThread.deliver`. Beside each real thing stands a fake that a test steps by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class DelayedCall(Protocol):
    """A timer that has not fired."""

    def cancel(self) -> None:
        """Never fire."""


class Clock(Protocol):
    """Time in seconds, and calls later on the polling thread: a Twisted reactor, or its `task.Clock`."""

    def seconds(self) -> float:
        """Now; only differences mean anything."""

    def callLater(self, delay: float, call: Callable[..., Any], *args: Any) -> DelayedCall:
        """Call `call` in `delay` seconds."""


class Turn(Protocol):
    """One uninterrupted run of module code."""

    def run(self) -> None:
        """Run it, on a worker; never raises."""

    def ran(self) -> None:
        """Tell whoever asked for it, on the polling thread."""


class Workers(Protocol):
    """The pool that runs turns. All but what `Turn.run` does is called on the polling thread."""

    @property
    def waiting(self) -> int:
        """Turns that no worker has begun."""

    def do(self, turn: Turn) -> None:
        """Run `turn` as soon as a worker is free; then call its `ran` on the polling thread."""

    def withdraw(self, turn: Turn) -> bool:
        """Take `turn` back if no worker has begun it; False if one has."""

    def statistics(self) -> dict[str, int]:
        """``total``, ``busy`` and ``queued``."""


class PollingThread(Protocol):
    """The way back to the polling thread, from any thread."""

    def deliver(self, call: Callable[..., Any], *args: Any) -> None:
        """Call `call` on the polling thread soon; calls keep their order."""


class Source(Protocol):
    """Where a body's bytes come from: it can be asked to wait, and told that nobody wants them."""

    def pause(self) -> None:
        """Send no more for now."""

    def resume(self) -> None:
        """Go on."""

    def drop(self) -> None:
        """What is left is not wanted."""


class Sink(Protocol):
    """Where a body's bytes go."""

    def piece(self, data: bytes) -> None:
        """Take `data`; never empty."""

    def end(self) -> None:
        """The body is complete."""

    def failed(self, error: Exception) -> None:
        """The body is cut: `error` says by whom."""


class Producer(Protocol):
    """What fills a response's body: it waits when the client is slow."""

    def pause(self) -> None:
        """The client has no room."""

    def resume(self) -> None:
        """The client has room again."""


class Client(Sink, Protocol):
    """The client's side of one exchange: what `flow` may ask of a connection, or of a fake of one.

    As a sink it takes the body of a response that was begun. Whole or cut, it says `Exchange.sent` when the last byte
    is out, and `Exchange.left` when the client has gone.
    """

    def answer(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes, length: int | None) -> None:
        """Send a whole response; `length` is what is told of the body's, for a HEAD too. None tells nothing."""

    def begin(self, status: int, fields: list[tuple[bytes, bytes]], length: int | None, producer: Producer) -> None:
        """Send a response's head; `length` is that of the body, None for one that only its end tells."""

    def refuse(self, status: int, words: str) -> None:
        """Send an error of ours."""

    def cut(self) -> None:
        """Close the connection so that the client cannot take the body for a whole one."""
