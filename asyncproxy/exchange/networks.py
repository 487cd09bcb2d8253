"""Networks of peers that are believed, as an operator lists them: addresses, networks in CIDR, and ``unix``."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

UNIX: Final = "unix"
"""Who comes over a UNIX socket has no address: it is called this."""


def network(text: object) -> IPv4Network | IPv6Network:
    """``10.0.0.0/8``, ``::1``. Raises ValueError, with a mend."""
    if not isinstance(text, str):
        raise ValueError(f'{text!r} is no network; write for example "10.0.0.0/8", "::1" or "unix"')
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        wide = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f'"{text}" is no network; write for example "10.0.0.0/8", "::1" or "unix"') from None
    host = text.partition("/")[0]
    raise ValueError(f'"{text}" is an address inside a network; write "{wide}" for all of it, or "{host}" for it alone')


def known_address(text: str) -> IPv4Address | IPv6Address:
    """`text` as an address, without a zone: of IPv4 too where it came by a socket for both families (RFC 4291 2.5.5.2).

    Raises ValueError for what is none.
    """
    known = ip_address(text.partition("%")[0])
    return known.ipv4_mapped or known if isinstance(known, IPv6Address) else known


class Networks:
    """A set of addresses: ``address in networks``. Raises ValueError for what is no network."""

    __slots__ = ("_networks", "texts")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts = tuple(texts)
        self._networks = tuple(network(text) for text in self.texts if text != UNIX)

    def __contains__(self, address: object) -> bool:
        if not self.texts or not isinstance(address, str):
            return False
        try:
            known = known_address(address)
        except ValueError:
            return address == UNIX and UNIX in self.texts
        return any(known in one for one in self._networks)

    def __bool__(self) -> bool:
        return bool(self.texts)

    def __repr__(self) -> str:
        return f"<Networks {', '.join(self.texts) or 'none'}>"
