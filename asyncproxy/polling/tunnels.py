"""All tunnels: which are open, how long one may idle, and what went through them.

The rule: a tunnel that idles costs nothing. It stands in the wheel at a time that is far away, and looks at itself when
that comes; what passes meanwhile is only noted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncproxy.polling.deadlines import NEVER, Deadlines

if TYPE_CHECKING:
    from asyncproxy.polling.tunnel import Tunnel


class Tunnels:
    """Those that are open, and what went through them and through those before. Polling thread only."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.idle = NEVER
        """Seconds after which one through which nothing passes is closed."""
        self.open: set[Tunnel] = set()
        self.total = 0
        """How many there have been."""
        self._deadlines = deadlines
        self._received = 0
        self._sent = 0

    def limit(self, idle: float | None) -> None:
        """From now on one may be idle for `idle` seconds, for those that are open too; None: for ever."""
        before, self.idle = self.idle, NEVER if idle is None else idle
        for tunnel in self.open if self.idle != before else ():  # a module in a Site says so for each request
            self.watch(tunnel)

    def opened(self, tunnel: Tunnel) -> None:
        """`tunnel` is open."""
        self.open.add(tunnel)
        self.total += 1
        self.watch(tunnel)

    def watch(self, tunnel: Tunnel) -> None:
        """Have `tunnel` look at itself when nothing can have passed for too long."""
        self.look(tunnel, tunnel.heard + tunnel.patience - tunnel.seconds())

    def look(self, tunnel: Tunnel, delay: float) -> None:
        """Have `tunnel` look at itself in `delay` seconds."""
        self._deadlines.remove(tunnel)  # a place that is later would keep it in memory until then
        self._deadlines.set(tunnel, delay)

    def closed(self, tunnel: Tunnel) -> None:
        """`tunnel` is over."""
        self._deadlines.remove(tunnel)
        self.open.discard(tunnel)
        self._received += tunnel.received
        self._sent += tunnel.server.count

    def statistics(self) -> dict[str, int]:
        """How many are ``open``, how many there were in ``total``; bytes ``received`` from clients and ``sent`` to
        them.
        """
        return {
            "open": len(self.open),
            "total": self.total,
            "received": self._received + sum(tunnel.received for tunnel in self.open),
            "sent": self._sent + sum(tunnel.server.count for tunnel in self.open),
        }

    def __repr__(self) -> str:
        return f"<Tunnels {len(self.open)} open of {self.total}>"
