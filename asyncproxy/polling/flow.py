"""One exchange walked through its life. Read this first.

    admit -> begin -> a turn -> its outcome: answer | park | start a coroutine -> ... -> answer -> finish

The rule: all of it happens on the polling thread, but for the turns that `run` hands to the workers (`turning`). The
client may leave, and time may run out, at any stage: see `interrupt`. The steps are those of `exchange.lifecycle`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from twisted.logger import Logger

from asyncproxy.boundaries import Binding, Client, Surroundings, Workers
from asyncproxy.exchange.error_pages import ErrorPages
from asyncproxy.exchange.errors import ClientGone, ModuleError, ParkTimeout, ProxyError, status_and_words
from asyncproxy.exchange.identity import RequestIds
from asyncproxy.exchange.lifecycle import (
    ANSWERED,
    ENDED,
    FINISHED,
    PARKED,
    QUEUED,
    RECEIVING,
    RESPONDING,
    TUNNELLING,
    WAITED,
    WORKING,
)
from asyncproxy.exchange.messages import Request
from asyncproxy.exchange.outcomes import Park
from asyncproxy.exchange.responses import Reply, Response
from asyncproxy.exchange.waits import Forward, Wait, as_wait
from asyncproxy.polling.bodies import BodyStream
from asyncproxy.polling.books import Books
from asyncproxy.polling.counting import stages_of
from asyncproxy.polling.deadlines import Deadlines, Due
from asyncproxy.polling.failures import blame, log_failure, overloaded
from asyncproxy.polling.giving_up import GRACE, LastDeadline
from asyncproxy.polling.long_waits import LongWait, keep_alive
from asyncproxy.polling.parking import Parked, ParkingLot, Wake
from asyncproxy.polling.responding import Piecewise, relay_whole, respond
from asyncproxy.polling.seldom import Seldom
from asyncproxy.polling.signature import Signature
from asyncproxy.polling.spooling import Spool
from asyncproxy.polling.steps import FirstCall, ParkStep, RouteDeadline
from asyncproxy.polling.strands import Strand
from asyncproxy.polling.timing import timed
from asyncproxy.polling.tunnel import Tunnel
from asyncproxy.polling.tunnels import Tunnels
from asyncproxy.polling.turning import Turning
from asyncproxy.polling.upstream import Forwarding
from asyncproxy.polling.web_request import WebChannel
from asyncproxy.working.turns import CallTurn

_log = Logger()


class Exchange(Turning):
    """One request and its response, from first byte in to last byte out."""

    __slots__ = (
        "attempts",
        "binding",
        "client",
        "deadline",
        "detail",
        "flag",
        "flow",
        "forwards",
        "gone",
        "parked",
        "request",
        "server",
        "source",
        "started",
        "verdict",
    )

    def __init__(self, flow: Flow, binding: Binding, request: Request, client: Client) -> None:
        self.stage = RECEIVING
        self.waiting = PARKED
        self.trail = [flow.seconds()]
        self.flow = flow
        self.binding = binding
        self.request = request
        self.client = client
        self.context = copy_context()
        self.turn = None
        self.parked: Parked | None = None
        """What the module's own line of code waits for."""
        self.forwards: list[Forwarding | WebChannel | LongWait] = []
        """What goes on after it has answered the module, until its body is through: called off at the end."""
        self.source: BodyStream | Piecewise | Spool | Tunnel | None = None
        """What feeds the client, or the body's spool before the first turn."""
        self.gone = False
        self.flag = self.detail = ""
        """Why it did not go as it should, if it did not, and which limit it was; see `failures.blame`."""
        self.attempts = 0
        """How many times a server was asked for a forward."""
        self.server: Any = None
        """The pool of the latest one."""
        self.started = False
        """Whether the response is out so far that it can only be cut; for what a `LongWait` adds see there."""
        self.verdict: ProxyError | None = None
        """What the module's code is to be told at its next wait: that the client left, or that time is up."""
        self._asked = []
        self._pumping = False
        self.deadline: Due | None = None

    # Turns.

    def begin(self) -> None:
        """The module's turn has come: its first."""
        binding = self.binding
        if binding.is_async:
            Strand(self, binding.module.handle(self.request), self.concluded, main=True).start()
        elif binding.blocking:
            self.run(FirstCall(self), binding.module.handle, self.request)
        else:
            self.call_at_once()

    def call_at_once(self) -> None:
        """A plain `handle` that does not block is the hot path: it is called without the trappings of a turn."""
        try:
            outcome = self.context.run(self.binding.module.handle, self.request)
        except BaseException as error:  # noqa: BLE001 - as in a turn
            self.failed(error)
            return
        if type(outcome) is Forward:
            self.park(outcome, self.concluded)
        else:
            self.concluded(outcome, None)

    def turned(self, turn: CallTurn) -> None:
        """A turn on a worker has ended."""
        super().turned(turn)
        if self.verdict is not None and self.started:  # it began to answer before it could be told
            verdict, self.verdict = self.verdict, None
            self.call_off(verdict)

    def spawn(self, coroutine: Any, wake: Wake) -> Callable[[], None]:
        """Run `coroutine` beside the module's own line of code; its end wakes. Gives the way to cancel it."""
        strand = Strand(self, coroutine, wake, main=False)
        strand.start()
        return strand.cancel

    # What a turn of the module's own line of code may come to.

    def concluded(self, value: Any, error: BaseException | None) -> None:
        """`handle` has returned or raised, or what it returned to be waited for has come."""
        self.parked = None
        if error is not None:
            self.failed(error)
        elif (
            type(value) is Reply
            and type(value.stream) is bytes
            and not self.gone
            and value.own_body is None
            and 199 < value.status < 600
        ):
            relay_whole(self, value)
        elif isinstance(value, Response):
            self.answer(value)
        elif isinstance(value, Wait):
            self.park(value, self.concluded)
        elif isinstance(value, Park):
            ParkStep(self, value).park()
        elif inspect.iscoroutine(value):
            Strand(self, value, self.concluded, main=True).start()
        else:
            self._conclude_other(value)

    def _conclude_other(self, value: Any) -> None:
        try:
            wait = as_wait(value)
        except TypeError:
            kind = type(value).__name__
            self.failed(ModuleError(f"{self.binding.name}: handle returned {kind}, not a Response, Park or awaitable"))
            return
        self.concluded(wait, None)

    def park(self, wait: Wait[Any], wake: Wake, timeout: float | None = None) -> None:
        """Park the module's own line of code on `wait`, unless it is to be told something first."""
        if self.verdict is not None:
            verdict, self.verdict = self.verdict, None
            wait.abandon()
            wake(None, verdict)
            return
        self.parked = parked = self.flow.lot.park(wait, self, wake)
        if self.stage is RECEIVING:
            self.enter(WAITED, parked.since)
        self.waiting = wait.column
        if timeout is not None:
            parked.limit(timeout)
        parked.start()

    def answer(self, response: Response) -> None:
        """Send `response`, if anybody is left to read it."""
        if self.gone:
            self.finish()
            return
        self.enter(ANSWERED, self.flow.seconds())
        try:
            respond(self, response)
        except Exception as error:  # noqa: BLE001 - a response that cannot be sent is its module's failure
            self.failed(error)

    def failed(self, error: BaseException) -> None:
        """The module's line of code ended in `error`: the client is told by status, the log by file and line."""
        blame(self, error)
        self.flow.log_failure(self, error)
        if self.gone:
            self.finish()
        elif self.started:
            self.client.cut()
            self.finish()
        else:
            status, words = status_and_words(error)
            self.refuse(status, words)

    def refuse(self, status: int, words: str) -> None:
        """Answer with an error of ours."""
        if self.stage != RESPONDING:
            self.enter(ANSWERED, self.flow.seconds())
        self.started = True
        self.client.refuse(status, words)

    # The client's side.

    def left(self) -> None:
        """The client has closed its connection."""
        if not self.gone and self.stage != ENDED:
            self.gone = True
            error = ClientGone()
            blame(self, error)
            self.interrupt(error)

    def late(self, seconds: float) -> None:
        """The route's time, `seconds` of it, is up."""
        self.call_off(ParkTimeout(f"the request was not answered within {seconds:g} s", "route.timeout"))

    def call_off(self, error: ProxyError) -> None:
        """There will be no answer, or no more of it: the module hears `error`, then the client if nothing is out."""
        if self.stage == ENDED or self.gone:
            return
        if self.started:
            blame(self, error)
            self.client.cut()
            self.gone = True
        self.interrupt(error)

    def interrupt(self, error: ProxyError) -> None:
        """Tell whoever has the exchange now that it is over: each stage in its own way."""
        stage = self.stage
        if stage in (RECEIVING, TUNNELLING) or (stage == RESPONDING and self.turn is None):
            self._stop_source()
            self.finish() if self.gone else self.failed(error)
        elif stage == PARKED and self.parked is not None:
            self.parked.interrupt(error)
        elif stage == QUEUED and (turn := self.turn) and turn.owner.main and self.flow.workers.withdraw(turn):
            self.turn = None
            self.withdrawn(turn, error)
        else:
            self.verdict = error
        if self.stage != ENDED and (self.gone or not self.started):
            self._limit(LastDeadline(self), GRACE)

    def _stop_source(self) -> None:
        source, self.source = self.source, None
        if source is not None:
            source.drop()

    def finish(self) -> None:
        """The end, in whatever way: everything that the exchange holds is let go.

        The client's connection calls it when it has taken the response's last byte.
        """
        if self.stage is ENDED:
            return
        self.enter(FINISHED, self.flow.seconds())
        self.parked = None
        if self._asked:
            self._close_asked()
        if self.source is not None:
            self._stop_source()
        if self.forwards:
            for forwarding in self.forwards:
                forwarding.cancel()
            self.forwards.clear()
        if self.request.file is not None:
            self.request.file.close()
        if self.deadline is not None:
            self.flow.deadlines.remove(self.deadline)
            self.deadline = None
        flow = self.flow
        flow.exchanges.discard(self)
        flow.served += 1
        if flow.books is not None:
            flow.books.finished(self)

    def limit(self, seconds: float) -> None:
        """Be `late` in `seconds`."""
        self._limit(RouteDeadline(self, seconds), seconds)

    def _limit(self, deadline: Due, seconds: float) -> None:
        if self.deadline is not None:
            self.flow.deadlines.remove(self.deadline)
        self.deadline = deadline
        self.flow.deadlines.set(deadline, seconds)

    @property
    def shown_stage(self) -> str:
        """The stage as an onlooker sees it: a turn that a worker has begun is WORKING before it has come back."""
        return WORKING if self.stage == QUEUED and self.turn is not None and self.turn.began else self.stage

    def place(self) -> str:
        """Where the module's code waits, as ``file.py:31``; an empty string if no code of it waits."""
        return self.parked.place() if self.parked is not None else ""

    def __repr__(self) -> str:
        waiting = f" on {self.parked.wait.describe()} at {self.place() or self.binding.name}" if self.parked else ""
        return f"<Exchange {self.request.id} {self.shown_stage}{waiting}, {self.flow.seconds() - self.began:.1f} s>"


