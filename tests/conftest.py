from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import LogLevel, globalLogPublisher

pytest_plugins = ("asyncproxy.testing.pytest_plugin",)
"""Here rather than by its entry point, which is read before coverage is being measured; see pyproject's addopts."""


@pytest.fixture
def reactor() -> Any:
    from twisted.internet import reactor

    return reactor


@pytest.fixture
def failures() -> Iterator[list[Any]]:
    """What Twisted's log got of level critical: a test that expects none asserts it is empty."""
    seen: list[Any] = []

    def observe(event: dict[str, Any]) -> None:
        if event.get("log_level") is LogLevel.critical:
            seen.append(event.get("log_failure") or event["failure"])  # the second: by the older log API

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)
