"""The PROXY header, with which a proxy in front of us begins a connection to say whose it is; versions 1 and 2.

After https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt, sections 2.1 and 2.2. The rule: nothing is guessed.
Where a header is expected there is one or the connection is nobody's, and no byte behind it is taken for a part of it.
What version 2 appends to the addresses is skipped.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Final, NamedTuple

LONGEST_TEXT: Final = 107
"""Bytes of a header of version 1, its end included."""
LONGEST: Final = 4096
"""Bytes of a header of version 2 that are taken; the protocol would allow 65551."""

_TEXT: Final = b"PROXY "
_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED: Final = Struct("!12sBBH")
_LINE: Final = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})")
_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?")
_LOCAL, _PROXY = range(2)
_LAYOUTS: Final = {
    0x11: Struct("!4s4sHH"),
    0x12: Struct("!4s4sHH"),
    0x21: Struct("!16s16sHH"),
    0x22: Struct("!16s16sHH"),
    0x31: Struct("!108s108s"),
    0x32: Struct("!108s108s"),
}
"""By family and transport: IPv4, IPv6, UNIX sockets, each over a stream or in datagrams."""


class BadHeader(ValueError):
    """What a connection begins with is no PROXY header; str() says why."""


class Introduction(NamedTuple):
    """What a header says."""

    size: int
    """Of the header, in bytes."""
    address: str = ""
    """Of the client; empty if the header tells none that we know to use."""
    port: int = 0


def introduction(data: bytes) -> Introduction | None:
    """What the header at the beginning of `data` says; None if it is not whole. Raises `BadHeader`."""
    if data[:12] == _SIGNATURE[: len(data)]:
        return _binary(data)
    if data[:6] == _TEXT[: len(data)]:
        return _text(data)
    raise BadHeader("the connection begins with something else")


def _text(data: bytes) -> Introduction | None:
    end = data.find(b"\r\n", 0, LONGEST_TEXT)
    if end < 0:
        if len(data) >= LONGEST_TEXT:
            raise BadHeader(f"its line is longer than {LONGEST_TEXT} bytes")
        return None
    line = data[:end]
    if _UNKNOWN.fullmatch(line):
        return Introduction(end + 2)
    found = _LINE.fullmatch(line)
    if found is None:
        raise BadHeader("its line is malformed")
    kind = IPv4Address if found[1] == b"TCP4" else IPv6Address
    try:
        source, _ = kind(found[2].decode("ascii")), kind(found[3].decode("ascii"))
    except ValueError:
        raise BadHeader(f"its addresses are not of {found[1].decode()}") from None
    if int(found[4]) > 65535 or int(found[5]) > 65535:
        raise BadHeader("its port is no port")
    return Introduction(end + 2, str(source), int(found[4]))


def _binary(data: bytes) -> Introduction | None:
    if len(data) < _FIXED.size:
        return None
    _, version_and_command, kind, length = _FIXED.unpack_from(data)
    version, command = divmod(version_and_command, 16)
    if version != 2 or command not in (_LOCAL, _PROXY):
        raise BadHeader(f"version {version} and command {command} are not known")
    size = _FIXED.size + length
    if size > LONGEST:
        raise BadHeader(f"it is longer than {LONGEST} bytes")
    layout = _LAYOUTS.get(kind)
    if command == _PROXY and kind and layout is None:
        raise BadHeader(f"family and transport {kind:#04x} are not known")
    if command == _PROXY and layout is not None and length < layout.size:
        raise BadHeader("it has no room for its addresses")
    if len(data) < size:
        return None
    if command == _LOCAL or layout is None or kind >= 0x30:  # the path of a socket on another machine names nobody
        return Introduction(size)
    source, _, port, _ = layout.unpack_from(data, _FIXED.size)
    return Introduction(size, str((IPv4Address if len(source) == 4 else IPv6Address)(source)), port)
