"""Proxies inside a Twisted program of somebody else's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wire.proxies import ROOT, environment


@pytest.mark.parametrize("reactor", ["uvloop", "epoll", "asyncio"])
def test_two_proxies_in_a_running_program_leave_nothing_behind_when_they_stop(reactor: str) -> None:
    command = [sys.executable, str(Path(__file__).with_name("library_program.py")), reactor]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment(), text=True, capture_output=True, timeout=50, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "Warning" not in ended.stderr, ended.stderr
    told = json.loads(ended.stdout)
    line, body = told["answers"]
    assert line == "HTTP/1.1 200 OK"
    assert body.startswith("asyncproxy-worker-")
    assert told["after"] == told["before"]
    assert not [name for name in told["after"]["threads"] if name.startswith("asyncproxy")]
