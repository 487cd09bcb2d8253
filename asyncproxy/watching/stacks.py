"""What a thread does right now, as an author of modules wants to read it: without the frames of what called him.

The rule: a frame belongs to a thread that goes on running, so what is wanted of it is copied at once and the frame is
let go; a frame that is kept would keep a module's variables, and a request with them.
"""

from __future__ import annotations

import linecache
import sys
from dataclasses import dataclass
from types import FrameType
from typing import Final

_MACHINERY: Final = frozenset({"asyncproxy", "asyncio", "concurrent", "threading", "twisted", "uvloop"})
"""Top packages whose code calls modules, and is not what keeps a thread when something else is further in."""

_WAITING: Final = frozenset(
    {
        ("twisted.internet.asyncioreactor", "AsyncioSelectorReactor.run"),  # in uvloop's own code
        ("selectors", "EpollSelector.select"),
        ("selectors", "KqueueSelector.select"),
        ("twisted.internet.epollreactor", "EPollReactor.doPoll"),
        ("twisted.internet.pollreactor", "PollReactor.doPoll"),
        ("twisted.internet.selectreactor", "SelectReactor.doSelect"),
        ("twisted.internet.kqreactor", "KQueueReactor.doKEvent"),
    }
)
"""Where a reactor is that waits for something to happen."""


@dataclass(frozen=True, slots=True)
class Call:
    """A frame's place: the Python module, the function, file and line."""

    module: str
    function: str
    file: str
    line: int

    @property
    def package(self) -> str:
        """The module's top package."""
        return self.module.partition(".")[0]

    @property
    def machinery(self) -> bool:
        """Whether it is code that calls modules."""
        return self.package in _MACHINERY and not self.module.startswith("asyncproxy.modules.")

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


@dataclass(frozen=True, slots=True)
class Stack:
    """The calls that a thread is in, the innermost last; never empty."""

    calls: tuple[Call, ...]

    @property
    def innermost(self) -> Call:
        """The innermost call in the package of the first: the author's own line, not the library's it waits in."""
        home = self.calls[0].package
        return next(call for call in reversed(self.calls) if call.package == home)

    @property
    def at(self) -> str:
        """That line as ``file.py:31``."""
        call = self.innermost
        return f"{call.file.rsplit('/', 1)[-1]}:{call.line}"

    def text(self) -> str:
        """All of it, a call on two lines, as Python shows them."""
        return "\n".join(_shown(call) for call in self.calls)


def _shown(call: Call) -> str:
    source = linecache.getline(call.file, call.line).strip()
    place = f'  File "{call.file}", line {call.line}, in {call.function}'
    return f"{place}\n    {source}" if source else place


def stack_of(ident: int) -> Stack | None:
    """What the thread `ident` does; None if there is no such thread any more. Any thread."""
    frame = sys._current_frames().get(ident)
    calls = _calls(frame)
    return Stack(_of_a_module(calls)) if calls else None


def waits(ident: int) -> bool:
    """Whether the thread `ident` runs a reactor that has nothing to do; False if that reactor is not known here."""
    frame = sys._current_frames().get(ident)
    return frame is not None and (frame.f_globals.get("__name__"), frame.f_code.co_qualname) in _WAITING


def _calls(frame: FrameType | None) -> list[Call]:
    """The outermost first."""
    calls = []
    while frame is not None:
        code = frame.f_code
        module = str(frame.f_globals.get("__name__", "?"))
        calls.append(Call(module, code.co_qualname, code.co_filename, frame.f_lineno or code.co_firstlineno))
        frame = frame.f_back
    return calls[::-1]


def _of_a_module(calls: list[Call]) -> tuple[Call, ...]:
    """What is left without the reactor's callers, and then without what called the first that is no machinery.

    All of it where nothing else is in: then it is the machinery itself that keeps the thread.
    """
    reactor = next((index for index, call in enumerate(calls) if call.module.startswith("twisted.internet.")), 0)
    rest = calls[reactor:]
    first = next((index for index, call in enumerate(rest) if not call.machinery), None)
    return tuple(rest if first is None else rest[first:])
