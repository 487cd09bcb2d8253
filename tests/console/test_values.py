from __future__ import annotations

from typing import Any

import pytest

from asyncproxy.console.values import value_of


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], True),
        (["7"], 7),
        (["null"], None),
        (['{"a": [1]}'], {"a": [1]}),
        (['"a=b"'], "a=b"),
        (["approved=true", "by=alice", "limit=7"], {"approved": True, "by": "alice", "limit": 7}),
        (["note="], {"note": ""}),
        (["sum=1=1"], {"sum": "1=1"}),
        (['list=["a", 1]', "number=NaN"], {"list": ["a", 1], "number": "NaN"}),
        (["exact=1180591620717411303425"], {"exact": 2**70 + 1}),
    ],
)
def test_what_is_typed_is_a_json_value(words: list[str], value: Any) -> None:
    assert value_of(words) == value


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["yes"], "'yes' is not JSON; write '\"yes\"' for text"),
        (["NaN"], "is not JSON"),
        (["1e400"], "is not JSON"),
        (["[" * 30_000 + "]" * 30_000], "nested too deep"),
        (["deep=" + "[" * 30_000 + "]" * 30_000], "nested too deep"),
        (["a=1", "b"], "'b' is no key=value"),
        (["=1"], "'=1' is no key=value"),
        (["a=1", "a=2"], "'a' is given twice"),
        (["1", "2"], "'1' is no key=value"),
    ],
)
def test_what_is_no_value_is_refused_with_what_to_write(words: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        value_of(words)
