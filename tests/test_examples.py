"""The demo's configuration and modules, in a lab."""

from __future__ import annotations

from pathlib import Path

from asyncproxy.testing import Lab
from examples.demo.relay import Relay

DEMO = Path(__file__).parents[1] / "examples" / "demo" / "proxy.toml"


def test_the_demo_s_module_greets() -> None:
    lab = Lab(DEMO)
    request = lab.get("/hello-from-a-module?name=Ada")
    assert lab.parked()[0]["at"].startswith("hello.py:")
    lab.advance(0.2)
    assert request.text.startswith("good day Ada, it is ")


def test_the_demo_passes_everything_else_on() -> None:
    lab = Lab(DEMO)
    request = lab.get("/x")
    lab.upstream("demo").answer(body=b"reply")
    assert request.body == b"reply"


def test_the_show_s_module_is_parked_until_the_reply_comes() -> None:
    lab = Lab(Relay)
    request = lab.get("/")
    assert lab.snapshot()["stages"]["PARKED"] == 1
    lab.upstream().answer(body=b"reply")
    assert request.body == b"reply"
    assert lab.workers.done == 2
