"""How many connections clients have: in all, so that accepting pauses when there are too many, and of each address.

The rule: whoever has come leaves once. When there are as many as may be, nobody is accepted until a fourth has gone:
without that gap, a full proxy would stop and start its ports for each who leaves. Polling thread only.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from asyncproxy.exchange.errors import Overloaded
from asyncproxy.exchange.networks import UNIX, known_address
from asyncproxy.polling.gate import Gate

GOES_ON: Final = 0.75
"""Accepting goes on when this share of the connections that may be is left."""
_REASON: Final = "connections"


class Crowd:
    """The connections of all doors that share it; `limits` are `[limits]`."""

    def __init__(self, gate: Gate, limits: Any) -> None:
        self._gate = gate
        self._counted: dict[Any, str] = {}
        """The addresses of those who are counted by address: none while that has no limit."""
        self._by_address: Counter[str] = Counter()
        self.here = 0
        self.limit(limits)

    def limit(self, limits: Any) -> None:
        """From now on `limits` hold; who is here stays."""
        self._most: int | None = limits.connections
        self._most_of_one: int | None = limits.connections_per_client
        if self._most is not None and self.here >= self._most:
            self._shut()
        else:
            self._open()

    def come(self, one: Any, address: str) -> Overloaded | None:
        """`one` is here, from `address`; an error if that has too many already, and then `one` is to be refused.

        An empty address is one that many come with, and is not counted.
        """
        self.here += 1
        if self._most is not None and self.here >= self._most:
            self._shut()
        return None if self._most_of_one is None else self._count(one, address, self._most_of_one)

    def _count(self, one: Any, address: str, most: int) -> Overloaded | None:
        if not address or address == UNIX:  # everybody who comes by a socket's file has this one
            return None
        address = str(known_address(address)) if ":" in address else address  # IPv6 has two spellings of IPv4's
        if self._by_address[address] >= most:
            return Overloaded(f"this address has {most} connections already", "limits.connections_per_client")
        self._by_address[address] += 1
        self._counted[one] = address
        return None

    def leave(self, one: Any) -> None:
        """`one` is gone."""
        self.here -= 1
        address = self._counted.pop(one, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
        if _REASON in self._gate.reasons:
            self._open()

    def _shut(self) -> None:
        self._gate.shut(_REASON, f"{self.here} connections of clients are open (limits.connections = {self._most})")

    def _open(self) -> None:
        if self._most is None or self.here <= self._most * GOES_ON:
            self._gate.open(_REASON, f"{self.here} connections of clients are open")

    def statistics(self) -> dict[str, int]:
        """Connections that are ``here``; ``addresses`` that are counted; and what the gate says."""
        return {"connections": self.here, "addresses": len(self._by_address), **self._gate.statistics()}

    def __repr__(self) -> str:
        return f"<Crowd of {self.here}, {len(self._by_address)} addresses counted, {self._gate!r}>"
