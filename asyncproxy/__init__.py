"""A programmable HTTP proxy on Twisted: await anywhere, block anywhere.

These are the names a module author uses. Everything else is found in the package's rooms; start at `asyncproxy.module`.
"""

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

make_futures_awaitable()

__all__ = [
    "ClientGone",
    "Fetched",
    "Headers",
    "Module",
    "Overloaded",
    "Park",
    "ParkTimeout",
    "Reply",
    "Request",
    "Response",
    "UpstreamError",
    "Woken",
    "gather",
    "on_reactor",
    "readable",
    "sleep",
    "writable",
]
__version__ = "0.1.0"
