"""Request ids: the one name that a request has in our logs, at its upstreams and with its client.

The rule: an id is ours, or one that a trusted client gave; whoever else sends the field is not heard, neither clients
nor upstreams. So the id in a log line is the one that the other side has in its own.
"""

from __future__ import annotations

import re
from typing import Final

_VALID: Final = re.compile(rb"[A-Za-z0-9._~+/=:@-]{1,128}")


def valid_request_id(value: bytes) -> bool:
    """Whether a client's `value` may name a request: 1 to 128 bytes that need no quoting in any log."""
    return _VALID.fullmatch(value) is not None


class RequestIds:
    """How ids go over the wire: in the field `name`. With `trusted`, a valid one that a client sends is taken."""

    def __init__(self, name: str = "X-Request-ID", *, trusted: bool = False) -> None:
        self.trusted = trusted
        self._key = name.lower().replace("_", "-").encode("ascii")
        self._field = b"\r\n" + name.encode("ascii") + b": "
        # CGI, and WSGI after it, gives programs the same name for a field that is spelled with underscores.
        self._found = re.compile(rb"(?i:\r\n" + re.escape(self._key).replace(rb"\-", b"[-_]") + rb":)[ \t]*([^\r]*)")

    def mark(self, request_id: str) -> bytes:
        """The field that tells `request_id`, to be put behind a header block."""
        return self._field + request_id.encode("ascii")

    def marks(self, prefix: str) -> bytes:
        """What makes the field of ``PREFIX-NUMBER`` by ``%`` of a number."""
        return self.mark(prefix).replace(b"%", b"%%") + b"-%d"

    def given(self, block: bytes) -> str | None:
        """The id that a request's block has, if it is one id and valid."""
        values = self._found.findall(block)
        value = values[0].rstrip(b" \t") if len(values) == 1 else b""
        return value.decode("ascii") if valid_request_id(value) else None

    def without(self, block: bytes) -> bytes:
        """`block` without the field."""
        near = block.lower().replace(b"_", b"-")  # the pattern takes five times as long to find nothing
        return self._found.sub(b"", block) if self._key in near else block

    def __repr__(self) -> str:
        return f"<RequestIds in {self._key.decode()}{', clients trusted' if self.trusted else ''}>"
