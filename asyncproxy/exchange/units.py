"""Durations and sizes as people write them: a number never stands without its unit.

``timeout = 30`` is read as seconds by one and as milliseconds by another, so a number without a unit is refused
and the error says what to write. Reading is pure, so a configuration file and a module's own settings share it.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

__all__ = ["duration", "duration_text", "size", "size_text"]

_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")

_SECONDS: Final[Mapping[str, Decimal]] = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_BYTES: Final[Mapping[str, Decimal]] = {
    "B": Decimal(1),
    "KB": Decimal(10**3),
    "KiB": Decimal(2**10),
    "MB": Decimal(10**6),
    "MiB": Decimal(2**20),
    "GB": Decimal(10**9),
    "GiB": Decimal(2**30),
    "TB": Decimal(10**12),
    "TiB": Decimal(2**40),
}
# A quantity longer than this is a slip of the keyboard, and int() and Decimal() take their time with it.
_LONGEST: Final = 40


def duration(text: object) -> float:
    """The seconds that ``text`` says: ``"250ms"``, ``"30s"``, ``"10m"``, ``"2h"``, ``"1d"``; ``"1.5s"`` too.

    Raises ValueError, with a mend, for anything else; a bare number is something else.
    """
    return float(_quantity(text, _SECONDS, "duration", "s", "500ms"))


def size(text: object) -> int:
    """The bytes that ``text`` says: ``"512B"``, ``"64KiB"``, ``"10MiB"``, ``"1GiB"``; decimal ``"64KB"``.

    Raises ValueError, with a mend, for anything else; a bare number is something else.
    """
    count = _quantity(text, _BYTES, "size", "B", "64KiB")
    if count != int(count):
        raise ValueError(f"{_shown(text)} is not a whole number of bytes")
    return int(count)


def duration_text(seconds: float) -> str:
    """Seconds as one would write them; ``duration`` reads the same number back."""
    exact = Decimal(repr(float(seconds)))
    for unit in ("d", "h", "m", "s", "ms"):
        count = exact / _SECONDS[unit]
        if exact and count == int(count):
            return f"{int(count)}{unit}"
    return f"{exact.normalize():f}s"


def size_text(count: int) -> str:
    """Bytes as one would write them; ``size`` reads the same number back."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if count and count % int(_BYTES[unit]) == 0:
            return f"{count // int(_BYTES[unit])}{unit}"
    return f"{count}B"


def _quantity(text: object, units: Mapping[str, Decimal], what: str, likely: str, example: str) -> Decimal:
    bare = isinstance(text, (int, float)) and not isinstance(text, bool)
    written = str(text) if bare else text
    found = _QUANTITY.fullmatch(written.strip()) if isinstance(written, str) and len(written) <= _LONGEST else None
    if found is None:
        raise ValueError(f'{_shown(text)} is not a {what}; write for example "{example}"')
    number, unit = found.groups()
    if not unit:
        raise ValueError(f'{_shown(text)} has no unit; write "{number}{likely}" or "{example}"')
    if unit not in units:
        raise ValueError(f"{_shown(text)} has an unknown unit; the units of a {what} are {', '.join(units)}")
    return Decimal(number) * units[unit]


def _shown(value: object) -> str:
    shown = f'"{value}"' if isinstance(value, str) else repr(value)
    return shown if len(shown) <= _LONGEST + 2 else f"{shown[:_LONGEST]}..."
