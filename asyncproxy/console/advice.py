"""``asyncproxy advise``: what a proxy's status says of its pool of workers, in words, and what to do about it.

The rule: what is said comes with its figure, a figure with its unit, and what cannot be known from outside is said to
be so. Pure but for `advise`, which looks.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Final

from asyncproxy.console.asking import Admin, Refused
from asyncproxy.console.erlang import smallest_pool, waiting_probability
from asyncproxy.console.looks import NotComparable, Requests, Span, span
from asyncproxy.console.tables import plain
from asyncproxy.exchange.units import duration

BOUND: Final = 0.05
"""The probability with which a turn may have to wait for a worker."""
ENOUGH: Final = 100
"""Requests that must have ended before figures about them are relied on."""
FULL: Final = 0.9
"""The share of busy workers from which on the load cannot be seen: what waits outside is not measured."""
SPARE: Final = 4
"""Workers more than needed that are nothing to talk about."""
LONG: Final = 0.05
"""Seconds of a turn from which on it is asked what its worker does all the time."""
LONGEST_WATCH: Final = 86400.0
"""Seconds between two looks, at most."""
STATUS: Final = "/status.json?limit=0"
"""What is looked at: totals, and no rows of what is parked."""
RIGHT, TOO_FEW, TOO_MANY, UNKNOWN = "right", "too few", "too many", "not enough data"
_MARGIN: Final = 9
_WIDTH: Final = 79
_TIED: Final = re.compile(r"(?<=[\d=]) | (?==)")
"""Blanks that no line is broken at: 5 % and workers = 8 are one word each."""
_TIE: Final = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Advice:
    """What was found; str() is the letter."""

    verdict: str
    """`RIGHT`, `TOO_FEW`, `TOO_MANY` or `UNKNOWN`."""
    workers: int
    """What the pool should be; what it is, if that is right or not known."""
    findings: tuple[tuple[str, str], ...]
    """Each with a word for what it is about; the last one, Next, is what to do."""

    def __str__(self) -> str:
        indent = " " * _MARGIN
        lines = []
        for about, words in self.findings:
            whole = _TIED.sub(_TIE, plain(words))
            for number, line in enumerate(wrap(whole, _WIDTH - _MARGIN, break_long_words=False)):
                lines.append((indent if number else about.ljust(_MARGIN)) + line.replace(_TIE, " "))
        return "\n".join(lines)

    def statistics(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {"verdict": self.verdict, "workers": self.workers, "findings": dict(self.findings)}

    def __getitem__(self, about: str) -> str:
        """The words of a finding; KeyError if there is none of it."""
        return dict(self.findings)[about]


def advice(now: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> Advice:
    """What two looks at ``/status.json`` say, some seconds apart, or one of them about all the time since the start.

    Raises `looks.NotComparable` for looks that cannot be used.
    """
    seen = span(now, before)
    if seen.all.ended < ENOUGH and seen.busy < FULL:
        return Advice(UNKNOWN, seen.workers, tuple(_too_little(seen)))
    verdict, workers = judge(seen.load, seen.workers, seen.all.queued_long / max(1, seen.all.ended))
    return Advice(verdict, workers, (*_examined(seen, verdict == TOO_FEW), *_PRESCRIPTIONS[verdict](seen, workers)))


def judge(load: float, workers: int, waited: float = 0.0) -> tuple[str, int]:
    """The verdict on `workers` at `load` erlangs, of whose requests the share `waited` did so; what the pool should be.

    That is the smallest for which a turn has to wait with a probability of `BOUND` at most. A pool that is busy all the
    time shows only what it managed: then it is twice what it is, at least. If more waited than the formula knows of,
    requests come in bursts: then it is half as many again.
    """
    needed = smallest_pool(load, BOUND)
    if load >= FULL * workers:
        return TOO_FEW, max(needed, 2 * workers)
    if needed > workers:
        return TOO_FEW, needed
    if waited > BOUND:
        return TOO_FEW, workers + (workers + 1) // 2
    if workers > max(2 * needed, needed + SPARE):
        return TOO_MANY, needed
    return RIGHT, workers


def advise_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``advise``."""
    words = "judge by what happens in that time, such as 60s, and not by all since the proxy's start"
    parser.add_argument("--watch", metavar="TIME", type=_duration, default=0.0, help=words)


