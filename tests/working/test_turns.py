from __future__ import annotations

import gc
import weakref
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from twisted.internet.task import Clock

from asyncproxy.working.turns import CallTurn

NAME: ContextVar[str] = ContextVar("name")


def turn_of(call: Any, *args: Any) -> CallTurn:
    clock = Clock()
    clock.advance(5)
    told: list[CallTurn] = []
    turn = CallTurn("owner", call, args, copy_context(), told.append, clock.seconds)
    assert "waiting" in repr(turn)
    turn.run()
    turn.ran()
    assert told == [turn]
    assert (turn.began, turn.ended) == (5, 5)
    assert "ended" in repr(turn)
    return turn


def test_what_it_returns_is_its_value() -> None:
    turn = turn_of(divmod, 7, 2)
    assert (turn.value, turn.error, turn.finished) == ((3, 1), None, False)


@pytest.mark.parametrize("error", [ValueError(), SystemExit(), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_it_raises_is_kept(error: BaseException) -> None:
    def fail() -> None:
        raise error

    assert turn_of(fail).error is error


def test_the_last_step_of_a_coroutine_is_told_apart() -> None:
    async def answer() -> int:
        return 5

    turn = turn_of(answer().send, None)
    assert (turn.value, turn.error, turn.finished) == (5, None, True)


def test_context_variables_travel_with_the_exchange() -> None:
    context = copy_context()
    for call in (lambda: NAME.set("a"), lambda: NAME.get()):
        turn = CallTurn(None, call, (), context, print)
        turn.run()
    assert turn.value == "a"
    assert NAME.get(None) is None  # type: ignore[arg-type]


class Thing:
    """Something that is let go when nobody has it."""


def test_what_a_function_that_raised_had_is_let_go_with_its_turn() -> None:
    things: list[weakref.ref[Thing]] = []

    def call() -> None:
        thing = Thing()
        things.append(weakref.ref(thing))
        raise ValueError("on purpose")

    gc.disable()
    try:
        turn = CallTurn(None, call, (), copy_context(), print)
        turn.run()
        assert isinstance(turn.error, ValueError)
        assert things[0]() is not None
        del turn
        assert things[0]() is None
    finally:
        gc.enable()
