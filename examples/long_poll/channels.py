"""Channels of messages: a GET waits until there is a message it has not seen, a POST publishes one to all who wait."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Any

import msgspec

from asyncproxy import Duration, Module, Request, Response, TicketRefused, resume, ticket

KEPT = 100
"""Messages of a channel that are kept for those who come late."""


class Channel:
    """What was said, and the tickets of those who wait for more. To be used under the module's lock."""

    def __init__(self) -> None:
        self.messages: deque[Any] = deque(maxlen=KEPT)
        self.count = 0
        """Messages so far; the number of the next one."""
        self.waiting: set[str] = set()

    def since(self, number: int) -> list[Any]:
        """What is kept from message `number` on."""
        new = max(0, self.count - number)
        return list(self.messages)[-new:] if new else []


class Channels(Module):
    """Every path is a channel. ``GET ?since=N`` gives messages from number N on, or waits up to `patience` for one.

    Its answer says what to ask for next; without ``since`` it is about what comes from now on. It may block, so that it
    runs on workers, several at a time: that is what the lock is for.
    """

    patience: Duration = 300.0

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        self.lock = Lock()
        self.channels: dict[str, Channel] = {}

    async def handle(self, request: Request) -> Response:
        """Publish, or wait."""
        if request.method == "POST":
            return await self.publish(request)
        since = request.args.get("since", [""])[0]
        with self.lock:
            channel = self.channels.setdefault(request.path, Channel())
            number = channel.count
            if since.isdecimal() and len(since) < 16:
                number = int(since) if int(since) <= channel.count else 0  # or it is from before a restart
            told = ticket(timeout=self.patience, default=None)  # no name: nobody else can guess it
            if waits := channel.count <= number:
                channel.waiting.add(told.name)
        if waits:
            try:
                await told  # a message that came since then is remembered for it
            finally:  # its client may have left
                with self.lock:
                    channel.waiting.discard(told.name)
                    if not (channel.count or channel.waiting):  # whoever asks may make up paths without end
                        self.channels.pop(request.path, None)
        with self.lock:
            return Response.json({"messages": channel.since(number), "next": channel.count})

    async def publish(self, request: Request) -> Response:
        """Keep the message, and wake all who wait for it."""
        try:
            message = msgspec.json.decode(await request.read())
        except msgspec.DecodeError as why:
            return Response.text(f"a message is JSON, and this is not: {why}\n", 400)
        with self.lock:
            channel = self.channels.setdefault(request.path, Channel())
            channel.messages.append(message)
            number, channel.count = channel.count, channel.count + 1
            waiting, channel.waiting = channel.waiting, set()
        heard = 0
        for resumed in [resume(name) for name in waiting]:
            try:
                await resumed
                heard += 1
            except TicketRefused:  # who waited has left
                continue
        return Response.json({"number": number, "heard": heard}, 201)
