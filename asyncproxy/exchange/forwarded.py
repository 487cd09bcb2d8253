"""What those in front of us say of a request, and what we say of it: X-Forwarded-* and Forwarded (RFC 7239).

The rule: both are read into one chain of hops, and both are made of it again, so that an upstream can never be told
one client in one field and another in the other. Where a peer says X-Forwarded-*, its Forwarded does not count: most
who stand in front of servers know only the former, and pass on of the latter whatever a client has sent. What is
malformed is as if it were not there: of X-Forwarded-For all that stands left of it too, of Forwarded the whole field.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

from asyncproxy.exchange.grammar import TOKEN

BOTH: Final = "both"
X_FORWARDED: Final = "x-forwarded"
RFC_7239: Final = "rfc7239"
OFF: Final = "off"
TELLINGS: Final = (BOTH, X_FORWARDED, RFC_7239, OFF)
"""Which fields upstreams are told."""

HOPS: Final = 32
"""Hops that are read of a request; what stands left of them is dropped."""
LONGEST: Final = 4096
"""Bytes of Forwarded that are read, as the right end is not known before the left one is read; a longer one is
malformed."""

Said = list[tuple[bytes, bytes]]
"""What a request's block says of hops: names of fields and their values."""

_SAID: Final = re.compile(rb"(?i:\r\n(x-forwarded-(?:for|proto|host)|forwarded):)[ \t]*([^\r]*)")
_PAIR: Final = re.compile(
    rb"(" + TOKEN + rb')=(?:(%b)|"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)")[ \t]*(?=[;,]|\Z)' % TOKEN
)
_BETWEEN: Final = re.compile(rb"[ \t]*(?:([;,])[ \t]*)?")
_PLAIN: Final = re.compile(TOKEN)
_QUOTED: Final = re.compile(rb"\\(.)", re.DOTALL)
_NODE: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}|_[A-Za-z0-9._-]+))?")
_NAMELESS: Final = re.compile(r"(?:unknown|_[A-Za-z0-9._-]+)(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?", re.IGNORECASE)
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_SCHEMES: Final = (b"http", b"https")


class Hop(NamedTuple):
    """One of those that a request came from, as the next one tells."""

    node: str
    """Who it is: an address, with a port perhaps; ``unknown``; or a name that hides one."""
    address: str = ""
    """Its address, if it tells one."""
    port: int = 0
    scheme: str = ""
    """By which the next one was asked, if it says so."""
    host: bytes = b""
    """Which host the next one was asked for, if it says so."""
    element: bytes = b""
    """It all, as an element of Forwarded."""


class Chain(NamedTuple):
    """What a peer says of a request: its hops, the farthest first, and what was asked for at whichever of them."""

    hops: tuple[Hop, ...] = ()
    scheme: str = ""
    host: bytes = b""

    def client(self, trusted: Container[str]) -> int | None:
        """The place of the client: of the first hop from the right that is not itself trusted, or of the last of them
        that is; None if no hop tells an address.
        """
        found = None
        for index in range(len(self.hops) - 1, -1, -1):
            address = self.hops[index].address
            if not address:
                break
            found = index
            if address not in trusted:
                break
        return found


def said(block: bytes) -> Said:
    """What a header block says of hops; the same list, the same chain."""
    return _SAID.findall(block)


def chain_of(found: Said) -> Chain:
    """What `found` comes to."""
    by_name: dict[bytes, bytes] = {}
    for name, value in found:
        key = name.lower()
        by_name[key] = by_name[key] + b"," + value if key in by_name else value
    forwarded = by_name.pop(b"forwarded", b"")
    if not by_name:
        return Chain(tuple(forwarded_hops(forwarded) if len(forwarded) <= LONGEST else ()))
    hops = x_forwarded_hops(by_name.get(b"x-forwarded-for", b""))
    schemes = [_scheme(value) for value in _listed(by_name.get(b"x-forwarded-proto", b""))]
    hosts = [_host(value) for value in _listed(by_name.get(b"x-forwarded-host", b""))]
    if len(hops) > 1:  # a list as long as that of the hops tells of each its own
        if len(schemes) == len(hops):
            hops = [hop._replace(scheme=scheme) for hop, scheme in zip(hops, schemes, strict=True)]
        if len(hosts) == len(hops):
            hops = [hop._replace(host=host) for hop, host in zip(hops, hosts, strict=True)]
    return Chain(tuple(hops), schemes[-1] if schemes else "", hosts[-1] if hosts else b"")


