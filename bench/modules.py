"""The modules that are put into asyncproxy: what a stranger would write, from the public names alone."""

import json
import time

from asyncproxy import Module, Request, Response, ticket


class ForwardOnce(Module):
    """A blocking module that forwards once: two turns on a worker for each request."""

    async def handle(self, request: Request) -> Response:
        """Park until the reply's head is here."""
        return await request.forward()


class Sleeper(Module):
    """Holds its worker for five seconds, as a slow blocking driver would."""

    def handle(self, request: Request) -> Response:
        """Block, with the interpreter's lock released."""
        time.sleep(5)
        return Response.text("slept\n")


class Spinner(Module):
    """Holds its worker, and the interpreter's lock with it, for five seconds of pure Python."""

    def handle(self, request: Request) -> Response:
        """Compute nothing, in Python."""
        until, rounds = time.monotonic() + 5, 0
        while time.monotonic() < until:
            rounds += 1
        return Response.text(f"spun {rounds} times\n")


class Approval(Module):
    """Waits for a ticket that its request names."""

    async def handle(self, request: Request) -> Response:
        """Park until somebody resumes it; a line end closes the answer."""
        value = await ticket(request.args["id"][0])
        return Response.text(json.dumps(value) + "\n")
