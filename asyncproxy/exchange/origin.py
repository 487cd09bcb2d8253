"""Where a server is: the URL that an operator writes, read once and strictly, so that nobody parses it again.

A URL that says more than a place (a path, a query, a password) is refused rather than read in part.
"""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final

import msgspec

__all__ = ["Origin"]

_HTTP: Final = re.compile(r"http://(\[[^\]]*\]|[^\[\]:/?#@]+)(?::([^/?#@]*))?(/?)", re.IGNORECASE)
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A server's address: ``http`` with ``host`` and ``port``, or ``unix`` with the ``path`` of its socket.

    ``host`` is lower-case, an IPv6 literal without its brackets. ``str()`` gives the URL.
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, url: object) -> "Origin":
        """Read ``http://host:port`` (80 when no port is written) or ``unix:/path``.

        Raises ValueError, with a mend.
        """
        if not isinstance(url, str):
            raise ValueError(f'{url!r} is not a URL; write for example "http://127.0.0.1:9000"')
        if url.startswith("unix:"):
            return _unix(url)
        if found := _HTTP.fullmatch(url):
            return cls("http", _host(found[1], url), _port(found[2], url))
        raise ValueError(_why_not(url))

    def __str__(self) -> str:
        """The URL; the port is left out when it is 80."""
        if self.scheme == "unix":
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}" if self.port == 80 else f"http://{host}:{self.port}"

    @property
    def authority(self) -> str:
        """What a Host field says of it; a socket's path is nobody's name."""
        return str(self).removeprefix("http://") if self.scheme == "http" else "localhost"


def _unix(url: str) -> Origin:
    path = url.removeprefix("unix:")
    if not path.startswith("/") or path.startswith("//") or "\0" in path:
        raise ValueError(f'"{url}" is not an absolute path; write for example "unix:/run/app.sock"')
    return Origin("unix", path=path)


def _host(text: str, url: str) -> str:
    if text.startswith("["):
        try:
            return IPv6Address(text[1:-1]).compressed
        except AddressValueError as error:
            raise ValueError(f'"{url}" has no good IPv6 address between the brackets: {error}') from None
    if not _NAME.fullmatch(text):
        raise ValueError(f'"{url}" has no good host name; write for example "http://127.0.0.1:9000"')
    return text.lower()


def _port(text: str | None, url: str) -> int:
    if text is None:
        return 80
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError(f'"{url}" has no good port; a port is a number from 1 to 65535')
    return int(text)


def _why_not(url: str) -> str:
    scheme = _SCHEME.match(url)
    if scheme is None or not scheme[2]:
        return f'"{url}" does not say how to speak to it; write "http://{url}"'
    if scheme[1].lower() == "https":
        return f'"{url}": https to upstreams comes later; write http://host:port'
    if scheme[1].lower() != "http":
        return f'"{url}": {scheme[1]} is not spoken to upstreams; write http://host:port or unix:/path'
    if "@" in url:
        return f'"{url}" has a name or password in it, which a server\'s address cannot carry'
    if "?" in url or "#" in url or "/" in url[len("http://") :]:
        return f"\"{url}\" says more than host and port; a path or query is the route's or the module's business"
    return f'"{url}" has no good host; write for example "http://127.0.0.1:9000", or "http://[::1]:9000" with brackets'
