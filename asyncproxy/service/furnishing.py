"""The settings in the words of the rooms: what each is given, made of the tables of a configuration."""

from __future__ import annotations

import time
from collections.abc import Callable

from asyncproxy.configuration import Settings
from asyncproxy.configuration.settings import Server
from asyncproxy.exchange.error_pages import ErrorPages
from asyncproxy.exchange.identity import RequestIds
from asyncproxy.exchange.networks import Networks
from asyncproxy.exchange.peers import Trust
from asyncproxy.exchange.tickets import TicketLimits
from asyncproxy.polling.signature import Signature


def request_ids(server: Server) -> RequestIds | None:
    """How requests' ids are told, by the settings."""
    name = server.request_id_header
    return None if name is None else RequestIds(name, trusted=server.trust_request_id)


def signature_of(server: Server, wall: Callable[[], float] = time.time) -> Signature:
    """What heads say of us, by the settings."""
    return Signature(server.server_name, server.via, wall)


def trust_of(server: Server) -> Trust:
    """Whom the public listeners believe, and what upstreams are told, by the settings."""
    return Trust(Networks(server.trusted), server.forwarded)


def error_pages(server: Server) -> ErrorPages:
    """The pages of errors: an operator's, where there are some."""
    return server.error_pages or ErrorPages()


def ticket_limits(settings: Settings) -> TicketLimits:
    """What is kept of tickets, by the settings."""
    kept = settings.tickets
    return TicketLimits(kept.remember, kept.settled, kept.max_remembered, kept.max_settled, kept.value)
