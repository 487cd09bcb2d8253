from __future__ import annotations

import threading
from typing import Any

from asyncproxy.recording.batches import BATCH, Batches


def ill(record: Any) -> bytes:
    if record == 13:
        raise ValueError(record)
    return b"%d" % record


def batches() -> tuple[Any, list[Any]]:
    spoilt: list[Any] = []
    return Batches(ill, spoilt.append), spoilt


def numbers(lines: bytes) -> list[int]:
    assert lines.endswith(b"\n") or not lines
    return [int(line) for line in lines.splitlines()]


def test_a_full_batch_is_made_at_once_and_the_rest_when_it_is_taken() -> None:
    lines, _ = batches()
    for number in range(100, 100 + BATCH + 2):
        lines.add(number)
    assert repr(lines) == f"<Batches of {BATCH + 2} lines, {BATCH} of them made>"
    taken, count = lines.take(10 * BATCH)
    assert (numbers(taken), count) == ([*range(100, 100 + BATCH + 2)], BATCH + 2)
    assert len(lines) == 0
    assert lines.take(1) == (b"", 0)


def test_no_more_batches_are_taken_than_asked_for() -> None:
    lines, _ = batches()
    for number in range(100, 100 + 3 * BATCH):
        lines.add(number)
    assert lines.take(BATCH + 1)[1] == 2 * BATCH
    assert len(lines) == BATCH
    lines.clear()
    assert (len(lines), lines.take(1)) == (0, (b"", 0))


def test_a_record_of_which_no_line_can_be_made_costs_itself_alone() -> None:
    lines, spoilt = batches()
    for number in (12, 13, 14):
        lines.add(number)
    assert numbers(lines.take(5)[0]) == [12, 14]
    assert spoilt == [13]
    assert len(lines) == 0


def test_lines_stay_in_order_whoever_makes_them() -> None:
    lines, _ = batches()
    taken: list[int] = []
    through = threading.Event()

    def take() -> None:
        while not through.is_set():
            taken.extend(numbers(lines.take(BATCH)[0]))

    taker = threading.Thread(target=take)
    taker.start()
    for number in range(100, 50_000):
        lines.add(number)
    through.set()
    taker.join(30)
    assert not taker.is_alive()
    while len(lines):
        taken.extend(numbers(lines.take(BATCH)[0]))
    assert taken == [*range(100, 50_000)]
