from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncproxy.exchange.headers import Headers, encode_field

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
names = st.text(TOKEN, min_size=1)
values = st.text(st.characters(codec="latin-1", exclude_characters=[*map(chr, [*range(9), *range(10, 32), 127])]))
pairs = st.lists(st.tuples(names, values))


@given(pairs)
def test_fields_keep_their_order_and_spelling(fields: list[tuple[str, str]]) -> None:
    headers = Headers(fields)
    assert list(headers) == [(name, value.strip(" \t")) for name, value in fields]
    assert len(headers) == len(fields)
    assert Headers(headers) == headers
    assert Headers(headers).raw is not headers.raw


@given(pairs, names)
def test_names_have_no_case(fields: list[tuple[str, str]], name: str) -> None:
    headers = Headers(fields)
    same = [value.strip(" \t") for known, value in fields if known.lower() == name.lower()]
    for spelled in (name, name.upper(), name.lower()):
        assert headers.getall(spelled) == same
        assert headers.get(spelled, "default") == (same[0] if same else "default")
        assert (spelled in headers) == bool(same)


@given(pairs, names, values)
def test_setting_replaces_all_of_a_name_at_the_place_of_the_first(
    fields: list[tuple[str, str]], name: str, value: str
) -> None:
    headers = Headers(fields)
    headers[name] = value
    assert headers.getall(name) == [value.strip(" \t")]
    others = [(known, text.strip(" \t")) for known, text in fields if known.lower() != name.lower()]
    assert [field for field in headers if field[0].lower() != name.lower()] == others
    places = [index for index, (known, _) in enumerate(fields) if known.lower() == name.lower()]
    place = [known.lower() for known, _ in headers].index(name.lower())
    assert place == (places[0] if places else len(fields))


@given(pairs, names)
def test_deleting_takes_all_of_a_name(fields: list[tuple[str, str]], name: str) -> None:
    headers = Headers([*fields, (name, "x")])
    del headers[name.upper()]
    assert name not in headers
    with pytest.raises(KeyError):
        del headers[name]
    with pytest.raises(KeyError):
        headers[name]


@given(st.text(), st.text())
def test_nothing_that_would_break_a_message_can_be_put_in(name: str, value: str) -> None:
    try:
        raw_name, raw_value = encode_field(name, value)
    except ValueError:
        return
    assert raw_name
    assert not set(raw_name) & set(b"\r\n\0 :\t")
    assert not set(raw_value) & {*range(9), *range(10, 32), 127}


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "\xe9", "a\n", "(x)", "host "])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Headers().add(name, "x")


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\n", "\0", "\x7f", "\u20ac"])
def test_a_value_that_cannot_be_sent_is_refused(value: str) -> None:
    headers = Headers({"a": "b"})
    with pytest.raises(ValueError, match="value"):
        headers["x"] = value
    assert list(headers) == [("a", "b")]


def test_those_of_a_request_are_read_only() -> None:
    headers = Headers.received([(b"A", b"\xff")], frozen=True)
    assert headers["a"] == "\xff"
    for change in (
        lambda: headers.add("b", "c"),
        lambda: headers.__setitem__("a", "c"),
        lambda: headers.__delitem__("a"),
    ):
        with pytest.raises(TypeError, match="read-only"):
            change()
    assert list(Headers(headers)) == [("A", "\xff")]
    Headers(headers).add("b", "c")


def test_they_compare_without_case_and_tell_what_they_are() -> None:
    assert Headers({"A": "b"}) == Headers({"a": "b"})
    assert Headers({"A": "b"}) != Headers({"a": "B"})
    assert Headers() != {}
    assert 5 not in Headers()
    assert repr(Headers({"A": "b"})) == "<Headers A: b>"
    with pytest.raises(TypeError):
        hash(Headers())
