"""Puts uvloop under the asyncio reactor that pytest-twisted installs, as the service does.

A plugin of its own, named by `-p` in pyproject's addopts: it must act before pytest-twisted makes the loop,
which is earlier than any conftest is read.
"""

from __future__ import annotations

import asyncio

import uvloop

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
