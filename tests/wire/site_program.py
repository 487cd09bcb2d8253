"""A stranger's program, for the tests of this folder: modules in the tree of a stock twisted.web Site.

Run with a reactor's name, a port, and the URL of an upstream.
"""

from __future__ import annotations

import sys
import threading

from twisted.application.reactors import installReactor


def main(name: str, port: int, url: str) -> None:
    if name == "uvloop":
        from asyncproxy.service import install_uvloop_reactor

        install_uvloop_reactor()
    else:
        installReactor(name)
    from twisted.internet import reactor
    from twisted.web.resource import Resource
    from twisted.web.server import Site
    from twisted.web.static import Data

    from asyncproxy import ClientGone, Module, Request, Response
    from tests.wire import modules_under_test as modules

    class Passes(Module):
        async def handle(self, request: Request) -> Response:
            try:
                return await request.forward(url)
            except ClientGone:
                modules.note(request, "ClientGone")
                raise

    class Fetches(Module):
        async def handle(self, request: Request) -> Response:
            fetched = await request.fetch(f"{url}/fetched")
            return Response.text(f"fetched {fetched.text()}")

    class Hooked(Module):
        def start(self) -> None:
            print(f"started on {threading.current_thread().name}", flush=True)

        def stop(self) -> None:
            print("stopped", flush=True)

        def handle(self, _request: Request) -> Response:
            return Response.text("hooked")

    root = Resource()
    root.putChild(b"stock", Data(b"stock", "text/plain"))
    for module in (Passes, Fetches, Hooked):
        root.putChild(module.__name__.encode(), module())
    for kind in ("About", "Notes", "Whole", "ReadAll", "Sleeper", "Endless", "MadeSoFar"):
        root.putChild(kind.encode(), getattr(modules, kind)())
    reactor.listenTCP(port, Site(root), interface="127.0.0.1")
    print(f"before: {threading.active_count()} threads", flush=True)
    reactor.run()
    print(f"after: {threading.active_count()} threads", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
