"""What a turn may end in, and what a `Park` is told when it wakes.

A turn answers with a `Response` (or a forward's `Reply`, whose body is then relayed), waits on a `Wait`, or parks in
the manner of the mail that this project comes from: request and context are put away, and a method is called when
something happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from asyncproxy.exchange.waits import as_wait


class Woken(NamedTuple):
    """Why a `Park` was resumed."""

    context: Any
    """What the `Park` was given."""
    value: Any = None
    """What the wait gave, or the exception that it failed with when `reason` is ``"failed"``."""
    reason: str = "ready"
    """``"ready"``, ``"failed"``, ``"timeout"``, ``"cancelled"`` or ``"gone"``."""


class Park:
    """Put the request away until `on` happens, then call `resume(request, woken)` on a worker.

    `on` is any awaitable of a module. After `timeout` seconds, when an operator cancelled the request, or when
    the client left, `gone(request, woken)` is called on a worker instead (its answer counts unless the client left;
    without one the client gets 504, or what the operator chose); without `gone`, a `context` that has ``close()`` is
    closed.
    """

    __slots__ = ("context", "gone", "on", "resume", "timeout")

    def __init__(
        self,
        on: Any,
        *,
        resume: Callable[..., Any],
        context: Any = None,
        timeout: float | None = None,
        gone: Callable[..., Any] | None = None,
    ) -> None:
        if timeout is not None and not timeout > 0:
            raise ValueError(f"Park(timeout={timeout!r}): seconds must be more than 0")
        self.on = as_wait(on)
        self.resume = resume
        self.context = context
        self.timeout = timeout
        self.gone = gone

    def __repr__(self) -> str:
        return f"<Park on {self.on!r}, resumed by {getattr(self.resume, '__qualname__', self.resume)}>"
