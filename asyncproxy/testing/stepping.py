"""What a real loop and real threads would do by themselves, done a step at a time.

`PollingRound` is the way back to the polling thread, `SteppedWorkers` are the workers. `InOrder` steps them in the
order things happened; `AtRandom` in an order that a seed decides, among those that could happen in earnest.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

Call = tuple[Callable[..., Any], tuple[Any, ...]]
DELIVERIES: Final = "deliveries"
TRACE_LIMIT: Final = 20_000


class PollingRound:
    """The polling thread's next round: what is to happen in it waits for `step`, in the order it came."""

    def __init__(self) -> None:
        self.calls: deque[Call] = deque()

    def deliver(self, call: Callable[..., Any], *args: Any) -> None:
        """Make the call at the next `step`. Any thread."""
        self.calls.append((call, args))

    def happen(self, _whose: object, call: Callable[..., Any], *args: Any) -> None:
        """Make the call at the next `step`: something that happens to a socket or a timer."""
        self.calls.append((call, args))

    def step(self) -> bool:
        """Make every call that waits, in order; whether there was any."""
        some = bool(self.calls)
        for _ in range(len(self.calls)):
            call, args = self.calls.popleft()
            call(*args)
        return some

    def __repr__(self) -> str:
        return f"<PollingRound {len(self.calls)} calls wait>"


class SteppedWorkers:
    """Workers whose turns are run by hand, on the test's own thread.

    `take` runs the eldest waiting turn and keeps its news back, as long as a real worker would still be running it;
    `give` tells them. `step` is both. Turns of one exchange that overlap are an AssertionError.
    """

    def __init__(self, total: int = 5) -> None:
        self.total = total
        self.queue: deque[Any] = deque()
        self.running: list[Any] = []
        self.done = 0
        self._turn_of: dict[Any, Any] = {}
        """The turn that each exchange has with us."""

    @property
    def waiting(self) -> int:
        """Turns that no worker has begun."""
        return len(self.queue)

    @property
    def takeable(self) -> int:
        """How many of the waiting turns free workers could begin now."""
        return min(len(self.queue), self.total - len(self.running))

    @property
    def backlog(self) -> int:
        """See `boundaries.Workers`."""
        return len(self.queue) + len(self.running) - self.total

    def do(self, turn: Any) -> None:
        """See `boundaries.Workers`."""
        owner = exchange_of(turn)
        if owner is not None:
            other = self._turn_of.setdefault(owner, turn)
            assert other is turn, f"turns of one exchange overlap: {turn!r} and {other!r}"
        self.queue.append(turn)

    def withdraw(self, turn: Any) -> bool:
        """See `boundaries.Workers`."""
        if turn not in self.queue:
            return False
        self.queue.remove(turn)
        self._forget(turn)
        return True

    def statistics(self) -> dict[str, int]:
        """See `boundaries.Workers`."""
        return {"total": self.total, "busy": len(self.running), "queued": len(self.queue)}

    def runs(self) -> dict[int, Any]:
        """None of its turns runs on a thread that could be looked at."""
        return {}

    def idents(self) -> list[int]:
        """It has no threads."""
        return []

    @property
    def busy_seconds(self) -> float:
        """Turns take no time here."""
        return 0.0

    def take(self, index: int = 0) -> Any:
        """A worker takes a turn, the eldest unless told, and runs it; the polling thread has not heard of its end."""
        self.running.append(self.queue[index])
        del self.queue[index]
        self.running[-1].run()  # by no name of this frame's own: an error's frames lead here, and would keep the turn
        return self.running[-1]

    def give(self, index: int = 0) -> None:
        """The polling thread hears of the end of a turn, the one that was taken first unless told."""
        turn = self.running.pop(index)
        self._forget(turn)
        self.done += 1
        turn.ran()

    def _forget(self, turn: Any) -> None:
        owner = exchange_of(turn)
        if owner is not None:
            self._turn_of.pop(owner, None)

    def step(self) -> bool:
        """Run one turn and tell of its end; False if none waits."""
        if self.running:
            self.give()
        elif self.queue:
            self.take()
            self.give()
        else:
            return False
        return True

    def __repr__(self) -> str:
        return f"<SteppedWorkers {len(self.running)} of {self.total} busy, {len(self.queue)} turns queued>"