def advise(admin: Admin, args: argparse.Namespace, sleep: Callable[[float], None] = time.sleep) -> int:
    """Say what the pool of workers should be."""
    looks = [admin.get(STATUS)]
    if args.watch:
        if sys.stderr.isatty():
            print(f"watching for {_lasting(args.watch)} ...", file=sys.stderr)
        sleep(args.watch)
        looks.insert(0, admin.get(STATUS))
    try:
        found = advice(*looks)
    except NotComparable as why:
        raise Refused(str(why)) from why
    print(json.dumps(found.statistics()) if args.json else found)
    return 0


def _duration(text: str) -> float:
    try:
        seconds = duration(text)
    except ValueError as why:
        raise argparse.ArgumentTypeError(str(why)) from None
    if seconds > LONGEST_WATCH:
        raise argparse.ArgumentTypeError(f'"{text}" is too long; a day is the longest')
    return seconds


def _too_little(seen: Span) -> Iterator[tuple[str, str]]:
    yield _seen(seen)
    yield from _stalled(seen)
    yield "Verdict", f"Not enough data: {ENOUGH} requests that have ended are the least to judge by."
    yield "Next", "ask again when there is traffic, or watch for longer: asyncproxy advise --watch 5m"


def _examined(seen: Span, scarce: bool) -> Iterator[tuple[str, str]]:
    """All findings but the verdict; `scarce`: there are too few workers."""
    yield _seen(seen)
    yield from _shares(seen.all)
    yield _load(seen)
    yield from _who(seen, scarce)
    yield from _waits(seen.all)
    yield from _stalled(seen)
    yield from _kind(seen)


def _seen(seen: Span) -> tuple[str, str]:
    when = f"since the start {_lasting(seen.seconds)} ago" if seen.since_start else f"in {_lasting(seen.seconds)}"
    return "Seen", f"{_counted(seen.all.ended, 'request')} ended {when}; the pool has {_workers(seen.workers)}."


def _shares(requests: Requests) -> Iterator[tuple[str, str]]:
    """Where the requests' time went."""
    total = requests.seconds["total"]
    if not total:
        return
    shares = {name: seconds / total for name, seconds in requests.seconds.items() if name != "total"}
    rest = max(0.0, 1 - sum(shares.values()))
    words = (
        f"of the {_lasting(total)} that they took, {_share(shares['parked'])} was spent parked, "
        f"{_share(shares['upstream'])} waiting for upstreams, {_share(shares['working'])} working on a worker, "
        f"{_share(shares['queued'])} queued for one; {_share(rest)} was the rest: reading, sending, and work on the "
        "polling thread."
    )
    yield "Time", words


def _load(seen: Span) -> tuple[str, str]:
    if not seen.worker_seconds:
        return "Workers", "nothing needed one; plain forwarding never does."
    erlangs = f"{seen.load:.2f}" if seen.load >= 0.01 else "less than 0.01"
    work = f"{erlangs} erlangs of work (seconds of work each second)"
    return "Workers", f"they had {work}, so each was busy {_share(seen.busy)} of the time."


def _who(seen: Span, scarce: bool) -> Iterator[tuple[str, str]]:
    """Who has the workers."""
    module, requests = seen.hog
    if not requests.ended or not requests.seconds["working"]:
        if seen.worker_seconds:
            yield "Who", "turns of requests that have not ended, or of none."
        return
    each = _lasting(requests.seconds["working"] / requests.ended)
    words = f"{_share(seen.share(requests))} of the workers' time, {each} a request"
    if seen.one_hogs:
        yield "Who", f"{module} {'hogs' if scarce else 'has'} the workers: {words}."
    else:
        yield "Who", f"no module stands out; {module} has the most: {words}."


def _waits(requests: Requests) -> Iterator[tuple[str, str]]:
    """Whether requests wait for workers."""
    if requests.queued_long:
        average = _lasting(requests.seconds["queued"] / max(1, requests.ended))
        share = _share(requests.queued_long / max(1, requests.ended))
        yield "Waits", f"{share} of the requests waited more than 10 ms for workers; the average of all is {average}."
    elif requests.seconds["working"]:
        yield "Waits", "no request waited more than 10 ms for workers."


