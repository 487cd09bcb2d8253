"""The turns of one exchange: asked for in any order, run one after the other.

The rule: turns of one exchange never overlap. The next begins when what came of the one before has been read, here, on
the polling thread; what is asked for meanwhile waits. Where they run the module decides: on a worker if it blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, cast

from twisted.logger import Logger

from asyncproxy.boundaries import Binding, Client, TurnOwner
from asyncproxy.exchange.errors import ProxyError
from asyncproxy.exchange.lifecycle import BEGAN, ENDED, HANDED, WAITED, WORKING, Life
from asyncproxy.exchange.messages import Request
from asyncproxy.polling.steps import afterwards
from asyncproxy.polling.strands import close_dropped
from asyncproxy.working.turns import CallTurn

if TYPE_CHECKING:
    from asyncproxy.polling.flow import Exchange, Flow

_log = Logger()


class Turning(Life):
    """A life whose code runs in turns. A part of `flow.Exchange`, which sets its attributes."""

    __slots__ = ("_asked", "_pumping", "context", "turn")

    flow: Flow
    binding: Binding
    request: Request
    client: Client
    context: Context
    turn: CallTurn | None
    """The turn that is queued or running."""
    _asked: list[tuple[TurnOwner, Callable[..., Any], tuple[Any, ...]]]
    _pumping: bool

    def run(self, owner: TurnOwner, call: Callable[..., Any], *args: Any) -> None:
        """Run `call(*args)` as a turn, as soon as no other turn of this exchange runs; `owner.turned` hears of it."""
        if self.stage is ENDED:  # nobody waits for what comes of it
            afterwards(cast("Exchange", self), call, *args)
            return
        self.shorten_trail()
        self._asked.append((owner, call, args))
        if not self._pumping:
            self._pump()

    def _pump(self) -> None:
        """Take the turns that were asked for: one at a time on the workers, or here one after the other."""
        while self._asked and self.turn is None and self.stage != ENDED:
            owner, call, args = self._asked.pop(0)
            self.turn = turn = CallTurn(owner, call, args, self.context, self.turned, self.flow.seconds)
            if self.binding.blocking:
                self.enter(HANDED, self.flow.seconds())
                self.flow.workers.do(turn)
                return
            self._pumping = True
            turn.run()
            self._read(turn)

    def turned(self, turn: CallTurn) -> None:
        """A turn on a worker has ended."""
        if self.stage is ENDED:
            self._read_late(turn)
            return
        self._read(turn)
        self._pump()

    def _read_late(self, turn: CallTurn) -> None:
        """The exchange is over, and a coroutine beside the module's own was still being closed."""
        self.turn = None
        if not turn.owner.main:
            turn.owner.turned(turn)

    def _read(self, turn: CallTurn) -> None:
        """What came of `turn` decides the next step; turns that are asked for meanwhile wait until it is decided."""
        self.turn = None
        self._pumping = True
        self.enter(BEGAN, turn.began)
        try:
            turn.owner.turned(turn)
        except Exception:  # noqa: BLE001 - a defect of ours ends this exchange, not what comes after it
            _log.failure("{exchange!r}: what came of {turn!r} could not be read", exchange=self, turn=turn)
            self.client.cut()
            self.finish()
        if self.stage == WORKING:
            self.enter(WAITED, turn.ended)
        self._pumping = False

    def withdrawn(self, turn: CallTurn, error: ProxyError) -> None:
        """A turn nobody has begun: its owner is told instead, as if it had run and failed."""
        self._pumping = True
        now = self.flow.seconds()
        self.enter(BEGAN, now)
        turn.owner.interrupted(error)
        if self.stage == WORKING:
            self.enter(WAITED, now)
        self._pumping = False
        self._pump()

    def _close_asked(self) -> None:
        """Turns that were asked for are not run any more; coroutines among them are closed."""
        asked, self._asked = self._asked, []
        close_dropped(cast("Exchange", self), [owner for owner, _, _ in asked])

    def title(self) -> str:
        """Module and request, for a line of the log."""
        return f"{self.binding.name}: {self.request.line}"

    def finish(self) -> None:
        """End it."""
        raise AssertionError("a subclass knows its end")
