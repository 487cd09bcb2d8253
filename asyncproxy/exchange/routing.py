"""Which route owns a request, from its host, path and method: the longest path prefix, then the closest host.

What is routed on is the path as a server will understand it, not as a client wrote it: percent-decoded once,
with dot segments resolved and runs of slashes merged. So ``/public/..%2fadmin``, ``/public/../admin`` and
``//admin`` all belong to ``/admin``, and a spelling that servers disagree about is refused. This is asked once
a request: the usual target takes a short way out, and ``Router`` prepares at start all that can be.
"""

import re
from collections.abc import Iterable, Mapping
from ipaddress import AddressValueError, IPv6Address
from typing import Final, Generic, Protocol, TypeVar
from urllib.parse import unquote_to_bytes

__all__ = [
    "MethodNotAllowed",
    "NoRoute",
    "NotFound",
    "Routable",
    "Router",
    "bare_host",
    "by_precedence",
    "normal_path",
]


class Routable(Protocol):
    """What a route must tell: where it stands. Anything else about it is its owner's business."""

    @property
    def path(self) -> str:
        """The prefix, percent-decoded, beginning with ``/``."""

    @property
    def host(self) -> str | None:
        """A host name, ``*.example.com`` for every name below one, or None for all."""

    @property
    def methods(self) -> tuple[str, ...] | None:
        """The methods it takes, upper-case, or None for all. ``GET`` brings ``HEAD`` along."""


class NoRoute(LookupError):
    """No route takes this request."""


class NotFound(NoRoute):
    """No route has this host and path: a 404."""


class MethodNotAllowed(NoRoute):
    """Routes have this host and path, but none takes this method: a 405 that lists ``allow``."""

    def __init__(self, allow: tuple[str, ...]) -> None:
        super().__init__(", ".join(allow))
        self.allow = allow


R = TypeVar("R", bound=Routable)

# The key under which a route that takes all methods is kept; no request's method is empty.
_ANY: Final = ""
# Who gets a method at one path and host: a route that names it, then GET's for HEAD, then one that takes all.
_NAMED, _IMPLIED, _REST = range(3)

# Prefixes of one length with, for each, the route of every method.
_Owners = dict[str, dict[str, R]]
# All that one host may ask for: longest prefixes first.
_Site = tuple[tuple[int, _Owners[R]], ...]


class Router(Generic[R]):
    """The routes, asked by host, path and method. Never changes after it is made."""

    def __init__(self, routes: Iterable[R]) -> None:
        """Of routes that want the very same requests, the first one given has them."""
        routes = tuple(routes)
        hosts = sorted({bare_host(route.host) for route in routes if route.host is not None}, key=_distance)
        sites = {host: _site(routes, host) for host in hosts}
        self._everybody: _Site[R] = _site(routes, "")
        self._named = {host: site for host, site in sites.items() if not host.startswith("*")}
        self._below = tuple((host[1:], site) for host, site in sites.items() if host.startswith("*"))
        self._hosts_matter = bool(sites)

    def find(self, host: str, path: str, method: str) -> R:
        """The route that owns this request.

        ``host`` is the Host header as received (or ``""``), ``path`` what ``normal_path`` gave, ``method`` as
        received. Raises NotFound or MethodNotAllowed, both of them NoRoute: a miss is rare, and so a hit costs
        its caller no test.
        """
        site = self._of(host) if self._hosts_matter else self._everybody
        for length, owners in site:
            methods = owners.get(path[:length])
            if methods is not None:
                if method in methods:
                    return methods[method]
                if _ANY in methods:
                    return methods[_ANY]
        raise _miss(site, path)

    def _of(self, host: str) -> _Site[R]:
        # Most clients write a host as the configuration does, so try that before taking it to pieces.
        named = self._named
        if host in named:
            return named[host]
        name = bare_host(host)
        if name in named:
            return named[name]
        for suffix, site in self._below:
            if name.endswith(suffix):
                return site
        return self._everybody


def by_precedence(routes: Iterable[R]) -> list[R]:
    """The routes in the order they are tried: longer paths, closer hosts, named methods before all methods."""
    return sorted(routes, key=lambda route: (-len(route.path), _distance(route.host), route.methods is None))


def bare_host(host: str) -> str:
    """A Host header's name in one spelling: lower-case, without port, final dot and an IPv6 literal's brackets.

    ``"Example.COM.:8080"`` gives ``"example.com"``, ``"[0:0::1]:80"`` and ``"::1"`` give ``"::1"``.
    """
    host = host.lower()
    if host.startswith("["):
        return _ipv6(host[1:].partition("]")[0])
    if host.count(":") > 1:
        return _ipv6(host)
    return host.partition(":")[0].removesuffix(".")


