from __future__ import annotations

import datetime
import enum
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Optional, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from asyncproxy import Duration, Module, Size
from asyncproxy.settings import SettingsError

if TYPE_CHECKING:
    from nowhere import Connection  # type: ignore[import-not-found]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Shop(msgspec.Struct):
    name: str
    patience: Duration = 5.0
    limits: dict[str, Size] = {}


@dataclass
class Price:
    amount: int
    valid: Duration = 60.0
    tags: list[str] = field(default_factory=list)


class Row(TypedDict):
    key: str
    size: Size


class All(Module):
    text: str = "eu"
    count: Annotated[int, Meta(ge=1)] = 1
    ratio: float = 0.5
    on: bool = False
    wait: Duration = 30.0
    most: Size = 1024
    never: Duration | None = 10.0
    anything: Optional[str] = None  # noqa: UP045 - as people write it
    names: list[str] = []
    waits: list[Duration] = [1.0]
    pair: tuple[int, ...] = ()
    unique: frozenset[str] = frozenset()
    order: Sequence[int] = ()
    free: dict[str, Any] = {}
    sizes: Mapping[str, Size] = {}
    shop: Shop | None = None
    shops: dict[str, Shop] = {}
    prices: list[Price] = []
    row: Row | None = None
    mode: Literal["fast", "slow"] = "fast"
    colour: Colour = Colour.RED
    until: datetime.date | None = None
    either: Duration | Literal["auto"] = "auto"
    many: list[Duration] | Duration = 1.0
    described: Annotated[Duration, Meta(description="of a visit")] = 1.0
    words: Annotated[str, Meta(description="of greeting")] = "hello"
    constant: ClassVar[int] = 5
    _private: Connection | None = None


def problems(of: type[Module], **settings: Any) -> list[tuple[str, str]]:
    with pytest.raises(SettingsError) as caught:
        of(**settings)
    return list(caught.value.problems)


READ = {
    "text": ("us", "us"),
    "count": (7, 7),
    "ratio": (2, 2.0),
    "on": (True, True),
    "wait": ("250ms", 0.25),
    "most": ("64KiB", 65536),
    "never": ("off", None),
    "anything": ("x", "x"),
    "names": (["a", "b"], ["a", "b"]),
    "waits": (["1s", "2m"], [1.0, 120.0]),
    "pair": ([1, 2], (1, 2)),
    "unique": (["a", "a"], frozenset("a")),
    "order": ([1], [1]),
    "free": ({"a": [1]}, {"a": [1]}),
    "sizes": ({"a": "1KiB"}, {"a": 1024}),
    "shop": ({"name": "x", "limits": {"a": "1B"}}, Shop("x", 5.0, {"a": 1})),
    "shops": ({"one": {"name": "x", "patience": "1m"}}, {"one": Shop("x", 60.0)}),
    "prices": ([{"amount": 1, "valid": "1h"}], [Price(1, 3600.0)]),
    "row": ({"key": "a", "size": "2B"}, {"key": "a", "size": 2}),
    "mode": ("slow", "slow"),
    "colour": ("blue", Colour.BLUE),
    "until": ("2026-01-31", datetime.date(2026, 1, 31)),
    "either": ("1s", 1.0),
    "described": ("1m", 60.0),
    "words": ("hi", "hi"),
    "many": (["1s", "2s"], [1.0, 2.0]),
}


@pytest.mark.parametrize("name", READ)
def test_a_setting_is_read_by_its_annotation(name: str) -> None:
    written, kept = READ[name]
    value = getattr(All(**{name: written}), name)
    assert value == kept
    assert type(value) is type(kept)


def test_a_choice_of_types_takes_each_of_them() -> None:
    assert All(either="auto").either == "auto"
    assert All(many="2s").many == 2.0


