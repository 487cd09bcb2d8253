"""Which limits clients run into: counted by key, and told in the log now and then, with who it was.

The rule: a crowd that is refused does not fill the log. Of each limit a line is written in `SAY` seconds at most, and
the next one says how many came in between; the access log has those that had a request. Polling thread only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

from asyncproxy.exchange.errors import ProxyError
from asyncproxy.polling.seldom import Seldom

_log = Logger()
SAY: Final = 10.0
"""Seconds between two lines on the same limit."""


class Reached:
    """How often each limit was reached, by its key; only our own errors are counted, so the keys are bounded."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self.counts: Counter[str] = Counter()
        self._lines: dict[str, Seldom] = {}

    def note(self, who: str, error: ProxyError) -> None:
        """`who`, an address, has reached the limit that `error` names in its `detail`; any other error is nobody's."""
        key = error.detail
        if not key:
            return
        self.counts[key] += 1
        lines = self._lines.get(key)
        if lines is None:
            lines = self._lines[key] = Seldom(self._seconds, SAY)
        more = lines.tell()
        if more is not None:
            _log.info("{who}: {words}{more}", who=who, words=f"{error.words} ({key})", more=more)

    def count(self, key: str) -> None:
        """The limit `key` has ended a connection in the ordinary way: nobody has to be told."""
        self.counts[key] += 1

    def statistics(self) -> dict[str, int]:
        """How often each was reached, those that were."""
        return dict(sorted(self.counts.items()))

    def __repr__(self) -> str:
        return f"<Reached {', '.join(f'{count} {key}' for key, count in self.statistics().items()) or 'none'}>"
