"""The way back to the polling thread: calls gathered in a deque, one wake-up a batch.

The rule: the flag is lowered before the deque is emptied, so a call that comes while it is emptied either is found or
raises the flag again. Nothing is lost and nothing waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

_log = Logger()


class Deliveries:
    """Calls from other threads, made on the polling thread in the order they came.

    `wake(call)` must have `call` called on the polling thread soon, from whatever thread: the reactor's
    ``callFromThread``, or the cheaper ``call_soon_threadsafe`` of the loop below it.
    """

    def __init__(self, wake: Callable[[Callable[[], None]], Any]) -> None:
        self._wake = wake
        self._calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._woken = False

    def deliver(self, call: Callable[..., Any], *args: Any) -> None:
        """Call `call` on the polling thread soon. Any thread."""
        self._calls.append((call, args))
        if not self._woken:
            self._woken = True
            self._wake(self._make_calls)

    def _make_calls(self) -> None:
        self._woken = False
        for _ in range(len(self._calls)):  # what comes meanwhile waits for the sockets' turn
            call, args = self._calls.popleft()
            try:
                call(*args)
            except Exception:  # noqa: BLE001 - one call's failure is logged; the others still have to be made
                _log.failure("A call delivered to the polling thread failed: {call}", call=call)
        if self._calls and not self._woken:
            self._woken = True
            self._wake(self._make_calls)

    def __repr__(self) -> str:
        return f"<Deliveries {len(self._calls)} waiting>"
