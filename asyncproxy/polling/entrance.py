"""Where clients come in, all listeners but the admin's together: who may, and which limits they reach once they are in.

The rule: an entrance is made once for a proxy, and its doors share it, so that a limit holds for all of them together.
Polling thread only.
"""

from __future__ import annotations

from typing import Any

from asyncproxy.boundaries import Clock
from asyncproxy.polling.crowd import Crowd
from asyncproxy.polling.descriptors import Ceiling
from asyncproxy.polling.gate import Gate
from asyncproxy.polling.listening import Door
from asyncproxy.polling.reached import Reached


class Entrance:
    """The gate before the ports, who has reasons to shut it, and who counts; `limits` are `[limits]`."""

    def __init__(self, clock: Clock, limits: Any) -> None:
        self.gate = Gate(clock)
        self.ceiling = Ceiling(self.gate, clock)
        self.crowd = Crowd(self.gate, limits)
        self.reached = Reached(clock.seconds)

    def lead_to(self, door: Door) -> None:
        """Who comes by `door` is counted from now on."""
        door.crowd = self.crowd
        door.reached = self.reached

    def guard(self, port: Any, door: Door) -> None:
        """`port`, by which they come to `door`, pauses when it has to; one that cannot is left alone."""
        if hasattr(port, "stopReading"):
            self.gate.ports.append(port)
            door.accepted = self.ceiling.accepted

    def stop(self) -> None:
        """Nobody is to be accepted any more."""
        self.ceiling.stop()
        self.gate.stop()

    def shown(self) -> dict[str, Any]:
        """For ``/status.json``: how many are connected, whether more may come, and how often limits were reached."""
        return {"clients": {**self.crowd.statistics(), "limits_reached": self.reached.statistics()}}

    def __repr__(self) -> str:
        return f"<Entrance: {self.crowd!r}>"