class Flow:
    """All exchanges, and what they share. Polling thread only."""

    def __init__(
        self,
        workers: Workers,
        lot: ParkingLot,
        deadlines: Deadlines,
        around: Surroundings,
        *,
        max_queued: int = 1000,
        spool_in_memory: int = 1 << 20,
        ids: RequestIds | None = None,
        books: Books | None = None,
        signature: Signature | None = None,
    ) -> None:
        self.workers = workers
        self.lot = lot
        self.deadlines = deadlines
        self.around = around
        self.seconds = deadlines.seconds
        self.began = self.seconds()
        self.max_queued = max_queued
        self.spool_in_memory = spool_in_memory
        self.ids = ids
        """How a request's id is told to its upstream and its client; None: it is not."""
        self.books = books
        """Where finished requests are written down; None: nobody reads of them."""
        self.signature = signature or Signature()
        """What heads say of us."""
        self.tunnels = Tunnels(deadlines)
        self.exchanges: set[Exchange] = set()
        self.clean_ups: set[CallTurn] = set()  # turns, queued or running, of exchanges that are over
        self.error_pages = ErrorPages()
        self.lines = Seldom(self.seconds)
        self.served = 0
        self.numbers = 0
        """The number of the latest request; with `prefix` it makes an id that no other request has."""
        self.prefix = os.urandom(4).hex()

    def start(self, exchange: Exchange) -> None:
        """Let `exchange` begin: collect its body first if its module wants that, or refuse it when we are full."""
        binding = exchange.binding
        if binding.at_once:  # if it waits, the lot says whether there is room
            exchange.call_at_once()
            return
        if binding.server_timing:
            exchange.client = timed(exchange)
        if binding.blocking and (self.lot.full or self.workers.backlog >= self.max_queued):
            exchange.failed(overloaded("parked" if self.lot.full else "queued"))
            return
        if binding.keep_alive != "off":
            keep_alive(exchange)
        if binding.timeout is not None:
            exchange.limit(binding.timeout)
        if binding.whole_body and exchange.request.length != 0 and exchange.request.file is None:
            exchange.source = Spool(exchange, self.spool_in_memory)
            exchange.source.begin()
        else:
            exchange.begin()

    def log_failure(self, exchange: Exchange, error: BaseException) -> None:
        """Log `error` once; see `failures.log_failure`."""
        log_failure(exchange, error)

    def stages(self) -> dict[str, int]:
        """How many exchanges are in each stage."""
        return stages_of(self.exchanges)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {stage}" for stage, count in self.stages().items() if count)
        return f"<Flow {counts or 'idle'}, {self.served} served>"
