from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import LogLevel, globalLogPublisher

pytest_plugins = ("asyncproxy.testing.pytest_plugin",)
"""Here rather than by its entry point, which is read before coverage is being measured; see pyproject's addopts."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the tests out as `sharing` says; another `--dist` than that of `-n` alone is another wish."""
    from tests.sharing import Parts

    return Parts(config, log) if config.getvalue("dist") == "load" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """After pytest-randomly."""
    if hasattr(config, "workerinput"):
        from tests.sharing import longest_first

        longest_first(items)


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
