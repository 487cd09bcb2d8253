"""Passes prompts on to a language model that streams its answer, a few at a time for each user."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import Future

from asyncproxy import Headers, Module, Request, Response

EVENTS = "text/event-stream"


class Line:
    """One user's requests: `free` more may be served, the others wait in the order they came."""

    def __init__(self, at_once: int) -> None:
        self.at_once = self.free = at_once
        self.waiting: deque[Future[None]] = deque()

    def join(self) -> Future[None]:
        """A turn, which is done when its request may be served."""
        turn: Future[None] = Future()
        if self.free:
            self.free -= 1
            turn.set_result(None)
        else:
            self.waiting.append(turn)
        return turn

    def leave(self, turn: Future[None]) -> None:
        """The request of `turn` is through, or its client has left: the next one may be served."""
        if turn.cancelled() or turn in self.waiting:
            if turn in self.waiting:
                self.waiting.remove(turn)
            return
        while self.waiting:
            following = self.waiting.popleft()
            if following.set_running_or_notify_cancel():
                following.set_result(None)
                return
        self.free += 1

    @property
    def empty(self) -> bool:
        """Whether nobody is served and nobody waits."""
        return self.free == self.at_once and not self.waiting


class Gateway(Module):
    """Serves `at_once` prompts of a user at a time, and has `waiting` more wait; beyond that it is 429.

    `key` is what the model wants to see; users say who they are in ``X-User``. Nothing of it blocks, so it needs no
    worker, and no lock: all of it runs on the polling thread.
    """

    blocking = False
    key: str
    at_once: int = 1
    waiting: int = 10

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        self.lines: dict[str, Line] = {}

    async def handle(self, request: Request) -> Response:
        """Wait in line, then ask the model, and stream what it says."""
        user = request.headers.get("x-user")
        if not user:
            return Response.json({"error": "say who you are, in X-User"}, 401)
        await request.read()  # while a body is on its way its client gets no comments
        line = self.lines.setdefault(user, Line(self.at_once))
        if not line.free and len(line.waiting) >= self.waiting:
            return Response.json({"error": f"{self.waiting} of your prompts wait already"}, 429)
        turn = line.join()
        try:
            await turn  # type: ignore[misc]  # asyncproxy makes futures awaitable
            headers = Headers(request.headers)
            headers["authorization"] = f"Bearer {self.key}"
            reply = await request.forward(headers=headers)
            if reply.headers.get("content-type") == EVENTS:
                return Response(reply.status, {"content-type": EVENTS}, self.stream(reply, user, turn))
        except BaseException:  # its client has left, or the model has failed
            self.leave(user, turn)
            raise
        self.leave(user, turn)
        return reply

    async def stream(self, reply: Response, user: str, turn: Future[None]) -> AsyncIterator[bytes | str]:
        """The model's events as they come; at the end, or when the client leaves, the next prompt has its turn."""
        try:
            async for piece in reply.body:  # type: ignore[union-attr]
                yield piece
        finally:
            self.leave(user, turn)

    def leave(self, user: str, turn: Future[None]) -> None:
        """Give `turn` back, and forget a user of whom nothing is left."""
        line = self.lines[user]
        line.leave(turn)
        if line.empty:
            del self.lines[user]
