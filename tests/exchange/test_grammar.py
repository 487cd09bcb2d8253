from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncproxy.exchange.grammar import are_fields, fault_of, fault_of_fields, is_field
from tests import strict

lines = st.one_of(
    st.binary(max_size=12),
    st.builds(lambda name, value: name + b":" + value, st.sampled_from([b"A", b"x-y", b"B "]), st.binary(max_size=8)),
)


def reads(block: bytes) -> bool:
    """Whether the strict parser reads `block`, fields and an empty line, to its end."""
    data = b"GET / HTTP/1.1" + block
    try:
        found, rest = strict.read_requests(data.replace(b"\r\n\r\n", b"\r\nHost: a\r\n\r\n"))
    except strict.Malformed:
        return False
    return len(found) == 1 and not rest


@given(st.lists(lines, max_size=4))
def test_fields_are_what_the_strict_parser_takes_for_fields(some: list[bytes]) -> None:
    block = b"".join(b"\r\n" + line for line in some) + b"\r\n\r\n"
    if block.find(b"\r\n\r\n") == len(block) - 4:
        framing = (b"content", b"transfer", b"host", b"keep", b"proxy", b"http2")
        if not any(name in block.lower() for name in framing):
            assert are_fields(block, 0) is reads(block)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"A: b\rc", "bare CR"),
        (b"A: b\nc", "bare CR"),
        (b" A: b", "folded"),
        (b"\tb", "folded"),
        (b"A", "colon"),
        (b"A : b", "before a colon"),
        (b"A B: c", "token"),
        (b": b", "token"),
        (b"\xe9: b", "token"),
        (b"A: \x01", "control"),
        (b"A: \x7f", "control"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line: bytes, fault: str) -> None:
    assert not is_field(line)
    assert fault in fault_of(line)
    assert fault in fault_of_fields(b"\r\nHost: a\r\n" + line)
