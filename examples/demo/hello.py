"""A module in fifteen lines: the demo's /hello-from-a-module."""

import sqlite3

from asyncproxy import Module, Request, Response, sleep


class Hello(Module):
    greeting: str = "hello"  # a setting: proxy.toml says otherwise

    async def handle(self, request: Request) -> Response:
        database = sqlite3.connect(":memory:")  # a blocking driver: fine, this is a worker
        (now,) = database.execute("select time()").fetchone()
        await sleep(0.2)  # parked: the worker is free meanwhile
        name = request.args.get("name", ["you"])[0]
        return Response.text(f"{self.greeting} {name}, it is {now}\n")