def exchange_of(turn: Any) -> Any:
    """The exchange whose line of code `turn` goes on with, if it is one's."""
    is_beside = type(turn.owner).__name__ in ("Afterthought", "Unspool")  # they run none of it
    return None if is_beside else turn.exchange


class Order(Protocol):
    """What decides which of the things that can happen next does."""

    def step(self) -> bool:
        """Let one of them happen; False if nothing can."""


class InOrder:
    """First come, first served; the polling thread before the workers."""

    def __init__(self, polling: PollingRound, workers: SteppedWorkers) -> None:
        self._polling = polling
        self._workers = workers

    def step(self) -> bool:
        """A whole round of the polling thread, or a turn."""
        return self._polling.step() or self._workers.step()


class ShuffledRound(PollingRound):
    """A polling thread on which things happen in any order; but what one socket brings, or one thread delivers, keeps
    its own.

    Whatever keeps its order is a lane; the first call of each may be the next one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lanes: dict[Any, deque[Call]] = {}
        self._names: list[Any] = []
        """The lanes that have a call, in no order that matters, but the same in each run."""

    def deliver(self, call: Callable[..., Any], *args: Any) -> None:
        """Make the call at some step, after all that were delivered before."""
        self.happen(DELIVERIES, call, *args)

    def happen(self, whose: object, call: Callable[..., Any], *args: Any) -> None:
        """Make the call at some step, after what `whose` had happen before."""
        lane = self._lanes.get(whose)
        if lane is None:
            self._lanes[whose] = deque(((call, args),))
            self._names.append(whose)
        else:
            lane.append((call, args))

    @property
    def choices(self) -> int:
        """How many calls may be the next."""
        return len(self._names)

    def step_lane(self, index: int) -> str:
        """Make the first call of a lane; what it was, for the trace."""
        whose = self._names[index]
        lane = self._lanes[whose]
        call, args = lane.popleft()
        if not lane:
            del self._lanes[whose]
            last = self._names.pop()
            if last is not whose:
                self._names[index] = last
        call(*args)
        return f"{_named(whose)}: {_called(call, args)}"

    def step(self) -> bool:
        """The first call of the first lane."""
        return bool(self._names) and bool(self.step_lane(0))

    def __repr__(self) -> str:
        return f"<ShuffledRound {len(self._names)} lanes>"


class AtRandom:
    """The order that `seed` decides: the same one each time, whatever else the process does.

    Only what could happen in earnest does: of the waiting turns those that a free worker could have begun, of the
    running ones any may end first, of the polling thread's calls any that does not overtake one of its own lane.
    `trace` has each step in words.
    """

    def __init__(self, polling: ShuffledRound, workers: SteppedWorkers, seed: int) -> None:
        self._polling = polling
        self._workers = workers
        self._random = random.Random(seed)
        self.trace: deque[str] = deque(maxlen=TRACE_LIMIT)

    def step(self) -> bool:
        """One call of the polling thread, the run of one turn, or the news of one's end."""
        polling, workers = self._polling, self._workers
        counts = (polling.choices, workers.takeable, len(workers.running))
        kinds = [kind for kind in range(3) if counts[kind]]
        if not kinds:
            return False
        kind = self._random.choice(kinds)  # first: thousands of arrivals shall not keep the workers from their turns
        index = self._random.randrange(counts[kind])
        if kind == 0:
            self.trace.append(polling.step_lane(index))
        elif kind == 1:
            self.trace.append(f"{_turn(workers.queue[index])} runs")
            workers.take(index)
        else:
            self.trace.append(f"{_turn(workers.running[index])} is over")
            workers.give(index)
        return True


def _turn(turn: Any) -> str:
    request = getattr(exchange_of(turn), "request", None)
    whose = request.id if request is not None else type(turn.owner).__name__
    call = turn.call
    code = getattr(getattr(call, "__self__", None), "__qualname__", None)  # a coroutine's send tells its function
    return f"{whose}: turn of {code or getattr(call, '__qualname__', type(call).__name__)}"


def _named(whose: Any) -> str:
    return whose if isinstance(whose, str) else getattr(whose, "name", type(whose).__name__)


def _called(call: Any, args: tuple[Any, ...]) -> str:
    if args and hasattr(args[0], "func"):
        call = args[0].func  # a timer that was cancelled has none
    return str(getattr(call, "__qualname__", type(call).__name__))
