"""Which protocols a connection may switch to (RFC 9110 section 7.8): what a client offers, what its upstream agrees on.

The rule: an Upgrade is never passed on as it came, but made anew of its protocols, those that carry HTTP itself left
out: requests inside of them would go past every route, limit and check (`h2c` is a known way to smuggle them, and was
dropped by RFC 9113). What was not offered cannot be agreed on.
"""

from __future__ import annotations

import re
from typing import Final

from asyncproxy.exchange.forwarding import Fields, Noted, elements
from asyncproxy.exchange.grammar import TOKEN

SWITCHING: Final = 101
UPGRADE_REQUIRED: Final = 426
_PROTOCOL: Final = re.compile(rb"(%b)(?:/%b)?" % (TOKEN, TOKEN))
_HTTP_INSIDE: Final = frozenset((b"h2c", b"h2", b"h3", b"http", b"https", b"tls"))


class NotAgreed(ValueError):
    """An upstream switches to what it was not offered, or not as it must; str() says what is wrong with its reply."""


def protocols(noted: Noted) -> list[bytes]:
    """What a message's Upgrade names and may go on; nothing unless its Connection names `upgrade`."""
    return _fit(noted.upgrade) if noted.upgrade and b"upgrade" in elements(noted.connection) else []


def required(block: Fields) -> bytes:
    """The fields by which a 426 says what it wants to be spoken, as it must (RFC 9110 section 15.5.22)."""
    return upgrade_block(b", ".join(_fit(block.noted.upgrade)))


def _fit(upgrade: bytes) -> list[bytes]:
    found = map(_PROTOCOL.fullmatch, elements(upgrade))
    return [one[0] for one in found if one is not None and one[1].lower() not in _HTTP_INSIDE]


def offered(noted: Noted, minor: int) -> bytes:
    """What the client of a request of HTTP/1.`minor` offers to switch to, as its upstream is told; empty if nothing."""
    return b", ".join(protocols(noted)) if minor else b""


def agreed(reply: Fields, minor: int, offer: bytes) -> bytes:
    """What the 101 of an upstream switches to, that was offered `offer`. Raises `NotAgreed`."""
    if not offer:
        raise NotAgreed("it switches protocols, which nobody asked for")
    if not minor or reply.length_value or reply.noted.transfer:
        raise NotAgreed("its 101 is of HTTP/1.0, or has a body")
    chosen = protocols(reply.noted)
    open_to = {one.lower() for one in elements(offer)}
    if not chosen or len(chosen) != len(elements(reply.noted.upgrade)) or any(c.lower() not in open_to for c in chosen):
        raise NotAgreed("it switches to a protocol that was not offered")
    return b", ".join(chosen)


def upgrade_block(names: bytes) -> bytes:
    """The fields that say `names` to the next hop."""
    return b"\r\nConnection: Upgrade\r\nUpgrade: " + names if names else b""
