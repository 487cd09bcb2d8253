"""The table: every proxy's number, its ratio to nginx, and the bar beside it, met or not."""

import datetime
import math
import platform
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench.measures import Bar, Line, Measure

TITLES = {
    "asyncproxy": "asyncproxy reverse",
    "asyncproxy-module": "asyncproxy blocking module",
    "nginx": "nginx",
    "apache": "Apache event",
    "twisted": "twisted.web.proxy",
    "unseen": "reverse, all off",
    "seen": "reverse, all on",
}
COMPARED = ("cpu", "rate", "p50", "p99", "memory")


@dataclass
class Results:
    """All trials so far: the numbers of each, or the words it failed with."""

    trials: dict[tuple[str, str], list[dict[str, float]]] = field(default_factory=dict)
    failures: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def values(self, measure: Measure, line: Line, proxy: str) -> list[float]:
        """Of every round."""
        return [trial[line.key] for trial in self.trials.get((measure.name, proxy), [])]

    def median(self, measure: Measure, line: Line, proxy: str) -> float | None:
        """Of the rounds; errors are never averaged away. None when it was not measured or a round failed."""
        values = self.values(measure, line, proxy)
        if not values or (measure.name, proxy) in self.failures:
            return None
        return max(values) if line.key == "errors" else statistics.median(values)


def number(value: float) -> str:
    """Three figures or so."""
    if math.isinf(value):
        return "never in 2 s"
    if math.isnan(value):
        return "none"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def cell(results: Results, measure: Measure, line: Line, proxy: str) -> str:
    """One proxy's number with its ratio to nginx's."""
    value = results.median(measure, line, proxy)
    if value is None:
        return "FAILED" if (measure.name, proxy) in results.failures else ""
    base = results.median(measure, line, "nginx")
    if proxy == "nginx" or line.key not in COMPARED or not base or not math.isfinite(value):
        return number(value)
    return f"{number(value)} ({value / base:.2f}x)"


def words(bar: Bar) -> str:
    """The bar as it is read."""
    sign = f" x {bar.of}" if bar.of else ""
    said = [f"<= {bar.most:g}{sign}"] if bar.most is not None else ["report"]
    said += [f"aim {bar.aim:g}"] if bar.aim is not None else []
    return ", ".join(said)


def verdict(results: Results, measure: Measure, line: Line, bar: Bar) -> str | None:
    """Met or not; a failed trial meets nothing. None when what it speaks of was not measured."""
    base = results.median(measure, line, bar.of) if bar.of else 1.0
    asked = [proxy for proxy in bar.who if (measure.name, proxy) in (results.trials | results.failures)]
    if not asked or base is None:
        return None
    values = [results.median(measure, line, proxy) for proxy in asked]
    worst = max((math.inf if value is None or math.isnan(value) else value) for value in values)
    if bar.most is not None and worst > bar.most * base:
        return "NOT MET"
    reached = bar.aim is not None and worst <= bar.aim * base
    met = "" if bar.most is None else "met"
    return ", ".join(filter(None, [met, "aim reached" if reached else "aim missed" if bar.aim else ""]))


def judged(results: Results, measure: Measure, line: Line) -> list[tuple[str, str]]:
    """Every bar of a line, each with its verdict."""
    found = []
    for bar in line.bars:
        said = verdict(results, measure, line, bar) or "not measured"
        who = "module: " if bar.who == ("asyncproxy-module",) else ""
        found.append((who + words(bar), said))
    return found or [("", "")]


def rows(results: Results, measure: Measure, proxies: list[str]) -> list[list[str]]:
    """The rows of one measure."""
    made = []
    for line in measure.lines:
        what = f"{line.what}, {line.unit}" if line.unit else line.what
        cells = [cell(results, measure, line, proxy) for proxy in proxies]
        (bar, said), *more = judged(results, measure, line)
        made.append([what, *cells, bar, said])
        made += [["", *[""] * len(proxies), bar, said] for bar, said in more]
    return made


def aligned(table: list[list[str]]) -> str:
    """The table as Markdown that is also readable as it stands."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    ruled = [table[0], ["-" * width for width in widths], *table[1:]]
    lines = (" | ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in ruled)
    return "\n".join(f"| {line} |" for line in lines)


def tables(results: Results, measures: Iterable[Measure], proxies: list[str]) -> str:
    """One table a measure, with the words of whatever failed."""
    parts = []
    for measure in measures:
        shown = [proxy for proxy in proxies if (measure.name, proxy) in results.trials | results.failures]
        head = ["", *[TITLES[proxy] for proxy in shown], "bar", "verdict"]
        parts.append(f"### {measure.title}\n\n{aligned([head, *rows(results, measure, shown)])}")
        for proxy in shown:
            parts += [f"- {TITLES[proxy]} FAILED: {why}" for why in results.failures.get((measure.name, proxy), [])]
    return "\n\n".join(parts)


def rounds(results: Results, measures: Iterable[Measure], proxies: list[str]) -> str:
    """Every round's number of the first line of each repeated measure, so that the spread is seen."""
    made = []
    for measure in measures:
        line = measure.lines[0]
        for proxy in proxies:
            values = results.values(measure, line, proxy)
            if len(values) > 1:
                told = ", ".join(number(value) for value in values)
                made.append(f"- {measure.title}, {line.what}, {TITLES[proxy]}: {told}")
    return "\n".join(made)


def processor() -> str:
    """What /proc/cpuinfo calls it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {len(models) or '?'} cores"


HOW = """\
How: each trial starts the proxy afresh, pinned to core 0, the load and the upstream on core 1, everything
on 127.0.0.1, access logs off, upstream connections kept alive; the proxies take turns, round after round,
and the table shows medians. CPU is user + system time of all the proxy's processes, from /proc, over what
the clients counted. Memory growth is the peak (VmHWM, counted from before the load) less the resident size
before; memory per held request is the resident size half a second after the last came, less that before, by
the number held. Added latency is the client's time, from connect to the last byte, less what the upstream
says it took itself. The probe of the last measures counts from when a request was due. "x" is the ratio to
nginx in this run. nginx has one worker process, default reply buffers, no temporary file
(proxy_max_temp_file_size 0), proxy_request_buffering off; Apache the event MPM, 512 threads;
twisted.web.proxy Twisted's default reactor. Where the load and upstream fill their core (100 %), requests a
second and latency are limited by them as well as by the proxy; the CPU time of the proxy is not.
"""


def machine(versions: dict[str, str], started: datetime.datetime) -> str:
    """When, where and what."""
    told = ", ".join(f"{name} {number}" for name, number in versions.items())
    return f"{started:%Y-%m-%d %H:%M} UTC. {processor()}; {platform.system()} {platform.release()}.\n\n{told}."
