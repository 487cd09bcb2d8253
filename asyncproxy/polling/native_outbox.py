"""Small writes wait for the end of the loop's round, and then go out one after the other.

A write to a peer that sleeps wakes it, which costs the kernel more than the copy. When many connections are served in
one round, the peers of the first are awake by the time the others are written to; and the round's own code is not
driven out of the processor's caches at each write. Measured on the hot path: a quarter of a small GET's whole cost
(docs/decisions/0011-writes-at-the-end-of-the-round.md).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from asyncproxy.polling.native_connection import NativeConnection

SMALL: Final = 16 * 1024
"""Bytes up to which a write waits; more than that goes out at once, with what waits before it."""


class Outbox:
    """Connections of one loop that have something to send at the end of this round."""

    __slots__ = ("_call_soon", "_connections")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_soon = loop.call_soon
        self._connections: list[NativeConnection] = []

    def add(self, connection: NativeConnection) -> None:
        """`connection` is to be flushed at the end of the round."""
        if not self._connections:
            self._call_soon(self._flush)
        self._connections.append(connection)

    def _flush(self) -> None:
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.flush()


_OUTBOXES: WeakKeyDictionary[Any, Outbox] = WeakKeyDictionary()


def outbox_of(loop: asyncio.AbstractEventLoop) -> Outbox:
    """The outbox of `loop`; there is one."""
    outbox = _OUTBOXES.get(loop)
    if outbox is None:
        outbox = _OUTBOXES[loop] = Outbox(loop)
    return outbox
