from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncproxy.exchange.ranges import MOST, is_excessive


@pytest.mark.parametrize(
    "value",
    [
        b"bytes=0-499",
        b"bytes=500-",
        b"bytes=-500",
        b"bytes=0-0,-1",
        b"bytes=0-9, 20-29,\t40-49",
        b"bytes=40-49,0-9,20-29",
        b"bytes=0-9,10-",
        b"bytes=" + b",".join(b"%d-%d" % (number * 10, number * 10 + 8) for number in range(MOST)),
        b"seconds=0-1,0-1",
        b"nonsense",
        b"",
    ],
)
def test_ranges_that_clients_ask_for_are_not(value: bytes) -> None:
    assert not is_excessive(value)


@pytest.mark.parametrize(
    "value",
    [
        b"bytes=0-,0-",
        b"bytes=0-9,5-14",
        b"bytes=0-9,9-14",
        b"bytes=5-,100-200",
        b"BYTES =0-,1-",
        b"bytes=-500,-400",
        b"bytes=0-," + b",".join(b"5-%d" % number for number in range(1000)),
        b"bytes=" + b",".join(b"%d-%d" % (number * 10, number * 10 + 8) for number in range(MOST + 1)),
        b"bytes=0-1,,",
        b"bytes=1-2,-",
        b"bytes=0-1,x-y",
        b"bytes=0-1,+3-4",
        b"bytes=0-1," + b"9" * 4000 + b"-",
    ],
)
def test_ranges_that_ask_for_much_by_little_are(value: bytes) -> None:
    assert is_excessive(value)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), min_size=2, max_size=6))
def test_ranges_are_excessive_when_they_have_a_byte_in_common(pairs: list[tuple[int, int]]) -> None:
    ranges = [range(first, first + more + 1) for first, more in pairs]
    asked = sum(map(len, ranges))
    value = b"bytes=" + b",".join(b"%d-%d" % (one[0], one[-1]) for one in ranges)
    assert is_excessive(value) == (len(set().union(*ranges)) != asked)
