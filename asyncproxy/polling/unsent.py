"""Whether a transport still has something to send: no interface of Twisted's tells."""

from __future__ import annotations

from typing import Any


def has_unsent(transport: Any) -> bool:
    """Whether bytes that were written to `transport` have not reached the kernel, as far as it can be known."""
    # Ours; and what Twisted's `FileDescriptor` keeps, in two places.
    return any(getattr(transport, name, None) for name in ("unsent", "dataBuffer", "_tempDataBuffer"))
