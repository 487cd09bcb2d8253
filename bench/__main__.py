"""``python -m bench``: every measure with every proxy, in turns; a table here and in RESULTS.md."""

import argparse
import datetime
import gc
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench import proxies, report
from bench.measures import MEASURES, Measure, Scale, Subject
from bench.proxies import Place
from examples.demo import children
from examples.demo.children import Child
from examples.demo.upstream import allow_many_files

RESULTS = Path(__file__).with_name("RESULTS.md")


def options() -> argparse.Namespace:
    """The command line."""
    names = ", ".join(measure.name for measure in MEASURES)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", help=f"measures, with commas between: {names}")
    parser.add_argument("--proxies", help=f"with commas between: {', '.join(proxies.COMMANDS)}")
    parser.add_argument("--quick", action="store_true", help="a short cut: proves that it works, measures little")
    parser.add_argument("--seconds", type=float, help="how long each small load lasts")
    parser.add_argument("--rounds", type=int, help="how often the small and large loads are repeated")
    parser.add_argument("--slow-read-seconds", type=float, help="how long the slow client reads (2 GiB last 205)")
    parser.add_argument("--results", type=Path, help="write the table here (a whole run: bench/RESULTS.md)")
    return parser.parse_args()


def scale_of(chosen: argparse.Namespace) -> Scale:
    """The amounts, as the options change them."""
    scale = Scale().quick() if chosen.quick else Scale()
    changes = {name: getattr(chosen, name) for name in ("seconds", "rounds", "slow_read_seconds")}
    return replace(scale, **{name: value for name, value in changes.items() if value is not None})


def named(told: str | None, known: list[str], what: str) -> list[str]:
    """The names told on the command line, all of them when none; an unknown one ends it."""
    names = known if told is None else told.split(",")
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"no such {what}: {', '.join(unknown)}; there are {', '.join(known)}")
    return [name for name in known if name in names]


def plan(measure: Measure, wanted: list[str], scale: Scale, explicit: bool) -> Iterator[tuple[int, str]]:
    """Whose turn it is: A B C, A B C, ..."""
    allowed = [name for name in wanted if name not in measure.never]
    taking_part = [name for name in allowed if explicit or name in measure.proxies]
    for turn in range(scale.rounds if measure.repeated else 1):
        yield from ((turn, name) for name in taking_part)


def cores() -> tuple[set[int] | None, set[int] | None]:
    """One for the proxy, one for the load; none where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        print("only one core: the proxy and the load share it, so the requests a second mean little")
        return None, None
    return {usable[0]}, {usable[1]}


def trial(
    measure: Measure, name: str, place: Place, upstream: Child, cpus: set[int] | None, scale: Scale
) -> dict[str, float]:
    """Start one proxy, measure it, end it."""
    place = replace(place, busy=measure.name in ("sleeping", "spinning"))
    child = proxies.start(name, place, cpus)
    try:
        return measure.trial(Subject(child, upstream), scale)
    finally:
        child.stop()


def attempt(results: report.Results, measure: Measure, name: str, *rest: object) -> None:
    """A trial whose failure is a result too."""
    try:
        found = trial(measure, name, *rest)  # type: ignore[arg-type]
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as wrong:
        results.failures.setdefault((measure.name, name), []).append(str(wrong) or type(wrong).__name__)
        print("      FAILED:", wrong)
    else:
        results.trials.setdefault((measure.name, name), []).append(found)
        print("     ", "  ".join(f"{key} {report.number(value)}" for key, value in found.items()), flush=True)


def run(measures: list[Measure], wanted: list[str], scale: Scale, explicit: bool) -> report.Results:
    """All of it."""
    results = report.Results()
    proxy_cpus, load_cpus = cores()
    if load_cpus is not None:
        os.sched_setaffinity(0, load_cpus)
    with tempfile.TemporaryDirectory(prefix="asyncproxy-bench-") as folder:
        upstream = children.start_upstream("bench.upstream", log=Path(folder, "upstream.log"))
        try:
            for measure in measures:
                for turn, name in plan(measure, wanted, scale, explicit):
                    print(f"{measure.name}, round {turn + 1}: {report.TITLES[name]}", flush=True)
                    where = Path(tempfile.mkdtemp(dir=folder))
                    place = Place(where, children.free_port(), upstream.port)
                    attempt(results, measure, name, place, upstream, proxy_cpus, scale)
        finally:
            upstream.stop()
    return results


def write(path: Path, head: str, body: str) -> None:
    """The results as a file."""
    path.write_text(f"# Results of the benchmark\n\nWritten by `make bench`. {head}\n\n{report.HOW}\n{body}\n")
    print(f"\nwritten to {path}")


def main() -> None:
    """Read the options, check what is installed, run, report."""
    chosen = options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    wanted = named(chosen.proxies, list(proxies.COMMANDS), "proxy")
    only = named(chosen.only, [measure.name for measure in MEASURES], "measure")
    measures = [measure for measure in MEASURES if measure.name in only]
    if missing := proxies.missing_packages(wanted):
        sys.exit(f"not installed here: {' '.join(missing)}. Try: apt-get install {' '.join(missing)}")
    allow_many_files()
    gc.freeze()
    gc.disable()
    started = datetime.datetime.now(datetime.UTC)
    results = run(measures, wanted, scale_of(chosen), chosen.proxies is not None)
    head = report.machine(proxies.versions(), started)
    body = report.tables(results, measures, wanted)
    spread = report.rounds(results, measures, wanted)
    print(f"\n{head}\n\n{body}")
    whole = not (chosen.quick or chosen.only or chosen.proxies)
    if path := chosen.results or (RESULTS if whole else None):
        write(path, head, f"{body}\n\n### Every round\n\n{spread}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nstopped; nothing was written")
