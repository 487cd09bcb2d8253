"""The module of the show: a blocking one, so that every request goes through the workers, twice."""

from asyncproxy import Module, Request, Response


class Relay(Module):
    """Forwards each request to the upstream, and is parked until the reply comes."""

    async def handle(self, request: Request) -> Response:
        """One turn until here, one after it."""
        return await request.forward()
