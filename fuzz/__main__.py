"""Fuzz the whole path for a while: python -m fuzz [--seconds 60]; exits 0 when nothing was found.

python -m fuzz --replay FILE...      # play inputs that were found, and say what is wrong with them

Atheris watches which lines and branches of asyncproxy an input reaches, and libFuzzer changes inputs that reached
something new. What it has learnt is kept in build/fuzz and taken up by the next run; what it finds is written there.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import traceback
from pathlib import Path

BUILD = Path("build") / "fuzz"
_DONE = re.compile(r"#(\d+)\s+DONE\s+cov: (\d+) ft: (\d+) corp: (\d+)/")
INPUT_LIMIT = 4096


def main() -> int:
    """Fuzz in a process of its own, and say what came of it."""
    options = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.partition(":")[0])
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--replay", nargs="+", type=Path, metavar="FILE")
    options.add_argument("--seed", type=int, default=0, help="0 takes another one each time")
    arguments = options.parse_args()
    if arguments.replay:
        return replay(arguments.replay)
    return fuzz(arguments.seconds, arguments.seed)


def replay(files: list[Path]) -> int:
    """Play inputs as they are."""
    from fuzz.target import play

    broken = 0
    for file in files:
        try:
            play(file.read_bytes())
        except Exception:  # noqa: BLE001 - whatever it is, it was found
            broken += 1
            print(f"{file}:\n{traceback.format_exc()}")
        else:
            print(f"{file}: fine")
    return 1 if broken else 0


def fuzz(seconds: int, seed: int) -> int:
    """Let libFuzzer run for `seconds`."""
    from fuzz.seeds import plant

    plant(BUILD)
    learnt, found = BUILD / "corpus", BUILD / "found"
    for directory in (learnt, found):
        directory.mkdir(exist_ok=True)
    command = [
        *(sys.executable, "-m", "fuzz.guided", str(learnt), str(BUILD / "seeds"), f"-max_total_time={seconds}"),
        *(f"-dict={BUILD / 'words.dict'}", f"-artifact_prefix={found}/", f"-max_len={INPUT_LIMIT}", f"-seed={seed}"),
        *("-timeout=20", "-print_final_stats=1", "-rss_limit_mb=4096"),
    ]
    log = BUILD / "fuzz.log"
    with log.open("w") as output:
        status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    text = log.read_text(errors="replace")
    done = _DONE.search(text)
    if status == 0 and done is not None:
        executions, coverage, features, corpus = done.groups()
        reached = f"{coverage} edges and {features} features reached"
        print(f"{executions} executions, {reached}, {corpus} inputs kept: nothing found")
        return 0
    print("\n".join(text.splitlines()[-60:]))
    print(f"Found something, or could not run (status {status}): see {log} and {found}; `python -m fuzz --replay FILE`")
    return 1


if __name__ == "__main__":
    sys.exit(main())
