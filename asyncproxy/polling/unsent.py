"""How much a transport still has to send: no interface of Twisted's tells."""

from __future__ import annotations

from typing import Any


def count_unsent(transport: Any) -> int:
    """Bytes that were written to `transport` and have not reached the kernel, as far as it can be known."""
    ours = getattr(transport, "unsent", None)
    if ours is not None:
        return int(ours)
    # What Twisted's `FileDescriptor` keeps, in two places.
    first = len(getattr(transport, "dataBuffer", b"")) - getattr(transport, "offset", 0)
    return first + sum(map(len, getattr(transport, "_tempDataBuffer", ())))
