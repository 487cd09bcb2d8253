"""From any thread to whoever waits for a ticket: `resume`, and the proxies of this process that it may mean.

The rule: values cross as JSON, so that what a module is given is its own, wherever it came from. The polling thread of
the proxy that has the ticket does the rest; the future tells what came of it.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any
from weakref import ref

import msgspec

from asyncproxy.exchange.tickets import Receipt, checked_name

if TYPE_CHECKING:
    from asyncproxy.boundaries import PollingThread, Tickets
    from asyncproxy.exchange.tickets import Once

_open: list[ref[Resumer]] = []
"""Those of the proxies that run, the latest last; weakly, for a lab of a test may never be closed."""


class Resumer:
    """The way to the tickets of one proxy; `resume` finds it between `open` and `close`."""

    def __init__(self, polling: PollingThread, tickets: Tickets) -> None:
        self._polling = polling
        self._tickets = tickets

    def open(self) -> None:
        """The proxy runs."""
        _open.append(ref(self, _open.remove))

    def close(self) -> None:
        """It does not any more, or never did."""
        _open[:] = [one for one in _open if one() is not self]

    def holds(self, name: str) -> bool:
        """Whether a request of this proxy waits for `name`."""
        return self._tickets.holds(name)

    def resume(
        self, name: str, value: Any, bind: str | None = None, by: str = "", once: Once | None = None
    ) -> Future[Receipt]:
        """As the function `resume`, for this proxy; `by` says who resumes, `once` by what that works a single time."""
        if self not in _running():
            raise RuntimeError(f"resume({name!r}): the proxy does not run")
        checked_name(name)
        json = msgspec.json.encode(value)
        future: Future[Receipt] = Future()
        future.set_running_or_notify_cancel()  # nobody can take a resume back
        self._polling.deliver(self._resume, future, name, json, bind, by, once)
        return future

    def _resume(self, future: Future[Receipt], *resumed: Any) -> None:
        answer = self._tickets.resume(*resumed)
        answer.addCallbacks(future.set_result, lambda failure: future.set_exception(failure.value))

    def __repr__(self) -> str:
        return f"<Resumer {'open' if self in _running() else 'closed'}, {self._tickets!r}>"


def resume(name: str, value: Any = None, *, bind: str | None = None) -> Future[Receipt]:
    """Give `value`, which JSON can hold, to the request that waits for ticket `name`. Any thread.

    The future tells what came of it: a `Receipt` whose `state` is ``"settled"``, or ``"remembered"`` when nobody waits
    yet; it fails with `TicketRefused` for a ticket that was settled already, has lapsed, or is bound to another digest
    than `bind`. Module code awaits it, other threads call its ``result()``; on the polling thread that would wait for
    ever. With several proxies in the process: the one where a request waits for `name`, or else the one that was
    started last; ``proxy.resume`` says which.

    Raises TypeError for a value that JSON cannot hold, ValueError for what is no name, RuntimeError when no proxy runs.
    """
    running = _running()
    if not running:
        raise RuntimeError(f"resume({name!r}): no proxy runs in this process; start one, or ask its admin listener")
    return next((one for one in running if one.holds(name)), running[-1]).resume(name, value, bind)


def _running() -> list[Resumer]:
    return [resumer for one in _open.copy() if (resumer := one()) is not None]
