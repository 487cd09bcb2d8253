"""The turns of a module that is no coroutine: its first call, and the calls that a `Park` asks for; what runs late."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from asyncproxy.exchange.errors import Cancelled, ClientGone, ParkTimeout
from asyncproxy.exchange.outcomes import Park, Woken
from asyncproxy.exchange.waits import Gather
from asyncproxy.polling.deadlines import NEVER, Due
from asyncproxy.polling.giving_up import GivenUp
from asyncproxy.polling.parking import Spot, spot_of
from asyncproxy.working.turns import CallTurn

if TYPE_CHECKING:
    from asyncproxy.polling.flow import Exchange


_CALLED_OFF: Final = {ClientGone: "gone", ParkTimeout: "timeout", Cancelled: "cancelled"}
"""What calls a park off, and the `reason` that is given for it."""


class FirstCall:
    """`handle(request)` of a plain module."""

    __slots__ = ("exchange",)
    main = True

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def turned(self, turn: CallTurn) -> None:
        """`handle` has returned or raised."""
        self.exchange.concluded(turn.value, _error_of(turn))

    def interrupted(self, error: BaseException) -> None:
        """No worker came to it: nothing of the module has run."""
        self.exchange.failed(error)


class ParkStep:
    """A `Park`: what it waits for, then the one call that it asks for."""

    __slots__ = ("_error", "_park", "exchange")
    main = True

    def __init__(self, exchange: Exchange, park: Park) -> None:
        self.exchange = exchange
        self._park = park
        self._error: BaseException | None = None

    def park(self) -> None:
        """Register what it waits for."""
        park = self._park
        wait = Gather((park.on,)) if isinstance(park.on, Coroutine) else park.on
        self.exchange.park(wait, self._woken, park.timeout)

    def _woken(self, value: Any, error: BaseException | None) -> None:
        exchange, park = self.exchange, self._park
        exchange.parked = None
        if error is None:
            value = value[0] if isinstance(park.on, Coroutine) else value
            exchange.run(self, park.resume, exchange.request, Woken(park.context, value))
        elif isinstance(error, tuple(_CALLED_OFF)):
            self._called_off(error)
        else:
            exchange.run(self, park.resume, exchange.request, Woken(park.context, error, "failed"))

    def _called_off(self, error: BaseException) -> None:
        """The client left, it took too long, or an operator cancelled it: the module cleans up on a worker."""
        exchange, park = self.exchange, self._park
        self._error = error
        if park.gone is not None and not isinstance(error, GivenUp):
            exchange.run(self, park.gone, exchange.request, Woken(park.context, error, _reason(error)))
        elif callable(getattr(park.context, "close", None)):
            exchange.run(self, park.context.close)
        else:
            exchange.failed(error)

    def spot(self) -> Spot | None:
        """Where the method is that goes on."""
        return spot_of(self._park.resume)

    def turned(self, turn: CallTurn) -> None:
        """The call has returned or raised."""
        error = _error_of(turn)
        if self._error is not None and error is None:
            heard = self._park.gone is not None and not isinstance(self._error, GivenUp)
            if turn.value is None or not heard:
                error = self._error
        self.exchange.concluded(turn.value, error)

    def interrupted(self, error: BaseException) -> None:
        """No worker came to the call: what was to be resumed is called off instead."""
        if self._error is None:
            self._called_off(error)
        else:  # the clean-up itself was still waiting for a worker: it must still run
            self.exchange.verdict = None
            self._called_off(self._error)


def _reason(error: BaseException) -> str:
    return next(reason for kind, reason in _CALLED_OFF.items() if isinstance(error, kind))


def _error_of(turn: CallTurn) -> BaseException | None:
    if turn.finished:  # a plain function let a StopIteration out: it has a value for nobody
        return RuntimeError("handle raised StopIteration")
    return turn.error


class RouteDeadline(Due):
    """The route's `timeout` of one exchange: `seconds` of it, which `extend` makes more."""

    __slots__ = ("_exchange", "_slot", "due", "seconds")

    def __init__(self, exchange: Exchange, seconds: float) -> None:
        self.due = self._slot = NEVER
        self._exchange = exchange
        self.seconds = seconds

    def extend(self, seconds: float) -> None:
        """Be due `seconds` later."""
        self.seconds += seconds
        self.due += seconds  # the wheel finds out when it comes to it

    def expired(self) -> None:
        """Time is up."""
        words = f"the request was not answered within {self.seconds:g} s"
        self._exchange.call_off(ParkTimeout(words, "route.timeout"))


def afterwards(exchange: Exchange, call: Callable[..., Any], *args: Any) -> None:
    """Run `call(*args)` of `exchange`'s module where its turns run, though the exchange may be over."""
    turn = CallTurn(Afterthought(exchange), call, args, exchange.context.copy(), _read_afterthought)
    if exchange.binding.blocking:
        exchange.flow.clean_ups.add(turn)
        exchange.flow.workers.do(turn)
    else:
        turn.run()
        turn.ran()


class Afterthought:
    """Who asked for a turn whose exchange is over: only its failure is of interest."""

    __slots__ = ("exchange",)
    main = False

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange


def _read_afterthought(turn: CallTurn) -> None:
    """Such a turn has ended."""
    exchange = turn.owner.exchange
    exchange.flow.clean_ups.discard(turn)
    if turn.error is not None:
        exchange.flow.log_failure(exchange, turn.error)
