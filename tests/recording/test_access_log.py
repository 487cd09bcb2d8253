from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import capturedLogs, formatEvent

from asyncproxy.exchange.record import json_lines
from asyncproxy.recording.access_log import HELD, PIECE, REOPEN, AccessLog, AccessLogError
from asyncproxy.recording.log_file import LogFile
from tests.recording.test_log_file import Disk
from tests.records import told as one


def targets(path: Path) -> list[str]:
    """What the lines are about; each must be whole."""
    text = path.read_bytes()
    assert text.endswith(b"\n") or not text
    return [json.loads(line)["target"] for line in text.splitlines()]


def numbered(*numbers: int) -> list[str]:
    return [f"/{number}" for number in numbers]


class Thing:
    """An access log that no thread writes: `log.step` does."""

    def __init__(self, folder: Path, room: int = 1 << 30, **given: Any) -> None:
        self.path = folder / "access.log"
        self.disk = Disk(room)
        self.log = AccessLog(str(self.path), "json", opened=partial(LogFile, write=self.disk.write), **given)

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.log.put([one(b"/%d" % number)])


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What the log says, as text."""
    texts: list[str] = []

    class Said(list[str]):
        def __iter__(self) -> Iterator[str]:
            return iter([formatEvent(event) for event in events])

    with capturedLogs() as events:
        yield Said(texts)


def test_lines_wait_until_they_are_written(tmp_path: Path) -> None:
    thing = Thing(tmp_path)
    thing.put(1, 2)
    assert thing.log.statistics() == {"written": 0, "dropped": 0, "waiting": 2, "failing": 0}
    thing.log.step()
    assert thing.log.statistics() == {"written": 2, "dropped": 0, "waiting": 0, "failing": 0}
    assert targets(thing.path) == numbered(1, 2)


def test_a_combined_line_ends_as_a_line_does(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"))
    log.put([one()])
    log.close()
    assert (tmp_path / "log").read_text().count("\n") == 1


def test_many_are_written_piece_by_piece(tmp_path: Path) -> None:
    sizes: list[int] = []

    def write(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        return os.write(fd, data)

    log = AccessLog(str(tmp_path / "log"), "json", opened=partial(LogFile, write=write))
    numbers = range(3 * PIECE // len(json_lines([one(b"/1")])))
    for number in numbers:
        log.put([one(b"/%d" % number)])
    log.step()
    assert targets(tmp_path / "log") == numbered(*numbers)
    assert len(sizes) == 4
    assert max(sizes) < PIECE + 1000


def test_long_lines_that_wait_are_bounded_by_their_bytes(tmp_path: Path) -> None:
    thing = Thing(tmp_path)
    long = one(b"/" + b"x" * 1_000_000)
    count = 2 * HELD // 1_000_000
    for _ in range(count):
        thing.log.put([long])
    held = thing.log.statistics()["waiting"]
    assert HELD < held * 1_000_500 < HELD + 2_000_000
    assert thing.log.dropped == count - held
    thing.log.step()
    thing.log.put([long])
    assert thing.log.statistics()["waiting"] == 1


def test_what_is_too_much_is_dropped_and_counted(tmp_path: Path, told: list[str]) -> None:
    thing = Thing(tmp_path, limit=2)
    thing.put(1, 2, 3, 4)
    assert thing.log.statistics() == {"written": 0, "dropped": 2, "waiting": 2, "failing": 1}
    (behind,) = told  # while it lasts: a disk that stalls says nothing
    assert behind.endswith("does not keep up: 2 lines wait for its disk, and more are dropped")
    thing.log.step()
    thing.put(5)
    thing.log.step()
    assert targets(thing.path) == numbered(1, 2, 5)
    assert thing.log.statistics()["failing"] == 0
    assert list(told) == [behind, f"The access log {thing.path} lost 2 lines: the disk did not keep up"]


def test_a_full_disk_is_told_once_and_once_again_when_there_is_room(tmp_path: Path, told: list[str]) -> None:
    thing = Thing(tmp_path, room=5, limit=3)
    thing.put(1)
    for number in range(2, 7):
        thing.log.step()
        thing.put(number)
    assert thing.log.statistics() == {"written": 0, "dropped": 2, "waiting": 4, "failing": 1}
    assert repr(thing.log) == f"<AccessLog {thing.path}: 0 written, 2 dropped, 4 waiting, failing>"
    thing.disk.room = 1 << 30
    thing.log.step()
    thing.log.step()
    assert targets(thing.path) == numbered(1, 2, 3, 4)
    assert thing.log.statistics() == {"written": 4, "dropped": 2, "waiting": 0, "failing": 0}
    assert list(told) == [
        f"The access log {thing.path} cannot be written: No space left on device; lines wait",
        f"The access log {thing.path} does not keep up: 3 lines wait for its disk, and more are dropped",
        f"The access log {thing.path} is written again",
        f"The access log {thing.path} lost 2 lines: the disk did not keep up",
    ]


def test_what_is_too_much_is_dropped_by_the_batch(tmp_path: Path) -> None:
    thing = Thing(tmp_path, limit=3)
    thing.log.put([one(), one()])
    thing.log.put([one(), one()])
    thing.log.put([one()])
    counts = thing.log.statistics()
    assert (counts["waiting"], counts["dropped"]) == (3, 2)


def test_a_full_device_holds_nobody_up(told: list[str]) -> None:
    log = AccessLog("/dev/full")
    log.start()
    for _ in range(3):
        log.put([one()])
    log.close(30)
    assert log.statistics() == {"written": 0, "dropped": 3, "waiting": 0, "failing": 1}
    assert [text for text in told if "No space left" in text] == [
        "The access log /dev/full cannot be written: No space left on device; lines wait"
    ]
    assert list(told)[-1] == "The access log /dev/full ends with 3 lines unwritten"


def test_a_disk_that_stalls_holds_nobody_up(tmp_path: Path, told: list[str]) -> None:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        log = AccessLog(path, limit=1000)
        log.start()
        log.put([one(block=b"\r\nReferer: " + b"x" * 2000)])
        for _ in range(30_000):  # far more than a pipe takes
            log.put([one()])
        assert log.dropped > 0
        log.close(0.01)
        assert list(told)[-1].startswith("The access log's disk took nothing for 0.01 s")
        (thread,) = [one for one in threading.enumerate() if one.name == "asyncproxy-access-log"]
        while thread.is_alive():
            try:
                os.read(reader, 1 << 16)
            except BlockingIOError:
                thread.join(0.01)
    finally:
        os.close(reader)


def test_the_writer_wakes_for_records_and_ends_with_them_written(tmp_path: Path) -> None:
    thing = Thing(tmp_path)
    thing.log.start()
    for number in range(1000):
        thing.put(number)
    thing.log.close(30)
    assert targets(thing.path) == numbered(*range(1000))
    assert not [one for one in threading.enumerate() if one.name == "asyncproxy-access-log"]


def test_rotation_loses_and_breaks_no_line(tmp_path: Path) -> None:
    thing = Thing(tmp_path)
    rotated: list[str] = []
    for number in range(300):
        thing.put(number)
        if number % 100 == 50:
            thing.log.step()
            thing.put(number)
            thing.path.rename(tmp_path / "old")
            thing.log.step(REOPEN)
            rotated += targets(tmp_path / "old")
    thing.log.close()
    kept = [number for number in range(300) for _ in range(2 if number % 100 == 50 else 1)]
    assert rotated + targets(thing.path) == numbered(*kept)


def test_what_came_before_a_rotation_is_in_the_old_file(tmp_path: Path) -> None:
    thing = Thing(tmp_path)
    thing.put(1)
    thing.path.rename(tmp_path / "old")
    thing.log.reopen()
    thing.log.start()
    thing.log.close(30)
    assert (targets(tmp_path / "old"), targets(thing.path)) == (numbered(1), [])


def test_a_rotation_that_fails_is_told_and_the_old_file_written_on(tmp_path: Path, told: list[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    thing = Thing(folder)
    folder.rename(tmp_path / "moved")
    thing.log.reopen()
    thing.log.start()
    thing.put(1)
    thing.log.close(30)
    assert targets(tmp_path / "moved" / "access.log") == numbered(1)
    (text,) = told
    assert text == (
        f"The access log {thing.path} cannot be opened anew: No such file or directory; "
        "the file that was open is written on"
    )


def test_a_file_that_cannot_be_opened_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AccessLogError) as caught:
        AccessLog(str(tmp_path / "none" / "log"))
    assert str(caught.value) == (
        f'server.access_log: cannot write to "{tmp_path}/none/log": No such file or directory; '
        'name a file in a directory that exists, that the proxy\'s user may write, or "-"'
    )


def test_a_record_that_no_line_can_be_made_of_costs_itself_alone(tmp_path: Path, told: list[str]) -> None:
    thing = Thing(tmp_path)
    thing.log.put([one(b"/1"), one(b"/2", time="never"), one(b"/3")])
    thing.log.step()
    assert targets(thing.path) == numbered(1, 3)
    assert thing.log.dropped == 1
    (text,) = told
    assert text.startswith("No line of the access log could be made of (")


def test_what_no_line_can_be_made_of_leaves_the_writer_asleep(tmp_path: Path, told: list[str]) -> None:
    thing = Thing(tmp_path, limit=1)
    thing.put(1, 2)
    thing.log.put([one(time="never")])
    thing.log.step()
    assert (thing.log.waiting, thing.log.dropped) == (0, 2)
    thing.log.put([one(time="never")])
    assert not thing.log._waiting
    thing.log.step()
    assert [text for text in told if "lost" in text] == [
        f"The access log {thing.path} lost 2 lines: the disk did not keep up"
    ]


def test_a_disk_that_is_full_at_the_end_does_not_keep_the_proxy(tmp_path: Path, told: list[str]) -> None:
    thing = Thing(tmp_path, room=0)
    thing.log.start()
    thing.put(1, 2)
    thing.log.close(30)
    assert thing.log.dropped == 2
    assert list(told)[-1] == f"The access log {thing.path} ends with 2 lines unwritten"
