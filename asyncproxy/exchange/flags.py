"""Why an exchange ended as it did, in two or three letters, for the access log: ONE table, flag -> error -> meaning.

The letters are those of Envoy's response flags where it has one for the case, so that what reads its logs reads ours.
An answer that a module or an upstream gave in the ordinary way has no flag, whatever its status.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from asyncproxy.exchange.errors import ClientError, UpstreamError


class Flag(NamedTuple):
    """A row: the letters, the name of the error they stand for, which cases of it, and what to read into them."""

    code: str
    error: str
    """The name of the class; subclasses without a row of their own are meant too."""
    cases: tuple[str, ...]
    """Of an `UpstreamError` its `why`, of a `ClientError` its status; empty for all that no row above has."""
    meaning: str


TABLE: Final = (
    Flag("CS", "ClientStalled", (), "cut: the client took too little of its answer"),
    Flag("DC", "ClientGone", (), "the client left before its answer was out"),
    Flag("DR", "Draining", (), "cut when the proxy stopped"),
    Flag("OC", "Cancelled", (), "an operator cancelled it"),
    Flag("DT", "ParkTimeout", (), "what the request waited for, or its route's timeout, ran out"),
    Flag("SI", "TunnelIdle", (), "no byte went through its tunnel for `limits.tunnel_idle`, see `detail`"),
    Flag("OM", "Overloaded", (), "a limit of the proxy was reached"),
    Flag("UF", "UpstreamError", ("refused", "timeout:connect"), "no connection to the upstream came about"),
    Flag("DF", "UpstreamError", ("unresolved",), "the upstream's name has no address"),
    Flag("UO", "UpstreamError", ("full",), "the upstream's pool and the line before it were full"),
    Flag("UC", "UpstreamError", ("reset",), "the upstream closed its connection before its reply was whole"),
    Flag("UPE", "UpstreamError", ("bad",), "the upstream broke HTTP's rules"),
    Flag("UT", "UpstreamError", (), "the upstream took too long"),
    Flag("NR", "ClientError", ("404", "405"), "no route takes this host, path and method"),
    Flag("CT", "ClientError", ("408",), "the client was too slow with its request"),
    Flag("DPE", "ClientError", (), "the client broke HTTP's rules or a limit"),
    Flag("MC", "ModuleError", (), "the module broke its contract"),
    Flag("ME", "BaseException", (), "the module raised an exception"),
)
"""Read from the top; the rows that are not Envoy's are CS, CT, DR, OC, MC and ME."""

MEANINGS: Final = {flag.code: flag.meaning for flag in TABLE}


def flag_of(error: BaseException | None) -> str:
    """The letters for `error`, which ended an exchange; an empty string for None."""
    if error is None:
        return ""
    case = _case(error)
    for kind in type(error).__mro__:
        for flag in TABLE:
            if flag.error == kind.__name__ and (not flag.cases or case in flag.cases):
                return flag.code
    raise AssertionError("every exception is a BaseException")


def _case(error: BaseException) -> str:
    if isinstance(error, UpstreamError):
        return error.why
    return str(error.status) if isinstance(error, ClientError) else ""
