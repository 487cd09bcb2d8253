"""Who may write over the admin listener: nobody whose browser was sent by another site.

The rule: a writing call says that it is JSON, names the listener by a name that is its own, and comes from a page of
the listener if it comes from a page. A form of another site cannot do the first, a name that was made to point here
(DNS rebinding) fails the second, and what else a foreign page can send fails the third. Functions of a request alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import Any, Final

from asyncproxy import Request

_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]/@\s]+)(?::([0-9]{1,5}))?")
_USUAL: Final = ("80", "443")
_OUR_SITES: Final = ("same-origin", "none")


class NotAllowed(Exception):
    """A call is refused: `status`, and `words` that say how to mend it."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


def check_writing(request: Request, address: Any, hosts: Collection[str]) -> None:
    """Raises `NotAllowed` unless `request` may write; `address` is the listener's, `hosts` are further names of it."""
    check_host(request, address, hosts)
    check_origin(request)
    check_type(request, "application/json")


def check_host(request: Request, address: Any, hosts: Collection[str]) -> None:
    """Raises `NotAllowed` (421) if the Host of `request` is not one of the listener's own.

    No browser speaks to a unix: socket, so over one any will do; over another listener, as a route may be reached by,
    the address of the socket is no name.
    """
    host = _host(request)
    if _is_socket_file(address):
        if request.client[0] == "unix":
            return
        address = None
    if host in hosts or (address is not None and is_own(host, address.host, address.port)):
        return
    known = "" if address is None else f"ask {_shown(address)}, or "
    raise NotAllowed(421, f'Host "{host}" is not this listener\'s: {known}list it as hosts = ["{host}"] in [admin]')


def is_own(host: str, listens: str, port: int) -> bool:
    """Whether `host`, in lower case, names a listener on `listens`, which may be any address of the machine."""
    found = _HOST.fullmatch(host)
    if found is None or not (found[2] == str(port) or (found[2] is None and str(port) in _USUAL)):
        return False
    name = found[1].strip("[]")
    ours = ip_address(listens.partition("%")[0])
    if name == "localhost":
        return ours.is_loopback or ours.is_unspecified
    try:
        asked = ip_address(name)
    except ValueError:
        return False
    # Names can be made to point anywhere, addresses cannot: on all addresses, any will do.
    return asked == ours or ours.is_unspecified


def check_origin(request: Request) -> None:
    """Raises `NotAllowed` (403) if `request` comes from a page that is not the listener's own."""
    host = _host(request)
    origins = request.headers.getall("origin")
    if origins and [one.lower() for one in origins] not in ([f"http://{host}"], [f"https://{host}"]):
        raise NotAllowed(403, f"the page that asks is of {', '.join(origins)}, not of this listener")
    sites = request.headers.getall("sec-fetch-site")
    if any(site.lower() not in _OUR_SITES for site in sites):
        raise NotAllowed(403, f"the page that asks is of another site (Sec-Fetch-Site: {', '.join(sites)})")


def check_type(request: Request, wanted: str) -> None:
    """Raises `NotAllowed` (415) if the body of `request` is not said to be of the type `wanted`."""
    said = _only(request, "content-type")
    if said.partition(";")[0].strip().lower() != wanted:
        raise NotAllowed(415, f'Content-Type is "{said}": send Content-Type: {wanted}')


def _host(request: Request) -> str:
    """Whom `request` is for: its Host, but for a target in absolute-form, which wins (RFC 9112 section 3.2.2)."""
    return (_only(request, "host") if request.target.startswith(b"/") else request.host).lower()


def _only(request: Request, name: str) -> str:
    """The value of the field `name`, an empty string if there is none, or more than one."""
    values = request.headers.getall(name)
    return values[0] if len(values) == 1 else ""


def _is_socket_file(address: Any) -> bool:
    return address is not None and not hasattr(address, "port")


def _shown(address: Any) -> str:
    host = "localhost" if ip_address(address.host.partition("%")[0]).is_unspecified else address.host
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
