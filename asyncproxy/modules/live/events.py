"""What the live page listens to: server-sent events of what has changed, for as long as somebody reads them.

An event of the stream is what `Onlooker.look` gives. For a reader that does not keep up nothing piles up: the next
piece is made when the last has gone out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from asyncproxy import sleep

HEADERS: Final = [
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("x-accel-buffering", "no"),  # an nginx before the admin listener passes them on as they come
]
RETRY: Final = 1000
"""Milliseconds after which a browser whose stream was cut asks for another."""


async def events(onlookers: Any, over: Callable[[], bool]) -> AsyncIterator[str]:
    """The stream of one more onlooker, until it is `over`. Raises `Overloaded` when there are too many."""
    onlooker = onlookers.come()
    try:
        yield f"retry: {RETRY}\n\n"
        while not over():
            told = "".join(f"event: {what}\ndata: {words}\n\n" for what, words in onlooker.look())
            if told:
                yield told
            await sleep(onlooker.pause)
    finally:
        onlooker.leave()
