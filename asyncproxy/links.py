"""Signed links: addresses by which a third party settles one ticket, once, until they expire.

The rule: a link carries all that its page shows, and is believed because of its signature alone; nothing is kept for
it before it is used. Signing is itsdangerous' business. That a link works once is the tickets' business, by its `mark`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from itsdangerous import BadSignature, URLSafeSerializer

from asyncproxy.exchange.errors import ProxyError
from asyncproxy.exchange.tickets import Ticket, checked_name, json_of
from asyncproxy.exchange.units import duration

_SALT: Final = "asyncproxy.links"
CHOICES: Final[Mapping[str, Any]] = {"Approve": True, "Decline": False}
"""The two buttons, unless a link has others: what they say, and the value that they give."""
URL_LIMIT: Final = 6 * 1024
"""Bytes of a link; many programs that people get links by cut longer ones, and so do proxies."""


class BadLink(ProxyError):
    """A link that is not ours, or is not any more. Whoever opens it gets 404, or 410 when it has expired."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Link(msgspec.Struct, frozen=True, array_like=True):
    """What a link says."""

    ticket: str
    expires: float
    """Seconds since 1970."""
    mark: str
    """No other link has it."""
    ask: str = ""
    choices: tuple[tuple[str, Any], ...] = tuple(CHOICES.items())
    bind: str | None = None


class Links:
    """Makes links and reads them; `keys` sign, the first of them new ones, and `wall` gives seconds since 1970.

    Without keys one is made: its links work as long as the process does. Any thread.
    """

    def __init__(self, keys: Sequence[str], wall: Callable[[], float]) -> None:
        self.wall = wall
        self.place: str | None = None
        """The path below which links are opened, once a route has the stock module `tickets`."""
        self.sign_with(keys)

    def sign_with(self, keys: Sequence[str]) -> None:
        """Go on with `keys`; links that others have signed are not ours any more."""
        eldest_first = list(reversed(keys)) or [secrets.token_hex(32)]
        self._signer = URLSafeSerializer(eldest_first, _SALT, serializer=_Json)

    def make(
        self,
        ticket: str | Ticket,
        expires: float | str,
        ask: str = "",
        choices: Mapping[str, Any] | None = None,
        bind: str | None = None,
    ) -> str:
        """The path of a link; see `Request.ticket_url`. Raises ValueError, and RuntimeError when no route opens it."""
        if self.place is None:
            raise RuntimeError('no route opens links: add one with module = "tickets", such as path = "/t/"')
        if isinstance(ticket, Ticket):
            bind = ticket.bind if bind is None else bind
            ticket = ticket.name
        seconds = duration(expires) if isinstance(expires, str) else float(expires)
        if not 0 < seconds < float("inf"):
            raise ValueError(f'ticket_url(expires={expires!r}): write seconds, or for example "1h"')
        chosen = CHOICES if choices is None else choices
        if not chosen:
            raise ValueError("ticket_url(choices={}): give a button or more, such as {'Approve': True}")
        json_of(list(chosen.values()))
        until = round(self.wall() + seconds, 3)
        link = Link(checked_name(ticket), until, secrets.token_urlsafe(9), ask, tuple(chosen.items()), bind)
        path = f"{self.place.rstrip('/')}/{self._signer.dumps(_checked(link))}"
        if len(path) > URL_LIMIT:
            raise ValueError(f"the link would have {len(path)} characters of {URL_LIMIT}: ask less, or offer less")
        return path

    def read(self, text: str) -> Link:
        """The link whose last part of the path is `text`. Raises `BadLink`."""
        try:
            link = msgspec.convert(self._signer.loads(text), Link)
        except (BadSignature, msgspec.ValidationError):
            words = "this link is not valid: it was cut off on its way, or is from before a restart"
            raise BadLink(404, words) from None
        if link.expires <= self.wall():
            raise BadLink(410, "this link has expired: ask for another one")
        return link

    def __repr__(self) -> str:
        return f"<Links below {self.place or 'no route'}>"


def _checked(link: Link) -> Link:
    """`link`, or a ValueError if whoever opens it could not read it."""
    try:
        return msgspec.convert(msgspec.to_builtins(link), Link)
    except msgspec.ValidationError as why:
        raise ValueError(f"ticket_url: ask, bind and the words of choices are texts: {why}") from None


class _Json:
    """How itsdangerous is to write links: compactly, and structs too."""

    @staticmethod
    def dumps(link: Any) -> str:
        return msgspec.json.encode(link).decode()

    @staticmethod
    def loads(text: bytes | str) -> Any:
        return msgspec.json.decode(text)
