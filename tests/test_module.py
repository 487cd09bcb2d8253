from __future__ import annotations

from typing import Any

import pytest

import asyncproxy
from asyncproxy import Module, Request


class Settled(Module):
    region: str = "eu"
    count: int
    _hidden: int = 3

    async def handle(self, _request: Request) -> Any: ...


def test_settings_fill_what_is_annotated() -> None:
    module = Settled(count=5)
    assert (module.region, module.count) == ("eu", 5)
    assert Settled.is_async()
    assert not Settled.wants_whole_body()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "Settled.count: is missing, and has no default; expected int"),
        ({"count": "five"}, 'Settled.count: expected int, not "five"'),
        ({"count": 5, "regoin": "us"}, r"Settled.regoin: no such setting; did you mean region\?"),
        ({"count": 5, "_hidden": 4}, "_hidden: no such setting"),
        ({"count": 5, "blocking": False}, "blocking: no such setting"),
    ],
)
def test_a_setting_that_is_wrong_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settled(**settings)


def test_a_module_without_handle_says_so() -> None:
    with pytest.raises(TypeError, match="Module has no handle"):
        Module().handle(Request("GET", b"/"))


def test_a_plain_handle_wants_the_whole_body_unless_it_says_otherwise() -> None:
    class Plain(Module):
        def handle(self, _request: Request) -> Any: ...

    class Streams(Plain):
        whole_body = False

    assert Plain.wants_whole_body()
    assert not Streams.wants_whole_body()


def test_the_names_of_the_package_are_there_and_no_others() -> None:
    assert all(getattr(asyncproxy, name) is not None for name in asyncproxy.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Modul'"):
        _ = asyncproxy.Modul