def _stalled(seen: Span) -> Iterator[tuple[str, str]]:
    """Who keeps a worker at this moment."""
    if seen.stalled:
        eldest, *others = seen.stalled
        who = eldest["module"] or "a call of no request"
        more = f"; {_counted(len(others), 'other worker')} too" if others else ""
        yield "Now", f"{who} has kept a worker for {_lasting(eldest['for_s'])}, at {eldest['at']}{more}."


def _kind(seen: Span) -> Iterator[tuple[str, str]]:
    """What long turns of one module may be: computing, which more threads don't help, or blocking, which they do."""
    if not _long_turns(seen):
        return
    module, requests = seen.hog
    turns = f"its turns are long, about {_lasting(requests.turn)}, and the process used {seen.cores:.2f} of a core"
    if not _looks_like_computing(seen):
        yield "Kind", f"{turns}: they block. That is what workers are for; a call that is awaited instead holds none."
        return
    yield (
        "Kind",
        f"{turns}: that looks like computing, which cannot be seen for sure from here. To find out, run py-spy top "
        f"--gil --pid PID under load: if lines of {module} are on top, it computes. Then more workers don't help, for "
        "Python code runs on one thread at a time; have a process pool do it, and await its future.",
    )


def _long_turns(seen: Span) -> bool:
    return seen.one_hogs and seen.hog[1].turn >= LONG


def _looks_like_computing(seen: Span) -> bool:
    """Whether the process computes as much as its workers work, or as much as the interpreter's lock lets it."""
    return seen.cores >= 0.7 or (seen.cores >= 0.2 and seen.cores >= seen.load / 2)


def _right(seen: Span, workers: int) -> Iterator[tuple[str, str]]:
    odds = f"a turn has to wait with a probability of {_odds(workers, seen)}, and {_share(BOUND)} is the bound"
    yield "Verdict", f"Right: {_workers(workers)} for this load; {odds}."
    yield "Next", f"nothing to do.{_busiest(seen)}"


def _too_few(seen: Span, workers: int) -> Iterator[tuple[str, str]]:
    if seen.busy >= FULL:
        why = f"all are busy nearly all the time, and what waits outside cannot be seen; begin with {workers}"
    elif waiting_probability(seen.workers, seen.load) <= BOUND:
        why = "there are enough on average, but requests come in bursts, and many wait; try half as many again"
    else:
        now = f"a turn has to wait with a probability of {_odds(seen.workers, seen)}, and {_share(BOUND)} is the bound"
        why = f"{now}; with {workers} it is {_odds(workers, seen)}"
    yield "Verdict", f"Too few workers: {why}."
    first = ""
    if seen.stalled and seen.all.ended < ENOUGH:
        first = "find out why those turns don't end: a call without a time-out keeps all workers, however many; then, "
    elif _long_turns(seen) and _looks_like_computing(seen):
        first = "find out whether that module computes; if it does not, "
    yield "Next", f"{first}write workers = {workers} in [server], restart, and ask again."


def _too_many(seen: Span, workers: int) -> Iterator[tuple[str, str]]:
    odds = f"a turn would have to wait with a probability of {_odds(workers, seen)}"
    yield "Verdict", f"Too many workers: {workers} would do, with which {odds}."
    words = f"no hurry, a spare worker costs little; to save it, write workers = {workers} in [server] and restart."
    yield "Next", words + _busiest(seen)


_PRESCRIPTIONS: Final[dict[str, Callable[[Span, int], Iterator[tuple[str, str]]]]] = {
    RIGHT: _right,
    TOO_FEW: _too_few,
    TOO_MANY: _too_many,
}
"""The verdict and the next step."""


def _busiest(seen: Span) -> str:
    """What an average cannot tell."""
    return " These are averages since the start: in the busiest hour, ask with --watch 60s." if seen.since_start else ""


def _odds(workers: int, seen: Span) -> str:
    return _share(waiting_probability(workers, seen.load))


def _share(part: float) -> str:
    """A share in percent."""
    if 0 < part < 0.01:
        return "less than 1 %"
    return f"{part * 100:.0f} %"


def _workers(count: int) -> str:
    return _counted(count, "worker")


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def _lasting(seconds: float) -> str:
    """A time with its unit."""
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    if seconds >= 1:
        return f"{seconds:.1f} s"
    if 0 < seconds < 0.0001:
        return "less than 0.1 ms"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"