def x_forwarded_hops(value: bytes) -> list[Hop]:
    """The hops of X-Forwarded-For: as many from the right as are addresses or ``unknown``."""
    hops: list[Hop] = []
    for part in reversed(_listed(value)):
        text = part.decode("latin-1")
        bare = _address(text)
        hop = Hop(text, bare) if bare else _hop(text)
        if hop is None:
            break
        hops.append(hop)
    hops.reverse()
    return hops


def forwarded_hops(value: bytes) -> list[Hop]:
    """The hops of Forwarded; none if it is not as RFC 7239 section 4 has it."""
    hops = []
    for element, pairs in _elements(value):
        if pairs is None:
            return []
        node = pairs.get(b"for", b"unknown").decode("latin-1")
        hop = _hop(node)
        if hop is None:
            return []
        hops.append(hop._replace(scheme=_scheme(pairs[b"proto"]) if b"proto" in pairs else "",
                                 host=_host(pairs[b"host"]) if b"host" in pairs else b"", element=element))  # fmt: skip
    return hops[-HOPS:]


def _elements(value: bytes) -> Iterator[tuple[bytes, dict[bytes, bytes] | None]]:
    """The elements of Forwarded and their parameters; None as the last one's if it is malformed."""
    at = began = 0
    pairs: dict[bytes, bytes] = {}
    while True:
        between = _BETWEEN.match(value, at)
        assert between is not None  # it matches nothing too
        if between[1] == b"," or between.end() == len(value):
            if pairs:
                yield value[began:at].rstrip(b" \t"), pairs
            pairs, began = {}, between.end()
        at = between.end()
        if at == len(value):
            return
        if value[at : at + 1] in (b";", b","):
            continue
        pair = _PAIR.match(value, at)
        if pair is None or pair[1].lower() in pairs:
            yield b"", None
            return
        if not pairs:
            began = at
        quoted = pair[3]
        pairs[pair[1].lower()] = pair[2] if quoted is None else _QUOTED.sub(rb"\1", quoted)
        at = pair.end()


def _listed(value: bytes) -> list[bytes]:
    """The last elements of a list of values."""
    return [part for part in (one.strip(b" \t") for one in value.rsplit(b",", HOPS)[-HOPS:]) if part]


def _hop(text: str) -> Hop | None:
    """A node of RFC 7239 section 6; None for what is none."""
    found = _NODE.fullmatch(text)
    if found is None:
        return Hop(text) if _NAMELESS.fullmatch(text) else None
    address = _address(found[1] or found[2])
    if not address or (":" in address) is (found[1] is None):
        return None
    port = found[3] or ""
    return Hop(address if not port else text, address, int(port) if port.isdecimal() and int(port) < 65536 else 0)


def _address(text: str) -> str:
    """`text` as an address in its usual spelling; empty if it is none, or one of a zone."""
    try:
        return str(ip_address(text)) if "%" not in text else ""
    except ValueError:
        return ""


def _scheme(value: bytes) -> str:
    return value.decode("ascii") if (value := value.lower()) in _SCHEMES else ""


def _host(value: bytes) -> bytes:
    return value if _HOST.fullmatch(value) else b""


# What we say.


def tell(telling: str, nodes: Sequence[str], scheme: str, host: bytes, elements: Sequence[bytes]) -> bytes:
    """The fields that tell of a client, as a block: `nodes` for X-Forwarded-For, `elements` for Forwarded."""
    block = b""
    if telling in (BOTH, X_FORWARDED):
        block = f"\r\nX-Forwarded-For: {', '.join(nodes)}\r\nX-Forwarded-Proto: {scheme}".encode("latin-1")
        if host:
            block += b"\r\nX-Forwarded-Host: " + host
    return block + b"\r\nForwarded: " + b", ".join(elements) if telling in (BOTH, RFC_7239) else block


def element(node: str, scheme: str = "", host: bytes = b"") -> bytes:
    """An element of Forwarded: `node` as of X-Forwarded-For asked for `host` by `scheme`."""
    parts = [b"for=" + _value(_node(node).encode("latin-1"))]
    if host:
        parts.append(b"host=" + _value(host))
    if scheme:
        parts.append(b"proto=" + scheme.encode("ascii"))
    return b";".join(parts)


def _node(text: str) -> str:
    """`text`, an address as of X-Forwarded-For, as RFC 7239 section 6 writes it."""
    bare = text.partition("%")[0]
    try:
        return f"[{bare}]" if isinstance(ip_address(bare), IPv6Address) else bare
    except ValueError:
        return "_unix" if text == "unix" else text


def _value(text: bytes) -> bytes:
    return text if _PLAIN.fullmatch(text) else b'"' + re.sub(rb'(["\\])', rb"\\\1", text) + b'"'
