from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncproxy.exchange.framing import (
    EXTENSIONS_LIMIT,
    LAST_CHUNK,
    SIZE_LINE_LIMIT,
    TRAILERS_LIMIT,
    ChunkedBody,
    FramingError,
    LengthBody,
    UntilClose,
    chunk,
)

pieces = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
cuts = st.lists(st.integers(1, 9), max_size=40)
trailers = st.sampled_from([b"", b"A: b\r\n", b"A:\r\nX-Y: \t z \r\n"])
extensions = st.sampled_from([b"", b";a=b", b" ; a", b'\t;q="x y"'])


def feed(framing: Any, data: bytes, cut: list[int]) -> bytes:
    """Give `data` to `framing` in parts as long as `cut` says; the body that comes out."""
    out, at = b"", 0
    for size in [*cut, len(data)]:
        if at < len(data):
            if framing.done:
                break
            out += framing.feed(data[at : at + size])
            at += size
    if framing.done:
        framing.surplus += data[at:]
    return out


@given(pieces, trailers, extensions, cuts, st.binary(max_size=20), st.booleans())
def test_any_chunking_cut_anywhere_gives_the_same_body(
    body: list[bytes], trailer: bytes, extension: bytes, cut: list[int], after: bytes, upper: bool
) -> None:
    wire = b""
    for piece in body:
        size = b"%X" % len(piece) if upper else b"00%x" % len(piece)
        wire += size + extension + b"\r\n" + piece + b"\r\n"
    wire += b"0" + extension + b"\r\n" + trailer + b"\r\n"
    framing = ChunkedBody()
    assert feed(framing, wire + after, cut) == b"".join(body)
    assert framing.done
    assert framing.surplus == after
    assert len(framing.trailers) == trailer.count(b"\r\n")


@given(pieces)
def test_what_we_chunk_is_read_back(body: list[bytes]) -> None:
    framing = ChunkedBody()
    assert feed(framing, b"".join(map(chunk, body)) + LAST_CHUNK, []) == b"".join(body)
    assert framing.done
    assert framing.surplus == b""


@given(st.integers(0, 50), st.binary(max_size=100), cuts)
def test_a_length_ends_where_it_says(length: int, data: bytes, cut: list[int]) -> None:
    framing = LengthBody(length)
    out = feed(framing, data, cut)
    if length == 0:
        assert framing.done
        return
    assert out == data[:length]
    assert framing.done == (len(data) >= length)
    if framing.done:
        assert framing.surplus == data[length:]


@given(st.binary())
def test_until_close_everything_is_the_body(data: bytes) -> None:
    framing = UntilClose()
    assert framing.feed(data) == data
    assert not framing.done
    assert framing.surplus == b""


BODY = b"hello world, this is data"
WIRE = b"b\r\nhello world\r\nE;x=y\r\n, this is data\r\n0\r\nA: b\r\n\r\n"
DATA_BYTES = {*range(3, 14), *range(23, 37)}


@given(st.integers(0, len(WIRE) - 1), st.integers(0, 255), cuts)
@settings(max_examples=600)
@example(0, ord("c"), [])
def test_one_changed_byte_of_framing_is_refused_or_gives_no_extra_message(at: int, byte: int, cut: list[int]) -> None:
    after = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
    framing = ChunkedBody()
    wire = WIRE[:at] + bytes([byte]) + WIRE[at + 1 :] + after
    try:
        feed(framing, wire, cut)
    except FramingError:
        return
    if framing.done:
        assert framing.surplus == after


def test_every_byte_of_framing_changed_to_every_other_is_refused_or_gives_no_extra_message() -> None:
    for at in set(range(len(WIRE))) - DATA_BYTES:
        for byte in range(256):
            framing = ChunkedBody()
            try:
                framing.feed(WIRE[:at] + bytes([byte]) + WIRE[at + 1 :])
            except FramingError:
                continue
            assert not framing.done or framing.surplus == b""


@given(st.binary(max_size=60), cuts)
def test_any_bytes_are_read_the_same_however_they_are_cut(data: bytes, cut: list[int]) -> None:
    def outcome(parts: list[int]) -> Any:
        framing = ChunkedBody()
        try:
            out = feed(framing, data, parts)
        except FramingError:
            return "refused"
        return out, framing.done, framing.surplus

    whole, cut_up = outcome([]), outcome(cut)
    if "refused" not in (whole, cut_up):
        assert whole == cut_up


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b" 1\r\n",
        b"1 \r\n",
        b"g\r\n",
        b"1\nx\r\n",
        b"1;\n\r\n",
        b"1;a\0\r\n",
        b"1\rx\r\n",
        b"1111111111111111\r\n",
        b"1\r\nxy\r\n",
        b"1\r\nx\n\n",
        b"1\r\nx\rx",
        b"1\r\nxx",
        b"0\r\nbad trailer\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nA : b\r\n\r\n",
        b"0\r\nA: b\nC: d\r\n\r\n",
        b"0\r\n: b\r\n\r\n",
        b"0\r\nA: \x01\r\n\r\n",
        b"z",
        b" ",
        b"1 x\x00",
        b"1111111111111111",
        b"1;\r\n",
        b"1;;a\r\n",
        b"1;a=\r\n",
        b"1;=a\r\n",
        b"1;a b\r\n",
        b"1;a;\r\n",
        b"1;a=b c\r\n",
        b'1;a="b\r\n',
        b'1;a="b\\"\r\n',
        b"1;a \r\n",
        b"1\rx",
        (b"1;" + b"x" * 200 + b"\r\n.\r\n") * (EXTENSIONS_LIMIT // 200 + 1),
        b"1;" + b"x" * SIZE_LINE_LIMIT + b"\r\n",
        b"1;" + b"x" * SIZE_LINE_LIMIT,
        b"0\r\nA: " + b"x" * TRAILERS_LIMIT,
        b"0\r\n" + b"A: b\r\n" * TRAILERS_LIMIT,
    ],
)
@pytest.mark.parametrize("step", [1, 10_000_000])
def test_what_is_not_the_grammar_is_refused(wire: bytes, step: int) -> None:
    with pytest.raises(FramingError):
        feed(ChunkedBody(), wire, [step] * (len(wire) // step + 1))


@pytest.mark.parametrize(
    "extension", [b";a", b" ;\ta=b", b";a=b;c", b';a="b;\\"c"', b"\t;\ta\t=\tb ; c", b';a=""', b';a="\xe9\t"']
)
def test_extensions_that_are_grammar_are_dropped(extension: bytes) -> None:
    framing = ChunkedBody()
    assert framing.feed(b"1" + extension + b"\r\nx\r\n0" + extension + b"\r\n\r\n") == b"x"
    assert framing.done


def test_a_byte_a_feed_costs_no_growing_buffer() -> None:
    framing = ChunkedBody()
    for byte in b"ffff;" + b"x" * 200:
        assert framing.feed(bytes([byte])) == b""
    framing.feed(b"\r\n")
    for _ in range(0xFFFF):
        assert framing.feed(b"x") == b"x"
    assert framing.feed(b"\r\n0\r\n\r\n") == b""
    assert framing.done
