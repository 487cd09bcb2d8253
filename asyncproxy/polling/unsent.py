"""How much a transport still has to send: no interface of Twisted's tells."""

from __future__ import annotations

import array
from typing import Any, Final

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # Windows
    ioctl = None  # type: ignore[assignment]

_INT: Final = "i"


def count_unsent(transport: Any) -> int:
    """Bytes that were written to `transport` and have not reached the kernel, as far as it can be known."""
    ours = getattr(transport, "unsent", None)
    if ours is not None:
        return int(ours)
    # What Twisted's `FileDescriptor` keeps, in two places.
    first = len(getattr(transport, "dataBuffer", b"")) - getattr(transport, "offset", 0)
    return first + sum(map(len, getattr(transport, "_tempDataBuffer", ())))


def count_untaken(transport: Any) -> int:
    """Bytes that were written to `transport` and that its peer has not taken, as far as it can be known.

    The kernel takes a slow peer's bytes from us in leaps, minutes apart; in between, only it knows that they go.
    """
    return count_unsent(transport) + _in_kernel(transport)


def _in_kernel(transport: Any) -> int:
    """Bytes that the kernel keeps until the peer has acknowledged them; 0 where it does not tell."""
    handle = getattr(transport, "getHandle", None)
    if ioctl is None or handle is None:
        return 0
    count = array.array(_INT, [0])
    try:
        ioctl(handle().fileno(), TIOCOUTQ, count)
    except (OSError, ValueError, AttributeError):  # closed, or no socket
        return 0
    return count[0]
