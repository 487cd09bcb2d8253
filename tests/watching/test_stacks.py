"""What a thread's stack is cut down to."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from asyncproxy.watching.stacks import Call, Stack, _of_a_module, stack_of, waits
from tests.wire.peers import until


def calls(*modules: str) -> list[Call]:
    return [Call(module, f"f{number}", f"/{module}.py", number) for number, module in enumerate(modules)]


def left(*modules: str) -> list[str]:
    return [call.module for call in _of_a_module(calls(*modules))]


def test_a_thread_that_stands_still_is_found_where_it_stands() -> None:
    began, proceed = threading.Event(), threading.Event()

    def stand() -> None:
        began.set()
        proceed.wait(10)

    thread = threading.Thread(target=stand)
    thread.start()
    assert began.wait(10)
    stack = stack_of(thread.ident or 0)
    proceed.set()
    thread.join()
    assert stack is not None
    assert stack.innermost.module == __name__
    assert stack.innermost.function.endswith("stand")
    assert stack.at == f"test_stacks.py:{stand.__code__.co_firstlineno + 2}"
    assert "    proceed.wait(10)" in stack.text().splitlines()
    assert "_bootstrap" not in stack.text()


def test_a_thread_that_has_ended_has_no_stack() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert stack_of(thread.ident or 0) is None


def test_what_calls_a_module_is_left_out_and_what_it_calls_is_not() -> None:
    assert left("threading", "asyncproxy.working.workers", "mine.orders", "requests", "ssl") == [
        "mine.orders",
        "requests",
        "ssl",
    ]


def test_on_the_polling_thread_the_reactor_s_callers_are_left_out() -> None:
    worded = left("__main__", "twisted.application.app", "twisted.internet.base", "asyncproxy.polling.flow", "mine")
    assert worded == ["mine"]


def test_a_stock_module_is_a_module() -> None:
    assert left("threading", "asyncproxy.working.turns", "asyncproxy.modules.status", "json") == [
        "asyncproxy.modules.status",
        "json",
    ]


def test_machinery_alone_is_shown_from_the_reactor_on() -> None:
    assert left("__main__", "twisted.internet.base", "asyncproxy.polling.pool") == [
        "twisted.internet.base",
        "asyncproxy.polling.pool",
    ]


@pytest.mark.parametrize(
    ("modules", "line"),
    [
        (["mine.orders", "mine.database", "psycopg", "socket"], "mine.database.py:1"),
        (["mine", "mine", "ssl"], "mine.py:1"),
        (["mine.orders", "library", "mine.called_back", "json"], "mine.called_back.py:2"),
    ],
)
def test_the_line_that_is_named_is_the_innermost_of_the_author_s_own(modules: list[str], line: str) -> None:
    assert Stack(tuple(calls(*modules))).at == line


@pytest_twisted.ensureDeferred
async def test_a_reactor_that_idles_is_seen_to_and_one_at_work_is_not(reactor: Any) -> None:
    ident, seen = threading.get_ident(), threading.Event()
    threading.Thread(target=lambda: until(lambda: waits(ident)) and seen.set(), daemon=True).start()
    for _ in range(1000):
        if seen.is_set():
            break
        await deferLater(reactor, 0.01)
    assert seen.is_set()
    assert not waits(ident)
