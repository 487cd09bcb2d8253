import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncproxy.exchange.units import duration, duration_text, size, size_text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30.0), ("10m", 600.0), ("2h", 7200.0), ("1d", 86400.0), ("1.5s", 1.5), (" 30 s ", 30.0)],
)
def test_a_duration_is_a_number_with_a_unit(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [("512B", 512), ("64KiB", 65536), ("10MiB", 10 * 2**20), ("1GiB", 2**30), ("64KB", 64000), ("1.5KiB", 1536)],
)
def test_a_size_is_a_number_with_a_unit(text, count):
    assert size(text) == count


@pytest.mark.parametrize(
    ("read", "text", "mend"),
    [
        (duration, "30", '"30" has no unit; write "30s" or "500ms"'),
        (duration, 30, '30 has no unit; write "30s" or "500ms"'),
        (duration, 0.5, '0.5 has no unit; write "0.5s" or "500ms"'),
        (duration, "30 sec", '"30 sec" has an unknown unit; the units of a duration are ms, s, m, h, d'),
        (duration, "soon", '"soon" is not a duration; write for example "500ms"'),
        (duration, -5, '-5 is not a duration; write for example "500ms"'),
        (duration, True, 'True is not a duration; write for example "500ms"'),
        (duration, None, 'None is not a duration; write for example "500ms"'),
        (duration, "٣s", '"٣s" is not a duration; write for example "500ms"'),
        (size, 65536, '65536 has no unit; write "65536B" or "64KiB"'),
        (size, "64k", '"64k" has an unknown unit; the units of a size are B, KB, KiB, MB, MiB, GB, GiB, TB, TiB'),
        (size, "0.3B", '"0.3B" is not a whole number of bytes'),
    ],
)
def test_whatever_else_is_refused_with_a_mend(read, text, mend):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is what is asserted
        read(text)
    assert str(caught.value) == mend


def test_a_text_of_any_length_is_refused_at_once_and_shown_in_part():
    with pytest.raises(ValueError, match=r'^"9{39}\.\.\. is not a duration') as caught:
        duration("9" * 10**6 + "s")
    assert len(str(caught.value)) < 120


@given(st.floats(min_value=0, max_value=1e9))
def test_a_duration_said_reads_back(seconds):
    seconds = round(seconds, 9)
    assert duration(duration_text(seconds)) == seconds


@given(st.integers(min_value=0, max_value=2**60))
def test_a_size_said_reads_back(count):
    assert size(size_text(count)) == count


@given(st.text(max_size=60))
def test_any_text_is_a_quantity_or_a_value_error(text):
    for read in (duration, size):
        try:
            assert read(text) >= 0
        except ValueError as error:
            assert str(error)  # noqa: PT017 - both ways out are right


def test_a_quantity_is_said_in_its_largest_whole_unit():
    assert [duration_text(s) for s in (0.0, 0.25, 90.0, 600.0, 7200.0, 1.23456)] == [
        "0s", "250ms", "90s", "10m", "2h", "1.23456s",
    ]  # fmt: skip
    assert [size_text(n) for n in (0, 512, 65536, 2**30, 64000)] == ["0B", "512B", "64KiB", "1GiB", "64000B"]
