"""The stock module `reverse`: pass the request on and the reply back, streaming both ways, with no worker involved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from asyncproxy import Module, Request
from asyncproxy.exchange.forwarding import origin_form
from asyncproxy.exchange.routing import normal_path
from asyncproxy.exchange.waits import Forward, MappedForward

_UNQUOTED: Final = "/:@!$&'()*+,;=~"
_DOTS: Final = re.compile(rb"(?:/|%2[fF])(?:\.|%2[eE]){1,2}(?:/|%2[fF]|\Z)")


class Reverse(Module):
    """Forwards to the route's upstream.

    `strip_prefix` takes the route's path off the target first. Without `preserve_host` the upstream is asked by its own
    name; what the client asked for, X-Forwarded-Host and Forwarded tell. With `rewrite`, which is so if one of the two
    makes it needed, what replies say of the place is mapped back: Location, Content-Location, Refresh, and Path and
    Domain of Set-Cookie.
    """

    blocking = False
    whole_body = False
    strip_prefix: bool = False
    preserve_host: bool = True
    rewrite: bool | None = None
    _maps = False

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Fill the settings, and see whether there is anything to map."""
        super().configure(settings)
        if self.rewrite is None:
            self.rewrite = self.strip_prefix or not self.preserve_host
        self._maps = self.rewrite or self.strip_prefix or not self.preserve_host

    def handle(self, request: Request) -> Forward:
        """Return the forward itself: its reply becomes the answer without another turn."""
        if not self._maps:
            return request.forward()
        forward = request.forward(target=self._stripped(request) if self.strip_prefix else None)
        return MappedForward(
            forward,
            preserve_host=self.preserve_host,
            prefix=_quoted(request.route.path) if self.strip_prefix else b"",
            rewrite=bool(self.rewrite),
        )

    def _stripped(self, request: Request) -> bytes:
        prefix = request.route.path.encode()
        target = origin_form(request.target)
        path, question, query = target.partition(b"?")
        # The client may have written it in another way, with %6f for an o perhaps; and a path that climbs back into the
        # prefix would climb elsewhere without it.
        if not target.startswith(prefix) or _DOTS.search(path):
            target = quote(normal_path(path), safe=_UNQUOTED).encode() + question + query
        rest = target.removeprefix(prefix)
        return rest if rest.startswith(b"/") else b"/" + rest


@lru_cache(maxsize=1024)
def _quoted(path: str) -> bytes:
    """A route's path as it stands in URLs; that of the route for everything is no prefix."""
    return b"" if path == "/" else quote(path, safe=_UNQUOTED).encode()
