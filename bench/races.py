"""One scene of many: requests that wait for tickets, and all that may come between, in an order that a seed decides.

Requests come, wait in different ways, leave; names are resumed before they are awaited, twice, with the wrong digest,
by another request; time-outs come due; the proxy drains or stops. What everybody saw is written down here, and
`bench.verdict` judges it. Names, digests and numbers are few, so that things meet.
"""

import random
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, cast

from twisted.internet.defer import Deferred

from asyncproxy import RAISE, Module, Park, Receipt, Request, Response, gather, ticket
from asyncproxy.service.draining import Drain
from asyncproxy.testing import Lab
from asyncproxy.testing.client import ClientRequest

SECONDS: Final = (1.0, 2.0, 3.0, 5.0)
PAUSES: Final = (0, 0, 1, 1, 2, 3, 5, 9)
"""Steps of the lab between two things that happen."""
ROUNDS: Final = 8
"""Resumes of a name after which nobody waits for it: all visits together have fewer awaits."""
LONGEST: Final = 60.0
"""Seconds after which nobody waits whose wait has an end."""


@dataclass
class Asked:
    """A ticket as a request asks for it."""

    name: str
    timeout: float | None
    default: Any
    bind: str | None

    def wait(self) -> Any:
        """What is awaited."""
        return ticket(self.name, self.timeout, self.default, self.bind)


@dataclass
class Resumed:
    """A resume, whoever did it; its value is the name and a number that no other has."""

    name: str
    number: int
    bind: str | None
    at: float
    future: Future[Receipt]

    @property
    def value(self) -> list[Any]:
        """What was given."""
        return [self.name, self.number]


@dataclass
class Wait:
    """One await of a request, and what came of it."""

    asked: list[Asked]
    limit: float | None
    """The time-out of the `Park` around it."""
    step: int
    at: float
    ended_step: int = 0
    ended_at: float = 0.0
    values: list[Any] | None = None
    error: BaseException | None = None
    outcomes: int = 0

    @property
    def names(self) -> list[str]:
        """What it waited for."""
        return [one.name for one in self.asked]


@dataclass
class Visit:
    """A request: what its code is to do, and what it saw."""

    path: str
    plan: list[list[Asked] | str]
    """One await after the other: of one ticket, of several together, or of a resume of the name."""
    parks: float | None = None
    """Whether it uses `Park`, with this time-out; 0 is none."""
    id: str = ""
    begun: int = 0
    ended: int = 0
    waits: list[Wait] = field(default_factory=list)
    answer: list[Any] | None = None
    error: BaseException | None = None
    request: ClientRequest | None = None
    since: float = 0.0


class Waits(Module):
    """Does what the visit's plan says."""

    def __init__(self) -> None:
        super().__init__()
        self.scene: Scene

    async def handle(self, request: Request) -> Any:
        """A coroutine all the way."""
        return await self.walk(request)

    async def walk(self, request: Request) -> Response:
        """One await after the other; the answer is every value."""
        visit, values = self.scene.begun(request), []
        try:
            for step in visit.plan:
                if isinstance(step, str):
                    await cast(Any, self.scene.resume(step).future)
                else:
                    values += await self.wait(visit, step)
        except BaseException as error:
            visit.error = error
            raise
        finally:
            visit.ended += 1
        visit.answer = values
        return Response.json(values)

    async def wait(self, visit: Visit, asked: list[Asked]) -> list[Any]:
        """One of them."""
        wait = self.scene.waiting(visit, asked)
        try:
            values = [await asked[0].wait()] if len(asked) == 1 else await gather(*(one.wait() for one in asked))
        except BaseException as error:
            self.scene.ended(wait, error=error)
            raise
        self.scene.ended(wait, values)
        return values

    def parked(self, request: Request) -> Park:
        """The mail's way."""
        visit = self.scene.begun(request)
        asked = visit.plan[0]
        assert not isinstance(asked, str)
        wait = self.scene.waiting(visit, asked)
        wait.limit = visit.parks or None
        return Park(asked[0].wait(), resume=self.woken, gone=self.woken, context=(visit, wait), timeout=wait.limit)

    def woken(self, _request: Request, woken: Any) -> Response | None:
        """Whatever woke it."""
        visit, wait = woken.context
        visit.ended += 1
        if woken.reason == "ready":
            visit.answer = [woken.value]
            self.scene.ended(wait, visit.answer)
            return Response.json(visit.answer)
        visit.error = woken.value
        self.scene.ended(wait, error=woken.value)
        if woken.reason == "failed":
            raise woken.value
        return None


class WaitsPlainly(Waits):
    """A `handle` that is no coroutine function: it parks, or returns a coroutine."""

    def handle(self, request: Request) -> Any:
        """The one or the other. A coroutine whose first turn nobody comes to never begins."""
        return self.walk(request) if self.scene.visit_of(request).parks is None else self.parked(request)


class WaitsHere(Waits):
    """The same on the polling thread."""

    blocking = False


class WaitsPlainlyHere(WaitsPlainly):
    """The same on the polling thread."""

    blocking = False


