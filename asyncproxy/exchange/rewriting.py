"""An upstream's names for itself in its client's words: Location, Content-Location, Refresh and Set-Cookie of replies.

The rule: a reference is mapped if it is a path, or a URL whose authority is one that the upstream has for itself: its
own address, the Host it was asked for, or the one that its client asked for. All else goes on as it came: relative
references, which the client resolves against its own URL, other sites, and what cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv6Address
from typing import Final, NamedTuple

_MAPPED: Final = re.compile(rb"(?i:(\r\n(location|content-location|refresh|set-cookie):)[ \t]*)([^\r]*)")
_ABSOLUTE: Final = re.compile(rb"(?:([a-z]+):)?//([^/?#]*)([/?#].*|)", re.IGNORECASE | re.DOTALL)
_AUTHORITY: Final = re.compile(rb"(\[[0-9a-f:.]+\]|[^\[\]:@]+)(?::([0-9]{0,5}))?", re.IGNORECASE)
_REFRESH: Final = re.compile(rb"([^;,]*[;,][ \t]*url[ \t]*=[ \t]*[\"']?)([^\"']*)(.*)", re.IGNORECASE | re.DOTALL)
_HOST_FIELD: Final = re.compile(rb"(?i:(\r\nhost:)[^\r]*)")
_PORTS: Final = {b"http": 80, b"https": 443, b"": 80}


class Place(NamedTuple):
    """Where a site is: its host, as in a URL, and the port; None is the one of whichever scheme it is asked by."""

    host: bytes
    port: int | None = None

    @classmethod
    def of(cls, authority: bytes) -> Place | None:
        """The place of a Host field or a URL's authority; None for one that cannot be read."""
        found = _AUTHORITY.fullmatch(authority)
        return None if found is None else cls(_host(found[1]), int(found[2]) if found[2] else None)


class Rewriting:
    """What the replies to one request are changed by."""

    __slots__ = ("_base", "_client", "_host", "_own", "_prefix", "_scheme", "_server")

    def __init__(self, server: bytes, asked: Iterable[bytes], client: bytes, scheme: str, prefix: bytes = b"") -> None:
        """`server` is the upstream's own authority, `asked` are others that it was told of, `client` is what the client
        asked for by `scheme`, and `prefix` the path that was taken off the target, percent-encoded.
        """
        self._server = Place.of(server)
        self._own = {place for place in map(Place.of, (*asked, client)) if place is not None}
        if self._server is not None and self._server.port is None:
            self._server = self._server._replace(port=80)
        self._host = client
        self._client = Place.of(client)
        self._scheme = scheme.encode("ascii")
        self._prefix = prefix
        self._base = prefix.rstrip(b"/")

    def block(self, block: bytes) -> bytes:
        """`block` of a reply, mapped."""
        return _MAPPED.sub(self._field, block)

    def _field(self, found: re.Match[bytes]) -> bytes:
        name, value = found[2].lower(), found[3].rstrip(b" \t")
        if name == b"set-cookie":
            return found[1] + b" " + self.cookie(value)
        if name == b"refresh":
            parts = _REFRESH.fullmatch(value)
            return found[0] if parts is None else found[1] + b" " + parts[1] + self.reference(parts[2]) + parts[3]
        return found[1] + b" " + self.reference(value)

    def reference(self, value: bytes) -> bytes:
        """A URL or a reference to one (RFC 3986 section 4.1), mapped."""
        if value[:1] == b"/" and value[1:2] != b"/":
            return self._base + value
        found = _ABSOLUTE.fullmatch(value)
        if found is None:
            return value
        scheme, authority, rest = (found[1] or b"").lower(), found[2], found[3]
        if not self._is_own(scheme, authority):
            return value
        path = self._base + rest if rest[:1] == b"/" else self._prefix + rest
        if not self._host:
            return path or b"/"
        if scheme == b"http":  # that is how it was asked; https it says of itself on purpose
            scheme = self._scheme
        return (scheme + b"://" if scheme else b"//") + self._host + path

    def _is_own(self, scheme: bytes, authority: bytes) -> bool:
        place = Place.of(authority)
        if place is None or scheme not in _PORTS:
            return False
        port = _PORTS[scheme] if place.port is None else place.port
        if scheme != b"https" and place._replace(port=port) == self._server:
            return True
        return any(own.host == place.host and (own.port or _PORTS[scheme]) == port for own in self._own)

    def cookie(self, value: bytes) -> bytes:
        """The value of a Set-Cookie field, its Path below the prefix, and a Domain that is the upstream's left out.

        A cookie without a Path keeps to the one of its request, which is the client's (RFC 6265 section 5.1.4).
        """
        pair, *attributes = value.split(b";")
        if not attributes:
            return value
        rooted = pair.lstrip(b" \t").lower().startswith(b"__host-")  # browsers take it with Path=/ alone
        kept = [pair]
        for attribute in attributes:
            name, equals, said = attribute.partition(b"=")
            key, said = name.strip(b" \t").lower(), said.strip(b" \t")
            if key == b"domain" and self._is_server(said):
                continue
            if key == b"path" and said[:1] == b"/" and self._base and not rooted:
                attribute = name + equals + (self._prefix if said == b"/" else self._base + said)
            kept.append(attribute)
        return b";".join(kept)

    def _is_server(self, domain: bytes) -> bool:
        """Whether `domain` is the upstream's own name, which no client of ours would take a cookie of."""
        host = _host(domain.removeprefix(b"."))
        return (
            self._server is not None
            and host == self._server.host
            and (self._client is None or host != self._client.host)
        )

    def __repr__(self) -> str:
        of = ", ".join(place.host.decode("latin-1") for place in sorted(self._own, key=str))
        return f"<Rewriting of {of} to {self._host.decode('latin-1')}, below {self._prefix.decode('latin-1') or '/'}>"


def with_host(block: bytes, authority: bytes) -> bytes:
    """A request's `block` with `authority` as its Host."""
    return _HOST_FIELD.sub(rb"\1 " + authority.replace(b"\\", rb"\\"), block, count=1)


def _host(text: bytes) -> bytes:
    """A host in one spelling."""
    text = text.lower()
    if not text.startswith(b"["):
        return text.removesuffix(b".")
    try:
        return b"[" + IPv6Address(text[1:-1].decode("ascii")).compressed.encode("ascii") + b"]"
    except (AddressValueError, UnicodeDecodeError):
        return text
