"""`python -m bench.lab`: seconds that a lab takes to park thousands of exchanges and to answer them again."""

from __future__ import annotations

import argparse
import gc
import time

from asyncproxy import Module, Request, Response, sleep
from asyncproxy.testing import Lab


class Sleeps(Module):
    """A blocking module: two turns on the workers for each request."""

    async def handle(self, request: Request) -> Response:
        """Parked for ten minutes."""
        await sleep(600)
        return Response.text(request.path)


class Forwards(Module):
    """The same, but parked on an upstream."""

    async def handle(self, request: Request) -> Response:
        """Parked until the reply comes."""
        return await request.forward()


def main() -> None:
    """Measure each once, with the garbage collector as it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parked", type=int, default=10_000)
    count = parser.parse_args().parked
    for what, module, seed in (("sleep", Sleeps, None), ("sleep, seed 1", Sleeps, 1), ("forward", Forwards, None)):
        gc.collect()
        print(f"{count} parked on {what:14}", "  ".join(measured(module, count, seed)))


def measured(module: type[Module], count: int, seed: int | None) -> list[str]:
    """What each phase took."""
    began = time.perf_counter()
    config = {"server": {"max_queued": count, "max_parked": count}, "upstream": {"app": {"servers": ["http://app"]}}}
    lab = Lab({**config, "route": [{"module": module, "upstream": "app"}]}, seed=seed)
    requests = [lab.get(f"/{number}") for number in range(count)]
    assert len(lab.parked()) == count
    parked = time.perf_counter()
    if module is Sleeps:
        lab.advance(600)
    else:
        for _ in range(count):
            lab.upstream("app").answer(body=b"answer")
    assert all(request.status == 200 for request in requests)
    answered = time.perf_counter()
    assert lab.stop() == []
    ended = time.perf_counter()
    phases = {"parked": parked - began, "answered": answered - parked, "stopped": ended - answered}
    return [*(f"{name} in {seconds:.2f} s" for name, seconds in phases.items()), f"all in {ended - began:.2f} s"]


if __name__ == "__main__":
    main()
