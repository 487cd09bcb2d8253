"""The stock module `reverse`: pass the request on and the reply back, streaming both ways, with no worker involved."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from asyncproxy import Module, Request
from asyncproxy.exchange.forwarding import origin_form
from asyncproxy.exchange.routing import normal_path
from asyncproxy.exchange.waits import Forward

_UNQUOTED: Final = "/:@!$&'()*+,;=~"


class Reverse(Module):
    """Forwards to the route's upstream. `strip_prefix` takes the route's path off the target first."""

    blocking = False
    whole_body = False
    strip_prefix: bool = False

    def handle(self, request: Request) -> Forward:
        """Return the forward itself: its reply becomes the answer without another turn."""
        if not self.strip_prefix:
            return request.forward()
        return request.forward(target=self._stripped(request))

    def _stripped(self, request: Request) -> bytes:
        prefix = request.route.path.encode()
        target = origin_form(request.target)
        if not target.startswith(prefix):  # the client has written it in another way, with %6f for an o perhaps
            path, question, query = target.partition(b"?")
            target = quote(normal_path(path), safe=_UNQUOTED).encode() + question + query
        rest = target.removeprefix(prefix)
        return rest if rest.startswith(b"/") else b"/" + rest
