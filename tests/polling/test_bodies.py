from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from asyncproxy.polling.bodies import HIGH_WATER, MANY, SMALL, BodyStream, keep


class Source:
    def __init__(self) -> None:
        self.said: list[str] = []

    def pause(self) -> None:
        self.said.append("pause")

    def resume(self) -> None:
        self.said.append("resume")

    def drop(self) -> None:
        self.said.append("drop")


class Sink:
    def __init__(self) -> None:
        self.got = b""
        self.ends: list[Any] = []

    def piece(self, data: bytes) -> None:
        assert data
        self.got += data

    def end(self, trailers: object = ()) -> None:
        self.ends.append("end")

    def failed(self, error: Exception) -> None:
        self.ends.append(error)


@given(st.lists(st.binary(min_size=1), max_size=8), st.integers(0, 8), st.booleans())
def test_a_sink_gets_every_byte_whenever_it_comes(pieces: list[bytes], when: int, ends: bool) -> None:
    stream, sink = BodyStream(Source()), Sink()
    for index, piece in enumerate(pieces):
        if index == when:
            stream.attach(sink)
        stream.feed(piece)
    error = ValueError()
    stream.end() if ends else stream.fail(error)
    if when >= len(pieces):
        stream.attach(sink)
    assert sink.got == b"".join(pieces)
    assert sink.ends == ["end" if ends else error]
    stream.fail(ValueError())
    assert len(sink.ends) == 1


@given(st.lists(st.binary(min_size=1), max_size=8), st.lists(st.booleans(), max_size=20))
def test_a_reader_gets_every_byte_in_order_and_then_nothing(pieces: list[bytes], order: list[bool]) -> None:
    stream, got, reading = BodyStream(Source()), [], []

    def came(data: bytes, error: Exception | None) -> None:
        assert error is None
        reading.clear()
        got.append(data)

    todo = list(pieces)
    for read in [*order, *[False] * (len(todo) + 1), *[True] * (len(todo) + 1)]:
        if read and not reading:
            reading.append(1)
            stream.read(came, whole=False)
        elif todo:
            stream.feed(todo.pop(0))
        elif not stream.ended:
            stream.end()
    assert b"".join(got) == b"".join(pieces)
    assert got[-1] == b""


def test_the_source_is_paused_when_too_much_is_kept_and_goes_on_when_it_is_taken() -> None:
    source = Source()
    stream = BodyStream(source)
    stream.feed(b"x" * HIGH_WATER)
    assert source.said == []
    stream.feed(b"x")
    stream.feed(b"x")
    assert source.said == ["pause"]
    got: list[bytes] = []
    stream.read(lambda data, _error: got.append(data), whole=False)
    assert len(got[0]) == HIGH_WATER + 2
    assert source.said == ["pause", "resume"]


def test_who_wants_all_of_it_gets_all_of_it() -> None:
    source = Source()
    stream = BodyStream(source)
    stream.feed(b"x" * HIGH_WATER * 2)
    got: list[Any] = []
    stream.read(lambda data, error: got.append((len(data), error)), whole=True)
    assert source.said == ["pause", "resume"]
    stream.feed(b"x" * HIGH_WATER * 2)
    assert source.said == ["pause", "resume"]
    assert got == []
    stream.end()
    assert got == [(HIGH_WATER * 4, None)]


def test_what_came_before_a_cut_is_given_piece_by_piece_but_never_as_a_whole() -> None:
    error = ValueError("cut")
    for whole in (False, True):
        stream, got = BodyStream(Source()), []
        stream.feed(b"ab")
        stream.fail(error)
        stream.read(lambda data, why: got.append((data, why)), whole=whole)  # noqa: B023
        if not whole:
            assert got.pop(0) == (b"ab", None)
            stream.read(lambda data, why: got.append((data, why)), whole=whole)  # noqa: B023
        assert got[0][1] is error


def test_a_whole_body_needs_no_source() -> None:
    for body in (b"", b"abc"):
        stream, sink = BodyStream.whole(body), Sink()
        stream.pause()
        stream.resume()
        stream.attach(sink)
        assert sink.got == body
        assert sink.ends == ["end"]


def test_what_nobody_wants_is_dropped_and_its_source_told_once() -> None:
    source = Source()
    stream = BodyStream(source)
    stream.feed(b"x")
    stream.drop()
    stream.drop()
    assert source.said == ["drop"]
    assert "0 bytes kept" in repr(stream)


def test_a_sink_that_goes_away_in_the_middle_hears_no_more() -> None:
    stream = BodyStream(Source())

    class Leaves(Sink):
        def piece(self, data: bytes) -> None:
            super().piece(data)
            stream.detach()

    stream.feed(b"x")
    sink = Leaves()
    stream.attach(sink)
    stream.feed(b"y")
    stream.end()
    assert (sink.got, sink.ends) == (b"x", [])
    assert "ended" in repr(stream)


def test_a_sink_that_holds_back_what_was_kept_for_it_is_not_sent_more() -> None:
    class Slow(Sink):
        def piece(self, data: bytes) -> None:
            super().piece(data)
            stream.pause()

    source, sink = Source(), Slow()
    stream = BodyStream(source)
    stream.feed(b"x" * (HIGH_WATER + 1))
    stream.attach(sink)
    assert len(sink.got) == HIGH_WATER + 1
    assert source.said[-1] == "pause"
    stream.resume()
    assert source.said[-1] == "resume"


@given(st.lists(st.binary(min_size=1, max_size=3) | st.binary(min_size=SMALL, max_size=SMALL + 9), max_size=300))
def test_small_pieces_are_kept_as_few_and_nothing_of_them_is_lost(came: list[bytes]) -> None:
    pieces: list[bytes] = []
    size = 0
    for piece in came:
        size += len(piece)
        keep(pieces, piece, size)
        assert len(pieces) <= MANY + size / SMALL
    assert b"".join(pieces) == b"".join(came)


def test_pieces_as_they_usually_come_are_not_copied() -> None:
    pieces: list[bytes] = []
    for number in range(1, 200):
        keep(pieces, b"x" * 1024, number * 1024)
    assert len(pieces) == 199