def normal_path(target: bytes) -> str:
    """The path that routes are compared with, from a request target as received; the query is removed.

    Origin-form (``/a?b``) and absolute-form (``http://host/a``) give a path that begins with ``/``; ``*``
    (OPTIONS of the whole server) gives ``"*"``, which no route owns. Bytes that are no UTF-8 become U+FFFD,
    exactly as in ``request.path``: no text with lone surrogates comes into being that a log could not write, and
    as no route's path has a U+FFFD, such bytes match none by accident.

    Raises ValueError, a 400 whose text says why: a bad percent escape, a NUL, dot segments that climb above the
    root or that servers disagree about (``/a//../b``, ``/a/..;x/b``), CONNECT's ``host:port``, anything else.
    """
    # Text first: finding a text in a text costs a fraction of finding bytes in bytes.
    path = target.decode("utf-8", "replace")
    if "?" in path:
        path = path[: path.index("?")]
    if "%" in path or "/." in path or "//" in path or "\0" in path or path[:1] != "/":
        return _made_normal(target.partition(b"?")[0])
    return path


_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ABSOLUTE: Final = re.compile(rb"https?://[^/]*(.*)", re.IGNORECASE | re.DOTALL)


def _made_normal(path: bytes) -> str:
    if path == b"*":
        return "*"
    path = _without_authority(path)
    if _BAD_ESCAPE.search(path):
        raise ValueError("the path has a '%' that two hexadecimal digits do not follow")
    text = unquote_to_bytes(path).decode("utf-8", "replace")
    if "\0" in text:
        raise ValueError("the path has a NUL in it")
    return _resolved(text)


def _without_authority(path: bytes) -> bytes:
    if path.startswith(b"/"):
        return path
    if absolute := _ABSOLUTE.fullmatch(path):
        return absolute[1] or b"/"
    raise ValueError("the request target is neither a path nor an http:// URL")


def _resolved(path: str) -> str:
    """RFC 3986 section 5.2.4 on a decoded path, but climbing too high is an error and not forgotten."""
    segments = path.split("/")[1:]
    kept: list[str] = []
    for segment in segments:
        name, parameters, _ = segment.partition(";")
        if name not in (".", ".."):
            kept.append(segment)
        elif parameters:
            # Java servers drop ";x" and climb, others look for a file of that name.
            raise ValueError(f"the path has a {name!r} with parameters, which servers understand differently")
        elif name == "..":
            _climb(kept)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(_merged(kept))


def _climb(kept: list[str]) -> None:
    if not kept:
        raise ValueError("the path climbs above the root with '..'")
    if not kept.pop():
        # One server merges the slashes first and climbs out of the segment before them, another one does not.
        raise ValueError("the path has a '..' behind '//', which servers understand differently")


def _merged(segments: list[str]) -> list[str]:
    """Without the empty segments; only the last may be one, for a path that ends with a slash."""
    return [segment for segment in segments[:-1] if segment] + segments[-1:]


def _ipv6(text: str) -> str:
    try:
        return IPv6Address(text).compressed
    except AddressValueError:
        return text


def _distance(host: str | None) -> tuple[int, int]:
    """How far a route's host is from naming one host: exact, then ``*.`` with the longest tail, then all."""
    if host is None:
        return (2, 0)
    return (1, -len(host)) if host.startswith("*") else (0, 0)


def _site(routes: Iterable[R], host: str) -> _Site[R]:
    """What a request to ``host`` may find: a bare host, a ``*.`` pattern, or ``""`` for all others."""
    by_path: dict[str, list[R]] = {}
    for route in by_precedence(routes):
        if route.host is None or _covers(bare_host(route.host), host):
            by_path.setdefault(route.path, []).append(route)
    by_length: dict[int, _Owners[R]] = {}
    for path, claimants in by_path.items():
        by_length.setdefault(len(path), {})[path] = _methods(claimants)
    return tuple(by_length.items())


def _covers(pattern: str, host: str) -> bool:
    return pattern == host or (pattern.startswith("*") and host.endswith(pattern[1:]))


def _methods(claimants: list[R]) -> dict[str, R]:
    """The owner of each method at one path: a closer host's word counts before any other's."""
    claims = sorted((claim for route in claimants for claim in _claims(route)), key=lambda claim: claim[:2])
    owners: dict[str, R] = {}
    for _, _, method, route in claims:
        if _ANY not in owners:
            owners.setdefault(method, route)
    return owners


def _claims(route: R) -> list[tuple[tuple[int, int], int, str, R]]:
    near = _distance(route.host)
    if route.methods is None:
        return [(near, _REST, _ANY, route)]
    named = [(near, _NAMED, method, route) for method in route.methods]
    return [*named, (near, _IMPLIED, "HEAD", route)] if "GET" in route.methods else named


def _miss(site: _Site[R], path: str) -> NoRoute:
    found: list[Mapping[str, R]] = [owners[path[:length]] for length, owners in site if path[:length] in owners]
    allow = sorted({method for methods in found for method in methods})
    return MethodNotAllowed(tuple(allow)) if allow else NotFound(path)
