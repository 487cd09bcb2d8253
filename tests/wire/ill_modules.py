"""Modules that cannot start or will not stop: no proxy under test can have them beside others."""

import threading

from asyncproxy import Module, Request, Response, sleep


class Answers(Module):
    def handle(self, request: Request) -> Response:
        return Response.text("here")


class StartsBadly(Answers):
    """Cannot start."""

    def start(self) -> None:
        raise RuntimeError("no database")


class StartsSlowly(Answers):
    """Takes its time to start, and says that it has begun, and that it was called off."""

    async def start(self) -> None:
        await sleep(0)  # now the reactor runs, and has its signals
        print("module begins", flush=True)
        try:
            await sleep(600)
        finally:
            print("called off", flush=True)


class StopsNever(Answers):
    """Blocks for ever at its end."""

    stop_timeout = 0.5

    def stop(self) -> None:
        threading.Event().wait()
