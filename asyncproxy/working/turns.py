"""One turn: run module code on a worker until it answers, waits, or fails.

The rule: a turn knows no transport and no Twisted. It is one call in the exchange's context; what came of it is read
on the polling thread, after the stack has unwound.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import Context
from typing import Any


class CallTurn:
    """`call(*args)` as one turn, run inside `context`.

    Afterwards `value` holds what it returned, or `error` what it raised; a coroutine's step that finished it has
    `finished` set and its return value in `value`. `began` and `ended` are seconds of `clock`.
    """

    __slots__ = ("_clock", "_done", "args", "began", "call", "context", "ended", "error", "finished", "owner", "value")

    def __init__(
        self,
        owner: Any,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        context: Context,
        done: Callable[[CallTurn], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.owner = owner
        self.call = call
        self.args = args
        self.context = context
        self._done = done
        self._clock = clock
        self.began = self.ended = 0.0
        self.value: Any = None
        self.error: BaseException | None = None
        self.finished = False

    @property
    def exchange(self) -> Any:
        """Whose code it runs."""
        return self.owner.exchange

    def run(self) -> None:
        """Run the call; whatever it raises is kept, for a worker outlives every module."""
        self.began = self._clock()
        try:
            self.value = self.context.run(self.call, *self.args)
        except StopIteration as stop:
            self.value = stop.value
            self.finished = True
        except BaseException as error:  # noqa: BLE001 - a module may raise SystemExit; its exchange ends, not us
            self.error = error
        self.ended = self._clock()
        del self  # the error's frames lead back to this one: no circle may keep what the module's code had open

    def ran(self) -> None:
        """Hand the turn to whoever asked for it."""
        self._done(self)

    def __repr__(self) -> str:
        state = "ended" if self.ended else "running" if self.began else "waiting"
        return f"<Turn of {self.owner!r}: {getattr(self.call, '__qualname__', self.call)}, {state}>"
