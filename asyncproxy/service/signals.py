"""The process's signals while a proxy has the process: a table of names and what each means.

The rule: Python's handler does nothing but ask the polling thread, so all that a signal means happens there, between
two events. What was there before is put back. A reactor that runs without handlers of its own was told to leave signals
alone, and so are we.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any


class Signals:
    """`table` has calls by the names of signals; those that the platform has not are left out. Main thread only.

    For those in `shared` whoever had the signal before us is called too.
    """

    def __init__(self, table: Mapping[str, Callable[[], object]], shared: Collection[str] = ()) -> None:
        self._shared = {getattr(signal, name) for name in shared if hasattr(signal, name)}
        self._table = {getattr(signal, name): call for name, call in table.items() if hasattr(signal, name)}
        self._before: dict[int, tuple[Any, Any]] = {}
        """Our handler of each signal, and the one before it."""

    def install(self, reactor: Any) -> None:
        """Take the signals over, if `reactor`, which runs, has taken them; calls are made on its thread."""
        if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGTERM)):
            return
        for number, call in self._table.items():
            former = signal.getsignal(number)
            ours = _asking(reactor, call, former if number in self._shared else None)
            signal.signal(number, ours)
            self._before[number] = ours, former

    def restore(self) -> None:
        """Put back what was there, where nobody has put something else since."""
        before, self._before = self._before, {}
        for number, (ours, former) in before.items():
            if signal.getsignal(number) is ours:
                signal.signal(number, former if former is not None else signal.SIG_DFL)

    def __repr__(self) -> str:
        names = ", ".join(signal.Signals(number).name for number in self._before)
        return f"<Signals {names or 'not installed'}>"


def _asking(reactor: Any, call: Callable[[], object], former: Any) -> Callable[..., None]:
    def ask(number: int, frame: Any) -> None:
        if callable(former):
            former(number, frame)
        reactor.callFromThread(call)

    return ask
