"""What the proxy sends over one connection to a server, read as requests, or as bytes of a tunnel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncproxy.polling.http1 import Framing, parse_request, request_framing
from asyncproxy.testing.network import FakeUpstream
from asyncproxy.testing.upstream import Forwarded


class Conversation:
    """One connection, as its server reads it: requests one after the other."""

    def __init__(self, connection: FakeUpstream, groups: Mapping[Any, Any]) -> None:
        self._connection = connection
        self._groups = groups
        self._at = 0
        self._framing: Framing | None = None
        self._latest: Forwarded | None = None

    def read(self) -> Forwarded | None:
        """Take what has come; the request that has begun by it, if one has."""
        wire = self._connection.wire
        assert wire is not None
        begun = None
        if self._latest is not None and self._latest.switched:
            self._latest.body += bytes(wire.out[self._at :])
            self._at = len(wire.out)
            return None
        if self._framing is None:
            end = wire.out.find(b"\r\n\r\n", self._at) + 4
            if end < 4:
                return None
            request = parse_request(bytes(wire.out[self._at : end]), 1 << 20)
            self._at = end
            self._framing = request_framing(request)
            begun = self._latest = Forwarded(self._connection, request, self._groups)
        self._read_body(bytes(wire.out[self._at :]))
        self._at = len(wire.out)
        return begun

    def __repr__(self) -> str:
        return f"<Conversation, {self._at} bytes read, the latest of {self._latest!r}>"

    def _read_body(self, data: bytes) -> None:
        framing, latest = self._framing, self._latest
        assert framing is not None
        assert latest is not None
        latest.body += framing.feed(data)
        latest.whole = framing.done
        if framing.done:
            self._framing = None
