"""The fixture `lab`, in pytest runs of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
from asyncproxy import Module, Response, sleep

class Sleeper(Module):
    async def handle(self, request):
        await sleep(600)
        return Response.text("slept")

def test_answered(lab):
    one = lab(Sleeper)
    request = one.get("/")
    one.advance(600)
    assert request.text == "slept"

def test_left_parked(lab):
    lab(Sleeper).get("/forgotten")

def test_left_parked_on_purpose(lab):
    lab(Sleeper, allow_parked=True).get("/")

def test_fails(lab):
    request = lab(Sleeper, seed=7).get("/raced")
    assert request.status == 200
"""


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """pytest in `folder`, which finds the plugin by its entry point."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV_"))}
    command = [sys.executable, "-m", "pytest", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=50, check=False)


def test_a_test_that_leaves_a_request_parked_fails_with_clear_words(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    done = run(tmp_path, "-v")
    for name, outcome in (
        ("test_answered", "PASSED"),
        ("test_left_parked", "FAILED"),
        ("test_left_parked_on_purpose", "PASSED"),
        ("test_fails", "FAILED"),
    ):
        assert f"{name} {outcome}" in done.stdout
    assert "2 failed, 2 passed" in done.stdout
    assert "left behind:\n  <GET /forgotten: parked 0 s, waits for sleep 600 s at test_it.py:6>" in done.stdout
    assert "allow_parked=True" in done.stdout


def test_a_test_that_fails_shows_its_labs_and_their_seeds(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    done = run(tmp_path, "-k", "test_fails")
    report = done.stdout.partition("asyncproxy lab")[2]
    assert "<Lab seed=7 at 0 s: 0 served, 1 parked>" in report
    assert "<GET /raced: parked" in report
    assert "Lab(..., seed=7) plays them again" in report


def test_the_plugin_is_announced_and_imports_nothing_until_it_is_used() -> None:
    program = (
        "import sys; from importlib.metadata import entry_points;"
        "(one,) = entry_points(group='pytest11', name='asyncproxy'); one.load();"
        "heavy = sorted(set(sys.modules) & {'twisted', 'msgspec', 'asyncproxy.testing.lab'});"
        "assert not heavy, heavy; assert 'asyncproxy.testing.pytest_plugin' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr


def test_the_fixture_needs_no_reactor_and_no_other_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test_it.py").write_text(
        TESTS + "\ndef test_reactor():\n    import sys\n    assert 'twisted.internet.reactor' not in sys.modules\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "asyncproxy.testing.pytest_plugin", "-p", "no:asyncproxy"]
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert "2 failed, 3 passed" in done.stdout


def test_the_fixture_serves_here_too(lab: object) -> None:
    from asyncproxy.testing import Lab

    assert callable(lab)
    made = lab({"route": [{"module": "status"}]})
    assert isinstance(made, Lab)
    assert made.get("/healthz").text == "ok\n"


def test_names_of_the_package_that_are_not_there_are_attribute_errors() -> None:
    from asyncproxy import testing

    with pytest.raises(AttributeError, match="has no attribute 'Labb'"):
        _ = testing.Labb
    assert all(getattr(testing, name) is not None for name in testing.__all__)
