"""The bounded pool: exactly N threads that run turns, and no more of them awake than the turns need.

A hop through `deferToThreadPool` costs some ten times what this does (docs/decisions/0003-workers.md), so turns travel
through a deque and come back gathered: the first turn that ends wakes the polling thread, those that end before it
looks ride along. Threads that wake for one short turn each fight over the interpreter's lock, so a worker that is awake
takes turn after turn, and another is only woken when turns have waited for `PATIENCE`: because the one awake blocks,
which it may, or cannot keep up. The face of Twisted's ThreadPool is kept, so `deferToThreadPool(reactor, workers, f)`
works.

The rule: a turn is in `_waiting` until a worker takes it, and whoever gets it out of there, worker or `withdraw`, owns
it. A turn is put there *before* `do` looks whether anybody is awake; a worker says that it sleeps *before* it looks
once more whether a turn is there. So one of them sees the other, and no turn is left lying.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.python.failure import Failure

from asyncproxy.boundaries import Clock, DelayedCall, PollingThread, Turn

PATIENCE: Final = 0.001
"""Seconds that a turn may wait before another worker is woken for it."""


JOIN_PATIENCE: Final = 10.0
"""Seconds that `Workers.stop` waits for turns to end: a module that blocks for ever cannot keep the process."""


class Workers:
    """`total` worker threads; `start` and `stop` them on the polling thread.

    `polling` is how ended turns get back, `clock` measures `PATIENCE` on the polling thread, `report` takes an
    exception that nobody else would hear of.
    """

    def __init__(
        self,
        total: int,
        polling: PollingThread,
        clock: Clock,
        report: Callable[[BaseException], None] | None = None,
        name: str = "asyncproxy-worker",
    ) -> None:
        self.total = total
        self._polling = polling
        self._clock = clock
        self._report = report
        self._name = name
        self._waiting: deque[Turn] = deque()
        self._wakes: list[queue.SimpleQueue[bool]] = [queue.SimpleQueue() for _ in range(total)]
        """What each worker sleeps on: True to look for turns, False to end."""
        self._asleep = set(range(total))
        """Numbers of the workers that sleep or are about to; whoever wakes one takes it out first."""
        self._latest: Turn | None = None
        """The turn that was last in line when the polling thread last looked."""
        self._timer: DelayedCall | None = None
        self.running: dict[int, Turn] = {}
        """What each busy worker runs right now, by the worker's number."""
        self._busy: list[tuple[float, float | None]] = [(0.0, None)] * total
        """Of each worker, the seconds that it was busy before, and since when it is; replaced whole, for any reader."""
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads. Raises RuntimeError if the system has none left; `stop` ends those that did start."""
        for number in range(self.total):
            thread = threading.Thread(target=self._work, args=(number,), name=f"{self._name}-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)  # after: one that could not start cannot be joined

    def stop(self, patience: float = JOIN_PATIENCE) -> list[Turn]:
        """End the threads and join them; each first ends the turn it runs, and what waits is dropped.

        Turns that block for more than `patience` seconds are given up and returned: their threads, which are daemons,
        end with the process.
        """
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for wake in self._wakes:
            wake.put(False)
        until = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._threads.clear()
        return list(self.running.values())

    @property
    def waiting(self) -> int:
        """Turns that no worker has begun."""
        return len(self._waiting)

    @property
    def backlog(self) -> int:
        """Turns beyond those that a worker is free for, which may not have begun them; negative: so many are free."""
        return len(self._waiting) + len(self.running) - self.total

    def do(self, turn: Turn) -> None:
        """Run `turn` as soon as a worker is free; then call its `ran` on the polling thread."""
        self._waiting.append(turn)
        if len(self._asleep) == self.total:
            self._wake_one()
        elif self._timer is None and self._asleep:
            self._latest = turn
            self._timer = self._clock.callLater(PATIENCE, self._look)

    def withdraw(self, turn: Turn) -> bool:
        """Take `turn` back if no worker has begun it; False if one has."""
        try:
            self._waiting.remove(turn)  # atomic, as turns are compared by identity
        except ValueError:
            return False
        return True

    def _wake_one(self) -> None:
        with contextlib.suppress(KeyError):  # none is left to wake
            self._wakes[self._asleep.pop()].put(True)

    def _look(self) -> None:
        """Wake another worker if what was last in line a moment ago still waits."""
        self._timer = None
        waiting = self._waiting
        if self._latest in waiting:
            self._wake_one()
        if waiting and self._asleep:  # whoever is awake takes the next turn without being told
            with contextlib.suppress(IndexError):
                self._latest = waiting[-1]
                self._timer = self._clock.callLater(PATIENCE, self._look)

    def runs(self) -> dict[int, Turn]:
        """What each busy worker runs right now, by the ident of its thread. Any thread."""
        threads = self._threads.copy()
        return {
            threads[number].ident or 0: turn for number, turn in self.running.copy().items() if number < len(threads)
        }

    def idents(self) -> list[int]:
        """The idents of the threads, by the workers' numbers. Any thread."""
        return [thread.ident or 0 for thread in self._threads.copy()]

    def statistics(self) -> dict[str, int]:
        """``total`` threads, ``busy`` ones, and turns ``queued``."""
        return {"total": self.total, "busy": len(self.running), "queued": len(self._waiting)}

    @property
    def busy_seconds(self) -> float:
        """Seconds that workers were awake with turns, all of them added up, those that still are too. Any thread."""
        now = time.monotonic()
        return sum(before + (0.0 if since is None else now - since) for before, since in list(self._busy))

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
        """A worker's life: sleep until woken, then take turns until there are none."""
        asleep, sleep = self._asleep, self._wakes[number].get
        while sleep():
            asleep.discard(number)  # a wake-up that came late finds this worker among the sleepers again
            self._take_turns(number)
            asleep.add(number)
            while self._waiting:  # one came after the last look, and whoever put it there saw this worker awake
                asleep.discard(number)
                self._take_turns(number)
                asleep.add(number)

    def _take_turns(self, number: int) -> None:
        take, running, deliver = self._waiting.popleft, self.running, self._polling.deliver
        before, since = self._busy[number][0], time.monotonic()
        self._busy[number] = before, since
        while True:
            try:
                turn = take()
            except IndexError:
                self._busy[number] = before + time.monotonic() - since, None
                return
            running[number] = turn
            turn.run()
            del running[number]
            deliver(turn.ran)
            del turn  # a worker that waits keeps no exchange alive

    def __repr__(self) -> str:
        counts = self.statistics()
        return f"<Workers {counts['busy']} of {counts['total']} busy, {counts['queued']} turns queued>"


class _PoolCall:
    """A call of the ThreadPool face, as a turn."""

    __slots__ = ("_args", "_call", "_kwargs", "_on_result", "_workers", "began")
    exchange = None

    def __init__(
        self,
        workers: Workers,
        on_result: Callable[[bool, Any], None] | None,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.began = 0.0
        self._workers = workers
        self._on_result = on_result
        self._call = call
        self._args = args
        self._kwargs = kwargs

    def run(self) -> None:
        """Run the call and tell its result, both here on the worker."""
        self.began = time.monotonic()
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