class Scene:
    """Played by `play`; then everything has ended that can."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = dice = random.Random(seed)
        self.timeout = dice.choice((None, None, 4.0, 30.0))
        self.remember = dice.choice((60.0, 60.0, 4.0))
        module = dice.choice((Waits, WaitsPlainly, WaitsHere, WaitsPlainlyHere))()
        module.scene = self
        route = {"module": module, **({"timeout": f"{self.timeout:g}s"} if self.timeout else {})}
        config = {"server": {"listen": "tcp:0", "workers": dice.choice((1, 2, 5))}, "route": [route]}
        self.lab = Lab({**config, "tickets": {"remember": f"{self.remember:g}s"}}, seed=seed, settle=False)
        self.names = "ab"[: dice.choice((1, 1, 2))]
        self.step = 0
        self.resumes: list[Resumed] = []
        self.left: set[str] = set()
        self.drained: Deferred[list[str]] | None = None
        self.stopped = False
        plain = isinstance(module, WaitsPlainly)
        self.visits = [self.make_visit(number, plain) for number in range(dice.choice((1, 2, 2, 3)))]

    def make_visit(self, number: int, plain: bool) -> Visit:
        """A visit with a plan of its own."""
        dice = self.random
        path = f"/{number}"
        if plain and dice.random() < 0.6:
            return Visit(path, [[self.make_asked()]], dice.choice((0.0, *SECONDS)))
        plan: list[list[Asked] | str] = []
        for _ in range(dice.choice((1, 1, 2))):
            if dice.random() < 0.15:
                plan.append(dice.choice(self.names))
            elif len(self.names) > 1 and dice.random() < 0.3:
                plan.append([self.make_asked(name) for name in self.names])
            else:
                plan.append([self.make_asked()])
        return Visit(path, plan)

    def make_asked(self, name: str | None = None) -> Asked:
        """A ticket with a policy of its own."""
        dice = self.random
        timeout = dice.choice((None, None, *SECONDS))
        default = "default" if timeout is not None and dice.random() < 0.5 else RAISE
        return Asked(name or dice.choice(self.names), timeout, default, "digest" if dice.random() < 0.2 else None)

    # What the requests' code tells.

    def begun(self, request: Request) -> Visit:
        """The code of a visit begins."""
        visit = self.visit_of(request)
        visit.begun += 1
        visit.id = request.id
        return visit

    def visit_of(self, request: Request) -> Visit:
        """Whose request it is."""
        return self.visits[int(request.path[1:])]

    def waiting(self, visit: Visit, asked: list[Asked]) -> Wait:
        """It is about to wait."""
        visit.waits.append(Wait(asked, None, self.step, self.lab.clock.seconds()))
        return visit.waits[-1]

    def ended(self, wait: Wait, values: list[Any] | None = None, error: BaseException | None = None) -> None:
        """It has waited."""
        wait.outcomes += 1
        wait.values, wait.error = values, error
        wait.ended_step, wait.ended_at = self.step, self.lab.clock.seconds()

    # What happens.

    def come(self, visit: Visit) -> None:
        """Its client sends the request, unless nobody listens any more."""
        if self.drained is None and not self.stopped:
            visit.since = self.lab.clock.seconds()
            visit.request = self.lab.get(visit.path)

    def leave(self, visit: Visit) -> None:
        """Its client leaves, if it has come."""
        if visit.request is not None:
            self.left.add(visit.path)
            visit.request.leave()

    def resume(self, name: str, bind: str | None = None) -> Resumed:
        """Somebody has a value for `name`."""
        number = len(self.resumes)
        future = self.lab.resume(name, [name, number], bind=bind)
        self.resumes.append(Resumed(name, number, bind, self.lab.clock.seconds(), future))
        return self.resumes[-1]

    def pass_time(self, seconds: float) -> None:
        """Timers come due, and are called at some step."""
        self.lab.clock.move_to(self.lab.clock.seconds() + seconds)

    def drain(self, seconds: float) -> None:
        """SIGTERM."""
        house = self.lab.house
        self.drained = Deferred.fromCoroutine(Drain(self.lab.clock, house.flow, [house.door]).run(seconds))

    def stop(self) -> None:
        """The proxy lets every client go."""
        self.stopped = True
        self.lab.house.shut_down()

    def script(self) -> list[tuple[Callable[..., Any], tuple[Any, ...]]]:
        """All that happens, in its order."""
        dice = self.random
        script: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        for visit in self.visits:
            script.append((self.come, (visit,)))
            if dice.random() < 0.35:
                script.append((self.leave, (visit,)))
        for _ in range(dice.choice((1, 2, 2, 3, 4))):
            script.append((self.resume, (dice.choice(self.names), dice.choice((None, None, "digest", "other")))))
        for _ in range(dice.choice((0, 1, 2, 3))):
            script.append((self.pass_time, (dice.choice(SECONDS),)))
        end = dice.random()
        if end < 0.15:
            script.append((self.drain, (dice.choice((0.0, 2.0)),)))
        elif end < 0.3:
            script.append((self.stop, ()))
        dice.shuffle(script)
        return script

    def play(self) -> None:
        """Let it all happen, then come to its end."""
        for call, args in self.script():
            for _ in range(self.random.choice(PAUSES)):
                self.step += 1
                self.lab.step()
            self.step += 1
            call(*args)
        self.finish()

    def finish(self) -> None:
        """Let time-outs come, resume whoever still waits, and let a drain become a stop."""
        self.settle()
        self.settle(LONGEST if self.timeout or self.drained else max(SECONDS))
        for _ in range(ROUNDS):
            for name in filter(self.lab.house.tickets.holds, self.names):
                self.resume(name, "digest")
            self.settle()
        if self.drained is not None:
            self.lab.house.shut_down()
            self.settle()

    def settle(self, seconds: float = 0.0) -> None:
        """Let all happen that can, and then so many seconds."""
        self.step += 1
        self.lab.advance(seconds)
