"""A programmable HTTP proxy on Twisted: await anywhere, block anywhere.

These are the names a module author uses, and the two that a program embeds: `Proxy` and `ProxyService`. Everything
else is found in the package's rooms; start at `asyncproxy.module`.

Names are imported when they are asked for: a module's file needs none of what the service needs, and pytest, which
loads our plugin in every run, needs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncproxy.exchange.errors import Cancelled, ClientGone, Draining, Overloaded, ParkTimeout, UpstreamError
    from asyncproxy.exchange.headers import Headers
    from asyncproxy.exchange.messages import Request
    from asyncproxy.exchange.outcomes import Park, Woken
    from asyncproxy.exchange.responses import Fetched, Reply, Response
    from asyncproxy.exchange.tickets import RAISE, Receipt, TicketRefused, TicketTaken, ticket
    from asyncproxy.exchange.waits import gather, on_reactor, readable, sleep, writable
    from asyncproxy.module import Module
    from asyncproxy.resuming import resume
    from asyncproxy.service import Proxy, ProxyService
    from asyncproxy.settings import Duration, Size

__all__ = [
    "RAISE",
    "Cancelled",
    "ClientGone",
    "Draining",
    "Duration",
    "Fetched",
    "Headers",
    "Module",
    "Overloaded",
    "Park",
    "ParkTimeout",
    "Proxy",
    "ProxyService",
    "Receipt",
    "Reply",
    "Request",
    "Response",
    "Size",
    "TicketRefused",
    "TicketTaken",
    "UpstreamError",
    "Woken",
    "gather",
    "on_reactor",
    "readable",
    "resume",
    "sleep",
    "ticket",
    "writable",
]
__version__ = "0.1.0"
_ROOMS = {
    "RAISE": "exchange.tickets",
    "Cancelled": "exchange.errors",
    "ClientGone": "exchange.errors",
    "Draining": "exchange.errors",
    "Duration": "settings",
    "Fetched": "exchange.responses",
    "Headers": "exchange.headers",
    "Module": "module",
    "Overloaded": "exchange.errors",
    "Park": "exchange.outcomes",
    "ParkTimeout": "exchange.errors",
    "Proxy": "service",
    "ProxyService": "service",
    "Receipt": "exchange.tickets",
    "Reply": "exchange.responses",
    "Request": "exchange.messages",
    "Response": "exchange.responses",
    "Size": "settings",
    "TicketRefused": "exchange.tickets",
    "TicketTaken": "exchange.tickets",
    "UpstreamError": "exchange.errors",
    "Woken": "exchange.outcomes",
    "gather": "exchange.waits",
    "on_reactor": "exchange.waits",
    "readable": "exchange.waits",
    "resume": "resuming",
    "sleep": "exchange.waits",
    "ticket": "exchange.tickets",
    "writable": "exchange.waits",
}


def __getattr__(name: str) -> Any:
    """The public names, each from its room."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"asyncproxy.{_ROOMS[name]}"), name)
    globals()[name] = found
    return found
