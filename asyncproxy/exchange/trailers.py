"""Which fields may stand in a trailer section, and which of them go on to the next hop (RFC 9110 section 6.5.1).

The rule: what frames or routes a message, or says who its sender is, decides before the body is read. Whoever says it
behind the body wants two readers to understand two messages: that is refused, in underscores too, which CGI takes for
dashes. Other fields that are of no use so late are left out. What is neither, a checksum or a signature, goes on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from asyncproxy.exchange.forwarding import elements, make_block, split_block
from asyncproxy.exchange.headers import RawHeaders
from asyncproxy.exchange.identity import RequestIds

Trailers = Sequence[tuple[bytes, bytes]]

_REFUSED: Final = (
    *("transfer-encoding", "content-length", "connection", "keep-alive", "te", "trailer", "upgrade", "http2-settings"),
    *("host", "forwarded", "x-forwarded-.*", "x-real-ip", "proxy-.*"),
    *("authorization", "cookie", "cookie2", "set-cookie", "set-cookie2", "www-authenticate"),
)
_LEFT_OUT: Final = (
    *("content-encoding", "content-type", "content-range", "cache-control", "pragma", "expect", "max-forwards"),
    *("range", "if-.*", "age", "date", "expires", "location", "content-location", "retry-after", "vary", "via"),
    *("warning",),
)


def _pattern(names: tuple[str, ...]) -> re.Pattern[bytes]:
    return re.compile(rf"(?i:{'|'.join(names).replace('-', '[-_]')})".encode())


_IS_REFUSED: Final = _pattern(_REFUSED)
_IS_LEFT_OUT: Final = _pattern(_LEFT_OUT)


def refused_in_trailers(name: bytes) -> bool:
    """Whether a field of this name, behind a body, makes the message malformed."""
    return _IS_REFUSED.fullmatch(name) is not None


def left_out_of_trailers(name: bytes) -> bool:
    """Whether a field of this name is dropped when it comes behind a body."""
    return _IS_LEFT_OUT.fullmatch(name) is not None


def passed_trailers(trailers: Trailers, connection: bytes, ids: RequestIds | None) -> RawHeaders:
    """What goes on of `trailers`: nothing that the head's Connection has named, nor what `ids` alone may say."""
    named = {*elements(connection)}
    kept = [field for field in trailers if field[0].lower() not in named]
    return kept if ids is None else split_block(ids.without(make_block(kept)))
