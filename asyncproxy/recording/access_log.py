"""The access log: the polling thread makes lines of what it is told, and a thread of the log's own writes them.

The rule: what the disk does, it does to the writer alone. `put` makes lines and leaves them in a deque; while the disk
stalls they wait there, and beyond `limit` of them, or `HELD` bytes, they are dropped and counted, so that neither time
nor memory of the proxy hangs on it.

The writer sleeps until lines come, then waits `GATHER` seconds for more, for each time that it wakes up it takes the
interpreter from the polling thread. A sleeper is seen as in `working.workers`: it says that it sleeps *before* it looks
once more, and `put` appends *before* it looks for sleepers.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from twisted.logger import Logger

from asyncproxy.exchange.record import Told, combined_lines, json_lines
from asyncproxy.recording.log_file import LogFile

_log = Logger()
LIMIT: Final = 20_000
"""Lines that may wait: half a second of as many requests as one process answers, and some 10 MB."""
HELD: Final = 32 << 20
"""Bytes of lines that may wait: a client can have lines of 30 KB written."""
GATHER: Final = 0.05
"""Seconds that a first line waits for others."""
RETRY: Final = 1.0
"""Seconds after which a write that failed is tried again."""
PIECE: Final = 256 * 1024
"""Bytes of one write, or a few lines more."""
PATIENCE: Final = 2.0
"""Seconds that `close` waits for the disk."""

LOOK: Final = "look"
REOPEN: Final = "reopen"
END: Final = "end"
_FORMATS: Final[dict[str, Callable[[Sequence[Told]], bytes]]] = {"combined": combined_lines, "json": json_lines}


class AccessLogError(Exception):
    """The access log cannot be opened: what is wrong, where, and what to do about it."""


class AccessLog:
    """Lines about requests, in the file `path`, or on standard output for ``-``.

    `form` is ``combined`` or ``json``. Everything but what it says otherwise is called on the polling thread. `opened`
    makes the `LogFile`. Raises `AccessLogError` when made if the file cannot be opened.
    """

    def __init__(
        self, path: str, form: str = "combined", *, limit: int = LIMIT, opened: Callable[[str], LogFile] = LogFile
    ) -> None:
        try:
            self._file = opened(path)
        except OSError as why:
            words = f'cannot write to "{path}": {why.strerror}; name a file in a directory that exists, that the'
            raise AccessLogError(f'server.access_log: {words} proxy\'s user may write, or "-"') from why
        self._lines = _FORMATS[form]
        self._limit = limit
        self._waiting: deque[tuple[int, bytes]] = deque()
        """Lines, and how many they are. What was put in and taken out is counted by either thread for itself."""
        self._orders: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._asleep = False
        self._overflowed = 0
        """Dropped as there were too many."""
        self._told = 0
        """How many of these the log has told of."""
        self._spoilt = 0
        """Dropped as no line could be made of them."""
        self._lost = 0
        """Left by the writer when it had to end."""
        self._made = self._made_bytes = 0
        """Lines that were made, all of them."""
        self._taken = self._taken_bytes = 0
        """Lines given to the file."""
        self._failing = False
        self._behind = False
        """Whether lines are dropped, since the last time that none waited."""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the writer; until then lines wait."""
        self._thread = threading.Thread(target=self._work, name="asyncproxy-access-log", daemon=True)
        self._thread.start()

    def put(self, told: Sequence[Told]) -> None:
        """Have lines written of what is `told`, some time soon; never blocks."""
        count = len(told)
        if self._made - self._taken + count > self._limit or self._made_bytes - self._taken_bytes > HELD:
            self._overflow(count)
            return
        try:
            lines = self._lines(told)
        except Exception:  # noqa: BLE001 - one request of which no line can be made must not cost others theirs
            made = [line for line in map(self._line_if_any, told) if line]
            count, lines = len(made), b"".join(made)
            if not count:
                return
        self._waiting.append((count, lines))
        self._made += count
        self._made_bytes += len(lines)
        if self._asleep:
            self._asleep = False
            self._orders.put(LOOK)

    def _line_if_any(self, one: Told) -> bytes:
        try:
            return self._lines([one])
        except Exception:  # noqa: BLE001 - as above
            self._spoilt += 1
            _log.failure("No line of the access log could be made of {one!r}", one=one)
            return b""

    def _overflow(self, count: int) -> None:
        self._overflowed += count
        if not self._behind:
            self._behind = True
            words = "The access log {path} does not keep up: {held} lines wait for its disk, and more are dropped"
            _log.error(words, path=self._file.path, held=self._made - self._taken)

    def reopen(self) -> None:
        """Go on in the file that is at the path now: for rotation by renaming. What came before goes to the old one.

        If it cannot be opened the old one is kept, and the log says why.
        """
        self._orders.put(REOPEN)

    def close(self, patience: float = PATIENCE) -> None:
        """Write what waits and close the file; after `patience` seconds on the disk give up, and log what is lost."""
        self._orders.put(END)
        if self._thread is not None:
            self._thread.join(patience)
            if self._thread.is_alive():
                words = "The access log's disk took nothing for {patience:g} s: {lost} lines are lost"
                _log.error(words, patience=patience, lost=self.waiting)
            self._thread = None
        else:
            self.step(END)

    @property
    def waiting(self) -> int:
        """Lines that are not written yet."""
        return self._made - self._taken + self._file.unwritten - self._lost

    @property
    def dropped(self) -> int:
        """Lines that never will be."""
        return self._overflowed + self._spoilt + self._lost

    def statistics(self) -> dict[str, int]:
        """Lines ``written``, ``dropped`` and ``waiting``, and whether writing is ``failing``, 0 or 1."""
        return {
            "written": self._taken - self._file.unwritten,
            "dropped": self.dropped,
            "waiting": self.waiting,
            "failing": int(self._failing or self._behind),
        }

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.statistics().items() if name != "failing")
        return f"<AccessLog {self._file.path}: {counts}{', failing' if self._failing else ''}>"

    # On the writer's thread.

    def _work(self) -> None:
        """The writer's life: sleep until told, gather, write."""
        while self.step(self._next_order()):
            pass

    def _next_order(self) -> str:
        if self._failing:
            return self._order_within(RETRY)
        self._asleep = True
        if not self._waiting:
            order = self._orders.get()
            if order != LOOK:
                return order
        self._asleep = False
        return self._order_within(GATHER)

    def _order_within(self, seconds: float) -> str:
        try:
            return self._orders.get(timeout=seconds)
        except queue.Empty:
            return LOOK

    def step(self, order: str = LOOK) -> bool:
        """Write what waits, then do as `order` says; False at the end. For the writer, or for who steps it by hand."""
        self._write()
        if order == REOPEN:
            self._reopen()
        elif order == END:
            self._end()
        return order != END

    def _write(self) -> None:
        try:
            self._file.flush()
            made = self._made  # what comes meanwhile does not keep it from its orders
            while self._waiting and self._taken < made:
                self._file.append(self._next_lines())
        except OSError as why:
            self._fail(why)
        else:
            self._recover()

    def _next_lines(self) -> bytes:
        """Lines that wait: `PIECE` bytes and a few more, or all."""
        pieces, size = [], 0
        while self._waiting and size < PIECE:
            count, lines = self._waiting.popleft()
            pieces.append(lines)
            size += len(lines)
            self._taken += count
        self._taken_bytes += size
        return b"".join(pieces)

    def _fail(self, why: OSError) -> None:
        if not self._failing:
            self._failing = True
            path, words = self._file.path, why.strerror or why
            _log.error("The access log {path} cannot be written: {words}; lines wait", path=path, words=words)

    def _recover(self) -> None:
        if self._failing:
            self._failing = False
            _log.info("The access log {path} is written again", path=self._file.path)
        lost = self._overflowed - self._told
        if lost and not self._waiting:
            self._behind = False
            self._told += lost
            words = "The access log {path} lost {lost} lines: the disk did not keep up"
            _log.warn(words, path=self._file.path, lost=lost)

    def _reopen(self) -> None:
        try:
            self._file.reopen()
        except OSError as why:
            words = "The access log {path} cannot be opened anew: {why}; the file that was open is written on"
            _log.error(words, path=self._file.path, why=why.strerror)

    def _end(self) -> None:
        lost = self.waiting
        if lost:
            _log.error("The access log {path} ends with {lost} lines unwritten", path=self._file.path, lost=lost)
        self._lost = lost
        self._waiting.clear()
        self._file.close()
