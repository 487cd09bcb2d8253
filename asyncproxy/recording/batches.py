"""Records on their way to the access log: made into lines by the batch, in the order they came.

The rule: code that has just run is fast, so a batch of lines costs far less than as many lines made one by one between
all that else happens to a request. Full batches are made on the polling thread, where the records are still in the
processor's caches; what is left of one when the writer looks, the writer makes. One of them makes at a time, and the
polling thread never waits to: while the writer makes, records wait a little longer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from asyncproxy.exchange.record import Record

BATCH: Final = 64
"""Records of one batch: some 60 KiB, so that they and their lines fit in the nearer caches."""


class Batches:
    """Lines to be, and lines. `line` makes one, without its end; a record of which it cannot goes to `spoilt`."""

    def __init__(self, line: Callable[[Record], bytes], spoilt: Callable[[Record], None]) -> None:
        self._line = line
        self._spoilt = spoilt
        self._records: deque[Record] = deque()
        self._batches: deque[tuple[bytes, int]] = deque()
        self._made = 0
        """Lines in `_batches`; changed by who makes."""
        self._making = threading.Lock()

    def __len__(self) -> int:
        return len(self._records) + self._made

    def add(self, record: Record) -> None:
        """`record` is to become a line. On the polling thread; never waits."""
        records = self._records
        records.append(record)
        if len(records) >= BATCH and self._making.acquire(blocking=False):
            self._make(len(records))
            self._making.release()

    def take(self, most: int) -> tuple[bytes, int]:
        """Some `most` lines, the eldest, each with its end, and how many they are; nothing if there is none."""
        with self._making:
            self._make(len(self._records))
            taken = []
            count = 0
            while self._batches and count < most:
                lines, number = self._batches.popleft()
                taken.append(lines)
                count += number
            self._made -= count
        return b"".join(taken), count

    def clear(self) -> None:
        """Forget all of them."""
        with self._making:
            self._records.clear()
            self._batches.clear()
            self._made = 0

    def _make(self, count: int) -> None:
        records, line, lines = self._records, self._line, []
        for _ in range(count):
            record = records.popleft()
            try:
                lines.append(line(record))
            except Exception:  # noqa: BLE001 - one record of which no line can be made must not end the log
                self._spoilt(record)
        if lines:
            self._made += len(lines)
            lines.append(b"")
            self._batches.append((b"\n".join(lines), len(lines) - 1))

    def __repr__(self) -> str:
        return f"<Batches of {len(self)} lines, {self._made} of them made>"
