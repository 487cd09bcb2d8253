from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from asyncproxy.recording.log_file import LogFile


class Disk:
    """Takes `room` bytes, and no more than `piece` at a time."""

    def __init__(self, room: int, piece: int = 1 << 30) -> None:
        self.room = room
        self.piece = piece

    def write(self, fd: int, data: bytes) -> int:
        if data and not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = os.write(fd, data[: min(self.room, self.piece)])
        self.room -= done
        return done


def test_lines_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    file = LogFile(str(path))
    file.append(b"one\ntwo\n")
    file.close()
    assert path.read_bytes() == b"before\none\ntwo\n"


def test_a_write_that_takes_a_part_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(str(path), Disk(1000, piece=3).write)
    file.append(b"one\ntwo\nthree\n")
    file.close()
    assert path.read_bytes() == b"one\ntwo\nthree\n"


@pytest.mark.parametrize("room", range(13))
def test_a_line_that_a_full_disk_cut_is_finished_when_there_is_room(tmp_path: Path, room: int) -> None:
    path, disk = tmp_path / "log", Disk(room)
    file = LogFile(str(path), disk.write)
    with pytest.raises(OSError, match="No space"):
        file.append(b"one\ntwo\nthree\n")
    with pytest.raises(OSError, match="No space"):
        file.flush()
    assert file.unwritten == 3 - b"one\ntwo\nthree\n"[:room].count(b"\n")
    disk.room = 1000
    file.append(b"four\n")
    file.close()
    assert path.read_bytes() == b"one\ntwo\nthree\nfour\n"


@pytest.mark.parametrize("room", range(1, 8))
def test_a_line_that_was_cut_begins_anew_in_a_new_file(tmp_path: Path, room: int) -> None:
    path, disk = tmp_path / "log", Disk(room)
    file = LogFile(str(path), disk.write)
    with pytest.raises(OSError, match="No space"):
        file.append(b"one\ntwo\n")
    path.rename(tmp_path / "old")
    disk.room = 1000
    file.reopen()
    file.append(b"three\n")
    file.close()
    whole = (tmp_path / "old").read_bytes().rpartition(b"\n")[0].split(b"\n") + path.read_bytes().split(b"\n")
    assert [line for line in whole if line] == [b"one", b"two", b"three"]


def test_a_line_that_a_crash_left_open_is_ended_first(tmp_path: Path) -> None:
    path, disk = tmp_path / "log", Disk(0)
    path.write_bytes(b"whole\ntor")
    file = LogFile(str(path), disk.write)
    assert file.unwritten == 0
    with pytest.raises(OSError, match="No space"):
        file.append(b"one\n")
    file.reopen()  # found torn again, and still ended once
    assert file.unwritten == 1
    disk.room = 1000
    file.flush()
    file.close()
    assert path.read_bytes() == b"whole\ntor\none\n"


def test_a_file_that_cannot_be_reopened_is_written_on(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = LogFile(str(folder / "log"))
    moved = folder.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        file.reopen()
    file.append(b"one\n")
    file.close()
    assert (moved / "log").read_bytes() == b"one\n"


def test_standard_output_stays_open() -> None:
    written: list[tuple[int, bytes]] = []

    def write(fd: int, data: bytes) -> int:
        written.append((fd, data))
        return len(data)

    file = LogFile("-", write)
    file.append(b"one\n")
    file.reopen()
    file.close()
    os.fstat(1)
    assert written == [(1, b"one\n")]
    assert repr(file) == "<LogFile -, 0 lines to be written>"


def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    file = LogFile(str(tmp_path / "log"))
    file.reopen()
    file.reopen()
    file.close()
    assert len(os.listdir("/proc/self/fd")) == before
