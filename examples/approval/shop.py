"""Stands for the shop behind the proxy, in which everything is in stock."""

from __future__ import annotations

import msgspec

from asyncproxy import Module, Request, Response


class Shop(Module):
    """Takes orders."""

    def handle(self, request: Request) -> Response:
        """Say what was bought."""
        return Response.json({"bought": msgspec.json.decode(request.data)["item"]})
