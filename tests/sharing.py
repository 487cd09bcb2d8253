"""How the tests are shared out to the workers of pytest-xdist, with `-n`.

Tests of a file stay together, for they share a proxy or a browser; those of each reactor, which has its own, apart.
What takes long is given out first, so that no worker is left with a long part when the others have nothing more to do.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

REACTOR = re.compile(r"(?<=[\[-])(uvloop|epoll|select|asyncio)(?=[\]-])")
LONG = {"wire", "test_docs.py", "test_every_order.py", "test_interleavings.py", "test_fuzz.py"}
"""Folders and files that take long: those that run whole programs, and those that play thousands of orders."""


def part(nodeid: str) -> str:
    """What stays together with the test `nodeid`: its file, and its reactor if it is on the wire."""
    file, _, name = nodeid.partition("::")
    reactor = REACTOR.search(name) if "/wire/" in file else None
    return f"{file} {reactor[0]}" if reactor else file


class Parts(LoadScopeScheduling):
    """Gives each worker a part at a time, in the order of the collection."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        config.option.loadscopereorder = False  # by the number of tests, which says nothing of how long they take
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return part(nodeid)


def longest_first(items: list[pytest.Item]) -> None:
    """What takes long to the front; otherwise the order stays."""
    items.sort(key=lambda item: not LONG & set(item.path.parts))
