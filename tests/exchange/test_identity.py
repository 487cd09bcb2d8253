"""Request ids as fields: what is told, what is taken, what is not heard."""

import pytest

from asyncproxy.exchange.identity import RequestIds, valid_request_id

IDS = RequestIds()


def test_an_id_is_told_in_its_field() -> None:
    assert IDS.mark("a-1") == b"\r\nX-Request-ID: a-1"
    assert RequestIds("Trace").marks("p%q") % 7 == b"\r\nTrace: p%q-7"


@pytest.mark.parametrize("value", [b"", b"a b", b"a\tb", b'a"', b"a\xff", b"a,b", b"x" * 129, b"a\x00"])
def test_what_a_log_would_have_to_quote_is_no_id(value: bytes) -> None:
    assert not valid_request_id(value)
    assert IDS.given(b"\r\nX-Request-ID: " + value) is None


def test_an_id_is_found_whatever_its_fields_spelling() -> None:
    assert IDS.given(b"\r\nHost: a\r\nx-REQUEST-id: \t abc-1 ") == "abc-1"
    assert IDS.given(b"\r\nHost: a\r\nX-Request-ID:" + b"x" * 128) == "x" * 128


def test_two_ids_are_none() -> None:
    assert IDS.given(b"\r\nX-Request-ID: a\r\nX-Request-ID: b") is None


def test_a_block_loses_every_id_and_nothing_else() -> None:
    block = b"\r\nHost: a\r\nx-request-id: 1\r\nX-Request-IDs: 2\r\nY: x-request-id: 3\r\nX-REQUEST-ID:"
    assert IDS.without(block) == b"\r\nHost: a\r\nX-Request-IDs: 2\r\nY: x-request-id: 3"


def test_a_name_is_no_pattern() -> None:
    assert RequestIds("X.Y").without(b"\r\nX.Y: 1\r\nXaY: 2") == b"\r\nXaY: 2"


def test_a_name_and_what_is_spelled_like_it_for_programs_are_the_same() -> None:
    for name in ("X-Trace", "x_trace"):
        assert RequestIds(name).without(b"\r\nX_TRACE: 1\r\nx-trace: 2\r\nXtrace: 3") == b"\r\nXtrace: 3"
