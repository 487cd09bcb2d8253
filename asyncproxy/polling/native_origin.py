"""What a native connection knows of where it came from, and how its two ends are named.

The connection itself stays the same for both directions; what differs is asked of its origin.

Polling thread only.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from asyncproxy.polling.native_connection import NativeConnection

Address = IPv4Address | IPv6Address | UNIXAddress


class Origin(Protocol):
    """A listening port or a connector, as the connection sees it."""

    loop: asyncio.AbstractEventLoop

    @property
    def host(self) -> Address | None:
        """Our end, where it is known beforehand; None: ask the socket."""

    @property
    def peer(self) -> Address | None:
        """The other end, likewise."""

    def build(self, connection: NativeConnection) -> Any:
        """The protocol for this connection, or None to refuse it."""

    def lost(self, connection: NativeConnection, reason: Failure) -> None:
        """The connection is over; its protocol has been told already."""


def internet_address(name: tuple[Any, ...]) -> IPv4Address | IPv6Address:
    """Turn a TCP socket's name into Twisted's address."""
    if len(name) == 2:
        return IPv4Address("TCP", *name)
    return IPv6Address("TCP", *name)


def in_words(address: Address | None) -> str:
    """An address for a repr or a log line."""
    if address is None:
        return "nobody"
    if isinstance(address, UNIXAddress):
        return f"unix:{(address.name or b'').decode('utf-8', 'replace')}"
    host = f"[{address.host}]" if isinstance(address, IPv6Address) else address.host
    return f"tcp:{host}:{address.port}"
