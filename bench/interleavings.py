"""`python -m bench.interleavings`: scenes with tickets in as many orders, one a seed, on all cores; see `bench.races`.

Prints how many were played, how long it took, and what is wrong with the first; the exit status is 1 if anything is.
`--seed` plays one again and shows its steps.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import cast

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from bench.races import Scene
from bench.verdict import faults

BATCH = 250
"""Scenes that a process plays before it tells of them."""


@implementer(ILogObserver)
class Failures:
    """Hears what is logged with a traceback: a defect of ours, for no module of a scene has any."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        """Something is logged."""
        if "log_failure" in event:
            self.lines.append(f"logged: {event['log_failure'].value!r}")


def wrong_with(seed: int) -> list[str]:
    """Play one scene; all that is wrong with it, a line each."""
    return judged(seed)[1]


def judged(seed: int) -> tuple[Scene | None, list[str]]:
    """A scene that was played, and what is wrong with it: an exception on the way too, and a failure that is logged."""
    heard = Failures()
    observer = cast(ILogObserver, heard)
    scene: Scene | None = None
    globalLogPublisher.addObserver(observer)
    try:
        scene = Scene(seed)
        scene.play()
        found = faults(scene)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this seed's
        found = [f"raised {error!r}"]
    finally:
        globalLogPublisher.removeObserver(observer)
        if scene is not None:
            scene.lab.house.resumer.close()
    return scene, found + heard.lines


def play(seeds: Iterable[int]) -> dict[int, list[str]]:
    """Those of the seeds with which something is wrong."""
    return {seed: found for seed in seeds if (found := wrong_with(seed))}


def batches(first: int, count: int) -> Iterator[range]:
    """So many seeds, in portions."""
    for start in range(first, first + count, BATCH):
        yield range(start, min(start + BATCH, first + count))


def show(seed: int) -> int:
    """One scene, step by step."""
    scene, found = judged(seed)
    if scene is not None:
        print("\n".join(scene.lab.trace))
        print("\n".join(f"{visit}" for visit in scene.visits))
        print("\n".join(f"{resumed}" for resumed in scene.resumes))
    print("\n".join(found) or "nothing is wrong")
    return 1 if found else 0


def main() -> None:
    """Play them and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.interleavings", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, help="play this one again and show it")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        sys.exit(show(chosen.seed))
    began = time.monotonic()
    failed: dict[int, list[str]] = {}
    with multiprocessing.get_context("spawn").Pool(chosen.processes) as pool:
        for found in pool.imap_unordered(play, batches(chosen.first, chosen.count)):
            failed |= found
    seconds = time.monotonic() - began
    print(f"{chosen.count} interleavings in {seconds:.1f} s on {chosen.processes} cores, {len(failed)} failed")
    if failed:
        seed = min(failed)
        print(f"the first is seed {seed}; python -m bench.interleavings --seed {seed} shows it:")
        print("\n".join(failed[seed]))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
