"""What the log says when a request fails: once, with module, file and line; a client is never told as much."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger
from twisted.python.reflect import safe_str

import twisted
from asyncproxy.exchange.errors import Cancelled, ClientError, ClientGone, Overloaded, ProxyError
from asyncproxy.exchange.flags import flag_of
from asyncproxy.polling.descriptors import is_shortage

if TYPE_CHECKING:
    from asyncproxy.polling.flow import Exchange

_log = Logger()
_OURS: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_TWISTEDS: Final = os.path.dirname(os.path.abspath(twisted.__file__)) + os.sep


def overloaded(kind: str) -> Overloaded:
    """Too many requests are ``parked``, or ``queued``."""
    return Overloaded(f"too many requests are {kind}", f"server.max_{kind}")


def blame(exchange: Exchange, error: BaseException) -> None:
    """Note for the access log that `error` is why `exchange` does not go as it should; the first one is."""
    if not exchange.flag:
        exchange.flag = flag_of(error)
        exchange.detail = error.detail if isinstance(error, ProxyError) else ""


def log_failure(exchange: Exchange, error: BaseException) -> None:
    """Log `error` once, with module, file and line; what clients do to themselves is not worth a
    line, and what operators do has one. While no descriptor is left each request may fail for it: that has a line a
    second at most.

    Words only go into the event: it may be kept, and a traceback would keep the exchange.
    """
    more = exchange.flow.lines.tell() if is_shortage(error) else ""
    if more is None:
        return
    if isinstance(error, ProxyError):
        error.__traceback__ = None  # nobody reads it; its frames hold the error, and the exchange with it
    if isinstance(error, (Cancelled, ClientGone, Overloaded)) or (isinstance(error, ClientError) and error.detail):
        return  # limits that clients reach have their own lines, by `Reached`
    who = exchange.title()
    if isinstance(error, ProxyError):
        _log.warn("{who}: {kind}: {error}{more}", who=who, kind=type(error).__name__, error=words_of(error), more=more)
    else:
        _log.error(
            "{who}: {kind}: {error}{where}{more}",
            who=who,
            kind=type(error).__name__,
            error=words_of(error),
            where=origin(error),
            more=more,
        )


def words_of(error: BaseException) -> str:
    r"""What `error` says, for the log: modules quote what clients send, so what does not print is ``\x1b``, but for
    line ends, which Twisted indents.
    """
    words = safe_str(error)
    if words.isprintable():
        return words
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in words)


def is_a_modules(file: str) -> bool:
    """Whether `file` is a module's, and neither ours nor Twisted's."""
    return not file.startswith((_OURS, _TWISTEDS))


def origin(error: BaseException) -> str:
    """Where `error` was raised, as `` at file.py:31 in handle``, for the log: the last line of a module."""
    found = last = None
    traceback = error.__traceback__
    while traceback is not None:
        last = traceback
        if is_a_modules(traceback.tb_frame.f_code.co_filename):
            found = traceback
        traceback = traceback.tb_next
    place = found or last
    if place is None:
        return ""
    code = place.tb_frame.f_code
    return f" at {code.co_filename}:{place.tb_lineno} in {code.co_qualname}"
