"""A file that lines are appended to, through full disks and rotation, without ever breaking one in two.

The rule: a line is written whole or goes on where it stopped. What a full disk cut short is remembered and finished
when there is room; in a new file it begins anew; and a file that something else left without a last line end, a crash
perhaps, gets one before anything is added.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Final

STANDARD_OUTPUT: Final = "-"
_MODE: Final = 0o644


class LogFile:
    """The file at `path`, or standard output for ``-``. On one thread at a time.

    `write` is `os.write`, or a fake of it. Raises OSError if the file cannot be opened.
    """

    def __init__(self, path: str, write: Callable[[int, bytes], int] = os.write) -> None:
        self.path = path
        self._write = write
        self._rest = b""
        """What is not written yet, from the beginning of a line on; of that line `_within` bytes are written."""
        self._within = 0
        self._fd = self._open()

    def _open(self) -> int:
        if self.path == STANDARD_OUTPUT:
            return 1
        # For reading too: the end is looked at, and a FIFO that nobody reads would block an open for writing alone.
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        self._rest = (b"\n" if _is_torn(fd) else b"") + self._rest.removeprefix(b"\n")
        self._within = 0
        return fd

    def append(self, lines: bytes) -> None:
        """Write `lines`, which end in a line end, behind what is still to be written.

        Raises OSError when the disk takes no more; what it did not take is kept, and `flush` tries it again.
        """
        self._rest += lines
        self.flush()

    def flush(self) -> None:
        """Write what is still to be written. Raises OSError as `append` does."""
        while self._rest:
            done = self._within + self._write(self._fd, self._rest[self._within :])
            line = self._rest.rfind(b"\n", 0, done) + 1
            self._rest, self._within = self._rest[line:], done - line

    @property
    def unwritten(self) -> int:
        """Lines that are not written, or not to their end."""
        return self._rest.removeprefix(b"\n").count(b"\n")

    def reopen(self) -> None:
        """Go on in the file that is at `path` now. Raises OSError, and then the file stays as it is."""
        before = self._fd
        self._fd = self._open()
        if before != self._fd:
            os.close(before)

    def close(self) -> None:
        """Close the file; standard output stays open. What is not written is lost."""
        if self._fd != 1:
            os.close(self._fd)

    def __repr__(self) -> str:
        return f"<LogFile {self.path}, {self.unwritten} lines to be written>"


def _is_torn(fd: int) -> bool:
    """Whether it is a file whose last line has no end."""
    found = os.fstat(fd)
    return stat.S_ISREG(found.st_mode) and found.st_size > 0 and os.pread(fd, 1, found.st_size - 1) != b"\n"
