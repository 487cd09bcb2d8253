"""Where a proxy listens: a port and a door for each endpoint of its configuration.

The rule: once they are told to close, none is opened any more. The admin's port is open while all else is full, and
until those who came in by the others are through.
"""

from __future__ import annotations

import os
from typing import Any, Final

from twisted.internet.defer import gatherResults, succeed
from twisted.internet.endpoints import serverFromString

from asyncproxy.polling.entrance import Entrance
from asyncproxy.polling.listening import Door
from asyncproxy.service.hooks import NotStarted

BACKLOG: Final = 4096


class Ports:
    """The ports of a proxy from its start to its stop, and their doors: all but the admin's are public."""

    def __init__(self) -> None:
        self.public_doors: list[Door] = []
        self._admin_doors: list[Door] = []
        self._public: list[Any] = []
        self._admin: list[Any] = []
        self._closed = False

    @property
    def doors(self) -> list[Door]:
        """Of all, the admin's last; also after the end."""
        return [*self.public_doors, *self._admin_doors]

    @property
    def addresses(self) -> list[Any]:
        """Where it listens: the Twisted addresses, the admin's last."""
        return [port.getHost() for port in (*self._public, *self._admin)]

    @property
    def admin_address(self) -> Any:
        """Where it listens for the admin; None if it does not."""
        return self._admin[0].getHost() if self._admin else None

    async def open_public(self, network: Any, endpoint: str, door: Door, entrance: Entrance) -> None:
        """Listen on one of `server.listen`, as one way through `entrance`. Raises `NotStarted`."""
        self.public_doors.append(door)
        entrance.lead_to(door)
        port = await self._listen(network, "server.listen", endpoint, door)
        self._public.append(port)
        entrance.guard(port, door)

    async def open_admin(self, network: Any, endpoint: str, door: Door) -> None:
        """Listen on `admin.listen`. Raises `NotStarted`."""
        self._admin_doors.append(door)
        self._admin.append(await self._listen(network, "admin.listen", endpoint, door))

    async def _listen(self, network: Any, key: str, endpoint: str, door: Door) -> Any:
        backlog = endpoint.startswith(("tcp:", "unix:")) and ":backlog=" not in endpoint
        description = f"{endpoint}:backlog={BACKLOG}" if backlog else endpoint
        try:
            port = await serverFromString(network, description).listen(door)
        except (OSError, ValueError) as why:  # a directory that is not there, a kind of endpoint that nobody knows
            raise NotStarted(f'{key}: "{endpoint}" cannot be listened on: {why}') from why
        if self._closed:
            await _stop_listening([port])
        self.go_on()
        return port

    def go_on(self) -> None:
        """Raises `NotStarted` if they were closed: what a stop closes must not be opened after it."""
        if self._closed:
            raise NotStarted("the proxy was told to stop before it listened")

    async def close_public(self) -> None:
        """Listen for the admin alone."""
        self._closed = True
        ports, self._public = self._public, []
        await _stop_listening(ports)

    async def close(self) -> None:
        """Listen no more, and close every connection."""
        self._closed = True
        ports, self._public, self._admin = [*self._public, *self._admin], [], []
        await _stop_listening(ports)
        for door in self.doors:
            door.open = False
            door.close_connections()

    def statistics(self) -> dict[str, int]:
        """How many listen."""
        return {"ports": len(self.addresses)}

    def __repr__(self) -> str:
        return f"<Ports {', '.join(map(address_text, self.addresses)) or 'none'}{', closed' if self._closed else ''}>"


async def _stop_listening(ports: list[Any]) -> None:
    await gatherResults([port.stopListening() or succeed(None) for port in ports])


def address_text(address: Any) -> str:
    """A Twisted address as people write it."""
    host = getattr(address, "host", None)
    if host is None:
        name = getattr(address, "name", address)
        return f"unix:{os.fsdecode(name)}" if isinstance(name, (str, bytes)) else str(name)
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
