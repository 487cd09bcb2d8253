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
    """The round of one loop that is under way: who has received something, and who has something to send.

    A connection puts itself into `arrivals`, with its bytes or None for its end, and into `senders`; the first of a
    round calls `begin_arrivals` or `begin_senders`. The lists are theirs to use directly, for they are used for every
    piece of every message.
    """

    __slots__ = ("_call_soon", "arrivals", "senders")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_soon = loop.call_soon
        self.arrivals: list[tuple[NativeConnection, bytes | None]] = []
        self.senders: list[NativeConnection] = []

    def begin_arrivals(self) -> None:
        """The round's first arrival is about to come."""
        self._call_soon(self.take_in)

    def begin_senders(self) -> None:
        """The round's first sender is about to come."""
        self._call_soon(self._flush)

    def take_in(self) -> None:
        """Give everything that has arrived to its protocol, in order, then send what they wrote."""
        arrivals, self.arrivals = self.arrivals, []
        for connection, data in arrivals:
            try:
                if data is not None:
                    connection.receive(data)
                else:
                    connection.ended()
            except Exception:  # noqa: BLE001 - whatever a protocol raises is logged and ends its connection
                connection.protocol_failed()
        if self.senders:
            self._flush()

    def _flush(self) -> None:
        senders, self.senders = self.senders, []
        for connection in senders:
            connection.flush()


_ROUNDS: WeakKeyDictionary[Any, Round] = WeakKeyDictionary()


def round_of(loop: asyncio.AbstractEventLoop) -> Round:
    """The round of `loop`; there is one."""
    found = _ROUNDS.get(loop)
    if found is None:
        found = _ROUNDS[loop] = Round(loop)
    return found
