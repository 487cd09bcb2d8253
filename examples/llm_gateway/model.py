"""Stands for a language model: it thinks, then streams the prompt's words back as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from twisted.logger import Logger

from asyncproxy import ClientGone, Duration, Module, Request, Response, sleep

_log = Logger()


class Model(Module):
    """``POST`` with ``{"prompt": "..."}``; who asks has to know `key`."""

    blocking = False
    key: str = "secret"
    thinking: Duration = 1.0
    pace: Duration = 0.2

    async def handle(self, request: Request) -> Response:
        """Answer word by word, or say why not."""
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return Response.json({"error": "wrong key"}, 401)
        prompt = msgspec.json.decode(await request.read())["prompt"]
        return Response(200, {"content-type": "text/event-stream"}, self.words(prompt))

    async def words(self, prompt: str) -> AsyncIterator[bytes]:
        """One event a word, and one that says that it was the last."""
        try:
            await sleep(self.thinking)
            for word in prompt.split():
                yield b"data: %b\n\n" % msgspec.json.encode({"word": word})
                await sleep(self.pace)
            yield b"data: [DONE]\n\n"
        except ClientGone:
            _log.info("cancelled: {prompt}", prompt=prompt)
            raise
