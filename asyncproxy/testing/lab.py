"""A proxy on the bench: the real one, on a fake clock, fake workers and a fake network."""

from __future__ import annotations

import warnings
from collections.abc import Coroutine
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from asyncproxy.exchange.headers import HeaderSource
from asyncproxy.exchange.record import Record
from asyncproxy.service.binding import Bound
from asyncproxy.service.draining import Drain
from asyncproxy.testing.client import ClientRequest, Data, request_bytes
from asyncproxy.testing.clock import NEARLY, START, LabReactor, not_back
from asyncproxy.testing.house import FakeClient
from asyncproxy.testing.lab_house import LabHouse
from asyncproxy.testing.operators import OperatedLab
from asyncproxy.testing.servers import Servers, Upstream
from asyncproxy.testing.sources import read_source
from asyncproxy.testing.stepping import AtRandom, InOrder, Order, PollingRound, ShuffledRound, SteppedWorkers

T = TypeVar("T")
STEPS: Final = 50_000
"""Steps that may be needed to settle without an exchange; each exchange may add `STEPS_EACH`."""
STEPS_EACH: Final = 200

SHOWN: Final = 20
"""Requests and steps that a diagnosis has."""


class LeftBehind(UserWarning):
    """A lab was closed and something was left: a parked request, or an answer that nobody asked for."""


