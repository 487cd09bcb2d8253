"""libFuzzer's side, in a process of its own: it ends the process itself."""

from __future__ import annotations

import gc
import sys

import atheris

with atheris.instrument_imports(include=["asyncproxy.exchange", "asyncproxy.polling"]):
    from fuzz.target import play


def one(data: bytes) -> None:
    """Play one input; what it leaves in cycles is collected now and then."""
    play(data)


if __name__ == "__main__":
    gc.set_threshold(5000, 20, 50)
    atheris.enabled_hooks.add("RegEx")
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
