"""From any thread to whoever waits for a ticket: `resume`, and the proxies of this process that it may mean.

The rule: values cross as JSON, so that what a module is given is its own, wherever it came from. The polling thread of
the proxy that has the ticket does the rest; the future tells what came of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

from asyncproxy.exchange.tickets import Receipt, checked_name, json_of
from asyncproxy.exchange.waits import FutureDone

if TYPE_CHECKING:
    from asyncproxy.boundaries import PollingThread, Tickets
    from asyncproxy.exchange.tickets import Once


class Resumption(Future[Receipt]):
    """What a resume comes to, once the polling thread has seen to it: a future that module code may await too."""

    def __await__(self) -> Generator[Any, Any, Receipt]:
        return FutureDone(self).__await__()


_open: list[ref[Resumer]] = []
"""Those of the proxies that run, the latest last; weakly, for a lab of a test may never be closed."""


class Resumer:
    """The way to the tickets of one proxy; `resume` finds it between `open` and `close`."""

    def __init__(self, polling: PollingThread, tickets: Tickets) -> None:
        self._polling = polling
        self._tickets = tickets
        self._is_open = False
        self._asked: deque[tuple[Resumption, tuple[Any, ...]]] = deque()
        """Resumes of any thread, on their way to the polling thread."""
        self._unanswered: dict[Resumption, str] = {}
        """Those that the tickets were asked for and have not answered yet, and the names. Polling thread only."""

    def open(self) -> None:
        """The proxy runs."""
        self._is_open = True
        _open.append(ref(self, _open.remove))

    def close(self) -> None:
        """It does not any more, or never did. What was asked before is done, or fails: no thread waits in vain."""
        self._is_open = False
        _open[:] = [one for one in _open if one() is not self]
        while self._asked:
            self._take()
        while self._unanswered:
            future, name = self._unanswered.popitem()
            future.set_exception(RuntimeError(f"resume({name!r}): the proxy stopped before it knew what came of it"))

    def holds(self, name: str) -> bool:
        """Whether a request of this proxy waits for `name`."""
        return self._tickets.holds(name)

    def resume(
        self, name: str, value: Any, bind: str | None = None, by: str = "", once: Once | None = None
    ) -> Resumption:
        """As the function `resume`, for this proxy; `by` says who resumes, `once` by what that works a single time."""
        if not self._is_open:
            raise _not_running(name)
        checked_name(name)
        json = json_of(value)
        future = Resumption()
        future.set_running_or_notify_cancel()  # nobody can take a resume back
        self._asked.append((future, (name, json, bind, by, once)))
        self._polling.deliver(self._take)
        if not self._is_open:  # closed just now: the polling thread may have looked for the last time
            self._refuse()
        return future

    def _take(self) -> None:
        """Do what was asked first, unless that was done, or refused, when the proxy stopped."""
        try:
            future, resumed = self._asked.popleft()
        except IndexError:
            return
        self._unanswered[future] = resumed[0]
        try:
            answer = self._tickets.resume(*resumed)
        except Exception as error:  # noqa: BLE001 - whoever resumes hears of it
            self._tell(future, error=error)
            return
        answer.addCallbacks(partial(self._tell, future), lambda failure: self._tell(future, error=failure.value))

    def _tell(self, future: Resumption, receipt: Any = None, error: BaseException | None = None) -> None:
        """What came of it, unless it was given up when the proxy stopped."""
        if self._unanswered.pop(future, None) is None:
            return
        if error is None:
            future.set_result(receipt)
        else:
            future.set_exception(error)

    def _refuse(self) -> None:
        with suppress(IndexError):
            while True:
                future, (name, *_) = self._asked.popleft()
                future.set_exception(_not_running(name))

    def __repr__(self) -> str:
        return f"<Resumer {'open' if self._is_open else 'closed'}, {self._tickets!r}>"


def resume(name: str, value: Any = None, *, bind: str | None = None) -> Resumption:
    """Give `value`, which JSON can hold, to the request that waits for ticket `name`. Any thread.

    The future tells what came of it: a `Receipt` whose `state` is ``"settled"``, or ``"remembered"`` when nobody waits
    yet; it fails with `TicketRefused` for a ticket that was settled already, has lapsed, or is bound to another digest
    than `bind`. Module code awaits it, other threads call its ``result()``; on the polling thread that would wait for
    ever. With several proxies in the process the latest is meant where a request waits for `name`, or if there is none
    the latest of all; ``proxy.resume`` says which.

    Raises TypeError for a value that JSON cannot hold, ValueError for what is no name, RuntimeError when no proxy runs.
    """
    running = _running()
    if not running:
        raise RuntimeError(f"resume({name!r}): no proxy runs in this process; start one, or ask its admin listener")
    return next((one for one in running if one.holds(name)), running[0]).resume(name, value, bind)


def _not_running(name: object) -> RuntimeError:
    return RuntimeError(f"resume({name!r}): the proxy does not run")


def _running() -> list[Resumer]:
    """The latest first."""
    return [resumer for one in reversed(_open.copy()) if (resumer := one()) is not None]
