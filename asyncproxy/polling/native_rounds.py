"""What one round of the loop brings is taken in together, and what it gives out goes out together.

The kernel's code and ours drive one another out of the processor's caches, and a write to a peer that sleeps wakes it,
which costs more than the copy. So a round first hears of everything that arrived, then runs all the protocols, one
after the other, on warm code, then writes to all peers, of which the first is awake by the time of the last. Measured
on the hot path: a third of a small GET's whole cost (docs/decisions/0011-rounds.md).

The rule: a connection's arrivals keep their order, its end comes after its bytes, and its writes keep theirs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from asyncproxy.polling.native_connection import NativeConnection

SMALL: Final = 16 * 1024
"""Bytes up to which a write waits; more than that goes out at once, with what waits before it."""


class Round:
    """The round of one loop that is under way: who has received something, and who has something to send."""

    __slots__ = ("_arrivals", "_call_soon", "_senders")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_soon = loop.call_soon
        self._arrivals: list[tuple[NativeConnection, bytes | None]] = []
        self._senders: list[NativeConnection] = []

    def arrived(self, connection: NativeConnection, data: bytes | None) -> None:
        """`data` has come for `connection`, or its end if it is None."""
        if not self._arrivals:
            self._call_soon(self._take_in)
        self._arrivals.append((connection, data))

    def sends(self, connection: NativeConnection) -> None:
        """`connection` is to be flushed at the end of the round."""
        if not self._senders:
            self._call_soon(self._flush)
        self._senders.append(connection)

    def _take_in(self) -> None:
        arrivals, self._arrivals = self._arrivals, []
        for connection, data in arrivals:
            try:
                if data is not None:
                    connection.receive(data)
                else:
                    connection.ended()
            except Exception:  # noqa: BLE001 - whatever a protocol raises is logged and ends its connection
                connection.protocol_failed()
        if self._senders:
            self._flush()

    def _flush(self) -> None:
        senders, self._senders = self._senders, []
        for connection in senders:
            connection.flush()


_ROUNDS: WeakKeyDictionary[Any, Round] = WeakKeyDictionary()


def round_of(loop: asyncio.AbstractEventLoop) -> Round:
    """The round of `loop`; there is one."""
    found = _ROUNDS.get(loop)
    if found is None:
        found = _ROUNDS[loop] = Round(loop)
    return found
