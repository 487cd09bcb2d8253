"""Puts uvloop under the asyncio reactor that pytest-twisted installs, as the service does.

A plugin of its own, named by `-p` in pyproject's addopts: it must act before pytest-twisted makes the loop,
which is earlier than any conftest is read.
"""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
import uvloop

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


_ended: list[int] = []


def pytest_sessionfinish(exitstatus: int) -> None:
    """Remember how the run ended."""
    _ended.append(int(exitstatus))


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure() -> None:
    """End the process as soon as all is reported.

    pytest-twisted would now stop its reactor, and on uvloop the stopped loop has been seen to spin for ever, some one
    time in twenty of a run of a single folder.
    """
    if _ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_ended[-1])