class Lab(OperatedLab):
    """The proxy in memory, for tests of modules and of configurations: no thread, no socket, no sleep.

        lab = Lab(Orders, settings={"region": "eu"})
        request = lab.get("/orders/7")
        lab.upstream("pricing").answer(json={"price": 3})
        assert request.status == 200

    `what` is a `Module` class or instance, which then has every path; a configuration as a dict of the file's shape
    or as TOML text (a str of several lines), in which a route's ``module`` may also be a class or an instance; or the
    path of a TOML file. `route` has further keys of a lone module's route: ``settings``, ``upstream``, ``timeout``.

    Time stands still until `advance`. All else that can happen has happened when a call returns, and again before
    anything of the lab is looked at. With `settle=False` nothing happens before `step` or `settle`. With a `seed`
    things happen in an order that it decides, among those that could happen in earnest, and not before the lab is
    looked at: what was sent before overlaps. The same seed gives the same order again; `trace` tells it.

    Used with ``with``, or by the fixture of the pytest plugin, a lab says at its end what was left behind;
    `allow_parked` says that parked requests are meant to be.

    Modules are started when the lab is made, and stopped when it is; time goes on as far as that takes.

    A lab is used on one thread. Raises `ConfigurationError` for a configuration that the proxy would refuse, and
    `NotStarted` for a module that does not start.
    """

    def __init__(
        self, what: Any, *, seed: int | None = None, settle: bool = True, allow_parked: bool = False, **route: Any
    ) -> None:
        source = read_source(what, route)
        self.seed = seed
        self.allow_parked = allow_parked
        self.left_behind: list[str] = []
        """What `stop` found, a line each."""
        self._by_itself = settle
        polling = PollingRound() if seed is None else ShuffledRound()
        self.house = LabHouse(source.settings, source.bindings, polling=polling, open_names=source.nameless is not None)
        """The rooms and fakes below: `house.flow`, `house.workers`, `house.network`."""
        self.modules = [binding.module for binding in source.bindings]
        self._order: Order = InOrder(polling, self.workers)
        if isinstance(polling, ShuffledRound) and seed is not None:
            self._order = AtRandom(polling, self.workers, seed)
        self._servers = Servers(self.house, source.nameless or None, self._look, self._after_call)
        self._settling = False
        self._stopped = False
        self.requests: list[ClientRequest] = []
        """All requests of clients, in order."""
        for module in self.modules:
            module.proxy = self
        self._start(source.bindings)

    def _start(self, bindings: list[Bound]) -> None:
        self.house.resumer.open()
        with ExitStack() as unless_started:
            unless_started.callback(self.house.resumer.close)
            self._run(self.house.hooks.start(bindings))
            unless_started.pop_all()

    @property
    def module(self) -> Any:
        """The module of the first route."""
        return self.modules[0]

    @property
    def settings(self) -> Any:
        """The configuration, read."""
        return self.house.settings

    @property
    def reactor(self) -> LabReactor:
        """What stands for the reactor: modules reach it as ``self.proxy.reactor``."""
        return self.house.reactor

    @property
    def draining(self) -> bool:
        """Whether `drain` was called: modules see it as ``self.proxy.draining``."""
        return self.house.draining

    @property
    def clock(self) -> LabReactor:
        """The time, which `advance` moves."""
        return self.house.reactor

    @property
    def workers(self) -> SteppedWorkers:
        """The workers, to be stepped by hand in a lab that does not settle by itself."""
        return self.house.workers

    @property
    def trace(self) -> list[str]:
        """Of a lab with a seed: each step that was made, in words."""
        return list(getattr(self._order, "trace", ()))

    # Clients.

    def get(self, path: str | bytes, *, headers: HeaderSource | None = None) -> ClientRequest:
        """A client sends a GET, on a connection of its own."""
        return self.request("GET", path, headers=headers)

    def post(
        self, path: str | bytes, *, headers: HeaderSource | None = None, data: Data = None, json: Any = None
    ) -> ClientRequest:
        """A client sends a POST; `data` and `json` as for `request`."""
        return self.request("POST", path, headers=headers, data=data, json=json)

    def put(
        self, path: str | bytes, *, headers: HeaderSource | None = None, data: Data = None, json: Any = None
    ) -> ClientRequest:
        """A client sends a PUT; `data` and `json` as for `request`."""
        return self.request("PUT", path, headers=headers, data=data, json=json)

    def delete(self, path: str | bytes, *, headers: HeaderSource | None = None) -> ClientRequest:
        """A client sends a DELETE."""
        return self.request("DELETE", path, headers=headers)

    def request(
        self,
        method: str,
        path: str | bytes,
        *,
        headers: HeaderSource | None = None,
        data: Data = None,
        json: Any = None,
    ) -> ClientRequest:
        """A client sends a request. `data` is bytes, str, a mapping (sent as a form), or pieces (sent in chunks)."""
        return self._send(method, path, request_bytes(method, path, headers, data, json, False))

    def upload(
        self, method: str, path: str | bytes, *, headers: HeaderSource | None = None, length: int | None = None
    ) -> ClientRequest:
        """A client begins a request whose body follows, by its `send` and `end`; chunked without a `length`."""
        request = self._send(method, path, request_bytes(method, path, headers, None, None, length))
        request.chunked = length is None
        return request

    def _send(self, method: str, path: str | bytes, message: tuple[bytes, bytes, bool]) -> ClientRequest:
        if self._stopped or self.draining:
            raise RuntimeError("the lab is stopped or drains: make another one")
        client = self.house.connect()
        target = path if isinstance(path, str) else path.decode("latin-1")
        request = ClientRequest(client, method, target, self._look, self._after_call)
        request.seed = self.seed
        self.requests.append(request)
        head, body, _ = message
        wire = client.wire
        self.house.polling.happen(wire, wire.arrive, head)
        if body:
            self.house.polling.happen(wire, wire.arrive, body)
        self._after_call()
        return request

    def connect(self) -> FakeClient:
        """A client's connection, for what is sent byte by byte; `settle` after it."""
        return self.house.connect()

    def disconnect(self, request: ClientRequest) -> None:
        """The client of `request` closes its connection."""
        request.leave()

    # The world around.

    def upstream(self, name: str | None = None) -> Upstream:
        """The upstream of that name, or a URL and what is below it: what it was asked, and how it answers.

        Forwards and fetches alike are asked of it. Without a name: whatever is asked. Raises ValueError for a name that
        the lab's configuration does not have.
        """
        known = self.house.upstreams.known
        if name is not None and ":" not in name and name not in known and not self.house.open_names:
            names = ", ".join(str(one) for one in known) or "none"
            raise ValueError(f"there is no upstream {name!r}; known are {names}; a fetch is found by its URL")
        return Upstream(self._servers, name)

    def ready(self, fd: Any = None) -> None:
        """Descriptor `fd` (or an object with fileno()), which a module waits for, is ready; all of them if None.

        Raises AssertionError if nobody waits for it.
        """
        self._look()
        original = fd if fd is None or isinstance(fd, int) else fd.fileno()
        watches = self.house.descriptors.watches(original)
        assert watches, f"nobody waits for descriptor {original}: {self.house.descriptors!r}"
        for watch in watches:
            self.house.polling.happen(watch, watch)
        self._after_call()

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass, from one timer to the next; all that each brings about happens at its time.

        Raises ValueError for less than none.
        """
        clock = self.clock
        not_back(seconds)
        self.settle()
        end = clock.seconds() + seconds
        while (at := clock.next_time) is not None and at <= end + NEARLY:
            clock.move_to(at)
            self.settle()
        clock.move_to(end)
        self.settle()

    # What there is to see.

    def parked(self) -> list[dict[str, Any]]:
        """All parked exchanges, the eldest first, each as in `parked` of ``/status.json``."""
        self._look()
        rows: list[dict[str, Any]] = self.house.snapshot(limit=len(self.house.flow.exchanges))["parked"]
        return rows

    @property
    def records(self) -> list[Record]:
        """What the access log would say: a record for each request that is over, see `exchange.record`."""
        self._look()
        return list(self.house.records)

    def snapshot(self, limit: int = 1000, after: str | None = None) -> dict[str, Any]:
        """What the proxy holds, as ``/status.json`` shows it."""
        self._look()
        return self.house.snapshot(limit, after)

    @property
    def onlookers(self) -> Any:
        """Who looks at the proxy live: modules see it as ``self.proxy.onlookers``."""
        return self.house.onlookers

    def overview(self, limit: int = 100) -> dict[str, Any]:
        """What the proxy holds, as ``/status`` shows it."""
        self._look()
        return self.house.overview(limit)

    def metrics(self) -> bytes:
        """The proxy's figures, as ``/metrics`` shows them."""
        self._look()
        return self.house.metrics()

    # Stepping.

    def step(self) -> bool:
        """Let one thing happen; False if nothing can without time passing."""
        clock, polling = self.clock, self.house.polling
        while (timer := clock.take_due()) is not None:
            polling.happen(timer, clock.fire, timer)
        return self._order.step() or self._servers.read()

    def settle(self) -> None:
        """Let everything happen that can without time passing.

        Raises AssertionError if it does not come to an end.
        """
        if self._settling:  # a module, or a server's answer, looks at the lab it runs in
            return
        self._settling = True
        try:
            steps = 0
            while self.step():
                steps += 1
                if steps > STEPS and steps > STEPS + STEPS_EACH * len(self.requests):
                    raise AssertionError(f"{self!r} does not settle: something goes on and on without time passing")
        finally:
            self._settling = False

    def _look(self) -> None:
        if self._by_itself:
            self.settle()
        else:
            self._servers.read()

    def _after_call(self) -> None:
        if self._by_itself and self.seed is None:
            self.settle()

    def _run(self, hooks: Coroutine[Any, Any, T]) -> T:
        """Let `hooks` come to their end, however much time that takes: theirs is limited."""
        ended = Deferred.fromCoroutine(hooks)
        results: list[Any] = []
        ended.addBoth(results.append)
        self.settle()
        while not results:
            at = self.clock.next_time
            assert at is not None, "hooks have a time-out"
            self.advance(at - self.clock.seconds())
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return cast(T, results[0])

    # The end.

    def drain(self, seconds: float = 0.0) -> list[str]:
        """The proxy empties as it does on SIGTERM, in `seconds` at most; gives who was cut, a line each.

        Their modules heard `Draining` at their awaits; connections are closed, and nobody can ask any more.
        """
        self.house.draining = True
        return self._run(Drain(self.clock, self.house.flow, [self.house.door]).run(seconds))

    def stop(self) -> list[str]:
        """Let every client leave and close all there is; what was left behind, a line each, as `left_behind` too.

        That is: requests that were still waiting, unless `allow_parked`; those that do not end though their client has
        left; modules whose `stop` failed; and answers of upstreams that nobody asked for.
        """
        if self._stopped:
            return self.left_behind
        self._stopped = True
        self.settle()
        if not self.allow_parked:
            self.left_behind += [f"{request!r}" for request in self.requests if request.exchange is not None]
        for request in self.requests:
            if not request.left and request.client.wire.open:
                request.leave()
        self.house.shut_down()
        self.settle()
        self.house.resumer.close()
        for exchange in self.house.flow.exchanges:
            self.left_behind.append(f"{exchange!r} does not end, though its client has left")
        self.left_behind += self._run(self.house.hooks.stop())
        for name, _ in self._servers.kept:
            self.left_behind.append(f"an answer of upstream {name or 'of any name'}, for which nobody asked")
        self.house.deadlines.stop()
        return self.left_behind

    def report(self) -> str:
        """What was left behind, in a sentence and its list."""
        lines = "".join(f"\n  {line}" for line in self.left_behind)
        return f"{self!r} left behind:{lines}\nanswer it, disconnect its client, or say allow_parked=True"

    def diagnosis(self) -> str:
        """Itself, each request, and of a lab with a seed the last steps: for the report of a test that failed."""
        lines = [repr(self), *(f"  {request!r}" for request in self.requests[-SHOWN:])]
        if self.seed is not None:
            lines.append(f"  the last steps; Lab(..., seed={self.seed}) plays them again:")
            lines += [f"    {step}" for step in self.trace[-SHOWN:]]
        return "\n".join(lines)

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        said = self.diagnosis()
        self.stop()
        if error is not None:
            error.add_note(said)
        elif self.left_behind:
            warnings.warn(LeftBehind(self.report()), stacklevel=2)

    def __repr__(self) -> str:
        seed = f" seed={self.seed}" if self.seed is not None else ""
        stages = [f"{count} {stage.lower()}" for stage, count in self.house.flow.stages().items() if count]
        held = ", ".join(stages) or "nothing held"
        return f"<Lab{seed} at {self.clock.seconds() - START:g} s: {self.house.flow.served} served, {held}>"