WRONG = {
    "a text": ({"text": 5}, "text", "expected str, not 5"),
    "a number as text": ({"count": "5"}, "count", 'expected int, not "5"; write 5'),
    "a number out of bounds": ({"count": 0}, "count", "expected int >= 1, not 0"),
    "a truth for a number": ({"count": True}, "count", "expected int, not true"),
    "a number without a unit": ({"wait": 30}, "wait", '30 has no unit; write "30s" or "500ms"'),
    "no duration": (
        {"wait": "soon"},
        "wait",
        '"soon" is not a duration; write for example "500ms"',
    ),
    "off, where it cannot be": ({"wait": "off"}, "wait", '"off" is not a duration; write for example "500ms"'),
    "a unit of no size": (
        {"most": "5s"},
        "most",
        '"5s" has an unknown unit; the units of a size are B, KB, KiB, MB, MiB, GB, GiB, TB, TiB',
    ),
    "in a list": ({"waits": ["1s", 2]}, "waits[1]", '2 has no unit; write "2s" or "500ms"'),
    "of a list": ({"names": ["a", 2]}, "names[1]", "expected str, not 2"),
    "no list": ({"names": "a"}, "names", 'expected a list, not "a"'),
    "in a table": (
        {"shops": {"one": {"name": "x", "patience": 1}}},
        "shops.one.patience",
        '1 has no unit; write "1s" or "500ms"',
    ),
    "of a table": ({"prices": [{"amount": "x"}]}, "prices[0].amount", 'expected int, not "x"'),
    "no table": ({"shops": {"one": 5}}, "shops", "expected a table, not {'one': 5}"),
    "missing in a table": ({"shop": {}}, "shop.name", "is missing, and has no default; expected str"),
    "missing, with a unit": (
        {"row": {"key": "a"}},
        "row.size",
        'is missing, and has no default; write for example "64KiB"',
    ),
    "unknown in a table": (
        {"shop": {"name": "x", "patiense": "1s"}},
        "shop.patiense",
        "no such setting; did you mean patience?",
    ),
    "no choice": (
        {"mode": "fats"},
        "mode",
        'expected one of "fast", "slow", not "fats"; did you mean fast?',
    ),
    "no member": ({"colour": "green"}, "colour", 'expected one of "red", "blue", not "green"'),
    "unknown": ({"watt": "1s"}, "watt", "no such setting; did you mean wait?"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_place_and_the_mend(case: str) -> None:
    settings, place, words = WRONG[case]
    ((where, said),) = problems(All, **settings)
    assert (where, said) == (place, words)


def test_all_problems_are_told_at_once() -> None:
    found = problems(All, count="x", wait=5, shop={"patience": 1, "limits": 5}, txet="a")
    assert [place for place, _ in found] == [
        "txet", "count", "wait", "shop.name", "shop.patience", "shop.limits"
    ]  # fmt: skip


def test_a_setting_that_nothing_resembles_is_told_what_there_is() -> None:
    class Two(Module):
        b: int = 1
        a: int = 1

    assert problems(Two, zzz=1) == [("zzz", "no such setting; known are a, b")]
    assert problems(Module, zzz=1) == [("zzz", "no such setting; known are none")]


def test_a_default_that_can_be_changed_is_each_instances_own() -> None:
    one, two = All(), All()
    one.names.append("x")
    one.waits.append(5.0)
    one.free["x"] = 1
    assert (two.names, two.waits, two.free) == ([], [1.0], {})
    assert All.names == []


def test_what_was_given_is_not_what_is_kept() -> None:
    given = {"names": ["a"], "free": {"a": [1]}}
    one = All(**given)
    one.names.append("b")
    one.free["a"].append(2)
    assert given == {"names": ["a"], "free": {"a": [1]}}


def test_a_default_may_be_written_with_its_unit() -> None:
    class Waits(Module):
        wait: Duration = "1m"  # type: ignore[assignment]

    assert Waits().wait == 60.0


def test_a_default_with_a_wrong_unit_is_told() -> None:
    class Waits(Module):
        wait: Duration = "1parsec"  # type: ignore[assignment]

    ((place, words),) = problems(Waits)
    assert place == "wait"
    assert "unknown unit" in words


def test_constants_and_private_names_are_no_settings() -> None:
    assert problems(All, constant=1)[0][1].startswith("no such setting")
    assert problems(All, _private=1)[0][1].startswith("no such setting")


def test_an_annotation_that_cannot_be_evaluated_is_told_with_the_mend() -> None:
    class Holds(Module):
        connection: Connection | None = None

    assert problems(Holds) == [
        (
            "connection",
            "its annotation Connection | None cannot be evaluated: name 'Connection' is not defined; "
            "import what it names, or call it _connection if it is no setting",
        )
    ]


def test_a_type_that_no_configuration_can_fill_is_told_with_the_mend() -> None:
    class Holds(Module):
        either: threading.Thread | threading.Event | Module

    for settings in ({}, {"either": "x"}):
        ((place, words),) = problems(Holds, **settings)
        assert place == "either"
        assert words.startswith("a configuration cannot fill its type, ")
        assert words.endswith("; annotate another, or call it _either if it is no setting")


def test_a_type_that_only_a_program_can_fill_is_told_so_when_a_file_tries() -> None:
    class Logs(Module):
        folder: Path | None = None

    ((place, words),) = problems(Logs, folder="/var/log")
    assert place == "folder"
    assert words.endswith("nothing in TOML is a Path; annotate another, or call it _folder if it is no setting")
    assert Logs(folder=Path("/var/log")).folder == Path("/var/log")


def test_settings_are_inherited_and_may_be_given_another_type() -> None:
    class Base(Module):
        region: str
        count: int = 1

    class More(Base):
        region: Literal["eu", "us"] = "eu"

    assert More().region == "eu"
    assert More(count=2).count == 2
    assert problems(More, region="uk")


def test_a_struct_that_a_program_gives_is_taken() -> None:
    assert All(shop=Shop("x")).shop == Shop("x")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just("30s"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("name"), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(sorted(READ)), ANYTHING)
def test_whatever_is_written_is_a_setting_or_a_problem(name: str, written: Any) -> None:
    found: tuple[tuple[str, str], ...] = ()
    try:
        All(**{name: written})
    except SettingsError as why:
        found = why.problems
    assert all(place.startswith(name) and words for place, words in found)
