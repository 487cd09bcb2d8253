"""A programmable HTTP proxy on Twisted: await anywhere, block anywhere.

These are the names a module author uses, and the two that a program embeds: `Proxy` and `ProxyService`. Everything
else is found in the package's rooms; start at `asyncproxy.module`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from asyncproxy.exchange.errors import ClientGone, Overloaded, ParkTimeout, UpstreamError
from asyncproxy.exchange.headers import Headers
from asyncproxy.exchange.messages import Fetched, Reply, Request, Response
from asyncproxy.exchange.outcomes import Park, Woken
from asyncproxy.exchange.waits import (
    gather,
    make_futures_awaitable,
    on_reactor,
    readable,
    sleep,
    writable,
)
from asyncproxy.module import Module
from asyncproxy.settings import Duration, Size

if TYPE_CHECKING:
    from asyncproxy.service import Proxy, ProxyService

make_futures_awaitable()

__all__ = [
    "ClientGone",
    "Duration",
    "Fetched",
    "Headers",
    "Module",
    "Overloaded",
    "Park",
    "ParkTimeout",
    "Proxy",
    "ProxyService",
    "Reply",
    "Request",
    "Response",
    "Size",
    "UpstreamError",
    "Woken",
    "gather",
    "on_reactor",
    "readable",
    "sleep",
    "writable",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The service's names are imported when they are asked for: a module's file needs none of what they need."""
    if name in ("Proxy", "ProxyService"):
        return getattr(import_module("asyncproxy.service"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
