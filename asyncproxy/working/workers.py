"""The bounded pool: exactly N threads that run turns.

A hop through `deferToThreadPool` costs some ten times what this does (docs/decisions/0003-workers.md), so turns travel
through a deque and come back gathered: the first turn that ends wakes the polling thread, those that end before it
looks ride along. The face of Twisted's ThreadPool is kept, so `deferToThreadPool(reactor, workers, f)` works.

The rule: a turn is in `_waiting` until a worker takes it, and whoever gets it out of there, worker or `withdraw`,
owns it. `_calls` only counts: it holds as many tokens as turns wait.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure

from asyncproxy.boundaries import PollingThread, Turn


class Workers:
    """`total` worker threads; `start` and `stop` them on the polling thread.

    `polling` is how ended turns get back, `report` takes an exception that nobody else would hear of.
    """

    def __init__(
        self,
        total: int,
        polling: PollingThread,
        report: Callable[[BaseException], None] | None = None,
        name: str = "asyncproxy-worker",
    ) -> None:
        self.total = total
        self._polling = polling
        self._report = report
        self._name = name
        self._waiting: deque[Turn] = deque()
        self._calls: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.running: dict[int, Turn] = {}
        """What each busy worker runs right now, by the thread's number."""
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads."""
        for number in range(self.total):
            thread = threading.Thread(target=self._work, args=(number,), name=f"{self._name}-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End the threads and join them; each first ends the turn it runs, and what waits is dropped."""
        self._waiting.clear()
        for _ in self._threads:
            self._calls.put(False)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    @property
    def waiting(self) -> int:
        """Turns that no worker has begun."""
        return len(self._waiting)

    def do(self, turn: Turn) -> None:
        """Run `turn` as soon as a worker is free; then call its `ran` on the polling thread."""
        self._waiting.append(turn)
        self._calls.put(True)

    def withdraw(self, turn: Turn) -> bool:
        """Take `turn` back if no worker has begun it; False if one has."""
        try:
            self._waiting.remove(turn)
        except ValueError:
            return False
        # Keep the tokens as many as the turns, or a flood of leavers would grow them; if there is none, a worker has
        # taken it and will find no turn.
        with contextlib.suppress(queue.Empty):
            self._calls.get_nowait()
        return True

    def statistics(self) -> dict[str, int]:
        """``total`` threads, ``busy`` ones, and turns ``queued``."""
        return {"total": self.total, "busy": len(self.running), "queued": len(self._waiting)}

    def callInThread(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run `call` on a worker, as Twisted's ThreadPool does; what it raises is reported."""
        self.callInThreadWithCallback(None, call, *args, **kwargs)

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], None] | None, call: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """Run `call` on a worker, then there `onResult(success, result or Failure)`, as Twisted's ThreadPool does."""
        self.do(_PoolCall(self, onResult, call, args, kwargs))

    def report(self, error: BaseException) -> None:
        """Tell of an exception that nobody else would hear of."""
        if self._report is not None:
            self._polling.deliver(self._report, error)

    def _work(self, number: int) -> None:
        get, take, running, deliver = self._calls.get, self._waiting.popleft, self.running, self._polling.deliver
        while get():
            try:
                turn = take()
            except IndexError:
                continue  # it was withdrawn after this worker had taken its token
            running[number] = turn
            turn.run()
            del running[number]
            deliver(turn.ran)
            del turn  # an idle worker keeps no exchange alive

    def __repr__(self) -> str:
        counts = self.statistics()
        return f"<Workers {counts['busy']} of {counts['total']} busy, {counts['queued']} turns queued>"


class _PoolCall:
    """A call of the ThreadPool face, as a turn."""

    __slots__ = ("_args", "_call", "_kwargs", "_on_result", "_workers")

    def __init__(
        self,
        workers: Workers,
        on_result: Callable[[bool, Any], None] | None,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._workers = workers
        self._on_result = on_result
        self._call = call
        self._args = args
        self._kwargs = kwargs

    def run(self) -> None:
        """Run the call and tell its result, both here on the worker."""
        try:
            success, result = True, self._call(*self._args, **self._kwargs)
        except BaseException as error:  # noqa: BLE001 - as a ThreadPool: it is the result
            success, result = False, Failure(error)
            if self._on_result is None:
                self._workers.report(error)
        if self._on_result is not None:
            self._on_result(success, result)

    def ran(self) -> None:
        """Nothing is left to do."""
